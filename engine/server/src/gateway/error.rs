//! What a client is told when a request fails.

use async_graphql::ErrorExtensions;
use ochre_core::code::Code;
use serde_json::Value;

use super::answer::RETRY_AFTER;
use crate::content::Refused;

/// A failure with its code, and what it was about.
///
/// It has no `Display`: async-graphql would turn it into an error without a code.
#[derive(Debug)]
pub struct GatewayError {
    code: Code,
    message: String,
    violations: Vec<Value>,
}

impl GatewayError {
    /// Makes a failure of a kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), violations: Vec::new() }
    }

    /// Tells a caller what is not built yet.
    pub fn not_implemented(what: &str) -> Self {
        Self::new(
            Code::NotImplemented,
            format!("{what} is not implemented yet; leave it out, or give null or false"),
        )
    }

    /// Turns what the API server said into what a client is told.
    pub fn from_cluster(doing: &str, error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            tracing::warn!(error = error as &dyn std::error::Error, "the cluster does not answer");
            return Self::new(
                Code::UpstreamUnavailable,
                format!("{doing}: Kubernetes does not answer; nothing is lost, try again"),
            );
        };
        let code = match status.code {
            404 => Code::NotFound,
            409 => Code::Conflict,
            401 | 403 => Code::Forbidden,
            413 => Code::LimitExceeded,
            400 | 422 => Code::BadUserInput,
            429 | 500..=599 => Code::UpstreamUnavailable,
            _ => Code::Internal,
        };
        Self::new(code, format!("{doing}: {}", status.message))
    }
}

impl From<Refused> for GatewayError {
    fn from(refused: Refused) -> Self {
        Self { code: refused.code, message: refused.message, violations: refused.violations }
    }
}

impl From<GatewayError> for async_graphql::Error {
    fn from(error: GatewayError) -> Self {
        Self::new(error.message).extend_with(|_, extensions| {
            extensions.set("code", error.code.as_str());
            if error.code == Code::UpstreamUnavailable {
                extensions.set("retryAfter", RETRY_AFTER);
            }
            if !error.violations.is_empty() {
                let violations = async_graphql::Value::from_json(Value::Array(error.violations));
                extensions.set("violations", violations.unwrap_or_default());
            }
        })
    }
}
