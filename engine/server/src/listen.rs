//! The listener: takes connections, with TLS or without, and has HTTP/1 and HTTP/2 requests on them answered.
//!
//! A client has a while for the handshake and its first request, to say who it is, for the head of each request that
//! follows, and to read what it is sent.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::options::{Connections, GatewayOptions};
use crate::tls::Tls;

/// How long open requests may take after the engine was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait when the process has no more files to open.
const FULL: Duration = Duration::from_millis(100);
/// The fewest bytes that hyper reads a head into.
const LEAST_HEADERS: usize = 8192;
/// The most requests at a time on one HTTP/2 connection; the fewest that the protocol recommends.
const STREAMS: u32 = 100;
/// How many bytes an HTTP/2 client sends ahead, on a connection and on a stream, and how many of an answer wait for it.
const WINDOW: u16 = u16::MAX;

/// A place among the connections; it is free again when the last clone is gone.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where the client is.
    pub peer: IpAddr,
    _permit: Arc<OwnedSemaphorePermit>,
    newcomer: Arc<Newcomer>,
    identified: CancellationToken,
}

impl Place {
    /// Notes that a caller is known.
    pub(crate) fn identified(&self) {
        self.newcomer.leave();
        self.identified.cancel();
    }

    /// Waits, and ends when a newcomer needs the place and no caller is known.
    pub(crate) async fn crowded_out(&self) {
        self.newcomer.crowded_out.cancelled().await;
    }

    /// Waits, and ends when no caller is known after that time.
    async fn stays_unidentified(&self, patience: Duration) {
        if tokio::time::timeout(patience, self.identified.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }
}

/// Answers requests until told to stop, and those that are open then for a while.
///
/// The tracker has the WebSockets too, which outlive their requests.
pub(crate) async fn answer(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    options: &GatewayOptions,
    stop: &CancellationToken,
    open: TaskTracker,
) {
    let places = Places::new(&options.connections);
    let builder = builder(&options.connections);
    let (read_timeout, write_timeout) = (options.connections.read_timeout, options.write_timeout);
    let stopped = stop.clone();
    let server = Arc::new(Server { builder, tls, router, read_timeout, write_timeout, stop: stopped });
    while let Some(Some((place, stream))) = stop.run_until_cancelled(next(&listener, &places)).await {
        open.spawn(Arc::clone(&server).take(stream, place));
    }
    // Whoever comes now is told that nobody listens, and finds another engine.
    drop(listener);
    open.close();
    if tokio::time::timeout(DRAIN, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "does not wait any longer for what is open");
    }
}

/// How many connections there may be.
struct Places {
    all: Arc<Semaphore>,
    newcomers: Arc<Newcomers>,
}

impl Places {
    fn new(connections: &Connections) -> Self {
        let newcomers = Newcomers { most: connections.unidentified, here: Mutex::default() };
        Self { all: Arc::new(Semaphore::new(connections.most)), newcomers: Arc::new(newcomers) }
    }
}

/// The connections on which no caller is known yet.
///
/// One more than the most ends the one that has been there longest: a client that says who it is does so at once, and
/// those who never do cannot keep it out.
#[derive(Debug)]
struct Newcomers {
    most: usize,
    here: Mutex<BTreeMap<u64, CancellationToken>>,
}

/// One of them, until it leaves or is dropped.
#[derive(Debug)]
struct Newcomer {
    number: u64,
    of: Arc<Newcomers>,
    crowded_out: CancellationToken,
}

impl Newcomers {
    fn welcome(self: &Arc<Self>) -> Newcomer {
        let mut here = self.here();
        if here.len() >= self.most
            && let Some((_, oldest)) = here.pop_first()
        {
            oldest.cancel();
        }
        let number = here.last_key_value().map_or(0, |(last, _)| last + 1);
        let crowded_out = CancellationToken::new();
        here.insert(number, crowded_out.clone());
        Newcomer { number, of: Arc::clone(self), crowded_out }
    }

    fn here(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newcomer {
    fn leave(&self) {
        self.of.here().remove(&self.number);
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits for a place, and for the client who takes it; others wait in the listener's queue.
async fn next(listener: &TcpListener, places: &Places) -> Option<(Place, TcpStream)> {
    // It is never closed.
    let permit = Arc::clone(&places.all).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = Place {
                    peer: peer.ip(),
                    _permit: Arc::new(permit),
                    newcomer: Arc::new(places.newcomers.welcome()),
                    identified: CancellationToken::new(),
                };
                return Some((place, stream));
            }
            // That client is gone; another may come.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no connection can be taken now");
                tokio::time::sleep(FULL).await;
            }
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn builder(connections: &Connections) -> Builder<TokioExecutor> {
    let headers = connections.headers.max(LEAST_HEADERS);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(connections.read_timeout)
        .max_buf_size(headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(u32::from(WINDOW))
        .initial_connection_window_size(u32::from(WINDOW))
        .max_send_buf_size(usize::from(WINDOW))
        .keep_alive_interval(connections.read_timeout)
        .keep_alive_timeout(connections.read_timeout);
    builder
}

/// A stream whose writes fail when its client does not read.
type Stream = Pin<Box<TimeoutStream<TcpStream>>>;

/// What all connections share.
struct Server {
    builder: Builder<TokioExecutor>,
    tls: Option<Tls>,
    router: Router,
    read_timeout: Duration,
    write_timeout: Duration,
    stop: CancellationToken,
}

impl Server {
    /// Serves a connection to its end.
    async fn take(self: Arc<Self>, stream: TcpStream, place: Place) {
        // Answers are small, and wanted at once.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.write_timeout));
        let asked = CancellationToken::new();
        let silent = async {
            if tokio::time::timeout(self.read_timeout, asked.cancelled()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.greet(Box::pin(stream), place.clone(), asked.clone()) => {}
            () = place.crowded_out() => tracing::debug!("a newcomer takes the place of a connection"),
            () = silent => tracing::debug!("a client does not ask anything; the connection ends"),
        }
    }

    async fn greet(&self, stream: Stream, place: Place, asked: CancellationToken) {
        let Some(tls) = &self.tls else { return self.serve(stream, place, asked).await };
        match self.stop.run_until_cancelled(tls.accept(stream)).await {
            Some(Ok(stream)) => self.serve(stream, place, asked).await,
            Some(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no TLS comes of a connection");
            }
            None => {}
        }
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        place: Place,
        asked: CancellationToken,
    ) {
        let service = service_fn(|mut request: Request<Incoming>| {
            asked.cancel();
            // A WebSocket outlives its request, and keeps the place.
            request.extensions_mut().insert(place.clone());
            self.router.clone().oneshot(request)
        });
        let mut connection = pin!(self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = place.stays_unidentified(self.read_timeout) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = place.stays_unidentified(self.write_timeout) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = &*error as &dyn std::error::Error, "a connection broke");
        }
    }
}
