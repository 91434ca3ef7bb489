//! The binary, as scripts and people use it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test calls may panic like the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

const OCHRE: &str = env!("CARGO_BIN_EXE_ochre");

/// A process that serves until it is dropped.
struct Server {
    child: Child,
    /// Kept open: a process whose reader is gone may fail when it prints.
    _out: BufReader<ChildStdout>,
    ready: Value,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(OCHRE)
            .args(["--log", "error"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("one line of JSON: {line}"));
        Self { child, _out: out, ready }
    }

    fn sandbox(more: &[&str]) -> Self {
        let ports = ["sandbox", "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"];
        Self::start(&[&ports, more].concat())
    }

    fn field(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("{name} in {:#}", self.ready))
    }

    /// Runs kubectl on the sandbox's cluster.
    fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = Command::new("kubectl");
        kubectl.args(arguments).env("KUBECONFIG", self.field("kubeconfig"));
        run(kubectl, input)
    }

    fn wait_for(&self, phase: &str) {
        let condition = format!("--for=jsonpath={{.status.phase}}={phase}");
        text(&self.kubectl(&["wait", &condition, "action/nightly", "--timeout=60s"], ""));
    }

    fn ask_to_run(&self) {
        text(
            &self.kubectl(&["patch", "ac", "nightly", "--type=merge", "-p", r#"{"spec":{"run":true}}"#], ""),
        );
    }

    fn apply(&self, manifest: &str) {
        text(&self.kubectl(&["apply", "--validate=false", "-f", "-"], manifest));
    }

    /// Asks the process to stop, and tells whether it ended well.
    fn terminate(&mut self) -> bool {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        asked.is_ok_and(|asked| asked.success()) && self.child.wait().is_ok_and(|ended| ended.success())
    }
}

impl Drop for Server {
    /// Asks instead of killing: a sandbox clears its folder away when it ends.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}

fn ochre(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(OCHRE);
    command.args(arguments);
    run(command, input)
}

fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks for a page as simply as a probe does.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

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

#[test]
fn nothing_listens_beyond_loopback_without_authentication() {
    for arguments in [
        vec!["serve", "--listen", "0.0.0.0:0", "--authentication", "anonymous", "--kubeconfig", "nowhere"],
        vec!["sandbox", "--listen", "0.0.0.0:0", "--cluster-listen", "127.0.0.1:0"],
        vec!["sandbox", "--listen", "127.0.0.1:0", "--cluster-listen", "0.0.0.0:0"],
    ] {
        let output = ochre(&arguments, "");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {words}");
        assert!(words.contains("0.0.0.0:0 is not a loopback address"), "{words}");
    }
    let told = ["--authentication", "token", "--insecure-http"];
    let listen = ["sandbox", "--listen", "0.0.0.0:0", "--cluster-listen", "127.0.0.1:0"];
    let open = Server::start(&[&listen[..], &told].concat());
    let address = open.field("graphql").trim_end_matches("/graphql");
    assert_eq!(get(address, "/metrics").0, 404, "how it is, others are told at --health-address");
}

#[test]
fn serve_is_told_who_is_let_in_before_it_says_that_it_serves() {
    let sandbox = Server::sandbox(&["--api-only"]);
    for (authentication, says) in [
        (&[][..], "say --authentication token"),
        (&["--authentication", "anonymous,token"], "goes with no other"),
        (&["--authentication", "oidc"], "needs --oidc-issuer"),
        (&["--authentication", "token", "--oidc-ca-file", "ca.pem"], "--oidc-ca-file says something of"),
        (
            &["--authentication", "token", "--oidc-username-claim", "email"],
            "--authentication oidc, which is not",
        ),
        (
            &["--authentication", "token", "--basic-auth-file", "people"],
            "--basic-auth-file says something of",
        ),
        (&["--authentication", "token", "--audit-log", "no/such/folder/log"], "no/such/folder/log"),
        (&["--authentication", "token", "--tls-cert", "none.pem", "--tls-key", "none.pem"], "none.pem"),
    ] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--kubeconfig", sandbox.field("kubeconfig")];
        let output = ochre(&[&arguments[..], authentication].concat(), "");
        assert_eq!(output.stdout, b"", "it is not said that it serves");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{authentication:?}: {words}");
        assert!(words.contains(says), "{words}");
    }
}

#[cfg(not(feature = "opentelemetry"))]
#[test]
fn spans_are_sent_by_a_build_that_can() {
    let output = ochre(&["crd", "--otlp-endpoint", "http://127.0.0.1:4318"], "");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("--otlp-endpoint") && words.contains("--features opentelemetry"), "{words}");
}

#[test]
fn what_is_generated_is_what_is_committed() {
    let check = |arguments: &[&str], file: &str| {
        let committed = std::fs::read_to_string(root().join(file)).unwrap();
        assert_eq!(text(&ochre(arguments, "")), committed, "{file}: run hack/generate");
    };
    check(&["crd"], "manifests/crds/actions.yaml");
    check(&["schema"], "engine/server/schema.graphql");
}

#[test]
fn lint_reports_every_problem_at_once() {
    let content = root().join("och-content");
    let good = ochre(&["catalog", "lint", content.to_str().unwrap()], "");
    assert_eq!((good.status.code(), text(&good)), (Some(0), String::new()));

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("interface")).unwrap();
    std::fs::write(folder.path().join("interface/broken.yaml"), "ocfVersion: 0.0.1\nkind: [").unwrap();
    let odd = "ocfVersion: 0.0.1\nkind: Surface\nmetadata: {name: odd}\n";
    std::fs::write(folder.path().join("interface/odd.yaml"), odd).unwrap();
    let bad = ochre(&["catalog", "lint", folder.path().to_str().unwrap()], "");
    assert_eq!(bad.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8_lossy(&bad.stdout), @r"
    interface/broken.yaml:2:7: error: unclosed bracket '['
    interface/odd.yaml:2:7: error: kind `Surface` is not an OCF kind (one of `RepoMetadata`, `Vendor`, `Attribute`, `Type`, `InterfaceGroup`, `Interface`, `Implementation`)
    ");
    let refused =
        ochre(&["serve", "--authentication", "anonymous", "--content", folder.path().to_str().unwrap()], "");
    assert_eq!(refused.status.code(), Some(2), "an engine does not serve a broken catalog");
}

#[test]
fn rbac_prints_what_an_account_needs() {
    let keeping = root().join("tests/keeping");
    let arguments = |path| {
        [
            "catalog",
            "rbac",
            path,
            "--content",
            keeping.to_str().unwrap(),
            "--namespace",
            "chat",
            "--service-account",
            "keeper",
        ]
    };
    insta::assert_snapshot!(text(&ochre(&arguments("cap.interface.test.keep"), "")), @r#"
    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata:
      name: test.keep
      namespace: chat
    rules:
    - apiGroups:
      - ""
      resources:
      - configmaps
      verbs:
      - create
      - delete
      - get
      - list
      - watch
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata:
      name: test.keep
      namespace: chat
    roleRef:
      apiGroup: rbac.authorization.k8s.io
      kind: Role
      name: test.keep
    subjects:
    - kind: ServiceAccount
      name: keeper
      namespace: chat
    "#);
    let shipped = ochre(&["catalog", "rbac", "cap.interface.data.backup"], "");
    insta::assert_snapshot!(text(&shipped), @"# cap.implementation.velero.data.backup works on Velero's objects alone, and needs no Role.");
    let unknown = ochre(&arguments("cap.interface.test.kept"), "");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `cap.interface.test.keep`?"));
}

#[test]
fn render_shows_the_workflow_without_a_cluster() {
    let parameters =
        "action: backup\nname: mongo\nselector: a in (b, c), !d\nincludeNamespaces: [chat, shop]\n";
    let arguments = ["catalog", "render", "cap.interface.data.backup@0.2.0", "--parameters", "-"];
    insta::assert_snapshot!(text(&ochre(&arguments, parameters)), @r"
    apiVersion: core.ochre.dev/v1alpha1
    kind: Workflow
    steps:
    - name: backup
      timeout: 4h
      resource:
        action: create
        manifest:
          apiVersion: velero.io/v1
          kind: Backup
          metadata:
            name: mongo
            namespace: velero
          spec:
            ttl: 720h
            includedNamespaces:
            - chat
            - shop
            labelSelector:
              matchExpressions:
              - key: a
                operator: In
                values:
                - b
                - c
              - key: d
                operator: DoesNotExist
            defaultVolumesToFsBackup: true
            snapshotVolumes: false
        expect:
          partial: false
          empty: false
          coverage: required
          existing: refuse
          waitReady: false
    ");
    let wrong = ochre(&arguments, "{action: bakcup, name: mongo}");
    assert_eq!(wrong.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8_lossy(&wrong.stderr), @r"ochre: the parameters are not valid: /action: `bakcup` is not one of `backup`, `restore` (did you mean `backup`?)");
}

#[test]
fn core_knows_no_runtime_client_clock_or_file_system() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "ochre-core", "--edges", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = text(&tree);
    for name in ["tokio", "hyper", "kube-client", "kube-runtime", "reqwest", "axum", "rustls", "notify"] {
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{name} v"))), "core depends on {name}");
    }
    assert!(tree.contains("kube-core v"), "the test looks at the right tree");
}
