//! Acts as a ServiceAccount, for what a workflow does beyond Velero's objects.

use ochre_core::action::Action;
use ochre_core::decide::ObjectKey;

/// Names the user as whom an object is reached; nobody when that is the engine itself.
pub(super) fn user(action: &Action, key: &ObjectKey) -> Option<String> {
    let namespace = action.metadata.namespace.as_deref().unwrap_or_default();
    key.account.as_ref().map(|name| format!("system:serviceaccount:{namespace}:{name}"))
}
