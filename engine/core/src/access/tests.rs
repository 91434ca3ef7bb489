#![expect(clippy::needless_pass_by_value, reason = "a table reads better with values")]

use serde_json::{Value, json};

use super::{Right, account_verbs, backup_rights, known_rights, restore_rights, view_rights};
use crate::velero::Item;
use crate::workflow::Workflow;

/// Compares what is asked for.
fn check(rights: impl IntoIterator<Item = Right>, wanted: &[&str]) {
    let asked: Vec<String> = rights.into_iter().map(|right| right.to_string()).collect();
    assert_eq!(asked, wanted);
}

fn check_backup(spec: Value, wanted: &[&str]) {
    check(backup_rights(&spec), wanted);
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
    check(restore_rights(&spec, &items.iter().collect::<Vec<_>>()), wanted);
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
    for names in [json!(null), json!([]), json!(["*"]), json!(["chat", "*"]), json!(["ch*"]), json!([7])] {
        check_backup(json!({"includedNamespaces": names}), &[ALL]);
    }
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
    let rights = known_rights(&workflow, "chat", Some("keeper"));
    assert!(rights.contains(&Right::account("chat", "keeper")), "{rights:?}");
}
