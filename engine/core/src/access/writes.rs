//! What a Restore writes, kind by kind, and the rights that this takes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Right;
use crate::velero::{Item, Selection, group};

const RBAC: &str = "rbac.authorization.k8s.io";
/// OpenShift's second door to the same roles.
const OPENSHIFT: &str = "authorization.openshift.io";

/// The objects of one kind that a Restore writes into one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write<'k> {
    /// The API group; empty for Kubernetes' own first one.
    pub group: &'k str,
    /// The plural of the kind; `*` where the cluster does not know the kind yet.
    pub plural: &'k str,
    /// The kind.
    pub kind: &'k str,
    /// Where they are put; without a namespace, they lie in none.
    pub namespace: Option<String>,
}

/// How a Restore writes objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether objects that live are made equal.
    pub updates: bool,
    /// Whether their status is written too.
    pub restores_status: bool,
}

impl<'k> Write<'k> {
    /// Says what an item of a Backup is written as; `names` are all names of its kind, the plural first.
    pub fn of(item: &'k Item, names: &'k [String], selection: &Selection) -> Self {
        Self {
            group: group(&item.api_version),
            plural: names.first().map_or("*", String::as_str),
            kind: &item.kind,
            namespace: selection.destination(item.namespace.as_deref()),
        }
    }

    /// Names the kind as Velero's filters do.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Lists what a caller must be allowed to write it themselves.
    pub fn rights(&self, manner: Manner) -> BTreeSet<Right> {
        let mut rights = BTreeSet::from([self.right("create", self.group, self.plural, None)]);
        // Velero merges a ServiceAccount into the one that lives, whatever the Restore says.
        if manner.updates || (self.group.is_empty() && self.kind == "ServiceAccount") {
            rights.insert(self.right("patch", self.group, self.plural, None));
        }
        if manner.restores_status {
            rights.insert(self.right("update", self.group, self.plural, Some("status")));
        }
        if self.group != RBAC && self.group != OPENSHIFT {
            return rights;
        }
        // What a role says, and which one is bound, is not on the list: any might be.
        let (verb, roles): (_, &[&str]) = match self.kind {
            "Role" => ("escalate", &["roles"]),
            "ClusterRole" => ("escalate", &["clusterroles"]),
            "RoleBinding" => ("bind", &["clusterroles", "roles"]),
            "ClusterRoleBinding" => ("bind", &["clusterroles"]),
            _ => return rights,
        };
        rights.extend(roles.iter().map(|roles| self.right(verb, RBAC, roles, None)));
        rights
    }

    fn right(&self, verb: &'static str, group: &str, resource: &str, part: Option<&'static str>) -> Right {
        Right {
            verb,
            group: Cow::Owned(group.to_owned()),
            resource: Cow::Owned(resource.to_owned()),
            subresource: part,
            namespace: self.namespace.clone(),
            name: None,
        }
    }
}
