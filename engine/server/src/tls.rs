//! TLS from two files, which may change while the process runs.
//!
//! They are looked at with every handshake, which costs far more than reading them: so nothing watches, and a pair
//! that was renewed holds at once, however it came there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What is spoken, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Says why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM of the right kind.
    #[error("{} holds no {what} in PEM: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// They do not belong together.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// A certificate with its key, as they are now.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    /// What the files held when they were looked at last, good or bad.
    seen: Option<[u8; 32]>,
    config: Arc<ServerConfig>,
}

/// What the files hold.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the pair; it must be good.
    pub(crate) async fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let pair = Pair::read(certificate, key).await?;
        let held = Held { seen: Some(pair.digest()), config: Arc::new(pair.config(certificate, key)?) };
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), held: Mutex::new(held) })
    }

    /// Shakes hands with a client.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let pair = Pair::read(&self.certificate, &self.key).await;
        TlsAcceptor::from(self.newest(pair)).accept(stream).await
    }

    /// Takes what was read, if it is new and good; else the one before stays.
    fn newest(&self, pair: Result<Pair, TlsError>) -> Arc<ServerConfig> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = pair.as_ref().map(Pair::digest).ok();
        if seen == held.seen {
            return Arc::clone(&held.config);
        }
        held.seen = seen;
        match pair.and_then(|pair| pair.config(&self.certificate, &self.key)) {
            Ok(config) => {
                tracing::info!(certificate = %self.certificate.display(), "the certificate was renewed");
                held.config = Arc::new(config);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the old certificate stays");
            }
        }
        Arc::clone(&held.config)
    }
}

impl Pair {
    async fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = async |path: &Path| {
            let path = path.to_owned();
            tokio::fs::read(&path).await.map_err(|source| TlsError::File { path, source })
        };
        Ok(Self { certificate: read(certificate).await?, key: read(key).await? })
    }

    fn digest(&self) -> [u8; 32] {
        let certificate = Sha256::digest(&self.certificate);
        Sha256::new().chain_update(certificate).chain_update(&self.key).finalize().into()
    }

    fn config(&self, certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
        let pem =
            |path: &Path, what: &'static str, why: String| TlsError::Pem { path: path.to_owned(), what, why };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|error| pem(certificate, "certificate", error.to_string()))?;
        if chain.is_empty() {
            return Err(pem(certificate, "certificate", "there is none".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| pem(key, "private key", error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, private)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}
