//! Backup hooks. In a pod that runs a command succeeds unless it is `false` or says `exit` with a number; in one
//! that does not run every command fails.

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
            if hooks.run_phase(backup, pod, "pre", results) {
                let error = format!(
                    " resource: /pods name: /{} message: /Error backing up item error: /pre hook failed",
                    name(&pod.object)
                );
                results.errors.add(namespace(&pod.object), error);
                hooks.dropped.insert(pod.key());
                continue;
            }
            hooks.run_phase(backup, pod, "post", results);
        }
        hooks
    }

    /// Writes the status: only what is not zero.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({});
        for (field, count) in [("hooksAttempted", self.attempted), ("hooksFailed", self.failed)] {
            if count > 0 {
                status[field] = json!(count);
            }
        }
        status
    }

    /// Runs the hooks of a pod before or after; tells whether one failed that must not.
    fn run_phase(&mut self, backup: &Value, pod: &Item, phase: &str, results: &mut Results) -> bool {
        for (on_error, command) in hooks_of(backup, pod, phase) {
            self.attempted += 1;
            let Some(why) = failure(&pod.object, &command) else { continue };
            self.failed += 1;
            let error = format!(
                " resource: /pods name: /{} message: /Error executing hook error: /{phase} hook: {why}",
                name(&pod.object)
            );
            results.errors.add(namespace(&pod.object), error);
            if phase == "pre" && on_error == "Fail" {
                return true;
            }
        }
        false
    }
}

/// Says why a command fails.
fn failure(pod: &Value, command: &str) -> Option<String> {
    if super::phase(pod) != "Running" {
        return Some("no node runs the pod".to_owned());
    }
    let last = command.rsplit(' ').next().unwrap_or_default();
    let code = if command.contains("exit ") { last.parse::<u8>().ok()? } else { u8::from(last == "false") };
    (code > 0).then(|| format!("command terminated with exit code {code}"))
}

/// Lists a pod's hooks: what is to happen when it fails, and the command; annotations take the place of the spec's.
fn hooks_of(backup: &Value, pod: &Item, phase: &str) -> Vec<(String, String)> {
    let annotation = |field: &str| {
        let name = format!("{phase}.hook.backup.velero.io/{field}");
        pod.object["metadata"]["annotations"][name].as_str().map(str::to_owned)
    };
    if let Some(command) = annotation("command") {
        return vec![(annotation("on-error").unwrap_or_default(), command)];
    }
    let resources = backup["spec"]["hooks"]["resources"].as_array().into_iter().flatten();
    let matching = resources.filter(|resource| {
        let filter = Filter::read(resource);
        filter.allows(&pod.resource)
            && filter.namespaces.takes(namespace(&pod.object))
            && filter.selects(&pod.object)
    });
    let hooks = matching.flat_map(|resource| resource[phase].as_array().into_iter().flatten());
    let read = hooks.map(|hook| {
        let words = hook["exec"]["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let on_error = hook["exec"]["onError"].as_str().unwrap_or_default().to_owned();
        (on_error, words.collect::<Vec<_>>().join(" "))
    });
    read.collect()
}
