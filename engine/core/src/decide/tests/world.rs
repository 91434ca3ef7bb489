//! A cluster made of maps, and the shell's loop around `decide`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::access::Right;
use crate::action::{Action, ActionRef, ActionSpec, ActionStatus, FINALIZER, MARK, ManifestRef};
use crate::decide::{
    Access, Decision, DocumentState, Effect, ListKey, Need, ObjectKey, Observed, RIGHTS_AT_ONCE, Refusal,
    Rendered, Rendering, Resource, Settings, decide,
};
use crate::phase::Phase;
use crate::velero::{DocumentKind, group};
use crate::workflow::Workflow;

pub(super) struct World {
    pub(super) action: Action,
    pub(super) rendering: Rendering,
    pub(super) objects: BTreeMap<ObjectKey, Value>,
    pub(super) documents: BTreeMap<DocumentKind, DocumentState>,
    pub(super) refuse: Option<Refusal>,
    /// What the one may do who had it run; without it, everybody may do everything.
    pub(super) rights: Option<Vec<&'static str>>,
    pub(super) now: Timestamp,
    /// Every object that was created, in order.
    pub(super) created: Vec<ObjectKey>,
    pub(super) deleted: Vec<ObjectKey>,
    /// What was looked at one by one.
    pub(super) seen: BTreeSet<ObjectKey>,
    /// How many rights were asked for.
    pub(super) asked: usize,
    pub(super) requeue: Option<SignedDuration>,
}

impl World {
    /// An Action `nightly` in `chat` whose workflow has these steps, and an Available location.
    pub(super) fn new(steps: Value) -> Self {
        let mut action = Action::new(
            "nightly",
            ActionSpec {
                action_ref: ActionRef { path: "cap.interface.data.backup".to_owned(), revision: None },
                run: true,
                attempt: 1,
                service_account_name: Some("keeper".to_owned()),
                ..ActionSpec::default()
            },
        );
        action.metadata.namespace = Some("chat".to_owned());
        action.metadata.uid = Some("uid-1".to_owned());
        action.metadata.generation = Some(1);
        let mut world = Self {
            action,
            rendering: Ok(rendered(steps)),
            objects: BTreeMap::new(),
            documents: BTreeMap::new(),
            refuse: None,
            rights: None,
            now: "2026-11-21T09:00:00Z".parse().unwrap(),
            created: Vec::new(),
            deleted: Vec::new(),
            seen: BTreeSet::new(),
            asked: 0,
            requeue: None,
        };
        world.put(json!({"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": {"name": "default", "namespace": "velero"}, "spec": {"default": true}, "status": {"phase": "Available"}}));
        world
    }

    pub(super) fn put(&mut self, mut object: Value) -> ObjectKey {
        let key = key(&object);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-of-{}", key.name));
        }
        self.objects.insert(key.clone(), object);
        key
    }

    /// Sets the status of an object of a kind; there must be just one.
    pub(super) fn status_of(&mut self, kind: &str, status: Value) {
        let mut found = self.objects.values_mut().filter(|object| object["kind"] == kind);
        let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
        object["status"] = status;
        assert!(found.next().is_none(), "more than one {kind}");
    }

    pub(super) fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(super) fn status(&self) -> ActionStatus {
        self.action.status.clone().unwrap_or_default()
    }

    pub(super) fn phase(&self) -> Phase {
        self.status().phase
    }

    /// Does what the shell does when something changed; its own writes are changes too.
    pub(super) fn settle(&mut self) -> &mut Self {
        for _ in 0..50 {
            let before = self.action.status.clone();
            self.look();
            if self.action.status == before {
                return self;
            }
        }
        panic!("the status never settles: {:#?}", self.action.status);
    }

    /// Looks once.
    pub(super) fn look(&mut self) {
        let mut observed = Observed::default();
        for _ in 0..200 {
            let Decision { needs, effects, status, requeue } =
                decide(&self.action, &observed, &self.settings(), self.now);
            if !needs.is_empty() {
                for need in needs {
                    self.observe(need, &mut observed);
                }
            } else if effects.is_empty() {
                if let Some(status) = status {
                    self.action.status = Some(status);
                }
                self.requeue = requeue;
                return;
            } else {
                for effect in effects {
                    self.apply(effect, &mut observed);
                }
            }
        }
        panic!("did not settle: {observed:#?}");
    }

    fn settings(&self) -> Settings {
        let access = if self.rights.is_some() { Access::Checked } else { Access::Open };
        Settings { access, ..settings() }
    }

    fn observe(&mut self, need: Need, observed: &mut Observed) {
        match need {
            Need::Rendering => observed.rendering = Some(self.rendering.clone()),
            Need::Object(key) | Need::Look(key) => {
                let object = self.find(&key).cloned();
                self.seen.insert(key.clone());
                observed.objects.insert(key, object);
            }
            Need::List(key) => {
                let found = self.objects.iter().filter(|(object, _)| {
                    object.kind == key.kind
                        && object.api_version == key.api_version
                        && (key.namespace.is_none() || object.namespace == key.namespace)
                });
                let found = found.map(|(_, object)| object.clone()).collect();
                observed.lists.insert(key, found);
            }
            Need::Names(key) => {
                let ListKey { kind, .. } = &key;
                let plural = match kind.to_lowercase() {
                    singular if singular.ends_with("ss") => format!("{singular}es"),
                    plural if plural.ends_with('s') => plural,
                    singular => format!("{singular}s"),
                };
                let names = vec![plural.clone(), kind.clone()];
                let names = match group(&key.api_version) {
                    _ if kind == "Unknown" => Vec::new(),
                    "" => names,
                    group => [names, vec![format!("{plural}.{group}")]].concat(),
                };
                observed.names.insert(key, names);
            }
            Need::Resources(names) => {
                let known = |name: String| {
                    let resource = match name.as_str() {
                        "secretz" | "nothings" => Resource::unknown(&name, ["secrets", "pods"]),
                        "metrics" => Resource::Unclear("metrics.k8s.io/v1".to_owned()),
                        _ => Resource::Known,
                    };
                    (name, resource)
                };
                observed.resources.extend(names.into_iter().map(known));
            }
            Need::Live(keys) => {
                for key in keys {
                    let object = self.find(&key).cloned();
                    observed.live.insert(key, object);
                }
            }
            Need::Rights(rights) => {
                let rights: Vec<Right> = rights.into_iter().collect();
                for rights in rights.chunks(RIGHTS_AT_ONCE) {
                    if !self.ask(rights, observed) {
                        return;
                    }
                }
            }
            Need::EachRight(rights) => {
                self.ask(&rights.into_iter().collect::<Vec<_>>(), observed);
            }
            Need::Document(key) => {
                let state = self.documents.get(&key.kind).cloned();
                let state = state
                    .unwrap_or(DocumentState::Pending { until: self.now + SignedDuration::from_secs(60) });
                observed.documents.insert(key, state);
            }
        }
    }

    /// Asks for rights; tells whether all are granted.
    fn ask(&mut self, rights: &[Right], observed: &mut Observed) -> bool {
        let granted = self.rights.as_ref().unwrap();
        let is_granted = |right: &Right| granted.contains(&right.to_string().as_str());
        observed.rights.extend(rights.iter().map(|right| (right.clone(), is_granted(right))));
        self.asked += rights.len();
        rights.iter().all(is_granted)
    }

    fn find(&self, key: &ObjectKey) -> Option<&Value> {
        self.objects.iter().find_map(|(there, object)| same(there, key).then_some(object))
    }

    fn apply(&mut self, effect: Effect, observed: &mut Observed) {
        let metadata = &mut self.action.metadata;
        match effect {
            Effect::Mark => {
                let uid = metadata.uid.clone().unwrap();
                metadata.annotations.get_or_insert_default().insert(MARK.to_owned(), uid);
            }
            Effect::Hold => metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned()),
            Effect::Release => metadata.finalizers.get_or_insert_default().retain(|held| held != FINALIZER),
            Effect::Create { key, manifest } => {
                if let Some(refusal) = self.refuse.clone().filter(|_| key.kind != "ConfigMap") {
                    observed.refused.insert(key, refusal);
                    return;
                }
                if self.find(&key).is_none() {
                    self.created.push(key.clone());
                    self.put(manifest);
                }
                let object = self.find(&key).cloned();
                observed.objects.insert(key, object);
            }
            Effect::Delete { key, .. } => {
                self.objects.retain(|there, _| !same(there, &key));
                self.deleted.push(key.clone());
                observed.objects.insert(key, None);
            }
        }
    }
}

pub(super) fn settings() -> Settings {
    Settings { velero_namespace: "velero".to_owned(), access: Access::Open, at_work: 2 }
}

pub(super) fn rendered(steps: Value) -> Rendered {
    let workflow: Workflow = serde_json::from_value(
        json!({"apiVersion": "core.ochre.dev/v1alpha1", "kind": "Workflow", "steps": steps}),
    )
    .unwrap();
    let problems = crate::expression::check_workflow(&workflow);
    assert!(problems.is_empty(), "{problems:?}");
    let digest = crate::render::digest(&workflow);
    Rendered {
        implementation: ManifestRef {
            path: "cap.implementation.velero".to_owned(),
            revision: "0.1.0".to_owned(),
        },
        reason: "the only one".to_owned(),
        catalog_digest: "sha256:0".to_owned(),
        workflow,
        digest,
    }
}

pub(super) fn backup_step(expect: Value) -> Value {
    json!([{"name": "backup", "timeout": "1h", "resource": {
        "action": "create", "expect": expect,
        "manifest": {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "mongo"}, "spec": {"labelSelector": {"matchLabels": {"app": "mongo"}}}},
    }}])
}

pub(super) fn restore_step(expect: Value, spec: &Value) -> Value {
    let mut whole = json!({"backupName": "mongo"});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!([{"name": "restore", "timeout": "1h", "resource": {
        "action": "create", "expect": expect,
        "manifest": {"apiVersion": "velero.io/v1", "kind": "Restore", "spec": whole},
    }}])
}

/// Tells whether two keys name the same object, by whose rights it is reached notwithstanding.
fn same(there: &ObjectKey, key: &ObjectKey) -> bool {
    there.kind == key.kind
        && there.name == key.name
        && (there.namespace.is_none() || there.namespace == key.namespace)
}

fn key(object: &Value) -> ObjectKey {
    ObjectKey {
        api_version: object["apiVersion"].as_str().unwrap().to_owned(),
        kind: object["kind"].as_str().unwrap().to_owned(),
        namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
        name: object["metadata"]["name"].as_str().unwrap().to_owned(),
        account: None,
    }
}
