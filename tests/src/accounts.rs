//! ServiceAccounts whose rights workflows have, and a catalog of what such a workflow does.

use ochre::content;
use ochre_core::catalog::{Catalog, Loaded, SourceFile};
use serde_json::{Value, json};

use crate::graphql::Answer;
use crate::people::{LABEL, RBAC};
use crate::{Engine, Person, World};

const GROUP: &str = "kind: InterfaceGroup
metadata: {name: test, description: Tests., maintainers: [{email: a@b.c}]}
";

const INTERFACE: &str = "kind: Interface
revision: 0.1.0
metadata: {name: keep, description: Keeps a text., maintainers: [{email: a@b.c}]}
spec:
  output: {}
  input: {parameters: {input: {jsonSchema: {value: {type: object, properties: {text: {type: string, default: kept}}}}}}}
";

const IMPLEMENTATION: &str = "kind: Implementation
revision: 0.1.0
metadata: {name: keep, description: Keeps a text., maintainers: [{email: a@b.c}], license: {name: Apache-2.0}}
spec:
  outputTypeInstanceRelations: {}
  implements: [{path: cap.interface.test.keep}]
  action:
    runnerInterface: workflow.run
    args:
      workflow: |
        apiVersion: core.ochre.dev/v1alpha1
        kind: Workflow
        steps:
          - name: make
            resource:
              action: create
              manifest: {apiVersion: v1, kind: ConfigMap, data: {text: {{text}} }}
          - name: find
            resource:
              action: get
              manifest: {apiVersion: v1, kind: ConfigMap, metadata: {name: {$cel: steps.make.outputs.name}}}
            outputs: {text: object.data.text}
          - name: wait
            when: steps.make.object.data.text == steps.find.outputs.text
            resource:
              action: wait
              manifest: {apiVersion: v1, kind: ConfigMap, metadata: {name: {$cel: steps.make.outputs.name}}}
          - name: clear
            resource:
              action: delete
              manifest: {apiVersion: v1, kind: ConfigMap, metadata: {name: {$cel: steps.make.outputs.name}}}
";

/// The manifests of a catalog whose one action keeps a text in a ConfigMap, and lets it go.
pub fn keeping_files() -> Vec<(&'static str, String)> {
    let files = [
        ("interface/test.yaml", GROUP),
        ("interface/test/keep.yaml", INTERFACE),
        ("implementation/test/keep.yaml", IMPLEMENTATION),
    ];
    files.map(|(path, text)| (path, format!("ocfVersion: 0.0.1\n{text}"))).to_vec()
}

/// Loads that catalog.
pub fn keeping() -> Loaded {
    let files = keeping_files().into_iter().map(|(path, text)| SourceFile { path: path.to_owned(), text });
    let loaded = Catalog::load(files);
    assert!(content::errors(&loaded).next().is_none(), "{:?}", loaded.problems);
    loaded
}

impl World {
    /// Makes a ServiceAccount in the namespace `default` that has these rules there, and no other right.
    pub async fn account(&self, name: &str, rules: &[Value]) {
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
