//! The admission policies, and those who write Actions past the gateway.

use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::AuthInfo;
use ochre_core::action::Action;
use serde_json::json;

use crate::{Person, World};

/// What `kubectl apply -k manifests/admission` applies.
const POLICIES: [&str; 2] = [
    include_str!("../../manifests/admission/identity.yaml"),
    include_str!("../../manifests/admission/rights.yaml"),
];
/// The kinds of what that is, each with the name of its one object.
const INSTALLED: [(&str, &str); 4] = [
    ("MutatingAdmissionPolicyBinding", "ochre-identity"),
    ("MutatingAdmissionPolicy", "ochre-identity"),
    ("ValidatingAdmissionPolicyBinding", "ochre-rights"),
    ("ValidatingAdmissionPolicy", "ochre-rights"),
];

impl World {
    /// Applies the policies, and waits until they write down who asks and refuse statuses that the engine has not written:
    /// each is at work from a moment of its own.
    pub async fn put_policies(&self) {
        for manifest in POLICIES {
            ochre_sandbox::install(&self.client, manifest).await.unwrap();
        }
        self.until_stamped(true).await;
        self.until_status_is_refused().await;
    }

    /// Takes the policies away, where they are, and waits until they are at work no more.
    pub async fn take_policies_away(&self) {
        for (kind, name) in INSTALLED {
            let all = self.api("admissionregistration.k8s.io/v1", kind, None);
            if all.get_metadata_opt(name).await.unwrap().is_some() {
                all.delete(name, &DeleteParams::default()).await.unwrap();
            }
        }
        self.until_stamped(false).await;
    }

    /// Waits until an administrator's Actions are stamped, or not: a policy is at work a moment after it was made, and
    /// only its effect says so.
    async fn until_stamped(&self, wanted: bool) {
        let same =
            async { while create(&self.client).await.unwrap().spec.requested_by.is_some() != wanted {} };
        self.within(same).await;
    }

    /// Waits until an administrator may not write the status of an Action.
    async fn until_status_is_refused(&self) {
        let actions: Api<Action> = Api::namespaced(self.client.clone(), "default");
        let probe = actions.create(&PostParams::default(), &probe(false)).await.unwrap();
        let name = probe.metadata.name.unwrap();
        let forged = Patch::Merge(json!({"status": {"phase": "RUNNING"}}));
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        self.within(async { while actions.patch_status(&name, &dry, &forged).await.is_ok() {} }).await;
        actions.delete(&name, &DeleteParams::default()).await.unwrap();
    }

    /// Speaks to the cluster as somebody.
    pub fn client_of(&self, person: &Person) -> Client {
        let token = person.authorization.strip_prefix("Bearer ").unwrap().to_owned();
        let mut config = self.engine.clone();
        config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
        Client::try_from(config).unwrap()
    }

    /// Speaks to the cluster as Velero does.
    pub async fn client_of_velero(&self) -> Client {
        let accounts = self.api("v1", "ServiceAccount", Some(&self.velero_namespace));
        if accounts.get_opt("velero").await.unwrap().is_none() {
            let metadata = json!({"name": "velero", "namespace": self.velero_namespace});
            self.create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await;
        }
        self.client_of(&Person::with_token("velero", &self.token(&self.velero_namespace, "velero").await))
    }

    /// Speaks to the cluster as the engine does.
    pub fn client_of_engine(&self) -> Client {
        Client::try_from(self.engine.clone()).unwrap()
    }
}

/// Has an Action created that is to run, but not kept.
async fn create(client: &Client) -> kube::Result<Action> {
    let actions: Api<Action> = Api::namespaced(client.clone(), "default");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    actions.create(&dry, &probe(true)).await
}

fn probe(runs: bool) -> Action {
    let action = json!({
        "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": "probe"},
        "spec": {"actionRef": {"path": "cap.interface.data.backup"}, "run": runs},
    });
    serde_json::from_value(action).unwrap()
}
