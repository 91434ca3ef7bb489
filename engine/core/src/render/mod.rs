//! Renders an Implementation's template into a workflow.
//!
//! A parameter never passes through YAML: each `{{expression}}` keeps its typed value in a slot and
//! prints the slot's mark, the output is parsed with marks only, and then every scalar that is one
//! mark becomes its value. So no value can change the shape of what is rendered.

mod error;
mod fill;
mod function;
mod rewrite;
mod slots;
mod template;
#[cfg(test)]
mod tests;
mod trial;

use serde_json::{Map, Value, json};

use crate::action::{ActionRef, ManifestRef};
use crate::catalog::Catalog;
use crate::policy;
use crate::schema::{effective_parameters, samples};
use crate::workflow::{Workflow, text_digest};

pub use crate::workflow::MAX_WORKFLOW;
pub use error::{PrepareError, TemplateError};

pub(crate) use template::Template;

/// The name under which templates see their [`Context`]; no parameter may have it.
pub(crate) const CONTEXT: &str = "context";

/// What templates know besides parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The Action's name.
    pub action_name: String,
    /// The Action's namespace.
    pub action_namespace: String,
    /// The Action's uid.
    pub action_uid: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// The namespace that Velero works in.
    pub velero_namespace: String,
}

/// A workflow that is ready to run, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The Interface that was asked for.
    pub interface: ManifestRef,
    /// The Implementation that was chosen.
    pub implementation: ManifestRef,
    /// Why that one.
    pub reason: String,
    /// The parameters, flat, with defaults.
    pub parameters: Map<String, Value>,
    /// The workflow.
    pub workflow: Workflow,
    /// `sha256:` and the digest of the workflow's compact JSON.
    pub digest: String,
}

impl Context {
    /// The names under which templates see the fields.
    pub(crate) const NAMES: [&str; 5] =
        ["actionName", "actionNamespace", "actionUid", "attempt", "veleroNamespace"];

    fn to_json(&self) -> Value {
        json!({
            "actionName": self.action_name,
            "actionNamespace": self.action_namespace,
            "actionUid": self.action_uid,
            "attempt": self.attempt,
            "veleroNamespace": self.velero_namespace,
        })
    }
}

/// Finds the Interface, checks its input, chooses an Implementation and renders its workflow.
pub fn prepare(
    catalog: &Catalog,
    action_ref: &ActionRef,
    parameters: &Map<String, Value>,
    context: &Context,
) -> Result<Prepared, PrepareError> {
    let interface =
        catalog.interface(&action_ref.path, action_ref.revision.as_deref()).map_err(PrepareError::Catalog)?;
    let parameters =
        effective_parameters(interface.parameter.as_ref(), parameters).map_err(PrepareError::Input)?;
    let choice = policy::choose(catalog, interface).map_err(PrepareError::Catalog)?;
    let implementation = choice.implementation;
    let workflow = implementation.template.render(&parameters, context).map_err(|source| {
        PrepareError::Template { implementation: implementation.reference.clone(), source }
    })?;
    let digest = digest(&workflow);
    Ok(Prepared {
        interface: interface.reference.clone(),
        implementation: implementation.reference.clone(),
        reason: choice.reason,
        parameters,
        workflow,
        digest,
    })
}

/// Renders what an Interface yields for samples of its parameters, by the Implementation that would be chosen.
pub fn rehearse(
    catalog: &Catalog,
    action_ref: &ActionRef,
    context: &Context,
) -> Result<(ManifestRef, Vec<Workflow>), PrepareError> {
    let interface =
        catalog.interface(&action_ref.path, action_ref.revision.as_deref()).map_err(PrepareError::Catalog)?;
    let implementation = policy::choose(catalog, interface).map_err(PrepareError::Catalog)?.implementation;
    let parameter = interface.parameter.as_ref();
    let samples = parameter.map_or_else(|| vec![Map::new()], |parameter| samples(&parameter.schema));
    // Every one renders: the catalog was loaded.
    let workflows = samples.iter().filter_map(|sample| implementation.template.render(sample, context).ok());
    Ok((implementation.reference.clone(), workflows.collect()))
}

/// Identifies a workflow by its compact JSON.
pub fn digest(workflow: &Workflow) -> String {
    // A workflow holds texts, numbers and JSON: it always serialises.
    text_digest(&serde_json::to_string(workflow).unwrap_or_default())
}
