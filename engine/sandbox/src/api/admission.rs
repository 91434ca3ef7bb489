//! The policies of manifests/admission, where they are installed; any others do nothing.
//!
//! Their text is not evaluated. What it says is said here once more, and the suite `admission` holds both against
//! each other, here and on a real cluster.

use serde_json::{Value, json};

use super::failure::Failure;
use super::store::{Key, Store};
use super::write::Place;

/// The policies, each with a binding of its name.
const IDENTITY: &str = "ochre-identity";
const RIGHTS: &str = "ochre-rights";
/// Who alone names others: the gateway has asked them for their token.
const ENGINE: &str = "system:serviceaccount:ochre-system:ochre";

/// Writes into an Action who asks for it, whatever its writer claims.
pub(super) fn stamp(store: &Store, place: &Place, new: &mut Value, old: Option<&Value>) {
    if !applies(store, place, "mutating", IDENTITY) || !new["spec"].is_object() {
        return;
    }
    let me = || place.user.shown();
    let before = |verb: &str| old.map(|old| old["spec"]["requestedBy"][verb].clone()).unwrap_or_default();
    let create = if old.is_none() { me() } else { before("create") };
    let run = if asks_for_run(new, old) { me() } else { before("run") };
    let cancel = if asks_for_cancel(new, old) { me() } else { before("cancel") };
    let mut by = json!({"create": create, "run": run, "cancel": cancel});
    if let Some(by) = by.as_object_mut() {
        by.retain(|_, who| !who.is_null());
    }
    new["spec"]["requestedBy"] = by;
}

/// Refuses what whoever asks may not have done.
pub(super) fn check(store: &Store, place: &Place, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
    if !applies(store, place, "validating", RIGHTS) {
        return Ok(());
    }
    let approvals = |object: &Value| object["spec"]["approvals"].clone();
    let approves = match old {
        Some(old) => approvals(new) != approvals(old),
        None => approvals(new).as_array().is_some_and(|approvals| !approvals.is_empty()),
    };
    let asked =
        [("run", asks_for_run(new, old)), ("cancel", asks_for_cancel(new, old)), ("approve", approves)];
    for (verb, _) in asked.into_iter().filter(|(_, is_asked)| *is_asked) {
        let attributes = json!({
            "verb": verb, "group": place.kind.group, "resource": place.kind.plural,
            "namespace": place.namespace, "name": place.name,
        });
        if !place.user.may(store, &attributes) {
            let (who, namespace, name) = (&place.user.name, &place.namespace, &place.name);
            return Err(Failure::Denied {
                resource: place.kind.resource(),
                name: name.clone(),
                why: format!(
                    "ValidatingAdmissionPolicy '{RIGHTS}' with binding '{RIGHTS}' denied request: {who} may not {verb} the Action {namespace}/{name}"
                ),
            });
        }
    }
    Ok(())
}

/// Tells whether a policy is installed and bound, and about this write.
fn applies(store: &Store, place: &Place, sort: &str, policy: &str) -> bool {
    let has = |kind: &str| {
        let resource = format!("{sort}admissionpolic{kind}.admissionregistration.k8s.io");
        store.get(&Key::new(&resource, "", policy)).is_some()
    };
    place.kind.resource() == "actions.core.ochre.dev"
        && !place.status
        && place.user.name != ENGINE
        && has("ies")
        && has("ybindings")
}

/// Tells whether a write asks for a run: a first one, a further attempt, or something else in place of what was
/// asked for.
fn asks_for_run(new: &Value, old: Option<&Value>) -> bool {
    const ASKED: [&str; 7] = [
        "actionRef",
        "input",
        "serviceAccountName",
        "renderedActionOverride",
        "fromStep",
        "dryRun",
        "advancedRendering",
    ];
    let attempt = |object: &Value| object["spec"]["attempt"].as_i64().unwrap_or(1);
    new["spec"]["run"] == true
        && old.is_none_or(|old| {
            old["spec"]["run"] != true
                || attempt(new) > attempt(old)
                || ASKED.iter().any(|field| new["spec"][*field] != old["spec"][*field])
        })
}

fn asks_for_cancel(new: &Value, old: Option<&Value>) -> bool {
    new["spec"]["cancel"] == true && old.is_none_or(|old| old["spec"]["cancel"] != true)
}
