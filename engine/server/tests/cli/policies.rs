//! What the binary says of the cluster's admission policies as it starts.

#![expect(clippy::unwrap_used, reason = "what a test calls may panic like the test")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/admission");

/// A cluster without an engine, until it is dropped.
struct Cluster {
    child: Child,
    kubeconfig: PathBuf,
}

impl Cluster {
    fn start() -> Self {
        let mut child = ochre(&["sandbox", "--api-only", "--cluster-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { child, kubeconfig: ready["kubeconfig"].as_str().unwrap().into() }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut kubectl = Command::new("kubectl");
        let done = kubectl.args(arguments).env("KUBECONFIG", &self.kubeconfig).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Writes a kubeconfig beside the cluster's own, of whoever has a token.
    fn kubeconfig_with(&self, token: &str) -> PathBuf {
        let own = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let mut config: Value = serde_json::from_str(&own).unwrap();
        config["users"][0]["user"]["token"] = token.into();
        let path = self.kubeconfig.with_file_name("engine");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

fn ochre(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ochre"));
    command.args(arguments);
    command
}

fn terminate(child: &mut Child) {
    // It may have ended by itself.
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
    child.wait().unwrap();
}

/// Starts an engine that asks who somebody is; yields what it says until it is ready, or ends.
fn said(kubeconfig: &Path) -> Vec<String> {
    let mut engine = ochre(&["serve", "--listen", "127.0.0.1:0", "--authentication", "token"])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    // Held until the end: a process whose reader is gone may fail when it prints.
    let mut lines = BufReader::new(engine.stderr.take().unwrap()).lines();
    for line in lines.by_ref() {
        let line = line.unwrap();
        let is_ready = line.contains("\"message\":\"ready\"");
        said.push(line);
        if is_ready {
            break;
        }
    }
    terminate(&mut engine);
    said
}

/// Takes the lines that speak of the policies.
fn about_policies(said: &[String]) -> Vec<&String> {
    said.iter().filter(|line| line.contains("manifests/admission")).collect()
}

#[test]
fn an_engine_says_what_the_cluster_lacks_of_the_policies() {
    let cluster = Cluster::start();
    let lacking = said(&cluster.kubeconfig);
    let found = about_policies(&lacking);
    assert_eq!(found.len(), 1, "{lacking:#?}");
    let line: Value = serde_json::from_str(found[0]).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(
        line["fields"]["missing"],
        "MutatingAdmissionPolicy ochre-identity, MutatingAdmissionPolicyBinding ochre-identity, \
         ValidatingAdmissionPolicy ochre-rights, ValidatingAdmissionPolicyBinding ochre-rights"
    );
    assert!(found[0].contains("kubectl apply -k manifests/admission"), "{}", found[0]);

    cluster.kubectl(&["apply", "--validate=false", "-k", POLICIES]);
    cluster.kubectl(&["create", "namespace", "ochre-system"]);
    cluster.kubectl(&["create", "serviceaccount", "ochre", "-n", "ochre-system"]);
    let token = cluster.kubectl(&["create", "token", "ochre", "-n", "ochre-system"]);
    let whole = said(&cluster.kubeconfig_with(&token));
    assert!(about_policies(&whole).is_empty(), "{whole:#?}");
    assert!(whole.iter().any(|line| line.contains("\"message\":\"ready\"")), "{whole:#?}");

    cluster.kubectl(&["delete", "validatingadmissionpolicybinding", "ochre-rights"]);
    let partly = said(&cluster.kubeconfig_with(&token));
    let found = about_policies(&partly);
    assert!(
        found.len() == 1 && found[0].contains("\"missing\":\"ValidatingAdmissionPolicyBinding"),
        "{partly:#?}"
    );
}

#[test]
fn an_engine_that_the_policies_take_for_anybody_else_does_not_start() {
    let cluster = Cluster::start();
    cluster.kubectl(&["apply", "--validate=false", "-k", POLICIES]);
    let said = said(&cluster.kubeconfig);
    assert!(said.iter().all(|line| !line.contains("\"message\":\"ready\"")), "{said:#?}");
    let last = said.last().unwrap();
    assert!(last.contains("writes admin into every Action"), "{last}");
}
