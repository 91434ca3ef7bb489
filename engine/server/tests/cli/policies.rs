//! What the binary says of the cluster's admission policies as it starts.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::program::{OCHRE, Server, ask_to_stop, root, text};

/// Starts a cluster without an engine; yields its own kubeconfig too.
fn start() -> (Server, PathBuf) {
    let cluster = Server::sandbox(&["--api-only"]);
    let kubeconfig = cluster.field("kubeconfig").into();
    (cluster, kubeconfig)
}

/// Installs the policies in a cluster.
fn install(cluster: &Server) {
    let policies = root().join("manifests/admission");
    text(&cluster.kubectl(&["apply", "--validate=false", "-k", policies.to_str().unwrap()], ""));
}

/// Writes a kubeconfig beside the cluster's own, of whoever has a token.
fn with_token(own: &Path, token: &str) -> PathBuf {
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(own).unwrap()).unwrap();
    config["users"][0]["user"]["token"] = token.into();
    let path = own.with_file_name("engine");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// Starts an engine that asks who somebody is; yields what it says until it is ready, or ends.
fn said(kubeconfig: &Path) -> Vec<String> {
    let mut engine = Command::new(OCHRE)
        .args(["serve", "--listen", "127.0.0.1:0", "--authentication", "token"])
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
    // It may have ended by itself.
    ask_to_stop(&engine);
    engine.wait().unwrap();
    said
}

/// Takes the lines that speak of the policies.
fn about_policies(said: &[String]) -> Vec<&String> {
    said.iter().filter(|line| line.contains("manifests/admission")).collect()
}

#[test]
fn an_engine_says_what_the_cluster_lacks_of_the_policies() {
    let (cluster, kubeconfig) = start();
    let lacking = said(&kubeconfig);
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

    install(&cluster);
    let kubectl = |arguments: &[&str]| text(&cluster.kubectl(arguments, ""));
    kubectl(&["create", "namespace", "ochre-system"]);
    kubectl(&["create", "serviceaccount", "ochre", "-n", "ochre-system"]);
    let token = kubectl(&["create", "token", "ochre", "-n", "ochre-system"]);
    let engine_s = with_token(&kubeconfig, token.trim());
    let whole = said(&engine_s);
    assert!(about_policies(&whole).is_empty(), "{whole:#?}");
    assert!(whole.iter().any(|line| line.contains("\"message\":\"ready\"")), "{whole:#?}");

    kubectl(&["delete", "validatingadmissionpolicybinding", "ochre-rights"]);
    let partly = said(&engine_s);
    let found = about_policies(&partly);
    assert!(
        found.len() == 1 && found[0].contains("\"missing\":\"ValidatingAdmissionPolicyBinding"),
        "{partly:#?}"
    );
}

#[test]
fn an_engine_that_the_policies_take_for_anybody_else_does_not_start() {
    let (cluster, kubeconfig) = start();
    install(&cluster);
    let said = said(&kubeconfig);
    assert!(said.iter().all(|line| !line.contains("\"message\":\"ready\"")), "{said:#?}");
    let last = said.last().unwrap();
    assert!(last.contains("writes admin into every Action"), "{last}");
}
