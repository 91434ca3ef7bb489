//! Reads a workflow and checks what its types cannot say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{API_VERSION, Expect, MAX_STEPS, MAX_WORKFLOW, Resource, Step, Verb, Workflow};
use crate::expression;
use crate::schema::parse_duration;

/// The longest name of a step.
const MAX_STEP_NAME: usize = 40;

/// Something that keeps a document from being a workflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", if .pointer.is_empty() { "/" } else { .pointer.as_str() })]
pub struct WorkflowError {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl Workflow {
    /// Reads a workflow back from where it is kept, and holds it against all that rendering holds it against.
    pub fn read(text: &str) -> Result<Self, WorkflowError> {
        if text.len() > MAX_WORKFLOW {
            return Err(fail("", format!("the workflow takes more than {MAX_WORKFLOW} bytes")));
        }
        let value = serde_json::from_str(text).map_err(|error| fail("", error.to_string()))?;
        Self::parse(value)
    }

    /// Reads a workflow; refuses unknown fields, wrong names and durations, and empty steps.
    pub fn parse(value: Value) -> Result<Self, WorkflowError> {
        let workflow: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let pointer = pointer_of(error.path());
            fail(pointer, error.into_inner().to_string())
        })?;
        workflow.check()?;
        match expression::check_workflow(&workflow).into_iter().next() {
            Some(problem) => Err(fail(format!("/{}", problem.place), problem.to_string())),
            None => Ok(workflow),
        }
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), WorkflowError> {
        if self.api_version != API_VERSION {
            return Err(fail("/apiVersion", format!("must be `{API_VERSION}`")));
        }
        if self.kind != "Workflow" {
            return Err(fail("/kind", "must be `Workflow`"));
        }
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            let message = format!("a workflow has 1 to {MAX_STEPS} steps, not {}", self.steps.len());
            return Err(fail("/steps", message));
        }
        let mut names = BTreeSet::new();
        for (index, step) in self.steps.iter().enumerate() {
            let pointer = format!("/steps/{index}");
            if !names.insert(&step.name) {
                let message = format!("another step is named `{}`", step.name);
                return Err(fail(format!("{pointer}/name"), message));
            }
            check_step(step, &pointer)?;
        }
        Ok(())
    }
}

fn check_step(step: &Step, pointer: &str) -> Result<(), WorkflowError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let name = &step.name;
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(allowed)
        || name.len() > MAX_STEP_NAME
    {
        let message = format!(
            "`{name}` is not a step's name: a lower-case letter, then letters, digits and `_`, at most {MAX_STEP_NAME}"
        );
        return Err(fail(format!("{pointer}/name"), message));
    }
    check_duration(step.timeout.as_deref(), &format!("{pointer}/timeout"))?;
    match (&step.resource, &step.check) {
        (Some(resource), None) => check_resource(resource, &format!("{pointer}/resource")),
        (None, Some(_)) => Ok(()),
        (None, None) | (Some(_), Some(_)) => {
            Err(fail(pointer, format!("step `{name}` needs exactly one of `resource` and `check`")))
        }
    }
}

fn check_resource(resource: &Resource, pointer: &str) -> Result<(), WorkflowError> {
    let Resource { action, manifest, expect: Expect { sync_timeout, ready_timeout, .. }, .. } = resource;
    check_duration(sync_timeout.as_deref(), &format!("{pointer}/expect/syncTimeout"))?;
    check_duration(ready_timeout.as_deref(), &format!("{pointer}/expect/readyTimeout"))?;
    let pointer = format!("{pointer}/manifest");
    let Some(object) = manifest.as_object() else {
        return Err(fail(pointer, "must be a Kubernetes object"));
    };
    for field in ["apiVersion", "kind"] {
        if object.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(fail(pointer, format!("needs a string `{field}`")));
        }
    }
    let metadata = match object.get("metadata") {
        None => None,
        Some(Value::Object(metadata)) => Some(metadata),
        Some(_) => return Err(fail(format!("{pointer}/metadata"), "must be an object")),
    };
    let name = metadata.and_then(|metadata| metadata.get("name"));
    match name {
        // Without a name the engine derives one, so that creating twice is found out.
        None if *action == Verb::Create => {}
        None => return Err(fail(format!("{pointer}/metadata"), "needs a `name`")),
        Some(Value::String(name)) if !name.is_empty() => {}
        Some(Value::Object(expression)) if expression.contains_key("$cel") => {}
        Some(_) => return Err(fail(format!("{pointer}/metadata/name"), "must be a string")),
    }
    if metadata.is_some_and(|metadata| metadata.contains_key("generateName")) {
        let message = "is not allowed; leave `name` out to have one derived";
        return Err(fail(format!("{pointer}/metadata/generateName"), message));
    }
    Ok(())
}

fn check_duration(text: Option<&str>, pointer: &str) -> Result<(), WorkflowError> {
    let Some(text) = text else {
        return Ok(());
    };
    let wrong = |reason| fail(pointer, format!("`{text}` is not a duration: {reason}"));
    parse_duration(text).map(|_| ()).map_err(wrong)
}

fn fail(pointer: impl Into<String>, message: impl Into<String>) -> WorkflowError {
    WorkflowError { pointer: pointer.into(), message: message.into() }
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let tokens = path.iter().map(|segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } | Segment::Enum { variant: key } => {
            format!("/{}", key.replace('~', "~0").replace('/', "~1"))
        }
        Segment::Unknown => String::new(),
    });
    tokens.collect()
}
