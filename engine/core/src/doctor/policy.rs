//! Whether the admission policies are there without which people can write Actions in each other's names.

use serde::Serialize;

/// The policies of manifests/admission, and what the absence of each means.
const POLICIES: [(&str, &str); 2] = [
    ("ochre-identity", "who writes an Action can name another as who asks"),
    ("ochre-rights", "who writes an Action needs no right to run it"),
];

/// One policy of a cluster that has Actions. It says nothing of backups, so it does not make the exit code.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Its name.
    pub name: &'static str,
    /// Whether it and its binding are there; nothing where that could not be told.
    pub installed: Option<bool>,
    /// What holds without it, and what to do; nothing where it is there.
    pub message: Option<String>,
}

/// Says of each policy whether it is there, by the names of what is missing.
pub(super) fn judge_all(missing: Result<&[String], &str>) -> Vec<Policy> {
    let judge = |(name, without): &(&'static str, &str)| {
        let installed = missing.map(|missing| !missing.iter().any(|object| object.ends_with(name)));
        let message = match installed {
            Ok(true) => None,
            Ok(false) => Some(format!("{without}; kubectl apply -k manifests/admission")),
            Err(why) => Some(why.to_owned()),
        };
        Policy { name, installed: installed.ok(), message }
    };
    POLICIES.iter().map(judge).collect()
}
