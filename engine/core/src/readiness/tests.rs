use serde_json::{Value, json};

use super::{Brought, Expected, Live, Maker, expected, hang};
use crate::velero::{SavedObject, Selection};

macro_rules! recording {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            "../../../sandbox/tests-data/velero-1.18.3/readiness/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}

/// Says what the pod `db-0`, of which one was ready, hangs at among these that live.
fn check(pods: &[Value], makers: &[Value], restore: &str, words: Option<&str>) {
    let maker = Maker { kind: "StatefulSet".to_owned(), name: "db".to_owned(), ready: 1, brought: true };
    let expected = Expected { namespace: "shop".to_owned(), pod: "db-0".to_owned(), maker: Some(maker) };
    let found = hang(&expected, Live { pods, makers }, restore, "velero");
    let found = found.map(|hang| format!("{}: {}", hang.object, hang.reason));
    match words {
        Some(words) => {
            assert!(found.as_ref().is_some_and(|found| found.contains(words)), "{words}: {found:?}");
        }
        None => assert_eq!(found, None),
    }
}

#[test]
fn what_a_real_pod_hung_at_is_said_with_its_cure() {
    let hung = recording!("mode-0700");
    check(
        std::slice::from_ref(&hung),
        &[],
        "r0700",
        Some("Pod shop/db-0: its init container restore-wait does not see"),
    );
    check(
        &[hung],
        &[],
        "r0700",
        Some(
            "create in the namespace velero a ConfigMap with the labels `velero.io/plugin-config: \"\"` and `velero.io/pod-volume-restore: RestoreItemAction` and the data `secCtxRunAsUser: \"0\"`",
        ),
    );
    check(
        &[recording!("no-free-volume")],
        &[],
        "r1",
        Some("didn't find available persistent volumes to bind"),
    );
    check(&[recording!("no-free-volume")], &[], "r1", Some("no free PersistentVolume fits its claim"));
    check(&[recording!("ready")], &[], "r1", None);
}

#[test]
fn a_waiting_container_says_why() {
    let waiting = |reason: &str| {
        json!({"metadata": {"name": "db-0", "labels": {"velero.io/restore-name": "r"}}, "status": {
            "phase": "Pending", "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": reason, "message": "words"}}}],
        }})
    };
    for (reason, words) in [
        ("ImagePullBackOff", "(ImagePullBackOff: words); see whether the image still exists"),
        ("CrashLoopBackOff", "(CrashLoopBackOff: words); see its log"),
        ("CreateContainerConfigError", "create what it names"),
        ("PodInitializing", "it is Pending and not ready"),
    ] {
        check(&[waiting(reason)], &[], "r", Some(words));
    }
}

#[test]
fn a_pod_that_was_replaced_counts_by_what_makes_it() {
    let set = |ready: u64, restore: &str| json!({"kind": "StatefulSet", "metadata": {"name": "db", "labels": {"velero.io/restore-name": restore}}, "status": {"readyReplicas": ready}});
    check(&[], &[set(1, "r")], "r", None);
    check(&[], &[set(0, "r")], "r", Some("StatefulSet shop/db: 0 of 1 pods are ready"));
    check(&[], &[set(1, "older")], "r", Some("0 of 1 pods are ready"));
    check(&[], &[], "r", Some("0 of 1 pods are ready"));
    let mut old = recording!("ready");
    old["metadata"]["labels"] = json!({});
    check(&[old], &[], "r1", Some("0 of 1 pods are ready"));
    let mut other = recording!("no-free-volume");
    other["metadata"]["name"] = json!("db-1");
    check(&[other], &[set(0, "r")], "r", Some("its Pod db-1: it cannot be scheduled"));
}

#[test]
fn what_was_ready_and_came_back_is_expected_where_it_went() {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let saved = |object: Value| SavedObject::read(&object);
    let owner = |kind: &str, name: &str| json!([{"kind": kind, "name": name, "controller": true}]);
    let contents = [
        saved(
            json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "web-1-a", "ownerReferences": owner("ReplicaSet", "web-1")}, "status": {"conditions": ready}}),
        ),
        saved(
            json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "alone"}, "status": {"conditions": ready}}),
        ),
        saved(json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "unready"}})),
        saved(
            json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "left"}, "status": {"conditions": ready}}),
        ),
        saved(
            json!({"kind": "ReplicaSet", "metadata": {"namespace": "shop", "name": "web-1", "ownerReferences": owner("Deployment", "web")}, "spec": {"template": {}}}),
        ),
        saved(
            json!({"kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"}, "spec": {"template": {}}, "status": {"readyReplicas": 1}}),
        ),
    ];
    let selection = Selection::of(&json!({"namespaceMapping": {"shop": "drill"}}));
    let brought: Brought<'_> = [
        ("Pod", "drill", "web-1-a"),
        ("Pod", "drill", "alone"),
        ("Pod", "drill", "unready"),
        ("Pod", "shop", "left"),
    ]
    .into();
    let web = Maker { kind: "Deployment".to_owned(), name: "web".to_owned(), ready: 1, brought: false };
    let pod = |name: &str, maker| Expected { namespace: "drill".to_owned(), pod: name.to_owned(), maker };
    assert_eq!(expected(&contents, &selection, &brought), [pod("web-1-a", Some(web)), pod("alone", None)]);
}
