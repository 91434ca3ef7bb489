//! What a fuzzer leads of the WebSockets.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

use super::protocol::{Conversation, Reply};
use crate::gateway::fuzzing::run;
use crate::options::Limits;

/// Reads bytes as what a client says on a WebSocket: as frames, and as messages, one a line.
pub fn socket(bytes: &[u8]) {
    let mut conversation = Conversation::new("fuzz".into(), &Limits { operations: 3, ..Limits::default() });
    let mut frames = WebSocket::from_raw_socket(Cursor::new(bytes.to_vec()), Role::Server, None);
    while let Ok(message) = frames.read() {
        if let Message::Text(text) = message
            && !hear(&mut conversation, &text)
        {
            break;
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut conversation = Conversation::new("fuzz".into(), &Limits { operations: 3, ..Limits::default() });
    for line in text.lines() {
        if !hear(&mut conversation, line) {
            break;
        }
    }
}

/// Hears a message; tells whether the connection is still open.
fn hear(conversation: &mut Conversation, text: &str) -> bool {
    match conversation.hear(text) {
        Ok(Reply::Start { id, parameters }) => {
            run(parameters);
            let _ = conversation.end(&id);
            true
        }
        Ok(Reply::Begin(_) | Reply::Say(_) | Reply::Stop { .. } | Reply::Nothing) => true,
        Err(_) => false,
    }
}
