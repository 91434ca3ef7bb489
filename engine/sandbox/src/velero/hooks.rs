//! Backup hooks. There are no nodes, so every command fails, as it does in a pod that does not run.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::archive::{Item, ItemKey};
use super::filter::Filter;
use super::results::Results;
use super::{name, namespace};

/// Counts the hooks of a backup, and names the pods that a failed one keeps out of the tarball.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    attempted: usize,
    failed: usize,
    pub(crate) dropped: BTreeSet<ItemKey>,
}

impl Hooks {
    /// Tries the hooks of every pod in a backup.
    pub(crate) fn run(backup: &Value, items: &[Item], results: &mut Results) -> Self {
        let mut hooks = Self::default();
        for pod in items.iter().filter(|item| item.resource.name() == "pods") {
            let before = on_errors(backup, pod, "pre");
            let drops = before.iter().any(|on_error| on_error == "Fail");
            for on_error in before {
                hooks.fail(&pod.object, "pre", results);
                if on_error == "Fail" {
                    break;
                }
            }
            if drops {
                let error = format!(
                    " resource: /pods name: /{} message: /Error backing up item error: /pre hook failed",
                    name(&pod.object)
                );
                results.errors.add(namespace(&pod.object), error);
                hooks.dropped.insert(pod.key());
                continue;
            }
            for _ in on_errors(backup, pod, "post") {
                hooks.fail(&pod.object, "post", results);
            }
        }
        hooks
    }

    /// Writes the status: only what is not zero.
    pub(crate) fn status(&self) -> Value {
        if self.attempted == 0 {
            return json!({});
        }
        json!({"hooksAttempted": self.attempted, "hooksFailed": self.failed})
    }

    fn fail(&mut self, pod: &Value, phase: &str, results: &mut Results) {
        self.attempted += 1;
        self.failed += 1;
        let error = format!(
            " resource: /pods name: /{} message: /Error executing hook error: /{phase} hook: no node runs the pod",
            name(pod)
        );
        results.errors.add(namespace(pod), error);
    }
}

/// Lists what is to happen when each of a pod's hooks fails; annotations take the place of the spec's hooks.
fn on_errors(backup: &Value, pod: &Item, phase: &str) -> Vec<String> {
    let annotation = |field: &str| {
        let name = format!("{phase}.hook.backup.velero.io/{field}");
        pod.object["metadata"]["annotations"][name].as_str().map(str::to_owned)
    };
    if annotation("command").is_some() {
        return vec![annotation("on-error").unwrap_or_default()];
    }
    let resources = backup["spec"]["hooks"]["resources"].as_array().into_iter().flatten();
    let matching = resources.filter(|resource| {
        let filter = Filter::read(resource);
        filter.allows(&pod.resource)
            && filter.namespaces.takes(namespace(&pod.object))
            && filter.selects(&pod.object)
    });
    let hooks = matching.flat_map(|resource| resource[phase].as_array().into_iter().flatten());
    hooks.map(|hook| hook["exec"]["onError"].as_str().unwrap_or_default().to_owned()).collect()
}
