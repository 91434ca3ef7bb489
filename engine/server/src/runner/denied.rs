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

impl Denied {
    /// Names the ServiceAccount, by namespace and name, as which the engine may not act: what that one may was not asked.
    ///
    /// Kubernetes refuses the verb `impersonate`, and from 1.36 on `impersonate-on:serviceaccount:…` in its place.
    fn unlent(&self) -> Option<(&str, &str)> {
        let is_unlent = self.message.contains(" cannot impersonate");
        let account = self.user.as_deref().filter(|_| is_unlent)?.strip_prefix("system:serviceaccount:")?;
        account.split_once(':')
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, verbs, group, resource, namespace, message } = self;
        if let Some((namespace, account)) = self.unlent() {
            return write!(
                f,
                "the engine may not act as the ServiceAccount {account} of {namespace}: {message}; to let it, bind in \
                 {namespace}, to the ServiceAccount of the engine, a Role with the rule {{apiGroups: [\"\"], resources: \
                 [serviceaccounts], resourceNames: [{account}], verbs: [impersonate]}}, as `ochre catalog rbac \
                 --service-account {account}` prints it"
            );
        }
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
