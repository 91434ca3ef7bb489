//! `ochre catalog`: for those who write manifests.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use ochre::content::{self, Content};
use ochre_core::action::{ActionInput, ActionRef, ActionSpec};
use ochre_core::render::Context;
use serde_json::{Map, Value};

use super::print;

/// Reports every problem of a catalog.
pub(crate) fn lint(folder: &Path) -> anyhow::Result<ExitCode> {
    let loaded = content::load(Some(folder))?;
    let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    print(&lines.join("\n"))?;
    let failed = content::errors(&loaded).next().is_some();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the workflow that would run.
pub(crate) fn render(
    path: &str,
    parameters: &Path,
    folder: Option<&Path>,
    velero_namespace: String,
) -> anyhow::Result<ExitCode> {
    let catalog = Content::new(content::load(folder)?)?;
    let (path, revision) = match path.split_once('@') {
        Some((path, revision)) => (path, Some(revision.to_owned())),
        None => (path, None),
    };
    let spec = ActionSpec {
        action_ref: ActionRef { path: path.to_owned(), revision },
        input: ActionInput { parameters: read(parameters)?, ..ActionInput::default() },
        attempt: 1,
        ..ActionSpec::default()
    };
    let context = Context {
        action_name: "example".to_owned(),
        action_namespace: "default".to_owned(),
        action_uid: "00000000-0000-0000-0000-000000000000".to_owned(),
        attempt: 1,
        velero_namespace,
    };
    let prepared = catalog.prepare(&spec, &context).map_err(|refused| anyhow::anyhow!(refused.message))?;
    print(&serde_saphyr::to_string(&prepared.workflow)?)
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text =
            std::fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))?;
    }
    serde_saphyr::from_str(&text).with_context(|| format!("{} holds no parameters", path.display()))
}
