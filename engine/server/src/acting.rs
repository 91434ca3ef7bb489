//! Reaches the cluster as a user, for what a workflow does beyond Velero's objects.

use http::{HeaderName, HeaderValue, Request};
use kube::Client;
use kube::client::Body;
use tower::{BoxError, service_fn};

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");

/// Makes a client that does everything as a user, over the engine's own connections.
///
/// A ServiceAccount's groups are added by the API server itself.
pub(crate) fn acting_as(engine: &Client, user: Option<&str>) -> Client {
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
