//! ServiceAccounts whose rights workflows have, and a catalog of what such a workflow does.

use std::path::Path;

use ochre::content;
use ochre_core::catalog::Loaded;
use serde_json::{Value, json};

use crate::graphql::Answer;
use crate::people::{LABEL, RBAC};
use crate::{Engine, Person, Rule, World};

/// The folder of a catalog with an action that keeps a text in a ConfigMap and lets it go, and one that looks at a
/// Backup.
pub const KEEPING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/keeping");

/// Loads that catalog.
pub fn keeping() -> Loaded {
    let loaded = content::load(Some(Path::new(KEEPING))).unwrap();
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded
}

/// The rule that lets the engine act as an account of the namespace `default`.
pub fn lent(account: &str) -> Rule {
    let grants = json!({
        "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [account], "verbs": ["impersonate"],
    });
    Rule { role: format!("acts-as-{account}"), namespace: Some("default".to_owned()), grants }
}

impl World {
    /// Lets the engine act as an account of the namespace `default`, as its owner does.
    pub async fn lend(&self, account: &str) {
        let engine = json!({"kind": "ServiceAccount", "name": "ochre", "namespace": "ochre-system"});
        self.bind(&engine, Some("default"), &[lent(account).grants]).await;
    }

    /// Makes a ServiceAccount in the namespace `default` that has these rules there, and no other right, and lends it
    /// to the engine.
    pub async fn account(&self, name: &str, rules: &[Value]) {
        self.unlent_account(name, rules).await;
        self.lend(name).await;
    }

    /// Makes a ServiceAccount in the namespace `default` that has these rules there, and lends it to nobody.
    pub async fn unlent_account(&self, name: &str, rules: &[Value]) {
        let accounts = self.api("v1", "ServiceAccount", Some("default"));
        if accounts.get_opt(name).await.unwrap().is_none() {
            let metadata = json!({"name": name, "namespace": "default"});
            self.create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await;
        }
        if rules.is_empty() {
            return;
        }
        let metadata = json!({"name": name, "namespace": "default", "labels": {(LABEL): ""}});
        self.create(json!({"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": rules})).await;
        self.create(json!({
            "apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        }))
        .await;
    }
}

impl Engine {
    /// Creates an Action that keeps a text with an account's rights, to be run at once.
    pub async fn keep(&self, name: &str, account: Option<&str>) -> Answer {
        self.keep_by(None, name, account).await
    }

    /// Creates such an Action as somebody.
    pub async fn keep_by(&self, person: Option<&Person>, name: &str, account: Option<&str>) -> Answer {
        let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name serviceAccountName } }";
        let input = json!({
            "name": name, "run": true, "actionRef": {"path": "cap.interface.test.keep"},
            "serviceAccountName": account,
        });
        self.graphql_by(person, query, json!({"in": input})).await
    }
}
