//! The sandbox, with kubectl on it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::program::{Server, get, ochre, text};

const ACTION: &str = "
apiVersion: core.ochre.dev/v1alpha1
kind: Action
metadata: {name: nightly, namespace: default}
spec:
  actionRef: {path: cap.interface.data.backup}
  input: {parameters: {action: backup, name: mongo, selector: helm.sh/chart=mongodb-10.3.1}}
";

#[test]
fn kubectl_works_on_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let data = folder.path().join("data");
    let flags = ["--kubeconfig-out", kubeconfig.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let sandbox = Server::sandbox(&flags);
    assert_eq!(sandbox.field("kubeconfig"), kubeconfig.to_str().unwrap());
    assert!(sandbox.field("graphql").ends_with("/graphql"));

    let kinds = "statefulsets,services,configmaps,secrets,pvc";
    let labelled = ["get", kinds, "-n", "chat", "-l", "helm.sh/chart=mongodb-10.3.1", "-o", "name"];
    let found = text(&sandbox.kubectl(&labelled, ""));
    assert_eq!(found.lines().count(), 5, "{found}");

    sandbox.apply(ACTION);
    sandbox.wait_for("READY_TO_RUN");
    sandbox.ask_to_run();
    sandbox.wait_for("SUCCEEDED");
    let table = text(&sandbox.kubectl(&["get", "actions"], ""));
    let words: Vec<&str> = table.split_whitespace().collect();
    let expected = ["NAME", "ACTION", "PHASE", "OUTCOME", "PROGRESS", "AGE"];
    assert_eq!(words[..6], expected);
    assert_eq!(words[6..11], ["nightly", "cap.interface.data.backup", "SUCCEEDED", "COMPLETE", "8/8"]);
    let yaml = text(&sandbox.kubectl(&["get", "backup", "mongo", "-n", "velero", "-o", "yaml"], ""));
    assert!(yaml.contains("phase: Completed"), "{yaml}");
    assert!(data.join("velero/backups/mongo/mongo.tar.gz").exists(), "the object store is in the folder");

    for value in ["b", "c"] {
        sandbox.apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: mine}}\ndata: {{a: {value}}}"
        ));
        assert_eq!(text(&sandbox.kubectl(&["get", "cm", "mine", "-o", "jsonpath={.data.a}"], "")), value);
    }
    text(&sandbox.kubectl(&["delete", "cm", "mine"], ""));
    let apply = |manager: &str, value: &str| {
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ours}}\ndata: {{a: {value}}}");
        let manager = format!("--field-manager={manager}");
        sandbox.kubectl(&["apply", "--server-side", "--validate=false", &manager, "-f", "-"], &map)
    };
    assert_eq!(text(&apply("one", "b")), "configmap/ours serverside-applied\n");
    let refused = String::from_utf8_lossy(&apply("two", "c").stderr).into_owned();
    assert!(refused.contains("Apply failed with 1 conflict: conflict with \"one\": .data.a"), "{refused}");
    text(&sandbox.kubectl(&["delete", "action", "nightly"], ""));
    let gone = sandbox.kubectl(&["get", "action", "nightly"], "");
    let words = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(words.contains(r#"actions.core.ochre.dev "nightly" not found"#), "{words}");
}

#[test]
fn kubectl_watches_a_run() {
    let sandbox = Server::sandbox(&[]);
    let mut watch = Command::new("kubectl")
        .args(["get", "actions", "-w", "--no-headers", "-o", "custom-columns=PHASE:.status.phase"])
        .env("KUBECONFIG", sandbox.field("kubeconfig"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sandbox.apply(&ACTION.replace("spec:", "spec:\n  run: true"));
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut phases: Vec<String> = Vec::new();
    for line in lines {
        let ended = line.trim() == "SUCCEEDED";
        phases.push(line.trim().to_owned());
        if ended {
            break;
        }
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(phases.contains(&"RUNNING".to_owned()), "{phases:?}");
}

#[test]
fn the_engine_may_be_killed_and_the_cluster_lives_on() {
    let cluster = Server::sandbox(&["--api-only"]);
    assert!(cluster.ready["graphql"].is_null());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--authentication", "anonymous"];
    let serve = [&serve[..], &["--kubeconfig", cluster.field("kubeconfig")]].concat();
    let mut first = Server::start(&serve);
    cluster.apply(ACTION);
    cluster.wait_for("READY_TO_RUN");
    first.child.kill().unwrap();
    cluster.ask_to_run();
    let mut second = Server::start(&serve);
    cluster.wait_for("SUCCEEDED");
    assert!(second.terminate(), "SIGTERM drains");
}

#[test]
fn engines_beside_each_other_take_turns() {
    let cluster = Server::sandbox(&["--api-only"]);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--health-address", "127.0.0.1:0", "--leader-elect"];
    let open = ["--authentication", "anonymous", "--kubeconfig", cluster.field("kubeconfig")];
    let serve = [&serve[..], &open].concat();
    let mut first = Server::start(&[&serve[..], &["--identity", "first"]].concat());
    text(&cluster.kubectl(&["wait", "--for=create", "lease/ochre", "--timeout=60s"], ""));
    let second = Server::start(&[&serve[..], &["--identity", "second"]].concat());
    assert!(first.terminate(), "SIGTERM lets the lease go");
    cluster.apply(&ACTION.replace("spec:", "spec:\n  run: true"));
    cluster.wait_for("SUCCEEDED");
    let health = second.field("health");
    assert_eq!(get(health, "/livez"), (200, "ok".to_owned()));
    let (status, said) = get(health, "/readyz");
    assert!(status == 200 && said.starts_with("ok; second-") && said.ends_with(" leads"), "{said}");
    let (status, counted) = get(health, "/metrics");
    assert!(status == 200 && counted.contains("ochre_actions{phase=\"SUCCEEDED\"} 1\n"), "{counted}");
    assert_eq!(get(health, "/graphql").0, 404, "nothing else is served there");
}

#[test]
fn veleros_manners_are_for_the_flags_and_the_annotations_to_choose() {
    let sandbox = Server::sandbox(&["--no-velero", "--velero-end", "partially-failed"]);
    let annotate = |presence: &str| {
        let annotation = format!("sandbox.ochre.dev/velero={presence}");
        text(&sandbox.kubectl(&["annotate", "--overwrite", "ns", "velero", &annotation], ""));
    };
    sandbox.apply(&ACTION.replace("spec:", "spec:\n  run: true"));
    sandbox.wait_for("RUNNING");
    let waiting = ["get", "action", "nightly", "-o", "jsonpath={.status.message}"];
    assert_eq!(
        text(&sandbox.kubectl(&waiting, "")),
        "step backup: waits for Velero to look at it; if it does not, see whether Velero runs"
    );
    annotate("present");
    sandbox.wait_for("FAILED");
    let message = text(&sandbox.kubectl(&waiting, ""));
    assert!(
        message.contains("Velero says PartiallyFailed") && message.contains("asked to fail"),
        "{message}"
    );
}

#[test]
fn the_doctor_needs_nothing_but_a_kubeconfig() {
    let cluster = Server::sandbox(&["--api-only"]);
    let doctor = |more: &[&str]| {
        let flags = ["--log", "error", "doctor", "--kubeconfig", cluster.field("kubeconfig")];
        ochre(&[&flags, more].concat(), "")
    };
    // Nothing of ours is in the cluster.
    text(&cluster.kubectl(&["delete", "crd", "actions.core.ochre.dev"], ""));
    let sick = doctor(&[]);
    assert_eq!(sick.status.code(), Some(1));
    let table = String::from_utf8_lossy(&sick.stdout).into_owned();
    assert!(table.contains("* PersistentVolumeClaim chat/data-mongodb-0: no backup selects it"), "{table}");

    cluster.apply(
        "apiVersion: velero.io/v1\nkind: Backup\nmetadata: {name: all, namespace: velero}\nspec: {defaultVolumesToFsBackup: true}",
    );
    let done =
        ["wait", "--for=jsonpath={.status.phase}=Completed", "backup/all", "-n", "velero", "--timeout=60s"];
    text(&cluster.kubectl(&done, ""));
    let report: Value = serde_json::from_str(&text(&doctor(&["-o", "json"]))).unwrap();
    assert_eq!(report["exitCode"], 0, "{report:#}");
    assert_eq!(report["backups"][0]["verdict"], "COMPLETE", "{report:#}");
    assert_eq!(report["claims"][0]["lastGoodBackup"], "all", "{report:#}");
    assert_eq!(text(&cluster.kubectl(&["get", "downloadrequests", "-n", "velero", "-o", "name"], "")), "");

    let blind = doctor(&["--no-files", "-o", "json"]);
    assert_eq!(blind.status.code(), Some(2), "{}", String::from_utf8_lossy(&blind.stdout));
    let elsewhere = doctor(&["--velero-namespace", "elsewhere"]);
    assert_eq!((elsewhere.status.code(), elsewhere.stdout.as_slice()), (Some(2), &b""[..]));
    insta::assert_snapshot!(String::from_utf8_lossy(&elsewhere.stderr), @"ochre: the namespace elsewhere holds nothing of Velero's, not even a storage location; name the one that Velero watches by --velero-namespace");
}

#[test]
fn a_sandbox_that_is_stopped_leaves_nothing_behind() {
    let mut sandbox = Server::sandbox(&["--no-demo-app"]);
    let data = PathBuf::from(sandbox.field("data"));
    assert!(data.exists());
    assert_eq!(text(&sandbox.kubectl(&["get", "ns", "chat", "--ignore-not-found"], "")), "");
    assert!(sandbox.terminate());
    assert!(!data.exists());
}
