//! The request of which a WebSocket is made.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::server::create_response;

use super::protocol::PROTOCOL;
use crate::gateway::refusal::Refusal;

/// A request for a WebSocket that follows the rules.
pub(in crate::gateway) struct Handshake {
    /// Yields the connection once the response is sent.
    pub upgrade: OnUpgrade,
    /// Says that it becomes a WebSocket.
    pub response: Response,
    /// Whether the client speaks the protocol.
    pub speaks: bool,
}

impl Handshake {
    /// Reads the head of a request.
    pub(in crate::gateway) fn read(parts: &mut Parts) -> Result<Self, Refusal> {
        let mut request = Request::new(());
        *request.method_mut() = parts.method.clone();
        *request.version_mut() = parts.version;
        request.headers_mut().clone_from(&parts.headers);
        let response = create_response(&request).map_err(|why| Refusal::Handshake(why.to_string()))?;
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| Refusal::Handshake("the connection stays HTTP".to_owned()))?;
        let mut response = response.map(|()| Body::empty());
        let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let speaks = offered
            .filter_map(|line| line.to_str().ok())
            .any(|line| line.split(',').any(|protocol| protocol.trim() == PROTOCOL));
        if speaks {
            let protocol = HeaderValue::from_static(PROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        Ok(Self { upgrade, response, speaks })
    }
}
