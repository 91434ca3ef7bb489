//! What comes along with what is restored, and from where: who may have it written.

use serde_json::{Value, json};

use super::world::{World, restore_step};
use super::writes::{EDIT, application, object, refused, restore, restore_of, role_binding, written};
use crate::velero::{Document, SavedObject, parse_item_list};

const CLASS: &str = "create priorityclasses.scheduling.k8s.io in the whole cluster";

fn cluster_scoped(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
}

fn in_chat() -> Value {
    json!({"includedNamespaces": ["chat"]})
}

/// Velero restores the PriorityClass of a pod wherever it lies.
#[test]
fn what_velero_adds_to_a_pod_is_left_out_where_the_caller_may_not_write_it() {
    let class = || cluster_scoped("scheduling.k8s.io/v1", "PriorityClass", "urgent");
    let objects = [application(), vec![class()]].concat();
    let out = |world: &World| {
        let left = written(world);
        left.as_array().is_some_and(|left| left.contains(&json!("priorityclasses.scheduling.k8s.io")))
    };
    assert!(out(&restore(json!({}), &in_chat(), &objects, &EDIT)));
    assert!(!out(&restore(json!({}), &in_chat(), &objects, &[&EDIT[..], &[CLASS]].concat())));

    let kinds = |rights: &[&'static str]| {
        let spec = json!({"includedNamespaces": ["chat"], "includedResources": ["pods", "priorityclasses"]});
        let world = restore(json!({}), &spec, &objects, rights);
        written(&world);
        let made = world.created.iter().find(|key| key.kind == "Restore").unwrap();
        world.objects[made]["spec"]["includedResources"].clone()
    };
    assert_eq!(kinds(&EDIT), json!(["pods"]));
    assert_eq!(kinds(&[&EDIT[..], &[CLASS]].concat()), json!(["pods", "priorityclasses.scheduling.k8s.io"]));
    // It is asked for by name where Velero brings it back for itself.
    let all = [EDIT[0], "restore targets.core.ochre.dev in the whole cluster"];
    let message = refused(
        &restore(json!({}), &json!({"includeClusterResources": true}), &[class()], &all),
        "Forbidden",
    );
    assert!(message.contains(CLASS), "{message}");
}

#[test]
fn an_object_that_goes_past_all_filters_is_not_restored() {
    let annotated =
        json!({"metadata": {"annotations": {"restore.velero.io/must-include-additional-items": "true"}}});
    for spec in [in_chat(), json!({"includedNamespaces": ["chat"], "excludedResources": ["pods"]})] {
        let pod = object("v1", "Pod", "web", annotated.clone());
        let message = refused(&restore(json!({}), &spec, &[pod], &EDIT), "BadFilter");
        assert!(message.contains("the Pod chat/web of the Backup"), "{message}");
    }
    let mut other = object("v1", "Pod", "web", annotated);
    other["metadata"]["namespace"] = json!("shop");
    written(&restore(json!({}), &in_chat(), &[application(), vec![other]].concat(), &EDIT));
}

/// Who writes the bucket may write a list that hides what the tarball holds; Velero restores the tarball.
#[test]
fn what_a_list_hides_and_the_tarball_holds_is_not_restored() {
    for listed in [&b"{}"[..], br#"{"v1/ConfigMap": ["chat/x"]}"#] {
        for rights in [
            &[EDIT[0], "create configmaps in chat"][..],
            // What is hidden lies in another namespace.
            &[EDIT[0], "escalate targets.core.ochre.dev in chat"],
        ] {
            let step = restore_step(json!({"existing": "keep", "empty": true}), &in_chat());
            let config = object("v1", "ConfigMap", "x", json!({}));
            let mut hidden = role_binding();
            hidden["metadata"]["namespace"] = json!("shop");
            let contents = [config, hidden].iter().map(SavedObject::read).collect();
            let list = Document::Items(parse_item_list(listed).unwrap());
            let world = restore_of(step, list, Document::Contents(contents), rights);
            let message = refused(&world, "Unknown");
            assert!(message.contains("its list of what it holds does not say so"), "{message}");
        }
    }
}

/// A claim with a snapshot of its volume, which stands for this one.
fn with_snapshot(namespace: &str, name: &str) -> Vec<Value> {
    const GROUP: &str = "snapshot.storage.k8s.io/v1";
    let mut content = cluster_scoped(GROUP, "VolumeSnapshotContent", "content");
    content["spec"] = json!({"volumeSnapshotRef": {"namespace": namespace, "name": name}});
    let bound = json!({"status": {"boundVolumeSnapshotContentName": "content"}});
    [application(), vec![object(GROUP, "VolumeSnapshot", "snapshot", bound), content]].concat()
}

#[test]
fn only_the_snapshot_that_is_a_claim_s_own_comes_along() {
    const CONTENTS: &str = "create volumesnapshotcontents.snapshot.storage.k8s.io in the whole cluster";
    let rights = [&EDIT[..], &["create volumesnapshots.snapshot.storage.k8s.io in chat"]].concat();
    written(&restore(json!({}), &in_chat(), &with_snapshot("chat", "snapshot"), &rights));
    // Velero restores the snapshots of claims whatever kinds are left out.
    let leaves_out = json!({"includedNamespaces": ["chat"], "excludedResources":
        ["volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"]});
    for (namespace, name) in [("shop", "snapshot"), ("chat", "other")] {
        let objects = with_snapshot(namespace, name);
        for spec in [&in_chat(), &leaves_out] {
            let message = refused(&restore(json!({}), spec, &objects, &rights), "Forbidden");
            assert!(message.contains(CONTENTS), "{message}");
            assert!(
                message.contains("persistentvolumeclaims,volumesnapshots.snapshot.storage.k8s.io"),
                "{message}"
            );
        }
        written(&restore(json!({}), &in_chat(), &objects, &[&rights[..], &[CONTENTS]].concat()));
        let neither = json!({"includedNamespaces": ["chat"], "excludedResources":
            ["volumesnapshots.snapshot.storage.k8s.io", "persistentvolumeclaims"]});
        written(&restore(json!({}), &neither, &objects, &rights));
    }
}

/// Restores from the storage location `offsite`.
fn from_offsite(objects: &[Value], rights: &[&'static str]) -> World {
    let mut world = restore(json!({"storageLocation": "offsite"}), &in_chat(), objects, &["none"]);
    world.put(json!({"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata":
        {"name": "offsite", "namespace": "velero"}, "spec": {}, "status": {"phase": "Available"}}));
    let backup = world.objects.values_mut().find(|object| object["kind"] == "Backup").unwrap();
    backup["spec"]["storageLocation"] = json!("offsite");
    world.action.status = None;
    world.rights = Some(rights.to_vec());
    world.settle();
    world
}

/// The bucket of a location may be another's to write: what names itself there is not believed.
#[test]
fn a_location_beside_the_default_one_is_used_by_right_and_brings_no_volumes_unasked() {
    const USE: &str = "use backupstoragelocations.velero.io offsite in velero";
    let objects = with_snapshot("chat", "snapshot");
    let edit = [&EDIT[..], &["create volumesnapshots.snapshot.storage.k8s.io in chat"]].concat();
    let message = refused(&from_offsite(&objects, &edit), "Forbidden");
    assert!(message.contains(&format!("alice may not {USE};")), "{message}");
    let used = [&edit[..], &[USE]].concat();
    let message = refused(&from_offsite(&objects, &used), "Forbidden");
    for volume in ["persistentvolumes", "volumesnapshotcontents.snapshot.storage.k8s.io"] {
        assert!(message.contains(&format!("create {volume} in the whole cluster")), "{message}");
    }
    let volumes = [
        "create persistentvolumes in the whole cluster",
        "create volumesnapshotcontents.snapshot.storage.k8s.io in the whole cluster",
    ];
    written(&from_offsite(&objects, &[&used[..], &volumes].concat()));
}
