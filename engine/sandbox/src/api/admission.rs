//! The policies of manifests/admission, where they are installed; any others do nothing.
//!
//! Their text is not evaluated. What it says is said here once more, and the suite `admission` holds both against
//! each other, here and on a real cluster.

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::store::{Key, Store};
use super::write::Place;

/// The policies, each with a binding of its name.
const IDENTITY: &str = "ochre-identity";
const RIGHTS: &str = "ochre-rights";
/// Who alone names others: the gateway has asked them for their token.
const ENGINE: &str = "system:serviceaccount:ochre-system:ochre";

/// The annotations that only the engine writes.
const MARK: &str = "core.ochre.dev/uid";
const KEY: &str = "core.ochre.dev/idempotency-key";
/// The label that Velero puts on what it restores.
const RESTORED: &str = "velero.io/restore-name";

/// Writes into an Action who asks for it, whatever its writer claims; what a restore brings asks for nothing.
pub(super) fn stamp(store: &Store, place: &Place, new: &mut Value, old: Option<&Value>) {
    if !applies(store, place, "mutating", IDENTITY) || place.status || !new["spec"].is_object() {
        return;
    }
    let is_brought = is_brought(store, place, new, old);
    keep_annotations(new, old, is_brought);
    let me = || place.user.shown();
    let before = |verb: &str| old.map(|old| old["spec"]["requestedBy"][verb].clone()).unwrap_or_default();
    let mut by = match (is_brought, old) {
        (true, Some(old)) => {
            new["spec"] = old["spec"].clone();
            return;
        }
        (true, None) => {
            let spec = &mut new["spec"];
            (spec["run"], spec["cancel"], spec["attempt"]) = (json!(false), json!(false), json!(1));
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("approvals");
            }
            json!({"create": me()})
        }
        (false, _) => json!({
            "create": if old.is_none() { me() } else { before("create") },
            "update": if old.is_some_and(|old| changes(new, old)) { me() } else { before("update") },
            "run": if asks_for_run(new, old) { me() } else { before("run") },
            "cancel": if asks_for_cancel(new, old) { me() } else { before("cancel") },
        }),
    };
    if let Some(by) = by.as_object_mut() {
        by.retain(|_, who| !who.is_null());
    }
    new["spec"]["requestedBy"] = by;
}

/// Tells whether a write is no person's or pipeline's own request.
fn is_brought(store: &Store, place: &Place, new: &Value, old: Option<&Value>) -> bool {
    const GROUPS: [&str; 2] = ["system:serviceaccounts:kube-system", "system:nodes"];
    const USERS: [&str; 3] = ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"];
    let label = |object: &Value| object["metadata"]["labels"][RESTORED].as_str().map(str::to_owned);
    let restored = label(new).filter(|name| !name.is_empty());
    let is_named = |group: &String| GROUPS.contains(&group.as_str()) || names(store, group);
    place.user.groups.iter().any(is_named)
        || USERS.contains(&place.user.name.as_str())
        || (restored.is_some() && restored != old.and_then(label))
}

/// Tells whether the policy names a namespace's accounts as those of Velero.
fn names(store: &Store, group: &str) -> bool {
    let key = Key::new("mutatingadmissionpolicies.admissionregistration.k8s.io", "", IDENTITY);
    let variables = store.get(&key).and_then(|policy| policy["spec"]["variables"].as_array().cloned());
    let mut expressions = variables.into_iter().flatten().map(|variable| variable["expression"].to_string());
    group.starts_with("system:serviceaccounts:")
        && expressions.any(|expression| expression.contains(&format!("'{group}'")))
}

/// Keeps the annotations that only the engine writes as they were; a new Action has none but the mark of a copy.
fn keep_annotations(new: &mut Value, old: Option<&Value>, is_brought: bool) {
    let of = |object: &Value, name: &str| object["metadata"]["annotations"][name].as_str().map(str::to_owned);
    let mark = match old {
        Some(old) => of(old, MARK),
        None => of(new, MARK).or_else(|| is_brought.then(|| "restored".to_owned())),
    };
    for (name, wanted) in [(MARK, mark), (KEY, old.and_then(|old| of(old, KEY)))] {
        if of(new, name) == wanted {
            continue;
        }
        let annotations = &mut new["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = Value::Object(Map::new());
        }
        match (wanted, annotations.as_object_mut()) {
            (Some(wanted), _) => annotations[name] = json!(wanted),
            (None, Some(annotations)) => {
                annotations.remove(name);
            }
            (None, None) => {}
        }
    }
}

/// Refuses what the caller may not have done.
pub(super) fn check(store: &Store, place: &Place, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
    if !applies(store, place, "validating", RIGHTS) {
        return Ok(());
    }
    let (who, namespace, name) = (&place.user.name, &place.namespace, &place.name);
    if place.status {
        return Err(denied(
            place,
            &format!("only the engine writes the status of the Action {namespace}/{name}"),
        ));
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
            return Err(denied(place, &format!("{who} may not {verb} the Action {namespace}/{name}")));
        }
    }
    metadata_problem(place, new, old).map_or(Ok(()), |why| Err(denied(place, &why)))
}

/// Says what is wrong with the metadata of an Action: so much that no status fits beside it, or a run that others end.
fn metadata_problem(place: &Place, new: &Value, old: Option<&Value>) -> Option<String> {
    const FINALIZER: &str = "core.ochre.dev/run";
    let what = format!("the Action {}/{}", place.namespace, place.name);
    let who = &place.user.name;
    let list =
        |object: &Value, field: &str| object["metadata"][field].as_array().cloned().unwrap_or_default();
    let map = |field: &str| new["metadata"][field].as_object().cloned().unwrap_or_default();
    let size = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let (annotations, owners) = (map("annotations"), list(new, "ownerReferences"));
    if map("labels").len() > 64 || list(new, "finalizers").len() > 16 || list(new, "managedFields").len() > 64
    {
        return Some(format!(
            "{what} has too much around it: 64 labels, 16 finalizers and 64 managers of fields are the most"
        ));
    }
    let total: usize = annotations.iter().map(|(name, value)| name.chars().count() + size(value)).sum();
    if annotations.len() > 64 || total > 65536 {
        return Some(format!(
            "{what} has too many annotations: 64 with 65536 characters in all are the most; kubectl keeps its own out \
             of large ones with create or apply --server-side"
        ));
    }
    let is_long = |owner: &Value| {
        size(&owner["apiVersion"]) > 512
            || ["kind", "name", "uid"].iter().any(|field| size(&owner[*field]) > 253)
    };
    if owners.len() > 16 || owners.iter().any(is_long) {
        return Some(format!("{what} has too many owners, or one with too long a name"));
    }
    let old = old.filter(|old| {
        ["RUNNING", "BEING_CANCELED"].contains(&old["status"]["phase"].as_str().unwrap_or_default())
    })?;
    let is_collector = who == "system:serviceaccount:kube-system:generic-garbage-collector";
    if !is_collector && owners != list(old, "ownerReferences") {
        return Some(format!(
            "{who} may not give {what} other owners while it runs; delete it, or cancel it"
        ));
    }
    let is_held = |object: &Value| list(object, "finalizers").contains(&json!(FINALIZER));
    (is_held(old) && !is_held(new)).then(|| {
        format!(
            "{who} may not take the finalizer {FINALIZER} off {what} while it runs; delete it, or cancel it"
        )
    })
}

fn denied(place: &Place, why: &str) -> Failure {
    Failure::Denied {
        resource: place.kind.resource(),
        name: place.name.clone(),
        why: format!("ValidatingAdmissionPolicy '{RIGHTS}' with binding '{RIGHTS}' denied request: {why}"),
    }
}

/// Tells whether a policy is installed and bound, and about this write.
fn applies(store: &Store, place: &Place, sort: &str, policy: &str) -> bool {
    let has = |kind: &str| {
        let resource = format!("{sort}admissionpolic{kind}.admissionregistration.k8s.io");
        store.get(&Key::new(&resource, "", policy)).is_some()
    };
    place.kind.resource() == "actions.core.ochre.dev"
        && place.user.name != ENGINE
        && has("ies")
        && has("ybindings")
}

/// Tells whether something else is asked for than before.
fn changes(new: &Value, old: &Value) -> bool {
    const ASKED: [&str; 9] = [
        "actionRef",
        "input",
        "serviceAccountName",
        "workflowDigest",
        "renderedActionOverride",
        "fromStep",
        "dryRun",
        "advancedRendering",
        "continue",
    ];
    ASKED.iter().any(|field| new["spec"][*field] != old["spec"][*field])
}

/// Tells whether a write asks for a run: a first one, a further attempt, or something else in place of what was
/// asked for.
fn asks_for_run(new: &Value, old: Option<&Value>) -> bool {
    let attempt = |object: &Value| object["spec"]["attempt"].as_i64().unwrap_or(1);
    new["spec"]["run"] == true
        && old
            .is_none_or(|old| old["spec"]["run"] != true || attempt(new) > attempt(old) || changes(new, old))
}

fn asks_for_cancel(new: &Value, old: Option<&Value>) -> bool {
    new["spec"]["cancel"] == true && old.is_none_or(|old| old["spec"]["cancel"] != true)
}
