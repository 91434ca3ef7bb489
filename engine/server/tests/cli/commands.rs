//! The commands that need no cluster.

use std::path::Path;
use std::process::Command;

use super::program::{ochre, root, text};

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

/// Lints a folder that has one odd file beside a good one, and says what is told of it.
fn lint_beside(make: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.yaml"), "ocfVersion: 0.0.1\nkind: [").unwrap();
    make(folder.path());
    let linted = ochre(&["catalog", "lint", folder.path().to_str().unwrap()], "");
    assert_ne!(linted.status.code(), Some(0));
    let told = [linted.stdout, linted.stderr].concat();
    String::from_utf8(told).unwrap().replace(folder.path().to_str().unwrap(), "FOLDER")
}

#[test]
fn lint_ends_at_once_whatever_lies_in_the_folder() {
    let check = |make: &dyn Fn(&Path), expected: &str| {
        let told = lint_beside(make);
        assert!(told.contains(expected), "{expected}: {told}");
    };
    let link = |to: &'static str| {
        move |folder: &Path| std::os::unix::fs::symlink(to, folder.join("odd.yaml")).unwrap()
    };
    let write =
        |bytes: Vec<u8>| move |folder: &Path| std::fs::write(folder.join("odd.yaml"), &bytes).unwrap();
    let leaves = "odd.yaml:1:1: error: the file is a link that leaves the content folder";
    check(&link("/dev/zero"), leaves);
    check(&link("/etc/passwd"), leaves);
    check(&link("odd.yaml"), "odd.yaml:1:1: error: the file cannot be read: ");
    check(&link("nowhere.yaml"), "odd.yaml:1:1: error: the file cannot be read: ");
    check(&link("."), "odd.yaml:1:1: error: the file is not a regular one");
    let fifo = |folder: &Path| {
        let made = Command::new("mkfifo").arg(folder.join("odd.yaml")).status().unwrap();
        assert!(made.success());
    };
    check(&fifo, "odd.yaml:1:1: error: the file is not a regular one");
    let socket = |folder: &Path| {
        std::os::unix::net::UnixListener::bind(folder.join("odd.yaml")).unwrap();
    };
    check(&socket, "odd.yaml:1:1: error: the file is not a regular one");
    check(&write(vec![b'#'; 2 * 1024 * 1024]), "odd.yaml:1:1: error: the file takes more than 1048576 bytes");
    check(&write(b"kind: \xff\xfe".to_vec()), "odd.yaml:1:1: error: the file is not UTF-8");
    let aliases = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("{text}a{level}: &a{level} [{before}]\n")
    });
    check(
        &write(aliases.into_bytes()),
        "error: the document is too large for a manifest, or its aliases stand for too much",
    );
    let many = |folder: &Path| {
        (0..=20_000).for_each(|number| drop(std::fs::File::create(folder.join(number.to_string())).unwrap()));
    };
    check(&many, "FOLDER has more than 20000 entries");
}

#[test]
fn lint_reads_a_mounted_config_map_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    std::fs::create_dir(at("..2026_11_30")).unwrap();
    std::fs::write(at("..2026_11_30/odd.yaml"), "ocfVersion: 0.0.1\nkind: Surface\nmetadata: {name: odd}\n")
        .unwrap();
    std::os::unix::fs::symlink("..2026_11_30", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/odd.yaml", at("odd.yaml")).unwrap();
    let linted = ochre(&["catalog", "lint", folder.path().to_str().unwrap()], "");
    let told = String::from_utf8(linted.stdout).unwrap();
    assert!(told.starts_with("odd.yaml:2:7: error: kind `Surface`") && told.lines().count() == 1, "{told}");
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
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata:
      name: ochre-acts-as-keeper
      namespace: chat
    rules:
    - apiGroups:
      - ""
      resourceNames:
      - keeper
      resources:
      - serviceaccounts
      verbs:
      - impersonate
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata:
      name: ochre-acts-as-keeper
      namespace: chat
    roleRef:
      apiGroup: rbac.authorization.k8s.io
      kind: Role
      name: ochre-acts-as-keeper
    subjects:
    - kind: ServiceAccount
      name: ochre
      namespace: ochre-system
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
