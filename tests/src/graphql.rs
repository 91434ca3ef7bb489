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
}

/// Posts an operation.
pub(crate) async fn post(
    url: &str,
    namespace: &str,
    query: &str,
    variables: Value,
) -> anyhow::Result<Answer> {
    let request = reqwest::Client::new()
        .post(url)
        .header("NAMESPACE", namespace)
        .json(&json!({"query": query, "variables": variables}));
    let answer = request.send().await.context("the gateway does not answer")?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.json().await? })
}
