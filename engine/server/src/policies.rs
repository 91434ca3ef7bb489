//! Whether the cluster keeps everybody who writes Actions to their own name, and lets this engine name others.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use ochre_core::action::{Action, ActionRef, ActionSpec, RequestedBy, UserInfo};

/// What manifests/admission installs: kinds and names.
const INSTALLED: [(&str, &str); 4] = [
    ("MutatingAdmissionPolicy", "ochre-identity"),
    ("MutatingAdmissionPolicyBinding", "ochre-identity"),
    ("ValidatingAdmissionPolicy", "ochre-rights"),
    ("ValidatingAdmissionPolicyBinding", "ochre-rights"),
];
/// A name that nobody has.
const SOMEBODY: &str = "ochre:somebody";

/// Lists which of the policies and their bindings the cluster lacks, as kind and name.
pub(crate) async fn missing(client: &Client) -> kube::Result<Vec<String>> {
    let mut missing = Vec::new();
    for (kind, name) in INSTALLED {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        match all.get_metadata(name).await {
            Ok(_) => {}
            // An older server has no such kind.
            Err(kube::Error::Api(status)) if status.code == 404 => missing.push(format!("{kind} {name}")),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// Says once what holds where the policies are not there.
pub(crate) async fn warn(client: &Client) {
    match missing(client).await {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => tracing::warn!(
            missing = missing.join(", "),
            "the cluster lacks admission policies: Actions written past the gateway name nobody and do not run, but \
             whoever may write them can put another's name in and have that one's rights; apply them with \
             `kubectl apply -k manifests/admission` (Kubernetes 1.36), or let nobody else write Actions"
        ),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "it cannot be told whether the cluster has the admission policies of manifests/admission"
        ),
    }
}

/// Tells whether the policy that names who asks takes what Velero writes, in its namespace, for no request; where the
/// policy is not there, it takes nothing for one.
pub(crate) async fn knows(client: &Client, velero_namespace: &str) -> kube::Result<bool> {
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy");
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let policy = match all.get("ochre-identity").await {
        Ok(policy) => policy,
        // An older server has no such kind.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(true),
        Err(error) => return Err(error),
    };
    let variables = policy.data["spec"]["variables"].as_array();
    let brought = variables.into_iter().flatten().find(|variable| variable["name"] == "isBrought");
    let expression = brought.and_then(|variable| variable["expression"].as_str()).unwrap_or_default();
    Ok(expression.contains(&format!("'system:serviceaccounts:{velero_namespace}'")))
}

/// Tells in whose name the cluster would take what the engine asks for somebody else; without one, in that other's.
pub(crate) async fn renamed(client: &Client) -> kube::Result<Option<String>> {
    let spec = ActionSpec {
        action_ref: ActionRef { path: "cap.interface.none".to_owned(), revision: None },
        attempt: 1,
        requested_by: Some(RequestedBy {
            create: Some(UserInfo { username: SOMEBODY.to_owned(), ..UserInfo::default() }),
            ..RequestedBy::default()
        }),
        ..ActionSpec::default()
    };
    let mut action = Action::new("", spec);
    action.metadata.name = None;
    action.metadata.generate_name = Some("ochre-".to_owned());
    let actions: Api<Action> = Api::default_namespaced(client.clone());
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let taken = actions.create(&dry, &action).await?.spec.requested_by.and_then(|by| by.create);
    Ok(taken.map(|by| by.username).filter(|name| name != SOMEBODY))
}
