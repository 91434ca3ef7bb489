//! A client that dies at a chosen write, as its process would.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Layer, Service, ServiceExt as _};

/// Whether the write still reaches the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process dies just before it.
    Before,
    /// The process dies just after it, before it hears of it.
    After,
}

/// Lets writes through until one, at which everything stops for ever.
#[derive(Clone)]
pub struct Fuse {
    at: usize,
    side: Side,
    seen: Arc<AtomicUsize>,
    blown: CancellationToken,
}

impl Fuse {
    /// Prepares a fuse that blows at the write with this number, from 1.
    pub fn new(at: usize, side: Side) -> Self {
        Self { at, side, seen: Arc::default(), blown: CancellationToken::new() }
    }

    /// Waits until it blows.
    pub async fn blown(&self) {
        self.blown.cancelled().await;
    }

    /// Tells whether it has blown.
    pub fn is_blown(&self) -> bool {
        self.blown.is_cancelled()
    }
}

impl<S> Layer<S> for Fuse {
    type Service = Fused<S>;

    fn layer(&self, inner: S) -> Fused<S> {
        Fused { fuse: self.clone(), inner }
    }
}

/// A service behind a fuse.
#[derive(Clone)]
pub struct Fused<S> {
    fuse: Fuse,
    inner: S,
}

impl<S, B> Service<Request<Body>> for Fused<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fuse = self.fuse.clone();
        let inner = self.inner.clone();
        Box::pin(async move {
            let is_write = request.method() != Method::GET;
            let number = if is_write { fuse.seen.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
            let dies = is_write && number == fuse.at;
            if fuse.is_blown() || (dies && fuse.side == Side::Before) {
                fuse.blown.cancel();
                return futures::future::pending().await;
            }
            let response = inner.oneshot(request).await;
            if dies {
                fuse.blown.cancel();
                return futures::future::pending().await;
            }
            response
        })
    }
}
