//! A GraphQL client as small as a pipeline's.

use anyhow::Context as _;
use serde_json::{Value, json};

/// What the gateway answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Value,
}

impl Answer {
    /// Takes the data; fails when there are errors.
    pub fn data(self) -> Value {
        assert!(self.body["errors"].is_null(), "errors: {:#}", self.body);
        self.body["data"].clone()
    }

    /// Takes the code and the message of the only error; fails when there is none.
    pub fn error(&self) -> (String, String) {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(errors.len(), 1, "one error: {:#}", self.body);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&errors[0]["extensions"]["code"]), text(&errors[0]["message"]))
    }

    /// Takes the violations of the only error, as `pointer: message`.
    pub fn violations(&self) -> Vec<String> {
        let violations = self.body["errors"][0]["extensions"]["violations"].as_array();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |each: &Value| format!("{}: {}", text(&each["pointer"]), text(&each["message"]));
        violations.into_iter().flatten().map(line).collect()
    }

    /// Fails unless the only error has this code and its message says all of this.
    pub fn refuses(&self, code: &str, says: &[&str]) {
        let (found, message) = self.error();
        assert_eq!(found, code, "{message}");
        for part in says {
            assert!(message.contains(part), "`{part}` is not said in: {message}");
        }
    }
}

/// Posts an operation.
pub(crate) async fn post(
    url: &str,
    namespace: &str,
    query: &str,
    variables: Value,
) -> anyhow::Result<Answer> {
    post_body(url, namespace, &json!({"query": query, "variables": variables})).await
}

/// Posts a whole GraphQL request.
pub(crate) async fn post_body(url: &str, namespace: &str, body: &Value) -> anyhow::Result<Answer> {
    post_by(None, url, namespace, body).await
}

/// Posts a whole GraphQL request as somebody.
pub(crate) async fn post_by(
    authorization: Option<&str>,
    url: &str,
    namespace: &str,
    body: &Value,
) -> anyhow::Result<Answer> {
    let mut request = reqwest::Client::new().post(url).header("NAMESPACE", namespace).json(body);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.context("the gateway does not answer")?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.json().await? })
}
