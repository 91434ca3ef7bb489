//! What a caller may ask about their own rights.

use async_graphql::Enum;
use ochre_core::access::Right;

/// Something that a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum Verb {
    /// To read an Action.
    Get,
    /// To list Actions.
    List,
    /// To follow Actions.
    Watch,
    /// To create an Action.
    Create,
    /// To delete an Action.
    Delete,
    /// To have an Action run.
    Run,
    /// To have a run canceled.
    Cancel,
    /// To answer a step that waits for an approval.
    Approve,
    /// To have a namespace saved.
    Backup,
    /// To have something taken out of a namespace's backup, or put into a namespace.
    Restore,
}

impl Verb {
    /// Lists the rights to it in namespaces: on an Action, by default in the request's own, or on the namespaces
    /// themselves, by default on all of the cluster.
    pub(super) fn rights(self, own: &str, name: Option<&str>, namespaces: &[String]) -> Vec<Right> {
        let verb = match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Run => "run",
            Self::Cancel => "cancel",
            Self::Approve => "approve",
            Self::Backup => "backup",
            Self::Restore => "restore",
        };
        let is_target = matches!(self, Self::Backup | Self::Restore);
        match (is_target, namespaces) {
            (true, []) => vec![Right::target(verb, None)],
            (true, all) => all.iter().map(|namespace| Right::target(verb, Some(namespace))).collect(),
            (false, []) => vec![Right::action(verb, own, name)],
            (false, all) => all.iter().map(|namespace| Right::action(verb, namespace, name)).collect(),
        }
    }
}
