//! `ochre catalog`: for those who write manifests.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::core::{ApiResource, GroupVersionKind, ObjectMeta};
use ochre::content::{self, Content};
use ochre_core::access::account_verbs;
use ochre_core::action::{ActionInput, ActionRef, ActionSpec};
use ochre_core::render::Context;
use serde_json::{Map, Value};

use super::print;

/// The namespace and the name of the engine's ServiceAccount, as manifests/base has them.
const ENGINE: (&str, &str) = ("ochre-system", "ochre");

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
    let spec = ActionSpec {
        action_ref: named(path),
        input: ActionInput { parameters: read(parameters)?, ..ActionInput::default() },
        attempt: 1,
        ..ActionSpec::default()
    };
    let context = Context { velero_namespace, ..example("default") };
    let prepared = catalog.prepare(&spec, &context).map_err(|refused| anyhow::anyhow!(refused.message))?;
    print(&serde_saphyr::to_string(&prepared.workflow)?)
}

/// Prints the Role, or one in each namespace, that a ServiceAccount needs for what an Interface does; and who has it.
/// With an account it prints too what lets the engine act as that one.
pub(crate) fn rbac(
    path: &str,
    folder: Option<&Path>,
    namespace: &str,
    service_account: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let catalog = Content::new(content::load(folder)?)?;
    let rehearsed = catalog.rehearse(&named(path), &example(namespace));
    let (implementation, workflows) = rehearsed.map_err(|refused| anyhow::anyhow!(refused.message))?;
    let mut rules: BTreeMap<String, Vec<PolicyRule>> = BTreeMap::new();
    for ((api_version, kind, place), verbs) in account_verbs(&workflows, namespace) {
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        rules.entry(place).or_default().push(PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.plural]),
            verbs: verbs.into_iter().map(str::to_owned).collect(),
            ..PolicyRule::default()
        });
    }
    if rules.is_empty() {
        return print(&format!(
            "# {} works on Velero's objects alone, and needs no Role.\n",
            implementation.path
        ));
    }
    let name = implementation.path.trim_start_matches("cap.implementation.");
    let mut documents = Vec::new();
    for (place, rules) in rules {
        let metadata =
            ObjectMeta { name: Some(name.to_owned()), namespace: Some(place), ..ObjectMeta::default() };
        let role = Role { metadata: metadata.clone(), rules: Some(rules) };
        documents.push(serde_saphyr::to_string(&role)?);
        if let Some(account) = service_account {
            documents.push(serde_saphyr::to_string(&binding(metadata, account, namespace))?);
        }
    }
    if let Some(account) = service_account {
        let lent = lent(account, namespace);
        documents.push(serde_saphyr::to_string(&lent)?);
        let (namespace, engine) = ENGINE;
        documents.push(serde_saphyr::to_string(&binding(lent.metadata, engine, namespace))?);
    }
    print(&documents.join("---\n"))
}

/// Lets its holder act as one ServiceAccount.
fn lent(account: &str, namespace: &str) -> Role {
    Role {
        metadata: ObjectMeta {
            name: Some(format!("ochre-acts-as-{account}")),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["serviceaccounts".to_owned()]),
            resource_names: Some(vec![account.to_owned()]),
            verbs: vec!["impersonate".to_owned()],
            ..PolicyRule::default()
        }]),
    }
}

/// Binds a Role to a ServiceAccount.
fn binding(metadata: ObjectMeta, account: &str, namespace: &str) -> RoleBinding {
    RoleBinding {
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.to_owned(),
            namespace: Some(namespace.to_owned()),
            api_group: None,
        }]),
        metadata,
    }
}

/// Reads what names an Interface: its path, and behind an `@` its revision.
fn named(path: &str) -> ActionRef {
    let (path, revision) = match path.split_once('@') {
        Some((path, revision)) => (path, Some(revision.to_owned())),
        None => (path, None),
    };
    ActionRef { path: path.to_owned(), revision }
}

/// Makes up an Action of a namespace.
fn example(namespace: &str) -> Context {
    Context {
        action_name: "example".to_owned(),
        action_namespace: namespace.to_owned(),
        action_uid: "00000000-0000-0000-0000-000000000000".to_owned(),
        attempt: 1,
        velero_namespace: "velero".to_owned(),
    }
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text =
            std::fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))?;
    }
    ochre_core::yaml::from_str(&text).with_context(|| format!("{} holds no parameters", path.display()))
}
