//! The names of kinds in a Backup's or Restore's filters.

use serde_json::{Value, json};

use super::world::{World, backup_step};
use super::writes::{EDIT, object, refused, restore, role_binding, written};
use crate::phase::{Phase, StepPhase};

#[test]
fn kinds_are_written_into_the_restore_in_full() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "chat"}});
    for (named, full) in [
        (json!(["Pod", "deployments"]), json!(["pods"])),
        (json!(["po", "pods"]), json!(["pods"])),
        (json!(["deployments"]), json!(["deployments"])),
        (json!(["*"]), json!(["*"])),
        (json!([]), json!([])),
    ] {
        let spec = json!({"includedNamespaces": ["chat"], "includedResources": named});
        let world = restore(json!({"existing": "keep"}), &spec, std::slice::from_ref(&pod), &EDIT);
        written(&world);
        let made = world.created.iter().find(|key| key.kind == "Restore").unwrap();
        assert_eq!(world.objects[made]["spec"]["includedResources"], full, "{named}");
    }
}

/// A kind whose definition comes along may be any that no other kind is called.
#[test]
fn a_kind_that_the_cluster_does_not_know_yet_is_not_written_unasked() {
    let thing = json!({"apiVersion": "things.dev/v1", "kind": "Unknown", "metadata": {"name": "x", "namespace": "chat"}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.things.dev"}});
    let spec = json!({"includedNamespaces": ["chat"], "includedResources": ["customresourcedefinitions", "things"], "includeClusterResources": true});
    let rights = [
        &EDIT[..],
        &[
            "restore targets.core.ochre.dev in the whole cluster",
            "create customresourcedefinitions.apiextensions.k8s.io in the whole cluster",
        ],
    ];
    let world = restore(json!({"existing": "keep"}), &spec, &[definition, thing], &rights.concat());
    assert!(
        refused(&world, "Forbidden").contains("create *.things.dev in chat"),
        "{:?}",
        world.status().message
    );
}

/// Velero completes groups, and takes a singular or short name with one.
#[test]
fn a_kind_is_restored_by_its_own_names_alone() {
    let names =
        ["rolebinding.rbac.authorization.k8s.io", "rolebindings.rbac", "RoleBindings.rbac", "rolebindings."];
    for name in names {
        for existing in ["refuse", "keep"] {
            let spec = json!({"includedNamespaces": ["chat"], "includedResources": ["configmaps", name]});
            let rights = [&EDIT[..], &["escalate targets.core.ochre.dev in the whole cluster"]].concat();
            let world = restore(json!({"existing": existing}), &spec, &[role_binding()], &rights);
            assert!(refused(&world, "BadFilter").contains("is no full name of a kind"), "{name}");
        }
    }
}

/// Velero takes a name that it does not know for a kind of which there is nothing.
#[test]
fn a_name_that_no_kind_has_is_refused() {
    let pod = object("v1", "Pod", "web", json!({}));
    for field in ["includedResources", "excludedResources"] {
        for existing in ["refuse", "keep"] {
            for rights in [&EDIT[..], &[EDIT[0], "escalate targets.core.ochre.dev in the whole cluster"]] {
                let spec = json!({"includedNamespaces": ["chat"], field: ["pods", "secretz"]});
                let world = restore(json!({"existing": existing}), &spec, std::slice::from_ref(&pod), rights);
                let message = refused(&world, "BadFilter");
                assert!(message.contains("no kind `secretz` (did you mean `secrets`?)"), "{message}");
            }
        }
    }
    // One that comes along with its definition is known by that.
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "nothings.things.dev"}});
    let spec = json!({"includedNamespaces": ["chat"], "includedResources": ["pods", "nothings"]});
    written(&restore(json!({}), &spec, &[pod, definition], &EDIT));
}

#[test]
fn a_backup_of_a_kind_that_there_is_not_is_not_made() {
    let backup = |spec: Value| {
        let mut steps = backup_step(json!({}));
        steps[0]["resource"]["manifest"]["spec"] = spec;
        let mut world = World::new(steps);
        world.settle();
        world
    };
    for spec in [
        json!({"includedResources": ["pods", "secretz"]}),
        json!({"excludedResources": ["secretz"]}),
        json!({"includedNamespaceScopedResources": ["secretz"]}),
        json!({"excludedClusterScopedResources": ["secretz"]}),
        json!({"orderedResources": {"secretz": "chat/a"}}),
    ] {
        let world = backup(spec.clone());
        let status = world.status();
        assert_eq!(
            (status.phase, status.steps[0].reason.as_deref()),
            (Phase::Failed, Some("BadFilter")),
            "{spec}"
        );
        let message = status.message.unwrap();
        assert!(message.contains("the cluster has no kind `secretz` (did you mean `secrets`?)"), "{message}");
        assert!(world.created.iter().all(|key| key.kind != "Backup"));
    }
    let world = backup(json!({"includedResources": ["pods", "metrics"]}));
    let status = world.status();
    assert_eq!(status.steps[0].phase, StepPhase::Waiting);
    assert!(status.message.unwrap().contains("its API group metrics.k8s.io/v1 does not answer"));
    assert!(world.requeue.is_some(), "it looks again");
    for known in [json!(["pods", "*.apps"]), json!(["*"])] {
        let world = backup(json!({"includedResources": known}));
        assert!(world.created.iter().any(|key| key.kind == "Backup"), "{known}");
    }
}
