//! A right that is missing, and who could give it.

use std::fmt;

/// Something that the engine, or the ServiceAccount as which it acts, may not do.
#[derive(Debug)]
pub(crate) struct Denied {
    /// The ServiceAccount's name as a user; without one, it was the engine itself.
    pub(super) user: Option<String>,
    /// What it wanted to do.
    pub(super) verbs: &'static [&'static str],
    /// The API group.
    pub(super) group: String,
    /// The plural of the kind.
    pub(super) resource: String,
    /// The namespace, where there is one.
    pub(super) namespace: Option<String>,
    /// The API server's own words.
    pub(super) message: String,
}

impl std::error::Error for Denied {}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, verbs, group, resource, namespace, message } = self;
        write!(f, "{} may not {} {resource}", user.as_deref().unwrap_or("the engine"), verbs.join(" or "))?;
        if let Some(namespace) = namespace {
            write!(f, " in {namespace}")?;
        }
        let role = match user {
            None => "a ClusterRole with the label core.ochre.dev/aggregate-to-engine: \"true\"",
            Some(_) => "a Role that is bound to it",
        };
        let verbs = verbs.join(", ");
        write!(
            f,
            ": {message}; to let it, give {role} the rule {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verbs}]}}"
        )
    }
}
