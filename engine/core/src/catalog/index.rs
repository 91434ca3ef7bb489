//! Everything that the files declare, good or not, so that references can be checked.

use std::collections::BTreeMap;

use semver::Version;
use serde_json::Value;

use crate::action::ManifestRef;
use crate::hint::{did_you_mean, listed};
use crate::manifest::{Kind, Manifest, Reference, Reporter, Spec};

/// A file that held a readable manifest.
pub(super) struct Declared {
    pub(super) manifest: Manifest,
    pub(super) file: String,
    pub(super) reporter: Reporter,
}

/// The declared manifests by kind, path and revision.
#[derive(Default)]
pub(super) struct Index {
    places: BTreeMap<(Kind, String), BTreeMap<Option<Version>, Entry>>,
}

/// Where a manifest was declared, and the schema if it is a Type.
struct Entry {
    place: String,
    schema: Option<Value>,
}

impl Index {
    /// Indexes manifests; of two that are the same, the second is reported.
    pub(super) fn of(declared: &[Declared]) -> Self {
        let mut index = Self::default();
        for Declared { manifest, file, reporter } in declared {
            let key = (manifest.kind, manifest.path.clone());
            let revisions = index.places.entry(key).or_default();
            let position = manifest.position;
            if let Some(first) = revisions.get(&manifest.revision) {
                let message = format!(
                    "{} `{}`{} is declared twice, first at {}",
                    manifest.kind.as_str(),
                    manifest.path,
                    spaced(manifest.revision.as_ref()),
                    first.place,
                );
                let hint = Some("give it another name or revision".to_owned());
                reporter.error(position, message, hint);
                continue;
            }
            let schema = match &manifest.spec {
                Spec::Type(each) => Some(each.schema.to_json()),
                Spec::Plain | Spec::Unread(_) | Spec::Interface(_) | Spec::Implementation(_) => None,
            };
            let place = format!("{file}:{}:{}", position.line, position.column);
            revisions.insert(manifest.revision.clone(), Entry { place, schema });
        }
        index
    }

    /// Finds the schema of a Type; without a revision, the latest.
    pub(super) fn type_schema(&self, path: &str, revision: Option<&str>) -> Option<&Value> {
        let revisions = self.places.get(&(Kind::Type, path.to_owned()))?;
        let entry = match revision {
            None => revisions.values().next_back(),
            Some(text) => revisions.get(&Some(Version::parse(text).ok()?)),
        };
        entry?.schema.as_ref()
    }

    /// Finds the manifest that a reference means.
    pub(super) fn resolve(&self, reference: &Reference) -> Option<ManifestRef> {
        let revisions = self.places.get(&(reference.kind, reference.path.clone()))?;
        let revision = match &reference.revision {
            None => revisions.keys().next_back(),
            Some(_) => revisions.get_key_value(&reference.revision).map(|(revision, _)| revision),
        };
        let revision = revision?.as_ref()?.to_string();
        Some(ManifestRef { path: reference.path.clone(), revision })
    }

    /// Reports a reference to something that nothing declares.
    pub(super) fn check(&self, reference: &Reference, reporter: &Reporter) {
        let Reference { kind, path, revision, position } = reference;
        let name = kind.as_str();
        let Some(revisions) = self.places.get(&(*kind, path.clone())) else {
            let known = self.places.keys().filter(|(other, _)| other == kind);
            let hint = did_you_mean(path, known.map(|(_, path)| path.as_str()));
            reporter.error(*position, format!("there is no {name} `{path}`"), hint);
            return;
        };
        if let Some(wanted) = revision
            && !revisions.contains_key(revision)
        {
            let known: Vec<String> = revisions.keys().flatten().map(Version::to_string).collect();
            let hint = format!("there are {}", listed(known.iter().map(String::as_str)));
            let message = format!("{name} `{path}` has no revision {wanted}");
            reporter.error(*position, message, Some(hint));
        }
    }

    /// Reports an Interface whose group nothing declares.
    pub(super) fn check_group(&self, manifest: &Manifest, reporter: &Reporter) {
        let group = manifest.path.rsplit_once('.').map_or("", |(group, _)| group);
        if self.places.contains_key(&(Kind::InterfaceGroup, group.to_owned())) {
            return;
        }
        let file = group.trim_start_matches("cap.").replace('.', "/");
        let hint = Some(format!("declare it in {file}.yaml"));
        let message = format!("there is no InterfaceGroup `{group}` for this Interface");
        reporter.error(manifest.position, message, hint);
    }
}

fn spaced(revision: Option<&Version>) -> String {
    revision.map(|revision| format!(" {revision}")).unwrap_or_default()
}
