//! graphql-transport-ws as a conversation: what a client says, and what follows from it. Nothing here waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::gateway::answer::{self, Answer};
use crate::gateway::json;
use crate::gateway::measure::Exceeded;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::Parameters;
use crate::gateway::scan;
use crate::options::Limits;
use ochre_core::code::Code;

/// The name of the protocol.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";

/// The most bytes of a reason for closing, by the rules of WebSockets.
const MAX_REASON: usize = 123;

/// The end of a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    /// The code: WebSocket's own, or the protocol's from 4400 on.
    pub code: u16,
    /// Why, for people.
    pub reason: String,
}

impl Close {
    /// Closes with a code, and with as much of the reason as may be told.
    fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        while reason.len() > MAX_REASON {
            reason.pop();
        }
        Self { code, reason }
    }

    /// The server stops.
    pub(super) fn going_away() -> Self {
        Self::new(1001, "the server stops; connect again")
    }

    /// A text is not UTF-8.
    pub(super) fn not_utf8() -> Self {
        Self::new(1007, "a text is not UTF-8")
    }

    /// A message is larger than is read.
    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(1009, format!("a message is larger than {limit} bytes, the limit `body`"))
    }

    /// A message is larger than is read of a client that is not known.
    pub(super) fn first_too_large(limit: usize) -> Self {
        Self::new(
            1009,
            format!("a message before connection_ack is larger than {limit} bytes (--limit-headers)"),
        )
    }

    /// There is no room for a message now.
    pub(super) fn try_again(refusal: &Refusal) -> Self {
        Self::new(1013, refusal.to_string())
    }

    /// A message is none of the protocol's.
    pub(super) fn invalid(why: impl std::fmt::Display) -> Self {
        Self::new(4400, format!("Invalid message: {why}"))
    }

    /// An operation came before the connection was acknowledged.
    fn unauthorized() -> Self {
        Self::new(4401, "Unauthorized")
    }

    /// The connection is not wanted.
    pub(super) fn forbidden(why: &str) -> Self {
        Self::new(4403, format!("Forbidden: {why}"))
    }

    /// The client speaks another protocol.
    pub(super) fn not_acceptable() -> Self {
        Self::new(4406, "Subprotocol not acceptable")
    }

    /// The client did not begin in time.
    pub(super) fn init_timeout() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    /// Two operations would have one name.
    fn subscriber_exists(id: &str) -> Self {
        Self::new(4409, format!("Subscriber for {id} already exists"))
    }

    /// The client began twice.
    fn too_many_inits() -> Self {
        Self::new(4429, "Too many initialisation requests")
    }

    /// A defect of ours.
    pub(super) fn internal() -> Self {
        Self::new(4500, "Internal server error")
    }
}

/// What follows from a message.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// The connection begins, with what the client says of itself.
    Begin(Map<String, Value>),
    /// This is sent.
    Say(Value),
    /// An operation begins.
    Start {
        /// Its name.
        id: String,
        /// What it is.
        parameters: Parameters,
    },
    /// An operation is not wanted any more.
    Stop {
        /// Its name.
        id: String,
    },
    /// Nothing.
    Nothing,
}

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    ConnectionInit {
        payload: Option<Map<String, Value>>,
    },
    Ping {
        payload: Option<Map<String, Value>>,
    },
    // Only its form matters.
    Pong {
        #[serde(rename = "payload")]
        _payload: Option<Map<String, Value>>,
    },
    Subscribe {
        id: String,
        payload: Value,
    },
    Complete {
        id: String,
    },
}

/// Where a conversation stands.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The connection's id.
    connection: Arc<str>,
    has_begun: bool,
    operations: BTreeSet<String>,
    limits: Limits,
}

impl Conversation {
    /// Begins with nothing said.
    pub(super) fn new(connection: Arc<str>, limits: &Limits) -> Self {
        Self { connection, has_begun: false, operations: BTreeSet::new(), limits: limits.clone() }
    }

    /// Tells whether the client has begun.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Hears a message.
    pub(super) fn hear(&mut self, text: &str) -> Result<Reply, Close> {
        scan::values(text.as_bytes(), &self.limits).map_err(Close::invalid)?;
        // As an object first: an array would be taken for the fields in their order.
        let fields = json::read(text.as_bytes()).map_err(Close::invalid)?;
        let fields: Map<String, Value> = serde_json::from_value(fields).map_err(Close::invalid)?;
        match serde_json::from_value(Value::Object(fields)).map_err(Close::invalid)? {
            Message::ConnectionInit { .. } if self.has_begun => Err(Close::too_many_inits()),
            Message::ConnectionInit { payload } => {
                self.has_begun = true;
                Ok(Reply::Begin(payload.unwrap_or_default()))
            }
            Message::Ping { payload: Some(payload) } => {
                Ok(Reply::Say(json!({"type": "pong", "payload": payload})))
            }
            Message::Ping { payload: None } => Ok(Reply::Say(json!({"type": "pong"}))),
            Message::Subscribe { id, payload } => {
                let parameters = Parameters::from_json(payload).map_err(Close::invalid)?;
                self.start(id, parameters)
            }
            Message::Complete { id } if self.operations.remove(&id) => Ok(Reply::Stop { id }),
            // An operation may have ended while this was on its way.
            Message::Pong { .. } | Message::Complete { .. } => Ok(Reply::Nothing),
        }
    }

    fn start(&mut self, id: String, parameters: Parameters) -> Result<Reply, Close> {
        if id.is_empty() {
            return Err(Close::invalid("the id is empty"));
        }
        if !self.has_begun {
            return Err(Close::unauthorized());
        }
        if self.operations.contains(&id) {
            return Err(Close::subscriber_exists(&id));
        }
        let number = self.operations.len() + 1;
        if let Err(exceeded) = Exceeded::check("operations", number, self.limits.operations) {
            let mut error = answer::error(Code::LimitExceeded, exceeded.to_string(), Vec::new());
            answer::name(&mut error, &self.connection);
            return Ok(Reply::Say(json!({"id": id, "type": "error", "payload": [error]})));
        }
        self.operations.insert(id.clone());
        Ok(Reply::Start { id, parameters })
    }

    /// Has an answer to say; after an error nothing more is said of its operation.
    pub(super) fn answer(&mut self, id: &str, answer: &Answer) -> Value {
        if answer.is_of_wrong_request() {
            self.operations.remove(id);
            return json!({"id": id, "type": "error", "payload": answer.errors});
        }
        json!({"id": id, "type": "next", "payload": answer})
    }

    /// Has no more answers to an operation; says so unless that is known.
    pub(super) fn end(&mut self, id: &str) -> Option<Value> {
        self.operations.remove(id).then(|| json!({"id": id, "type": "complete"}))
    }
}

/// That the connection has begun.
pub(super) fn acknowledgement() -> Value {
    json!({"type": "connection_ack"})
}

#[cfg(test)]
mod tests;
