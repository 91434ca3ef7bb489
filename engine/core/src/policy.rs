//! Chooses the Implementation of an Interface.

use semver::Version;

use crate::catalog::{Catalog, CatalogError, Implementation, Interface};

/// The Implementation that will run, and why.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// The Implementation.
    pub implementation: &'a Implementation,
    /// Why this one, for people.
    pub reason: String,
}

/// Chooses the only Implementation of an Interface, else the one with the highest revision.
pub fn choose<'a>(catalog: &'a Catalog, interface: &Interface) -> Result<Choice<'a>, CatalogError> {
    let candidates: Vec<_> = catalog.implementations_of(&interface.reference).collect();
    let revision = |each: &Implementation| Version::parse(&each.reference.revision).ok();
    // The catalog lists by path, so of equal revisions the first path wins.
    let best = candidates.iter().copied().reduce(
        |best, each| {
            if revision(each) > revision(best) { each } else { best }
        },
    );
    let Some(implementation) = best else {
        return Err(CatalogError::NotImplemented {
            path: interface.reference.path.clone(),
            revision: interface.reference.revision.clone(),
        });
    };
    let reason = match candidates.len() {
        1 => "the only Implementation".to_owned(),
        count => format!("the highest revision of {count} Implementations"),
    };
    Ok(Choice { implementation, reason })
}
