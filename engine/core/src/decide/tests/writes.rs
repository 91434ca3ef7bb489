//! What a Restore writes, and who may have it written.

use serde_json::{Value, json};

use super::world::{World, restore_step};
use crate::action::{RequestedBy, UserInfo};
use crate::decide::DocumentState;
use crate::velero::{Document, DocumentKind, SavedObject, parse_item_list};

/// What `edit` may create in `chat`, and what it takes to restore it.
pub(super) const EDIT: [&str; 6] = [
    "restore targets.core.ochre.dev in chat",
    "create secrets in chat",
    "create services in chat",
    "create pods in chat",
    "create persistentvolumeclaims in chat",
    "create statefulsets.apps in chat",
];

const STATUS: &str = "update pods/status in chat";

/// Restores a Backup that holds these objects, for alice, who has these rights.
pub(super) fn restore(expect: Value, spec: &Value, objects: &[Value], rights: &[&'static str]) -> World {
    let mut list = json!({});
    for object in objects {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (version, kind) = (text(&object["apiVersion"]).unwrap(), text(&object["kind"]).unwrap());
        let name = text(&object["metadata"]["name"]).unwrap();
        let name =
            text(&object["metadata"]["namespace"]).map_or(name.clone(), |place| format!("{place}/{name}"));
        let names = &mut list[format!("{version}/{kind}")];
        match names.as_array_mut() {
            Some(names) => names.push(json!(name)),
            None => *names = json!([name]),
        }
    }
    let list = Document::Items(parse_item_list(list.to_string().as_bytes()).unwrap());
    let contents = Document::Contents(objects.iter().map(SavedObject::read).collect());
    restore_of(restore_step(expect, spec), list, contents, rights)
}

/// Restores a Backup with this list and this tarball, for alice, who has these rights.
pub(super) fn restore_of(step: Value, list: Document, contents: Document, rights: &[&'static str]) -> World {
    let mut world = World::new(step);
    world.put(
        json!({"apiVersion": "velero.io/v1", "kind": "Backup", "spec": {"includedNamespaces": ["chat"]},
        "metadata": {"name": "mongo", "namespace": "velero", "creationTimestamp": "2026-11-21T08:00:00Z"},
        "status": {"phase": "Completed", "startTimestamp": "2026-11-21T08:00:00Z"}}),
    );
    world.documents.insert(DocumentKind::BackupResourceList, DocumentState::Read(list.into()));
    world.documents.insert(DocumentKind::BackupContents, DocumentState::Read(contents.into()));
    let run = Some(UserInfo { username: "alice".to_owned(), ..UserInfo::default() });
    world.action.spec.requested_by = Some(RequestedBy { run, ..RequestedBy::default() });
    world.rights = Some(rights.to_vec());
    world.settle();
    world
}

/// Fails unless the Restore is made; yields the kinds that it leaves out.
pub(super) fn written(world: &World) -> Value {
    let made = world.created.iter().find(|key| key.kind == "Restore");
    let made = made.unwrap_or_else(|| panic!("{:?}", world.status().message));
    world.objects[made]["spec"]["excludedResources"].clone()
}

/// Fails unless the run ended before anything was made; yields what it says.
pub(super) fn refused(world: &World, reason: &str) -> String {
    let status = world.status();
    assert!(world.created.iter().all(|key| key.kind != "Restore"), "{:?}", world.created);
    assert_eq!(status.steps[0].reason.as_deref(), Some(reason), "{:?}", status.message);
    status.message.unwrap()
}

pub(super) fn object(version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object =
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "chat"}});
    for (field, value) in rest.as_object().unwrap() {
        match (field.as_str(), value.as_object()) {
            ("metadata", Some(more)) => object["metadata"].as_object_mut().unwrap().extend(more.clone()),
            _ => object[field] = value.clone(),
        }
    }
    object
}

fn owned_by(kind: &str, name: &str) -> Value {
    json!({"metadata": {"ownerReferences": [{"kind": kind, "name": name, "controller": true}]}})
}

/// A whole application, with all that controllers make for it.
pub(super) fn application() -> Vec<Value> {
    let claim = json!({"spec": {"volumeName": "pv"}});
    let mut volume = object(
        "v1",
        "PersistentVolume",
        "pv",
        json!({"spec": {"claimRef": {"namespace": "chat", "name": "data"}}}),
    );
    volume["metadata"].as_object_mut().unwrap().remove("namespace");
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chat"}}),
        object("v1", "Secret", "mongodb", json!({})),
        object("v1", "Service", "mongodb", json!({"spec": {"selector": {"app": "mongo"}}})),
        object("v1", "Endpoints", "mongodb", json!({})),
        object("discovery.k8s.io/v1", "EndpointSlice", "mongodb-x", owned_by("Service", "mongodb")),
        object("apps/v1", "StatefulSet", "mongodb", json!({})),
        object("apps/v1", "ControllerRevision", "mongodb-1", owned_by("StatefulSet", "mongodb")),
        object("v1", "Pod", "mongodb-0", owned_by("StatefulSet", "mongodb")),
        object("v1", "PersistentVolumeClaim", "data", claim),
        volume,
    ]
}

pub(super) fn role_binding() -> Value {
    object("rbac.authorization.k8s.io/v1", "RoleBinding", "owner", json!({}))
}

#[test]
fn an_editor_brings_back_a_whole_application() {
    let left = written(&restore(json!({}), &json!({}), &application(), &EDIT));
    assert_eq!(left, json!(["endpoints", "controllerrevisions.apps", "endpointslices.discovery.k8s.io"]));
    // Who may write them has them restored.
    let more = ["create controllerrevisions.apps in chat", "create endpoints in chat"];
    let more = [&EDIT[..], &more[..], &["create endpointslices.discovery.k8s.io in chat"]].concat();
    assert_eq!(written(&restore(json!({}), &json!({}), &application(), &more)), json!(null));
    for all in
        ["escalate targets.core.ochre.dev in chat", "escalate targets.core.ochre.dev in the whole cluster"]
    {
        let objects = [application(), vec![role_binding()]].concat();
        assert_eq!(written(&restore(json!({}), &json!({}), &objects, &[EDIT[0], all])), json!(null));
    }
}

#[test]
fn what_the_caller_may_not_write_is_named_and_can_be_left_out() {
    let objects = [application(), vec![role_binding()]].concat();
    let message = refused(&restore(json!({}), &json!({}), &objects, &EDIT), "Forbidden");
    insta::assert_snapshot!(message, @"step restore: alice may not bind clusterroles.rbac.authorization.k8s.io in chat, nor bind roles.rbac.authorization.k8s.io in chat, nor create rolebindings.rbac.authorization.k8s.io in chat, so nothing was restored; leave these kinds out with excludeResources: rolebindings.rbac.authorization.k8s.io, or ask for a role that has it, or for escalate on targets.core.ochre.dev there");
    for left_out in ["rolebindings.rbac.authorization.k8s.io", "rolebindings"] {
        let left = written(&restore(json!({}), &json!({"excludedResources": [left_out]}), &objects, &EDIT));
        // In full, whatever the caller called it: Velero may take a short name for another kind.
        assert!(
            left.as_array().unwrap().contains(&json!("rolebindings.rbac.authorization.k8s.io")),
            "{left}"
        );
    }
    let create = "create rolebindings.rbac.authorization.k8s.io in chat";
    let message =
        refused(&restore(json!({}), &json!({}), &objects, &[&EDIT[..], &[create]].concat()), "Forbidden");
    assert!(message.contains("bind clusterroles.rbac.authorization.k8s.io in chat"), "{message}");
    assert!(!message.contains(create), "{message}");
}

/// Sees whether an editor may have the application restored with this in it, or in place of what has its name.
fn check(change: Value, says: Option<&str>) {
    let identity = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
    let mut objects = application();
    objects.retain(|there| identity(there) != identity(&change));
    objects.push(change.clone());
    let world = restore(json!({}), &json!({}), &objects, &EDIT);
    match says {
        None => drop(written(&world)),
        Some(says) => {
            let message = refused(&world, "Forbidden");
            assert!(message.contains(says), "{change}: {message}");
        }
    }
}

#[test]
fn only_what_controllers_make_anew_is_left_out_unasked() {
    const ENDPOINTS: &str = "create endpoints in chat";
    check(object("v1", "Endpoints", "by-hand", json!({})), Some(ENDPOINTS));
    check(object("v1", "Service", "mongodb", json!({})), Some(ENDPOINTS));
    check(
        object("serving.knative.dev/v1", "Service", "other", json!({})),
        Some("services.serving.knative.dev"),
    );
    let slice = |owner: &Value| object("discovery.k8s.io/v1", "EndpointSlice", "mongodb-y", owner.clone());
    check(slice(&json!({})), Some("create endpointslices.discovery.k8s.io"));
    check(slice(&owned_by("Service", "gone")), Some("create endpointslices.discovery.k8s.io"));
    check(slice(&owned_by("Service", "mongodb")), None);
    let revision = |owner: &Value| object("apps/v1", "ControllerRevision", "mongodb-2", owner.clone());
    check(revision(&owned_by("VirtualMachine", "mongodb")), Some("create controllerrevisions.apps"));
    check(revision(&owned_by("StatefulSet", "mongodb")), None);
    // An owner exempts nothing else.
    let mut binding = role_binding();
    binding["metadata"]["ownerReferences"] =
        owned_by("StatefulSet", "mongodb")["metadata"]["ownerReferences"].clone();
    check(binding, Some("rolebindings"));
}

#[test]
fn only_the_volume_that_is_a_claim_s_own_comes_along() {
    const VOLUMES: &str = "create persistentvolumes in the whole cluster";
    let claimed_by = |namespace: &str, name: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
            "spec": {"claimRef": {"namespace": namespace, "name": name}}})
    };
    check(claimed_by("shop", "data"), Some(VOLUMES));
    check(claimed_by("chat", "other"), Some(VOLUMES));
    check(
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "free"}}),
        Some(VOLUMES),
    );
    // Another claim that names it changes nothing.
    check(object("v1", "PersistentVolumeClaim", "z", json!({"spec": {"volumeName": "pv"}})), None);
    // Of others Velero restores none where namespaces are named.
    let mut objects = application();
    objects.push(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "free"}}));
    written(&restore(json!({}), &json!({"includedNamespaces": ["chat"]}), &objects, &EDIT));
}

#[test]
fn an_update_takes_the_right_to_patch_and_takes_no_volume_away() {
    let (expect, spec) = (json!({"existing": "update"}), json!({"existingResourcePolicy": "update"}));
    let secret = [object("v1", "Secret", "mongodb", json!({}))];
    let message = refused(&restore(expect.clone(), &spec, &secret, &EDIT), "Forbidden");
    assert!(message.contains("alice may not patch secrets in chat,"), "{message}");
    let patch = [&EDIT[..], &["patch secrets in chat", "patch persistentvolumeclaims in chat"]].concat();
    written(&restore(expect.clone(), &spec, &secret, &patch));

    let volume = |claim: &str| {
        let mut objects = application();
        objects.retain(|object| object["kind"].as_str().unwrap().starts_with("PersistentVolume"));
        let mut world = restore(expect.clone(), &spec, &objects, &["none"]);
        world.action.status = None;
        world.rights = Some(patch.clone());
        world.put(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
            "spec": {"claimRef": {"namespace": "chat", "name": claim}}}));
        world.settle();
        world
    };
    written(&volume("data"));
    let message = refused(&volume("given-to-another"), "Forbidden");
    assert!(message.contains("patch persistentvolumes"), "{message}");
}

#[test]
fn a_status_is_restored_by_who_may_write_it() {
    let asks = |asks: &str| {
        object("v1", "Pod", "x", json!({"metadata": {"annotations": {"velero.io/restore-status": asks}}}))
    };
    let pod = || object("v1", "Pod", "x", json!({}));
    for (spec, pod) in [
        (json!({"restoreStatus": {"includedResources": ["pods"]}}), pod()),
        (json!({"restoreStatus": {"includedResources": ["*"]}}), pod()),
        (json!({"restoreStatus": {"includedResources": ["po*"]}}), pod()),
        // Velero takes it for services.
        (json!({"restoreStatus": {"includedResources": ["serv\u{130}ces"]}}), pod()),
        (json!({"restoreStatus": {}}), pod()),
        (json!({"restoreStatus": {"includedResources": ["pods."]}}), pod()),
        (json!({"restoreStatus": {"includedResources": ["Pod.x"]}}), pod()),
        (json!({}), asks("true")),
        (json!({}), asks(" True ")),
    ] {
        let message = refused(&restore(json!({}), &spec, std::slice::from_ref(&pod), &EDIT), "Forbidden");
        assert!(message.contains(STATUS), "{spec}: {message}");
        written(&restore(json!({}), &spec, &[pod], &[&EDIT[..], &[STATUS]].concat()));
    }
    let others = json!({"restoreStatus": {"includedResources": ["services"]}});
    written(&restore(json!({}), &others, &[pod()], &EDIT));
}

#[test]
fn what_became_of_a_run_is_never_restored() {
    const ACTION: &str = "core.ochre.dev/v1alpha1";
    let all = [EDIT[0], "escalate targets.core.ochre.dev in the whole cluster"];
    for name in ["actions.core.ochre.dev", "Action"] {
        let spec = json!({"restoreStatus": {"includedResources": ["pods", name]}});
        refused(&restore(json!({}), &spec, &[object(ACTION, "Action", "x", json!({}))], &all), "BadFilter");
    }
    let asks = json!({"metadata": {"annotations": {"velero.io/restore-status": "true"}}});
    let world = restore(json!({}), &json!({}), &[object(ACTION, "Action", "x", asks)], &all);
    assert!(refused(&world, "BadFilter").contains("excludeResources: actions.core.ochre.dev"));
    let spec = json!({"restoreStatus": {"includedResources": ["*"]}});
    let world = restore(json!({}), &spec, &[object(ACTION, "Action", "x", json!({}))], &all);
    written(&world);
    let made = world.created.iter().find(|key| key.kind == "Restore").unwrap();
    let status = &world.objects[made]["spec"]["restoreStatus"];
    assert_eq!(status["excludedResources"], json!(["actions.core.ochre.dev"]));
}

#[test]
fn what_may_mean_several_is_not_restored() {
    for spec in [
        json!({"includedResources": ["roleb*"]}),
        json!({"includedNamespaces": ["ch?t"]}),
        // Velero takes both for rolebindings.
        json!({"includedResources": ["pods", "roleb\u{130}nd\u{130}ngs"]}),
        json!({"includedResources": ["pods", "rolebindings "]}),
    ] {
        let rights = [EDIT[0], "restore targets.core.ochre.dev in the whole cluster"];
        refused(&restore(json!({}), &spec, &[role_binding()], &rights), "BadFilter");
    }
}

/// Velero restores the first of two, and is silent about the other.
#[test]
fn two_objects_are_not_restored_into_one_place() {
    let config = |namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}});
    let rights = [
        EDIT[0],
        "restore targets.core.ochre.dev in the whole cluster",
        "restore targets.core.ochre.dev in shop",
        "restore targets.core.ochre.dev in copy",
        "escalate targets.core.ochre.dev in the whole cluster",
    ];
    for (mapping, objects, is_twice) in [
        (json!({"chat": "copy", "shop": "copy"}), ["x", "x"], true),
        (json!({"chat": "shop"}), ["x", "x"], true),
        (json!({"chat": "copy", "shop": "copy"}), ["x", "y"], false),
        (json!({"chat": "copy", "shop": "copy"}), ["kube-root-ca.crt"; 2], false),
        (json!({"chat": "copy"}), ["x", "x"], false),
    ] {
        let spec = json!({"includedNamespaces": ["chat", "shop"], "namespaceMapping": mapping});
        let objects = [config("chat", objects[0]), config("shop", objects[1])];
        let world = restore(json!({"existing": "keep"}), &spec, &objects, &rights);
        if is_twice {
            assert!(refused(&world, "BadFilter").contains("two namespaces are restored into"), "{mapping}");
        } else {
            written(&world);
        }
    }
}

#[test]
fn of_many_namespaces_the_rights_of_the_whole_cluster_are_asked_for_first() {
    let whole = "restore targets.core.ochre.dev in the whole cluster";
    let all = [EDIT[0], whole, "create configmaps in the whole cluster"];
    let objects = |count: usize| -> Vec<Value> {
        let one = |number: usize| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "x", "namespace": format!("team-{number}")}})
        };
        (0..count).map(one).collect()
    };
    let spec = json!({"includeClusterResources": true});
    written(&restore(json!({}), &spec, &objects(2500), &all));
    let message = refused(&restore(json!({}), &spec, &objects(2500), &all[..2]), "Forbidden");
    assert!(message.contains("2500 rights"), "{message}");
}
