//! A small OpenID Connect issuer: discovery, keys that it exchanges, and tokens signed with them.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::Listener;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA512, RsaKeyPair,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What tokens of the issuer are for.
const AUDIENCE: &str = "ochre";

/// How a token is signed.
#[derive(Clone, Copy, Debug)]
pub enum Signing {
    /// With a curve.
    Es256,
    /// With Edwards' curve.
    EdDsa,
    /// With RSA as it is mostly done.
    Rs256,
    /// With RSA and salt.
    Ps512,
}

/// An issuer at work on loopback.
pub struct Issuer {
    /// Its address, as it is in its tokens.
    pub url: String,
    state: Arc<Mutex<Answers>>,
    _guard: DropGuard,
}

/// A listener that speaks TLS; whoever does not is not heard.
struct Private {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Private {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// What it answers.
struct Answers {
    url: String,
    keys: Keys,
    is_away: bool,
    asked: usize,
}

/// What it signs with; the RSA key is always the same, since making one takes long.
struct Keys {
    generation: usize,
    curve: EcdsaKeyPair,
    edwards: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Issuer {
    /// Starts with new keys.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(url, listener)
    }

    /// Starts with TLS; yields its certificate too, in PEM.
    pub async fn start_private() -> (Self, String) {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()).into();
        ochre::install_tls();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
        let url = format!("https://{}", tcp.local_addr().unwrap());
        (Self::serve(url, Private { tcp, tls: Arc::new(config).into() }), pair.cert.pem())
    }

    fn serve(url: String, listener: impl Listener<Addr: Debug>) -> Self {
        let answers = Answers { url: url.clone(), keys: Keys::new(0), is_away: false, asked: 0 };
        let state = Arc::new(Mutex::new(answers));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&state));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Self { url, state, _guard: stop.drop_guard() }
    }

    /// Exchanges the keys for new ones.
    pub fn rotate(&self) {
        let mut answers = self.state.lock().unwrap();
        answers.keys = Keys::new(answers.keys.generation + 1);
    }

    /// Answers no more, or again.
    pub fn is_away(&self, is_away: bool) {
        self.state.lock().unwrap().is_away = is_away;
    }

    /// Counts how often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// What a good token of Alice's claims.
    pub fn claims(&self) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "alice", "groups": ["backup-team"], "iat": now, "exp": now + 300,
        })
    }

    /// Signs claims.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(Signing::Es256, &json!({}), claims)
    }

    /// Signs claims in some way, and with more in the header.
    pub fn signed(&self, signing: Signing, more: &Value, claims: &Value) -> String {
        let keys = &self.state.lock().unwrap().keys;
        let mut header = json!({"typ": "JWT", "alg": signing.algorithm(), "kid": keys.id(signing)});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let message = unsigned(&header, claims);
        let signature = keys.sign(signing, message.as_bytes());
        format!("{message}.{}", text(&signature))
    }

    /// Gives the public key of the curve, as the JWKS has it.
    pub fn public_key(&self) -> Value {
        self.state.lock().unwrap().keys.public()["keys"][0].clone()
    }
}

/// Words a token that nobody has signed yet.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string()), text(claims.to_string()))
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

async fn configuration(State(state): State<Arc<Mutex<Answers>>>) -> Result<String, StatusCode> {
    let answers = state.lock().unwrap();
    let url = &answers.url;
    answers.answer(&json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
}

async fn keys(State(state): State<Arc<Mutex<Answers>>>) -> Result<String, StatusCode> {
    let mut answers = state.lock().unwrap();
    answers.asked += 1;
    answers.answer(&answers.keys.public())
}

impl Answers {
    fn answer(&self, answer: &Value) -> Result<String, StatusCode> {
        if self.is_away { Err(StatusCode::BAD_GATEWAY) } else { Ok(answer.to_string()) }
    }
}

impl Signing {
    const fn algorithm(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps512 => "PS512",
        }
    }
}

impl Keys {
    fn new(generation: usize) -> Self {
        let random = SystemRandom::new();
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let edwards = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            generation,
            curve: EcdsaKeyPair::from_pkcs8(curve, made.as_ref(), &random).unwrap(),
            edwards: Ed25519KeyPair::from_pkcs8(edwards.as_ref()).unwrap(),
            rsa: RsaKeyPair::from_pkcs8(include_bytes!("issuer.pk8")).unwrap(),
        }
    }

    fn id(&self, signing: Signing) -> String {
        let kind = match signing {
            Signing::Es256 => "curve",
            Signing::EdDsa => "edwards",
            Signing::Rs256 | Signing::Ps512 => "rsa",
        };
        format!("{kind}-{}", self.generation)
    }

    fn sign(&self, signing: Signing, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let of_rsa = |padding: &'static dyn ring::signature::RsaEncoding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match signing {
            Signing::Es256 => self.curve.sign(&random, message).unwrap().as_ref().to_vec(),
            Signing::EdDsa => self.edwards.sign(message).as_ref().to_vec(),
            Signing::Rs256 => of_rsa(&RSA_PKCS1_SHA256),
            Signing::Ps512 => of_rsa(&RSA_PSS_SHA512),
        }
    }

    /// The JWKS; one of its keys is of a kind that nobody knows.
    fn public(&self) -> Value {
        let point = self.curve.public_key().as_ref();
        let rsa = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        json!({"keys": [
            {
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id(Signing::Es256),
                "x": text(&point[1..33]), "y": text(&point[33..]),
            },
            {"kty": "OKP", "crv": "Ed25519", "kid": self.id(Signing::EdDsa), "x": text(self.edwards.public_key())},
            {"kty": "RSA", "kid": self.id(Signing::Rs256), "n": text(rsa.n), "e": text(rsa.e)},
            {"kty": "LATTICE", "kid": "of-tomorrow", "alg": "ML-DSA-44", "pub": "AAAA"},
        ]})
    }
}
