//! GraphQL over WebSocket: the connection of one client.

#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod handshake;
mod metered;
mod protocol;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use axum::response::Response;
use futures::SinkExt as _;
use futures::future::{AbortHandle, Abortable};
use futures::stream::{self, BoxStream, SelectAll, Stream, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use ochre_core::selector::is_dns_label;
use serde_json::{Map, Value};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::Instrument as _;

use super::Asked;
use super::answer::Answer;
use super::buffer::Answers;
use super::http::Front;
use super::ids::Ids;
use super::record::Record;
use super::request::Parameters;
use crate::identity::Caller;
use crate::listen::Place;
pub(super) use handshake::Handshake;
use metered::Metered;
use protocol::{Close, Conversation, Reply};

/// How many bytes are read from a client at a time; each connection has as many for itself, and they are mostly silent.
const READ_BUFFER: usize = 4096;

/// Takes a client that wants a WebSocket; one that is refused is told why by the code that closes it, since
/// browsers tell their pages nothing else.
pub(super) fn accept(
    handshake: Handshake,
    front: Front,
    ids: Ids,
    namespace: String,
    authorization: Option<String>,
    is_trusted: bool,
    place: Option<Place>,
) -> Response {
    let limit = front.options.limits.body;
    let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    let config = config.read_buffer_size(READ_BUFFER);
    let Handshake { upgrade, response, speaks } = handshake;
    // Held from now on, since it opens beside the request.
    let held = front.open.token();
    let span = tracing::error_span!("connection", request.id = &*ids.request, trace.id = ids.trace.id());
    let serve = async move {
        let _held = held;
        let stream = match upgrade.await {
            Ok(stream) => Metered::new(TokioIo::new(stream), front.options.connections.headers),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "no WebSocket comes of a connection"
                );
                return;
            }
        };
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let conversation = Conversation::new(Arc::clone(&ids.request), &front.options.limits);
        let mut connection = Connection {
            socket,
            front,
            ids,
            begun: 0,
            namespace,
            authorization,
            place,
            caller: Caller::Anybody,
            conversation,
            operations: HashMap::new(),
            answers: SelectAll::new(),
        };
        let end = if !speaks {
            End::Close(Close::not_acceptable())
        } else if is_trusted {
            connection.serve().await
        } else {
            End::Close(Close::forbidden("pages of this origin are not trusted (--trusted-origin)"))
        };
        if let End::Close(close) = end {
            connection.close(close).await;
        }
    };
    tokio::spawn(serve.instrument(span));
    response
}

/// How a connection ends.
enum End {
    /// The client is told.
    Close(Close),
    /// The client is gone, or does not read.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// What comes of an operation: an answer, that there are no more, or that it panicked.
#[derive(Debug)]
enum Outcome {
    Answer(Answer),
    End,
    Panic,
}

/// Follows an operation to its end, of whichever kind.
fn outcomes(answers: impl Stream<Item = Answer>) -> impl Stream<Item = Outcome> {
    let answers = AssertUnwindSafe(answers).catch_unwind();
    let outcomes = answers.map(|answer| answer.map_or(Outcome::Panic, Outcome::Answer));
    outcomes.chain(stream::iter([Outcome::End]))
}

/// What one client is connected to.
///
/// Nothing is kept for a client that does not read: while it is written to, no answers are looked for.
struct Connection {
    socket: WebSocketStream<Metered<TokioIo<Upgraded>>>,
    front: Front,
    ids: Ids,
    /// How many operations have begun.
    begun: usize,
    namespace: String,
    /// What says who it is, of the handshake or of the beginning.
    authorization: Option<String>,
    /// Where the client is, and its place among the connections.
    place: Option<Place>,
    /// Who it is; known before the first operation.
    caller: Caller,
    conversation: Conversation,
    operations: HashMap<String, AbortHandle>,
    answers: SelectAll<BoxStream<'static, (String, Answers, Outcome)>>,
}

impl Connection {
    /// Serves until one side has enough.
    async fn serve(&mut self) -> End {
        let patience = Instant::now() + self.front.options.init_timeout;
        let mut quiet = interval(self.front.options.keep_alive);
        quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        quiet.tick().await;
        let mut was_heard = true;
        let stopped = self.front.stop.clone();
        let place = self.place.clone();
        let mut crowded_out = pin!(async move {
            match &place {
                Some(place) => place.crowded_out().await,
                None => std::future::pending().await,
            }
        });
        loop {
            let step = tokio::select! {
                () = stopped.cancelled() => Err(Close::going_away().into()),
                () = sleep_until(patience), if !self.conversation.has_begun() => Err(Close::init_timeout().into()),
                () = crowded_out.as_mut(), if !self.conversation.has_begun() => Err(End::Gone),
                _ = quiet.tick() => self.look_after(std::mem::take(&mut was_heard)).await,
                message = self.socket.next() => {
                    was_heard = true;
                    self.hear(message).await
                }
                Some((id, answers, outcome)) = self.answers.next() => self.tell(&id, &answers, outcome).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Sees from time to time that the client is there, and that its token still holds.
    async fn look_after(&mut self, was_heard: bool) -> Result<(), End> {
        // Everybody answers a ping, and who was not heard since the last is not there.
        if !was_heard {
            return Err(End::Gone);
        }
        if self.conversation.has_begun()
            && !self.front.identity.is_still_known(self.authorization.as_deref()).await
        {
            return Err(Close::forbidden("the bearer token has ended; connect again with a new one").into());
        }
        self.send(Message::Ping(Vec::new().into())).await
    }

    async fn hear(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => {
                return Err(Close::invalid("it is binary, and must be text").into());
            }
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                self.socket.get_mut().heard_control(payload.len());
                return Ok(());
            }
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => return Err(End::Gone),
            Some(Err(error)) => return Err(self.broken(&error)),
        };
        self.socket.get_mut().heard();
        match self.conversation.hear(&text)? {
            Reply::Begin(payload) => {
                self.begin(&payload).await?;
                self.say(&protocol::acknowledgement()).await
            }
            Reply::Say(said) => self.say(&said).await,
            Reply::Start { id, parameters } => {
                self.start(id, parameters, text.len());
                Ok(())
            }
            Reply::Stop { id } => {
                self.forget(&id);
                Ok(())
            }
            Reply::Nothing => Ok(()),
        }
    }

    /// Finds out who has connected, and what about.
    async fn begin(&mut self, payload: &Map<String, Value>) -> Result<(), Close> {
        if let Some(namespace) = namespace(payload)? {
            self.namespace = namespace;
        }
        if let Some(authorization) = entry(payload, "authorization")? {
            self.authorization = authorization.as_str().map(str::to_owned);
        }
        let peer = self.place.as_ref().map(|place| place.peer);
        self.caller = self.front.identity.caller(self.authorization.as_deref(), peer).await.map_err(
            |error| match error {
                error if error.is_ours() => Close::internal(),
                error => Close::forbidden(&error.to_string()),
            },
        )?;
        if let Some(place) = &self.place {
            place.identified();
        }
        self.socket.get_mut().charge(self.front.buffer.room(&self.caller))
    }

    fn start(&mut self, id: String, parameters: Parameters, bytes: usize) {
        self.begun += 1;
        let mut record = Record::begin(self.ids.operation(self.begun), self.front.metrics.clone());
        record.asked_by(&self.caller);
        let mut room = self.front.buffer.room(&self.caller);
        let held = Answers::new(self.front.answers.room(&self.caller));
        let admitted = self.front.quotas.admit(&self.caller).and_then(|()| room.keep(bytes));
        let prepared = admitted.map_err(|refusal| refusal.error()).and_then(|()| {
            let prepared = parameters.prepare(&self.front.options.limits, &self.front.documents)?;
            record.asks(&prepared);
            let subscribed = self.front.subscribed(Some(prepared.kind), &self.caller);
            let subscribed = subscribed.map_err(|refusal| refusal.error())?;
            let asked = Asked {
                caller: self.caller.clone(),
                namespace: self.namespace.clone(),
                idempotency_key: None,
                request: Arc::clone(&record.ids.request),
                answers: held.clone(),
            };
            Ok((prepared.with(asked), subscribed))
        });
        let (prepared, subscribed) = prepared
            .map_or_else(|error| (Err(error), None), |(prepared, subscribed)| (Ok(prepared), subscribed));
        let answers = self.front.run(prepared, record.lasting()).inspect(move |_| {
            let _ = (&subscribed, &room);
        });
        let (name, (handle, registration)) = (id.clone(), AbortHandle::new_pair());
        let outcomes = outcomes(answers).map(move |outcome| (name.clone(), held.clone(), outcome));
        self.operations.insert(id, handle);
        self.answers.push(Abortable::new(outcomes, registration).boxed());
    }

    /// Lets an operation end where it is.
    fn forget(&mut self, id: &str) {
        if let Some(operation) = self.operations.remove(id) {
            operation.abort();
        }
    }

    async fn tell(&mut self, id: &str, answers: &Answers, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Outcome::Answer(answer) => {
                if answer.is_of_wrong_request() {
                    self.forget(id);
                }
                let said = self.conversation.answer(id, &answer).to_string();
                drop(answer);
                answers.print(said.len()).map_err(|refusal| Close::try_again(&refusal))?;
                let sent = self.send(Message::Text(said.into())).await;
                answers.read();
                sent
            }
            Outcome::End => {
                self.forget(id);
                match self.conversation.end(id) {
                    Some(said) => self.say(&said).await,
                    None => Ok(()),
                }
            }
            Outcome::Panic => Err(Close::internal().into()),
        }
    }

    async fn say(&mut self, said: &Value) -> Result<(), End> {
        self.send(Message::Text(said.to_string().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.front.options.write_timeout, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                tracing::info!("a WebSocket's client does not read; the connection ends");
                Err(End::Gone)
            }
        }
    }

    /// Says what a broken frame means; of a broken connection there is nothing to say.
    fn broken(&self, error: &Error) -> End {
        if let Some(close) = self.socket.get_ref().refusal() {
            return close.clone().into();
        }
        match error {
            Error::Utf8(_) => Close::not_utf8().into(),
            Error::Capacity(_) => Close::too_large(self.front.options.limits.body).into(),
            _ => End::Gone,
        }
    }

    /// Closes, and waits for the client to do so too, lest the reason be lost on its way.
    async fn close(mut self, close: Close) {
        tracing::debug!(code = close.code, reason = close.reason, "closes a WebSocket");
        let frame = CloseFrame { code: close.code.into(), reason: close.reason.into() };
        if self.send(Message::Close(Some(frame))).await.is_ok() {
            let closed = async { while let Some(Ok(_)) = self.socket.next().await {} };
            // It is closed either way.
            let _ = timeout(self.front.options.write_timeout, closed).await;
        }
    }
}

/// Finds what stands for a header, which is there once as the header is.
fn entry<'p>(payload: &'p Map<String, Value>, header: &str) -> Result<Option<&'p Value>, Close> {
    let mut found = payload.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Close::forbidden(&format!("{header} is given more than once; send it once"))),
        (first, None) => Ok(first.map(|(_, value)| value)),
    }
}

/// Reads the namespace that a client names as it begins: browsers let their pages set no headers.
fn namespace(payload: &Map<String, Value>) -> Result<Option<String>, Close> {
    let Some(value) = entry(payload, "namespace")? else { return Ok(None) };
    let name = value.as_str().filter(|name| is_dns_label(name));
    name.map(|name| Some(name.to_owned())).ok_or_else(|| Close::forbidden("NAMESPACE is no namespace's name"))
}

#[cfg(test)]
mod tests {
    //! How an operation goes on and ends.

    use futures::stream::{self, StreamExt as _};

    use super::{Answer, Outcome, outcomes};

    fn answer() -> Answer {
        Answer { data: Some(async_graphql::Value::Null), ..Answer::default() }
    }

    #[tokio::test]
    async fn an_operation_that_panics_is_told_apart_from_one_that_ends() {
        let good: Vec<Outcome> = outcomes(stream::iter([answer()])).collect().await;
        assert!(matches!(good[..], [Outcome::Answer(_), Outcome::End]), "{good:?}");
        let panics =
            stream::iter([false, true]).map(|panics| if panics { panic!("a defect") } else { answer() });
        let bad: Vec<Outcome> = outcomes(panics).collect().await;
        assert!(matches!(bad[..], [Outcome::Answer(_), Outcome::Panic, Outcome::End]), "{bad:?}");
    }
}
