//! Tokens of an OpenID Connect issuer, whose keys are read when they are needed.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use ochre_core::action::UserInfo;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Url};
use serde_json::Value;

use super::claims::{Rules, TokenError};
use super::keys::Keys;
use super::{IdentityError, SetupError};
use crate::options::OidcOptions;

/// How old keys may be before they are read again.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// How old keys may be while the issuer does not answer.
const USABLE: Duration = Duration::from_secs(60 * 60);
/// How long the issuer may take for each of its two answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the issuer is asked at most in the long run, whatever tokens are sent.
const PAUSE: Duration = Duration::from_secs(10);
/// How often it is asked at once before that, for keys that it has just exchanged.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 1024 * 1024;

/// Says why an issuer's keys could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("it does not answer: {0}")]
    Away(#[from] reqwest::Error),
    #[error("the answer has more than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("the answer is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it calls itself {0}")]
    Other(Value),
    #[error("it names no address of keys that is private: {0}")]
    Address(Value),
    #[error("it has no keys that can be used here")]
    Keys,
}

/// An issuer, and its keys as they were read last.
pub(super) struct Issuer {
    url: String,
    rules: Rules,
    http: reqwest::Client,
    known: Mutex<Option<Arc<Known>>>,
    /// Held while keys are read, so that they are read once.
    reading: tokio::sync::Mutex<()>,
    allowance: DefaultDirectRateLimiter,
}

struct Known {
    keys: Keys,
    read: Instant,
}

impl Issuer {
    /// Prepares to ask; the issuer need not be there yet.
    pub(super) fn new(options: &OidcOptions) -> Result<Self, SetupError> {
        let needs = |flag| SetupError::Needs("oidc", flag);
        let url = options.oidc_issuer.clone().ok_or(needs("--oidc-issuer"))?;
        let audience = options.oidc_audience.as_deref().ok_or(needs("--oidc-audience"))?;
        if !url.parse().is_ok_and(|url| is_private(&url)) {
            return Err(SetupError::Issuer(url));
        }
        // Where it leads is what was said here or what the issuer says itself.
        let mut http = reqwest::Client::builder().timeout(PATIENCE).redirect(Policy::none());
        if let Some(file) = &options.oidc_ca_file {
            let unread = |why: String| SetupError::File { file: file.clone(), why };
            let pem = std::fs::read(file).map_err(|error| unread(error.to_string()))?;
            let known = Certificate::from_pem_bundle(&pem).map_err(|error| unread(error.to_string()))?;
            if known.is_empty() {
                return Err(unread("it has no certificate in PEM".to_owned()));
            }
            http = http.tls_certs_only(known);
        }
        Ok(Self {
            rules: Rules::new(&url, audience, options),
            url,
            http: http.build().map_err(SetupError::Http)?,
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            allowance: RateLimiter::direct(
                Quota::with_period(PAUSE).unwrap_or(Quota::per_minute(BURST)).allow_burst(BURST),
            ),
        })
    }

    /// Tells whether a token says that it is of this issuer.
    pub(super) fn is_named_by(&self, token: &str) -> bool {
        super::unverified(token).is_some_and(|claims| self.rules.is_ours(&claims))
    }

    /// Says whose a token is, and how long it holds.
    pub(super) async fn person(&self, token: &str) -> Result<(UserInfo, Duration), IdentityError> {
        let known = self.keys().await.ok_or(IdentityError::NoKeys)?;
        let claims = match known.keys.verify(token) {
            // It may be signed with a newer key.
            Err(TokenError::Signature) => {
                let newer = self.read_after(Some(&known)).await.unwrap_or(known);
                newer.keys.verify(token)
            }
            verified => verified,
        };
        claims.and_then(|claims| self.rules.person(&claims, Timestamp::now())).map_err(IdentityError::Token)
    }

    /// Gives the keys, as fresh as can be had.
    async fn keys(&self) -> Option<Arc<Known>> {
        let known = self.known();
        match known.as_ref().map(|known| known.read.elapsed()) {
            Some(age) if age < FRESH => known,
            // Only one waits for the issuer.
            Some(age) if age < USABLE && self.reading.try_lock().is_err() => known,
            _ => self.read_after(known.as_ref()).await.filter(|known| known.read.elapsed() < USABLE),
        }
    }

    fn known(&self) -> Option<Arc<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the keys unless others have since these, or it was done too often; yields the newest that there are.
    async fn read_after(&self, seen: Option<&Arc<Known>>) -> Option<Arc<Known>> {
        let _alone = self.reading.lock().await;
        let known = self.known();
        if known.as_ref().map(Arc::as_ptr) != seen.map(Arc::as_ptr) || self.allowance.check().is_err() {
            return known;
        }
        match self.read().await {
            Ok(keys) => {
                let read = Some(Arc::new(Known { keys, read: Instant::now() }));
                self.known.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&read);
                read
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    issuer = self.url,
                    "the issuer's keys are not read"
                );
                known
            }
        }
    }

    /// Reads the keys from where the issuer says that they are.
    async fn read(&self) -> Result<Keys, ReadError> {
        let place = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let said = self.fetch(&place).await?;
        if said["issuer"] != self.url {
            return Err(ReadError::Other(said["issuer"].clone()));
        }
        let address = &said["jwks_uri"];
        let place = address.as_str().and_then(|address| address.parse().ok()).filter(is_private);
        let place = place.ok_or_else(|| ReadError::Address(address.clone()))?;
        let keys = Keys::parse(&self.fetch(place.as_str()).await?);
        if keys.is_empty() { Err(ReadError::Keys) } else { Ok(keys) }
    }

    async fn fetch(&self, place: &str) -> Result<Value, ReadError> {
        let mut answer = self.http.get(place).send().await?.error_for_status()?;
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            read.extend_from_slice(&chunk);
            if read.len() > MAX_ANSWER {
                return Err(ReadError::TooLarge);
            }
        }
        Ok(serde_json::from_slice(&read)?)
    }
}

/// Tells whether nobody on the way can answer instead: it is TLS, or never leaves this machine.
fn is_private(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}
