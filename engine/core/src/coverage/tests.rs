#![expect(clippy::needless_pass_by_value, reason = "tests read better with `json!` as an argument")]

use serde_json::{Value, json};

use super::{Covered, Evidence, State, coverage};
use crate::velero::{SavedObject, parse_item_list, parse_volumes};

/// Writes each volume on a line: what it is, and what became of it in a word and Velero's.
fn judged(case: &Value) -> String {
    let items = parse_item_list(case["list"].to_string().as_bytes()).unwrap();
    let volumes = parse_volumes(case["volumes"].to_string().as_bytes()).unwrap();
    let contents = case["contents"].as_array().unwrap().iter();
    let contents: Vec<SavedObject> = contents.map(SavedObject::read).collect();
    let evidence = Evidence { spec: &case["spec"], items: &items, contents: &contents, volumes: &volumes };
    coverage(&evidence).iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(covered: &Covered) -> String {
    match &covered.state {
        State::Saved(copied) => {
            let id = copied.snapshot_id.as_deref().unwrap_or("-");
            format!("{covered}: saved by {}, {:?}, {id}", copied.how, copied.bytes)
        }
        State::Gap(gap) => format!("{covered}: {}, {}", gap.reason.as_str(), gap.message),
        State::Accepted(gap) => format!("{covered}: accepted {}", gap.reason.as_str()),
        State::Unbound => format!("{covered}: unbound"),
    }
}

#[test]
fn what_a_real_velero_left_in_the_bucket_is_judged_volume_by_volume() {
    let check = |recording: &str, expected: &str| {
        let recording: Value = serde_json::from_str(recording).unwrap();
        assert_eq!(judged(&recording), expected);
    };
    macro_rules! recording {
        ($name:literal) => {
            include_str!(concat!("../../../sandbox/tests-data/velero-1.18.3/coverage/", $name, ".json"))
        };
    }
    check(
        recording!("good"),
        "PersistentVolumeClaim shop/data-db-0: saved by kopia, Some(38479547), 3cdabe74003c1864f163533c1817270a",
    );
    check(
        recording!("hookcontinue"),
        "PersistentVolumeClaim shop/data-db-0: saved by kopia, Some(38479547), 882759e5fe19d2285edc86053ba5c270",
    );
    check(
        recording!("scaled"),
        "PersistentVolumeClaim shop/data-db-0: ScaledDown, StatefulSet shop/db is scaled to 0, so no pod mounts it",
    );
    check(
        recording!("hookfail"),
        "PersistentVolumeClaim shop/data-db-0: PodDropped, Pod shop/db-0 was dropped from the backup by an error, though the backup's list names it",
    );
    check(
        recording!("optedout"),
        "PersistentVolumeClaim shop/data-db-0: OptedOut, Pod shop/db-0 excludes its volume data by annotation",
    );
    check(
        recording!("hostpaths"),
        "PersistentVolumeClaim shop/data-db-0: saved by kopia, Some(38479547), c3bd9d12c61a0e9f49bb494c8e1d9713\n\
         PersistentVolumeClaim shop/hp: HostPath, its PersistentVolume hp1 is a hostPath\n\
         PersistentVolumeClaim shop/lonely: unbound\n\
         volume h of Pod shop/web: HostPath, its data is in the folder /data/inline of the node, by hostPath",
    );
}

fn claim(name: &str) -> Value {
    json!({"kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": name}, "spec": {"volumeName": "pv1"}})
}

fn pod(phase: &str) -> Value {
    json!({
        "kind": "Pod", "metadata": {"namespace": "shop", "name": "web-0"}, "status": {"phase": phase},
        "spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "tmp", "emptyDir": {}}]},
    })
}

fn info(more: Value) -> Value {
    let mut info = json!({"pvcNamespace": "shop", "pvcName": "data"});
    info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([info])
}

/// Judges a backup of one claim `data`; `change` is merged into it.
fn check(change: Value, contents: Value, expected: &str) {
    let mut case = json!({
        "spec": {"defaultVolumesToFsBackup": true, "snapshotVolumes": false},
        "list": {"v1/PersistentVolumeClaim": ["shop/data"]},
        "volumes": [], "contents": contents,
    });
    case.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let found = judged(&case);
    assert_eq!(found.strip_prefix("PersistentVolumeClaim shop/data: ").unwrap_or(&found), expected, "{case}");
}

#[test]
fn whoever_took_the_snapshot_it_counts_when_it_succeeded() {
    let held = json!([claim("data"), pod("Running")]);
    let saved = |method: &str, of: &str, more: Value| json!({"volumes": info(json!({"backupMethod": method, "result": "succeeded", (of): more}))});
    check(
        saved(
            "NativeSnapshot",
            "nativeSnapshotInfo",
            json!({"snapshotHandle": "snap-1", "Phase": "Completed"}),
        ),
        held.clone(),
        "saved by NativeSnapshot, None, snap-1",
    );
    check(
        saved("CSISnapshot", "csiSnapshotInfo", json!({"snapshotHandle": "h", "size": 5})),
        held.clone(),
        "saved by CSISnapshot, Some(5), h",
    );
    check(
        saved(
            "CSISnapshot",
            "snapshotDataMovementInfo",
            json!({"snapshotHandle": "h", "size": 5, "uploaderType": "kopia", "Phase": "Completed"}),
        ),
        held.clone(),
        "saved by kopia, Some(5), h",
    );
    check(
        saved("CSISnapshot", "snapshotDataMovementInfo", json!({"Phase": "Failed"})),
        held.clone(),
        "SaveFailed, Velero tried to save it, and says CSISnapshot Failed",
    );
    check(
        json!({"volumes": info(json!({"backupMethod": "PodVolumeBackup", "result": "failed", "pvbInfo": {"Phase": "Failed"}}))}),
        held.clone(),
        "SaveFailed, Velero tried to save it, and says PodVolumeBackup Failed",
    );
    check(
        json!({"volumes": info(json!({"backupMethod": "PodVolumeBackup", "pvbInfo": {}}))}),
        held,
        "SaveFailed, Velero tried to save it, and says PodVolumeBackup",
    );
}

#[test]
fn each_gap_has_its_own_reason() {
    let held = || json!([claim("data"), pod("Running")]);
    let annotated = |annotation: &str| {
        let mut pod = pod("Running");
        pod["metadata"]["annotations"] = json!({(annotation): "x, d"});
        json!([claim("data"), pod])
    };
    let some = json!({"spec": {"defaultVolumesToFsBackup": false, "snapshotVolumes": false}});
    let snapshots = json!({"spec": {"defaultVolumesToFsBackup": false, "snapshotVolumes": true}});
    let web = |replicas: u64, kind: &str| {
        json!({
            "kind": kind, "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"replicas": replicas, "template": {"spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}}},
        })
    };
    let dropped = json!({"list": {"v1/PersistentVolumeClaim": ["shop/data"], "v1/Pod": ["shop/web-7d4b"]}});
    let policy = info(json!({"skipped": true, "skippedReason": "skipped due to policy;"}));
    check(json!({}), json!([claim("data")]), "NotMounted, no pod mounts it");
    check(
        json!({}),
        json!([claim("data"), web(0, "Deployment")]),
        "ScaledDown, Deployment shop/web is scaled to 0, so no pod mounts it",
    );
    check(
        json!({}),
        json!([claim("data"), web(2, "Deployment")]),
        "PodNotSelected, the pod of Deployment shop/web that mounts it is not in the backup",
    );
    check(
        dropped.clone(),
        json!([claim("data"), web(2, "Deployment")]),
        "PodDropped, Pod shop/web-7d4b was dropped from the backup by an error, though the backup's list names it",
    );
    check(
        dropped,
        json!([claim("data")]),
        "PodDropped, Pod shop/web-7d4b was dropped from the backup by an error, though the backup's list names it",
    );
    check(
        json!({}),
        json!([claim("data"), pod("Pending")]),
        "PodNotRunning, Pod shop/web-0, which mounts it, did not run: its phase was Pending",
    );
    check(
        json!({}),
        held(),
        "NotMentioned, Pod shop/web-0 runs with it, and none of Velero's files mentions it",
    );
    check(json!({"volumes": policy}), held(), "Skipped, Velero skipped it and says: skipped due to policy");
    check(
        json!({}),
        annotated("backup.velero.io/backup-volumes-excludes"),
        "OptedOut, Pod shop/web-0 excludes its volume d by annotation",
    );
    check(some.clone(), held(), "NotOptedIn, Pod shop/web-0 does not ask for its volume d");
    check(
        some,
        annotated("backup.velero.io/backup-volumes"),
        "NotMentioned, Pod shop/web-0 runs with it, and none of Velero's files mentions it",
    );
    check(
        snapshots.clone(),
        held(),
        "NoSnapshot, a snapshot was asked for, and none was taken; Velero says nothing",
    );
    check(
        snapshots,
        json!([claim("data")]),
        "NoSnapshot, a snapshot was asked for, and none was taken; Velero says nothing",
    );
}

#[test]
fn what_the_selection_leaves_out_is_a_gap_unless_its_kind_was_left_out() {
    let none = json!({"list": {}});
    let set = |replicas: u64, pods: u64| {
        json!([{
            "kind": "StatefulSet", "metadata": {"namespace": "shop", "name": "db"}, "status": {"replicas": pods},
            "spec": {"replicas": replicas, "template": {}, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
        }])
    };
    let missed = |number: u64| {
        format!(
            "PersistentVolumeClaim shop/data-db-{number}: NotSelected, StatefulSet shop/db uses it, and the backup does not select it"
        )
    };
    check(
        none.clone(),
        json!([pod("Running")]),
        "NotSelected, Pod shop/web-0 uses it, and the backup does not select it",
    );
    check(none.clone(), set(2, 2), &[missed(0), missed(1)].join("\n"));
    check(none.clone(), set(3, 1), &missed(0));
    check(none.clone(), set(0, 0), "");
    let kinds = json!({"list": {}, "spec": {"includedResources": ["statefulsets.apps"]}});
    check(kinds, set(2, 2), "");
    let pods = json!({"list": {}, "spec": {"includedResources": ["pods"]}});
    check(pods, json!([pod("Running")]), "");
    check(none, json!([{"kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "data"}}]), "");
}

#[test]
fn data_outside_of_claims_counts_and_scratch_does_not() {
    let none = json!({"list": {}});
    let with = |volume: Value| {
        let mut pod = pod("Running");
        pod["spec"]["volumes"] = json!([volume]);
        pod["spec"]["containers"] =
            json!([{"volumeMounts": [{"name": "v", "readOnly": true}]}, {"volumeMounts": [{"name": "v"}]}]);
        pod
    };
    let check = |volume: Value, expected: &str| check(none.clone(), json!([with(volume.clone())]), expected);
    for scratch in ["emptyDir", "configMap", "secret", "projected", "downwardAPI", "csi", "ephemeral"] {
        check(json!({"name": "v", (scratch): {}}), "");
    }
    check(json!({"name": "v", "hostPath": {"path": "/run/x", "type": "Socket"}}), "");
    check(
        json!({"name": "other", "hostPath": {"path": "/x"}}),
        "volume other of Pod shop/web-0: HostPath, its data is in the folder /x of the node, by hostPath",
    );
    check(
        json!({"name": "v", "nfs": {"path": "/x"}}),
        "volume v of Pod shop/web-0: NotMentioned, Pod shop/web-0 runs with it, and none of Velero's files mentions it",
    );
    let mut reader = with(json!({"name": "v", "hostPath": {"path": "/etc"}}));
    reader["spec"]["containers"][1] = json!({"volumeMounts": [{"name": "v", "readOnly": true}]});
    super::tests::check(none.clone(), json!([reader]), "");
}

#[test]
fn a_volume_without_a_claim_is_saved_when_velero_copied_it() {
    let mut mounting = pod("Running");
    mounting["spec"]["volumes"] = json!([{"name": "v", "nfs": {}}]);
    let copied = json!({
        "list": {},
        "volumes": [{"backupMethod": "PodVolumeBackup", "result": "succeeded", "pvbInfo": {
            "podNamespace": "shop", "podName": "web-0", "volumeName": "v", "uploaderType": "kopia", "size": 3, "snapshotHandle": "h", "Phase": "Completed",
        }}],
    });
    check(copied, json!([mounting]), "volume v of Pod shop/web-0: saved by kopia, Some(3), h");
}

#[test]
fn pod_templates_count_where_no_pod_does_and_once() {
    let template = json!({"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/x"}}]}});
    let deployment = |replicas: u64| json!({"kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"}, "spec": {"replicas": replicas, "template": template}});
    let old = json!({
        "kind": "ReplicaSet", "spec": {"replicas": 0, "template": {"spec": {"volumes": [{"name": "old", "hostPath": {"path": "/old"}}]}}},
        "metadata": {"namespace": "shop", "name": "web-1", "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": true}]},
    });
    let none = json!({"list": {}});
    check(
        none.clone(),
        json!([deployment(0), old]),
        "volume h of Deployment shop/web: HostPath, its data is in the folder /x of the node, by hostPath",
    );
    let mut two = [pod("Running"), pod("Running")];
    for pod in &mut two {
        pod["spec"] = template["spec"].clone();
    }
    check(
        none,
        json!([two[0], two[1], deployment(2)]),
        "volume h of Pod shop/web-0: HostPath, its data is in the folder /x of the node, by hostPath",
    );
}

#[test]
fn a_gap_that_its_owner_accepts_is_none() {
    let accept = |mut object: Value| {
        object["metadata"]["annotations"] = json!({"core.ochre.dev/coverage": "accept"});
        object
    };
    check(json!({}), json!([accept(claim("data"))]), "accepted NotMounted");
    let mut web = pod("Running");
    web["spec"]["volumes"] = json!([{"name": "h", "hostPath": {"path": "/x"}}]);
    check(json!({"list": {}}), json!([accept(web)]), "volume h of Pod shop/web-0: accepted HostPath");
}

#[test]
fn a_claim_that_comes_with_its_pod_is_scratch() {
    let mut web = pod("Running");
    web["spec"]["volumes"] = json!([{"name": "cache", "ephemeral": {}}]);
    let list = json!({"list": {"v1/PersistentVolumeClaim": ["shop/web-0-cache", "shop/other-cache"]}});
    let mut other = claim("other-cache");
    other["metadata"]["ownerReferences"] = json!([{"kind": "Pod", "name": "other", "controller": true}]);
    check(list, json!([web, claim("web-0-cache"), other]), "");
}
