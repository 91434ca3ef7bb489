//! Counts what a client sends on a WebSocket until it is a message, and stops where there is no room for it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::READ_BUFFER;
use super::protocol::Close;
use crate::gateway::buffer::Room;

/// The bytes that a ping or a pong of a client has beside its payload.
const CONTROL: usize = 6;

/// A stream that keeps no more for its client than there is room for.
pub(super) struct Metered<S> {
    stream: S,
    /// How many bytes have come that are no message yet.
    pending: usize,
    /// The most that was pending. The buffer that took them is kept for those that follow, so their room is too.
    most: usize,
    /// How much may be pending as long as the caller is not known, and has no room.
    few: usize,
    room: Option<Room>,
    /// Why nothing more is kept; what is there already keeps its room to the end.
    refusal: Option<Close>,
}

impl<S> Metered<S> {
    /// Begins with a client that is not known.
    pub(super) const fn new(stream: S, few: usize) -> Self {
        Self { stream, pending: 0, most: READ_BUFFER, few, room: None, refusal: None }
    }

    /// Counts as a known caller's from now on.
    pub(super) fn charge(&mut self, mut room: Room) -> Result<(), Close> {
        if self.most > READ_BUFFER {
            room.keep(self.most).map_err(|refusal| Close::try_again(&refusal))?;
        }
        self.room = Some(room);
        Ok(())
    }

    /// Notes that what was pending is a message.
    pub(super) const fn heard(&mut self) {
        self.pending = 0;
    }

    /// Notes a ping or a pong, which may come between the parts of a message.
    pub(super) const fn heard_control(&mut self, payload: usize) {
        self.pending = self.pending.saturating_sub(CONTROL + payload);
    }

    /// Says why nothing more is kept.
    pub(super) const fn refusal(&self) -> Option<&Close> {
        self.refusal.as_ref()
    }

    fn count(&mut self, read: usize) -> Result<(), Close> {
        self.pending += read;
        if self.pending > self.most {
            match &mut self.room {
                None if self.pending > self.few => return Err(Close::first_too_large(self.few)),
                None => {}
                Some(room) => {
                    room.keep(self.pending).map_err(|refusal| Close::try_again(&refusal))?;
                }
            }
            self.most = self.pending;
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> Metered<S> {
    /// Reads to the end, and keeps nothing: a client that still sends does not hear why it was refused.
    fn forget(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut scratch = [MaybeUninit::uninit(); READ_BUFFER];
            let mut forgotten = ReadBuf::uninit(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(task, &mut forgotten))?;
            if forgotten.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refusal().is_some() {
            return this.forget(task);
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(task, into))?;
        if let Err(close) = this.count(into.filled().len() - before) {
            into.set_filled(before);
            this.refusal = Some(close);
            return Poll::Ready(Err(io::Error::other("there is no room for what the client sends")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
