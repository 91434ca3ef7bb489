//! A client of graphql-transport-ws that may break every rule.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use crate::Engine;

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A message.
    Message(Value),
    /// The end, with its code and reason.
    Close(u16, String),
    /// The end without a word.
    Gone,
}

impl Said {
    /// Takes a message; fails when it is the end.
    pub fn message(self) -> Value {
        match self {
            Self::Message(message) => message,
            end => panic!("{end:?}"),
        }
    }

    /// Takes the code and the reason; fails unless the server closed.
    pub fn closed(self) -> (u16, String) {
        match self {
            Self::Close(code, reason) => (code, reason),
            other => panic!("{other:?}"),
        }
    }
}

/// A connection.
pub struct Socket(WebSocketStream<TcpStream>);

impl Engine {
    /// Connects with the protocol, and has begun.
    pub async fn socket(&self) -> Socket {
        self.raw_socket(&[PROTOCOL]).await.begin().await
    }

    /// Connects as [`Self::socket`] does, with a receive buffer that a single answer fills.
    pub async fn narrow_socket(&self) -> Socket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let address = self.url.trim_start_matches("http://").parse().unwrap();
        self.handshake(socket.connect(address).await.unwrap(), &[PROTOCOL]).await.begin().await
    }

    /// Connects with headers, and has said nothing.
    pub async fn raw_socket(&self, headers: &[(&'static str, &str)]) -> Socket {
        let stream = TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap();
        self.handshake(stream, headers).await
    }

    async fn handshake(&self, stream: TcpStream, headers: &[(&'static str, &str)]) -> Socket {
        let mut request =
            format!("{}/graphql", self.url.replace("http://", "ws://")).into_client_request().unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Socket(socket)
    }
}

impl Socket {
    async fn begin(mut self) -> Self {
        self.say(json!({"type": "connection_init"})).await;
        assert_eq!(self.hear().await, Said::Message(json!({"type": "connection_ack"})));
        self
    }

    /// Says something.
    pub async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    /// Sends a message of any kind; the server may have gone already.
    pub async fn send(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// Starts an operation.
    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({"query": query, "variables": variables});
        self.say(json!({"type": "subscribe", "id": id, "payload": payload})).await;
    }

    /// Waits for what the server says, past its pings.
    pub async fn hear(&mut self) -> Said {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Said::Message(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Said::Close(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_) | Err(_)) | None => return Said::Gone,
            }
        }
    }

    /// Hears how the connection ends, past all messages.
    pub async fn end(&mut self) -> Said {
        loop {
            match self.hear().await {
                Said::Message(_) => {}
                end => return end,
            }
        }
    }

    /// Waits for the server's WebSocket ping, which answers itself as the next is read.
    pub async fn is_pinged(&mut self) -> bool {
        matches!(self.0.next().await, Some(Ok(Message::Ping(_))))
    }

    /// Opens the connection beneath, to break the rules of WebSockets.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }
}
