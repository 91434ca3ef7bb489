//! Warnings and errors as the results file holds them: of Velero itself, of the cluster, of each namespace.

use std::collections::BTreeMap;

use serde::Serialize;

/// Holds the results of a backup or a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Results {
    pub(crate) errors: Messages,
    pub(crate) warnings: Messages,
}

/// Holds messages by what they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Messages {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) velero: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cluster: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) namespaces: BTreeMap<String, Vec<String>>,
}

impl Results {
    /// Writes the log: what was done, then every warning and error. `of` is such as `backup=velero/mongo`.
    pub(crate) fn log(&self, time: &str, of: &str, done: impl Iterator<Item = String>) -> String {
        let line = |level: &str, message: &String| {
            format!("time=\"{time}\" level={level} msg={message:?} {of} logSource=\"ochre/sandbox\"\n")
        };
        let done = done.map(|message| line("info", &message));
        let warnings = self.warnings.all().map(|message| line("warning", message));
        done.chain(warnings).chain(self.errors.all().map(|message| line("error", message))).collect()
    }
}

impl Messages {
    /// Adds a message about an object of a namespace, or (where that is empty) of the cluster.
    pub(crate) fn add(&mut self, namespace: &str, message: String) {
        if namespace.is_empty() {
            self.cluster.push(message);
        } else {
            self.namespaces.entry(namespace.to_owned()).or_default().push(message);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        self.velero.iter().chain(&self.cluster).chain(self.namespaces.values().flatten())
    }

    pub(crate) fn count(&self) -> usize {
        self.all().count()
    }
}
