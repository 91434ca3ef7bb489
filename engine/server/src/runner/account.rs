//! Acts as a ServiceAccount, for what a workflow does beyond Velero's objects.

use http::{HeaderName, HeaderValue, Request};
use kube::Client;
use kube::client::Body;
use ochre_core::action::Action;
use ochre_core::decide::ObjectKey;
use tower::{BoxError, service_fn};

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");

/// Names the user as whom an object is reached; nobody when that is the engine itself.
pub(super) fn user(action: &Action, key: &ObjectKey) -> Option<String> {
    let namespace = action.metadata.namespace.as_deref().unwrap_or_default();
    key.account.as_ref().map(|name| format!("system:serviceaccount:{namespace}:{name}"))
}

/// Makes a client that does everything as a user, over the engine's own connections.
///
/// A ServiceAccount's groups are added by the API server itself.
pub(super) fn acting_as(engine: &Client, user: Option<&str>) -> Client {
    let Some(user) = user.map(str::to_owned) else { return engine.clone() };
    let through = engine.clone();
    let service = service_fn(move |mut request: Request<Body>| {
        let (engine, user) = (through.clone(), HeaderValue::try_from(&user));
        async move {
            request.headers_mut().insert(IMPERSONATE_USER, user?);
            Ok::<_, BoxError>(engine.send(request).await?)
        }
    });
    Client::new(service, engine.default_namespace())
}
