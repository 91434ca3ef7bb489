#![expect(clippy::needless_pass_by_value, reason = "a table reads better with values")]

use serde_json::{Value, json};

use super::{
    Manner, Right, Write, account_verbs, backup_rights, known_rights, restore_rights, sight_rights,
    view_rights,
};
use crate::velero::{Item, Selection, is_restorable};
use crate::workflow::Workflow;

/// Compares what is asked for.
fn check(rights: impl IntoIterator<Item = Right>, wanted: &[&str]) {
    let asked: Vec<String> = rights.into_iter().map(|right| right.to_string()).collect();
    assert_eq!(asked, wanted);
}

/// Compares what is asked for of a Backup without Secrets.
fn check_backup(mut spec: Value, wanted: &[&str]) {
    spec["excludedResources"] = json!(["secrets"]);
    check(backup_rights(&spec, "velero"), wanted);
}

/// Restores from a Backup that holds a ConfigMap in each namespace and these kinds of none.
fn check_restore(spec: Value, namespaces: &[&str], kinds: &[&str], wanted: &[&str]) {
    let item = |kind: &str, namespace: Option<&str>| Item {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: "shop".to_owned(),
        outcome: None,
    };
    let items: Vec<Item> = namespaces
        .iter()
        .map(|namespace| item("ConfigMap", Some(namespace)))
        .chain(kinds.iter().map(|kind| item(kind, None)))
        .collect();
    check(restore_rights(&spec, &items.iter().collect::<Vec<_>>(), "velero"), wanted);
}

const ALL: &str = "backup targets.core.ochre.dev in the whole cluster";
const ALL_BACK: &str = "restore targets.core.ochre.dev in the whole cluster";
const CHAT: &str = "backup targets.core.ochre.dev in chat";
const CHAT_BACK: &str = "restore targets.core.ochre.dev in chat";

#[test]
fn a_backup_needs_every_namespace_that_it_names() {
    check_backup(json!({"includedNamespaces": ["chat"]}), &[CHAT]);
    let two = json!({"includedNamespaces": ["shop", "chat"]});
    check_backup(two, &[CHAT, "backup targets.core.ochre.dev in shop"]);
}

#[test]
fn a_backup_of_no_named_namespace_needs_the_cluster() {
    for names in [json!(null), json!([]), json!(["*"]), json!(["chat", "*"]), json!(["ch*"])] {
        check_backup(json!({"includedNamespaces": names}), &[ALL]);
    }
    let malformed = backup_rights(&json!({"includedNamespaces": [7]}), "velero");
    assert!(malformed.contains(&Right::target("backup", None)), "{malformed:?}");
    // What is left out is not what separates.
    check_backup(json!({"excludedNamespaces": ["shop"]}), &[ALL]);
}

#[test]
fn a_backup_of_what_lies_in_no_namespace_needs_the_cluster() {
    let chat = json!(["chat"]);
    check_backup(json!({"includedNamespaces": chat, "includeClusterResources": true}), &[ALL]);
    check_backup(
        json!({"includedNamespaces": chat, "includedClusterScopedResources": ["storageclasses"]}),
        &[ALL],
    );
    check_backup(json!({"includedNamespaces": chat, "includeClusterResources": false}), &[CHAT]);
}

#[test]
fn a_backup_that_may_hold_secrets_needs_the_right_to_read_them() {
    const READ: [&str; 2] = ["get secrets in chat", "list secrets in chat"];
    for (filters, holds) in [
        (json!({}), true),
        (json!({"includedResources": ["*"]}), true),
        (json!({"includedResources": ["configmaps", "Secret"]}), true),
        // A pattern may mean them, and what leaves them out must name them.
        (json!({"includedResources": ["sec*"]}), true),
        (json!({"excludedResources": ["sec*"]}), true),
        (json!({"excludedResources": ["secrets.example.com"]}), true),
        (json!({"includedResources": ["configmaps"]}), false),
        (json!({"excludedResources": ["pods", "secrets"]}), false),
        (json!({"includedNamespaceScopedResources": ["pods"]}), false),
        (json!({"includedNamespaceScopedResources": ["secrets"]}), true),
        (json!({"excludedNamespaceScopedResources": ["secret"]}), false),
        (json!({"excludedNamespaceScopedResources": ["*"]}), false),
    ] {
        let mut spec = filters.clone();
        spec["includedNamespaces"] = json!(["chat"]);
        let asked: Vec<String> = backup_rights(&spec, "velero").iter().map(Right::to_string).collect();
        let wanted = if holds { [&[CHAT], &READ[..]].concat() } else { vec![CHAT] };
        assert_eq!(asked, wanted, "{filters}");
    }
    let whole = "get secrets in the whole cluster";
    assert!(backup_rights(&json!({}), "velero").iter().any(|right| right.to_string() == whole));
}

#[test]
fn a_secret_that_goes_to_another_namespace_is_read_from_its_own() {
    let item = Item {
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: Some("chat".to_owned()),
        name: "key".to_owned(),
        outcome: None,
    };
    let asked = |spec: Value| restore_rights(&spec, &[&item], "velero");
    check(asked(json!({})), &[CHAT_BACK]);
    let mapped = json!({"namespaceMapping": {"chat": "copy"}});
    let copy = "restore targets.core.ochre.dev in copy";
    check(asked(mapped), &["get secrets in chat", CHAT_BACK, copy]);
}

#[test]
fn rules_in_velero_s_namespace_are_named_by_those_who_may_read_them() {
    let get = "get configmaps rules in velero";
    let rules = json!({"kind": "configmap", "name": "rules"});
    check_backup(json!({"includedNamespaces": ["chat"], "resourcePolicy": rules}), &[CHAT, get]);
    check_restore(json!({"resourceModifier": rules}), &["chat"], &[], &[get, CHAT_BACK]);
}

#[test]
fn a_kind_of_a_name_that_is_known_is_another_in_another_group() {
    let item = |version: &str, kind: &str| Item {
        api_version: version.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        name: "x".to_owned(),
        outcome: None,
    };
    for kind in ["PersistentVolume", "Namespace"] {
        let foreign = item("example.com/v1", kind);
        check(restore_rights(&json!({}), &[&foreign], "velero"), &[ALL_BACK]);
    }
    for kind in ["Backup", "Restore", "Node", "Event"] {
        assert!(is_restorable(&item("example.com/v1", kind)), "{kind}");
    }
    assert!(!is_restorable(&item("velero.io/v1", "Backup")));
    assert!(!is_restorable(&item("events.k8s.io/v1", "Event")));
}

#[test]
fn a_backup_is_told_of_to_whom_the_common_part_belongs() {
    const COPY: &str = "restore targets.core.ochre.dev in copy";
    let of = |names: Value| json!({"includedNamespaces": names});
    for (backup, restore, wanted) in [
        (json!(["chat", "copy"]), json!(["chat"]), &[CHAT_BACK][..]),
        (json!(["chat", "copy"]), json!(null), &[CHAT_BACK, COPY]),
        (json!(["chat", "copy"]), json!(["*"]), &[CHAT_BACK, COPY]),
        (json!(["chat"]), json!(["copy"]), &[CHAT_BACK]),
        (json!(["*"]), json!(["copy"]), &[COPY]),
        (json!(["ch*"]), json!(null), &[ALL_BACK]),
        (json!(null), json!(["ch*"]), &[ALL_BACK]),
    ] {
        check(sight_rights(&of(backup), &of(restore)), wanted);
    }
}

/// Compares what it takes to write an object of a kind into the namespace `chat`.
fn check_write(version: &str, kind: &str, plural: &str, manner: Manner, wanted: &[&str]) {
    let item = Item {
        api_version: version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some("chat".to_owned()),
        name: "x".to_owned(),
        outcome: None,
    };
    let names = [plural.to_owned()];
    check(Write::of(&item, &names, &Selection::default()).rights(manner), wanted);
}

#[test]
fn what_is_written_takes_the_rights_to_write_it_by_hand() {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let plain = Manner::default();
    let updates = Manner { updates: true, ..plain };
    let status = Manner { restores_status: true, ..plain };
    check_write("v1", "Secret", "secrets", plain, &["create secrets in chat"]);
    check_write("v1", "Secret", "secrets", updates, &["create secrets in chat", "patch secrets in chat"]);
    let widgets = ["create widgets.example.com in chat", "update widgets/status.example.com in chat"];
    check_write("example.com/v1", "Widget", "widgets", status, &widgets);
    let accounts = ["create serviceaccounts in chat", "patch serviceaccounts in chat"];
    check_write("v1", "ServiceAccount", "serviceaccounts", plain, &accounts);
    let roles = [
        "create roles.rbac.authorization.k8s.io in chat",
        "escalate roles.rbac.authorization.k8s.io in chat",
    ];
    check_write(RBAC, "Role", "roles", plain, &roles);
    let bindings = [
        "bind clusterroles.rbac.authorization.k8s.io in chat",
        "bind roles.rbac.authorization.k8s.io in chat",
        "create rolebindings.rbac.authorization.k8s.io in chat",
    ];
    check_write(RBAC, "RoleBinding", "rolebindings", plain, &bindings);
    check_write(
        "example.com/v1",
        "RoleBinding",
        "rolebindings",
        plain,
        &["create rolebindings.example.com in chat"],
    );
}

#[test]
fn hooks_need_the_right_to_run_commands() {
    let hooks = json!({"resources": [{"name": "freeze"}]});
    let exec = "create pods/exec in chat";
    check_backup(json!({"includedNamespaces": ["chat"], "hooks": hooks}), &[CHAT, exec]);
    check_backup(json!({"includedNamespaces": ["chat"], "hooks": {"resources": []}}), &[CHAT]);
    let mapped = json!({"namespaceMapping": {"chat": "copy"}, "hooks": hooks});
    let wanted = [exec, "create pods/exec in copy", CHAT_BACK, "restore targets.core.ochre.dev in copy"];
    check_restore(mapped, &["chat"], &[], &wanted);
}

#[test]
fn a_restore_needs_what_it_takes_from_and_what_it_puts_into() {
    check_restore(json!({}), &["chat"], &[], &[CHAT_BACK]);
    let mapped = json!({"namespaceMapping": {"chat": "copy"}});
    check_restore(mapped, &["chat"], &[], &[CHAT_BACK, "restore targets.core.ochre.dev in copy"]);
    check_restore(json!({"includedNamespaces": ["ch*"]}), &["chat"], &[], &[ALL_BACK]);
    check_restore(json!({"includedNamespaces": ["*"]}), &["chat"], &[], &[CHAT_BACK]);
    let absent = json!({"includedNamespaces": ["gone"]});
    check_restore(absent, &["chat"], &[], &[CHAT_BACK, "restore targets.core.ochre.dev in gone"]);
}

#[test]
fn volumes_come_along_and_nothing_else_that_lies_in_no_namespace() {
    check_restore(json!({}), &["chat"], &["PersistentVolume"], &[CHAT_BACK]);
    let with_shop = [CHAT_BACK, "restore targets.core.ochre.dev in shop"];
    check_restore(json!({}), &["chat"], &["Namespace"], &with_shop);
    check_restore(json!({}), &["chat"], &["ClusterRoleBinding"], &[ALL_BACK]);
    check_restore(json!({"includeClusterResources": true}), &["chat"], &[], &[ALL_BACK]);
}

#[test]
fn whoever_may_restore_all_of_it_may_look_at_it() {
    let of = |namespaces: Value| json!({"includedNamespaces": namespaces, "hooks": {"resources": [{}]}});
    check(view_rights(&of(json!(["chat"]))), &[CHAT_BACK]);
    check(view_rights(&of(json!([]))), &[ALL_BACK]);
    check(view_rights(&of(json!(["*"]))), &[ALL_BACK]);
    check(view_rights(&of(json!(["ch*"]))), &[ALL_BACK]);
    check(view_rights(&json!({})), &[ALL_BACK]);
    let mapped = json!({"includedNamespaces": ["chat"], "namespaceMapping": {"chat": "copy"}});
    check(view_rights(&mapped), &[CHAT_BACK, "restore targets.core.ochre.dev in copy"]);
}

#[test]
fn an_account_needs_the_verbs_of_the_steps_beyond_velero() {
    let step = |name: &str, action: &str, manifest: Value| json!({"name": name, "resource": {"action": action, "manifest": manifest}});
    let config = |namespace: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}});
    let backup =
        json!({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "b"}, "spec": {}});
    let workflow: Workflow = serde_json::from_value(json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Workflow", "steps": [
            step("a", "get", config(json!(null))),
            step("b", "delete", config(json!("chat"))),
            step("c", "get", config(json!("shop"))),
            step("d", "wait", job),
            step("e", "create", backup),
        ],
    }))
    .unwrap();
    let found = account_verbs(std::slice::from_ref(&workflow), "chat");
    let found: Vec<String> =
        found.iter().map(|((_, kind, place), verbs)| format!("{kind} in {place}: {verbs:?}")).collect();
    assert_eq!(
        found,
        [
            r#"Job in chat: {"get", "list", "watch"}"#,
            r#"ConfigMap in chat: {"delete", "get", "list", "watch"}"#,
            r#"ConfigMap in shop: {"get"}"#,
        ]
    );
    let rights = known_rights(&workflow, "chat", Some("keeper"), "velero");
    assert!(rights.contains(&Right::account("chat", "keeper")), "{rights:?}");
}
