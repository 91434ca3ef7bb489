//! What an object's annotations ask of the simulator: to be slow, to warn, to end badly.

use std::time::Duration;

use serde_json::{Value, json};

use super::Server;
use super::results::Results;

/// Names the annotation that says how long each phase lasts, such as `500ms`.
pub const STEP_DELAY: &str = "sandbox.ochre.dev/step-delay";
/// Names the annotation that says how the object ends: `failed-validation`, `failed`, `partially-failed`, `stuck`.
pub const END: &str = "sandbox.ochre.dev/end";
/// Names the annotation on Velero's namespace that lets it die (`absent`) and come back (anything else).
pub const PRESENCE: &str = "sandbox.ochre.dev/velero";
/// Names the annotation that holds a warning with which the object ends.
pub const WARN: &str = "sandbox.ochre.dev/warn";

/// Says how a Backup or Restore is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is refused.
    FailedValidation,
    /// It fails as a whole.
    Failed,
    /// A part of it fails.
    PartiallyFailed,
    /// It stays InProgress until the simulator dies.
    Stuck,
}

impl Ending {
    /// Reads the word of the annotation; an unknown one asks for nothing.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "failed-validation" => Some(Self::FailedValidation),
            "failed" => Some(Self::Failed),
            "partially-failed" => Some(Self::PartiallyFailed),
            "stuck" => Some(Self::Stuck),
            _ => None,
        }
    }
}

impl Server {
    /// Tells how an object is to end: its annotation, else what holds for all.
    pub(crate) fn ending(&self, object: &Value) -> Option<Ending> {
        annotation(object, END).map_or(self.settings.end, Ending::parse)
    }
}

/// Reads how long a phase is to last.
pub(crate) fn step_delay(object: &Value) -> Option<Duration> {
    let delay: kube::core::Duration = annotation(object, STEP_DELAY)?.parse().ok()?;
    (!delay.is_negative()).then(|| delay.into())
}

/// Adds the warning and the error that the annotations ask for.
pub(crate) fn add_results(object: &Value, ending: Option<Ending>, results: &mut Results) {
    if let Some(warning) = annotation(object, WARN) {
        results.warnings.velero.push(warning.to_owned());
    }
    if ending == Some(Ending::PartiallyFailed) {
        let error = format!("asked to fail partially by {END}");
        results.errors.velero.push(error);
    }
}

/// Writes the status of a Backup or Restore that fails: `word` is `backup` or `restore`.
pub(crate) fn failed(word: &str, reason: &str, now: &str) -> Value {
    json!({"phase": "Failed", "failureReason": format!("{word} execution failed: {reason}"), "completionTimestamp": now})
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][name].as_str()
}
