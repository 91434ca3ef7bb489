//! What is answered to a GraphQL request, on every transport.

use std::collections::BTreeMap;
use std::time::Duration;

use async_graphql::{Pos, Response, ServerError, Value};
use ochre_core::code::Code;
use serde::Serialize;

/// After how many seconds to try again when the cluster does not answer.
pub(super) const RETRY_AFTER: u64 = 5;

/// The most errors of a document that are told; whoever mends them asks again.
const MOST_ERRORS: usize = 50;

/// The most characters of a message that quotes what was sent.
const MOST_QUOTED: usize = 1000;

/// A GraphQL response; without data when nothing was run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    /// What went wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ServerError>,
    /// What the operation yields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// What else is to be known of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, Value>,
}

impl From<ServerError> for Answer {
    fn from(error: ServerError) -> Self {
        Self { errors: vec![error], ..Self::default() }
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let Response { data, mut errors, extensions, .. } = response;
        // What has no place in the data was found in the document, before anything ran.
        let has_run =
            errors.is_empty() || data != Value::Null || errors.iter().any(|error| !error.path.is_empty());
        if !has_run {
            errors.truncate(MOST_ERRORS);
        }
        for error in &mut errors {
            // Errors of ours have their code.
            let known = error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some());
            if !known {
                shorten(&mut error.message);
                set_code(error, if has_run { Code::BadUserInput } else { Code::GraphqlValidationFailed });
            }
        }
        Self { errors, data: has_run.then_some(data), extensions }
    }
}

impl Answer {
    /// Answers for an operation that took longer than it may.
    pub(super) fn given_up(limit: Duration) -> Self {
        let message = format!(
            "the operation passes the limit `time`, {limit:?}; look what of it was done before you send it again"
        );
        // It has begun, so there is data, of which nothing is known.
        Self { data: Some(Value::Null), ..error(Code::LimitExceeded, message, Vec::new()).into() }
    }

    /// Prints it, on one line.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "an answer is not JSON");
            let code = Code::Internal.as_str();
            format!(r#"{{"errors":[{{"message":"internal error","extensions":{{"code":"{code}"}}}}]}}"#)
        })
    }

    /// Names the request in every error, so that its log lines can be found.
    pub(super) fn of(mut self, request: &str) -> Self {
        for error in &mut self.errors {
            name(error, request);
        }
        self
    }

    /// Tells the code of what went wrong first.
    pub(super) fn code(&self) -> Option<&str> {
        match self.errors.first()?.extensions.as_ref()?.get("code")? {
            Value::String(code) => Some(code),
            _ => None,
        }
    }

    /// Tells whether nothing was run, since the request itself is wrong.
    pub(super) const fn is_of_wrong_request(&self) -> bool {
        self.data.is_none()
    }
}

/// Makes an error with its code.
pub(super) fn error(code: Code, message: impl Into<String>, locations: Vec<Pos>) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.locations = locations;
    set_code(&mut error, code);
    error
}

/// Names the request in an error.
pub(super) fn name(error: &mut ServerError, request: &str) {
    error.extensions.get_or_insert_default().set("requestId", request);
}

/// Cuts a message that quotes too much.
fn shorten(message: &mut String) {
    if message.len() > MOST_QUOTED {
        *message = message.chars().take(MOST_QUOTED).chain(['…']).collect();
    }
}

fn set_code(error: &mut ServerError, code: Code) {
    error.extensions.get_or_insert_default().set("code", code.as_str());
}
