//! Who asks, and what they may. What is found out is remembered for a short while.

mod claims;
mod guesses;
mod issuer;
mod keys;
mod passwords;
mod remembered;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use ochre_core::access::Right;
use ochre_core::action::UserInfo;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::options::GatewayOptions;
use claims::TokenError;
use guesses::Guesses;
use issuer::Issuer;
use passwords::Passwords;
use remembered::Remembered;

/// How long an answer is remembered at most.
const MOST_KEPT: Duration = Duration::from_secs(60);
/// The most bytes of an `Authorization` header.
const MAX_CREDENTIALS: usize = 16 * 1024;
/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";

/// How the gateway finds out who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Authentication {
    /// It does not: whoever reaches it may do everything.
    Anonymous,
    /// By a bearer token that the cluster knows.
    Token,
    /// By a bearer token of an OpenID Connect issuer (--oidc-issuer).
    Oidc,
    /// By a name and a password of a file (--basic-auth-file).
    Basic,
}

/// How the names of ServiceAccounts begin; their namespace and a colon follow.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Says who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Caller {
    /// Nobody is told apart.
    Anybody,
    /// Somebody who is known by name.
    Person(UserInfo),
}

impl Caller {
    /// Names whose share of what all callers have this one takes; nothing where callers are not told apart.
    ///
    /// All ServiceAccounts of a namespace have one: those who may edit there make as many as they like.
    pub(crate) fn share(&self) -> Option<&str> {
        let Self::Person(person) = self else { return None };
        let username = person.username.as_str();
        let Some(account) = username.strip_prefix(SERVICE_ACCOUNT) else { return Some(username) };
        let namespace = account.find(':').unwrap_or(account.len());
        Some(&username[..SERVICE_ACCOUNT.len() + namespace])
    }
}

/// Says why nobody can be let in as the gateway was told to.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing was said, and letting everybody do everything must be said.
    #[error(
        "it is not said how it is found out who asks; say --authentication token (those of the cluster), oidc \
         or basic, several with commas, or --authentication anonymous to let whoever reaches it do everything"
    )]
    Untold,
    /// Whoever lets everybody in asks nobody.
    #[error("--authentication anonymous lets everybody in, so it goes with no other")]
    NotAlone,
    /// A way needs more than its name.
    #[error("--authentication {0} needs {1}")]
    Needs(&'static str, &'static str),
    /// Whoever says more about a way relies on it.
    #[error(
        "{1} says something of --authentication {0}, which is not asked for; name it there too, or leave {1} out"
    )]
    Unused(&'static str, &'static str),
    /// The issuer cannot be believed.
    #[error("--oidc-issuer is {0:?}, and must be an address with https; on loopback http does")]
    Issuer(String),
    /// A file is no good.
    #[error("{} cannot be used: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The client for the issuer could not be made.
    #[error("the HTTP client for the issuer could not be made: {0}")]
    Http(#[source] reqwest::Error),
}

/// Says why it is not known who asks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// Nothing says who it is, in a way that is taken.
    #[error("it must be known who asks; send a header `authorization: {0}`")]
    Missing(&'static str),
    /// Nobody has such a long token.
    #[error("the header `authorization` is longer than {MAX_CREDENTIALS} bytes; get another token")]
    TooLong,
    /// The cluster does not know the token.
    #[error("the cluster does not know the bearer token, or it has ended; get a new one")]
    Unknown,
    /// The token is not taken as one of the issuer's.
    #[error("the bearer token is not taken: {0}; get a new one")]
    Token(#[source] TokenError),
    /// The name or the password is wrong; which of them is nobody's business.
    #[error("the name or the password is wrong")]
    Password,
    /// So many are tried that this one was not.
    #[error("too many passwords, or wrong tokens, are tried at once; wait a second, and try again")]
    Busy,
    /// The cluster could not be asked.
    #[error("the cluster could not be asked whose token it is; try again")]
    Unreachable(#[source] kube::Error),
    /// The issuer could not be asked.
    #[error("the issuer of the token could not be asked for its keys; try again")]
    NoKeys,
}

impl IdentityError {
    /// Tells whether it is the gateway that cannot tell, rather than the caller who is not known.
    pub(crate) const fn is_ours(&self) -> bool {
        match self {
            Self::Missing(_) | Self::TooLong | Self::Unknown | Self::Token(_) | Self::Password => false,
            Self::Busy | Self::Unreachable(_) | Self::NoKeys => true,
        }
    }

    /// Tells whether something was sent that is nobody's.
    const fn is_guess(&self) -> bool {
        matches!(self, Self::Unknown | Self::Token(_) | Self::Password)
    }
}

/// Finds out who people are and what they may.
pub(crate) struct Identity {
    is_open: bool,
    asks_cluster: bool,
    issuer: Option<Issuer>,
    passwords: Option<Passwords>,
    remember: Duration,
    client: Client,
    guesses: Guesses,
    people: Remembered<[u8; 32], UserInfo>,
    /// By a digest of who asks: of some, the groups alone are long.
    rights: Remembered<([u8; 32], Right), bool>,
}

impl Identity {
    /// Prepares to ask.
    pub(crate) fn new(client: Client, options: &GatewayOptions) -> Result<Self, SetupError> {
        options.check_authentication()?;
        let is_told = |way| options.authentication.contains(&way);
        let issuer = is_told(Authentication::Oidc).then(|| Issuer::new(&options.oidc)).transpose()?;
        let passwords = is_told(Authentication::Basic).then(|| {
            let file = options.basic_auth_file.as_deref();
            Passwords::read(file.ok_or(SetupError::Needs("basic", "--basic-auth-file"))?)
        });
        Ok(Self {
            is_open: is_told(Authentication::Anonymous),
            asks_cluster: is_told(Authentication::Token),
            issuer,
            passwords: passwords.transpose()?,
            remember: options.remember.min(MOST_KEPT),
            client,
            guesses: Guesses::new(options.limits.guesses),
            people: Remembered::default(),
            rights: Remembered::default(),
        })
    }

    /// Finds out who it is that asks from some address, by an `Authorization` header.
    pub(crate) async fn caller(
        &self,
        authorization: Option<&str>,
        from: Option<IpAddr>,
    ) -> Result<Caller, IdentityError> {
        if self.is_open {
            return Ok(Caller::Anybody);
        }
        let authorization = authorization.unwrap_or_default();
        if authorization.len() > MAX_CREDENTIALS {
            return Err(IdentityError::TooLong);
        }
        let key: [u8; 32] = Sha256::digest(authorization).into();
        let now = Instant::now();
        if let Some(known) = self.people.get(&key, now) {
            return Ok(Caller::Person(known));
        }
        from.map_or(Ok(()), |from| self.guesses.admit(from, &key, now))?;
        let found = self.find_out(authorization).await;
        let now = Instant::now();
        if found.as_ref().is_err_and(IdentityError::is_guess) {
            self.guesses.count(from, &key, now);
        }
        let (person, left) = found?;
        self.guesses.trust(key, now);
        self.people.put(key, person.clone(), left, now);
        Ok(Caller::Person(person))
    }

    /// Finds out who it is, and for how long that may be remembered.
    async fn find_out(&self, authorization: &str) -> Result<(UserInfo, Duration), IdentityError> {
        if let Some(passwords) = &self.passwords
            && let Some(encoded) = given(authorization, "basic")
        {
            let pair = BASE64_STANDARD.decode(encoded).ok().and_then(|pair| String::from_utf8(pair).ok());
            let person = passwords.person(&pair.ok_or(IdentityError::Password)?).await?;
            return Ok((person, Duration::ZERO));
        }
        let token = given(authorization, "bearer").filter(|_| self.takes_tokens());
        let token = token.ok_or_else(|| IdentityError::Missing(self.way()))?;
        let (person, left) = self.person(token).await?;
        Ok((person, left.min(self.remember)))
    }

    /// Names what is taken, as `WWW-Authenticate` does.
    pub(crate) fn challenges(&self) -> impl Iterator<Item = &'static str> {
        let basic = self.passwords.is_some().then_some("Basic realm=\"ochre\"");
        self.takes_tokens().then_some("Bearer").into_iter().chain(basic)
    }

    fn takes_tokens(&self) -> bool {
        self.asks_cluster || self.issuer.is_some()
    }

    /// Says what to send.
    fn way(&self) -> &'static str {
        match (self.takes_tokens(), &self.passwords) {
            (true, None) => "Bearer <token>",
            (true, Some(_)) => "Bearer <token>`, or `Basic <name and password>",
            (false, _) => "Basic <name and password>",
        }
    }

    /// Tells whether somebody is still known, unless that cannot be told.
    pub(crate) async fn is_still_known(&self, authorization: Option<&str>) -> bool {
        !matches!(self.caller(authorization, None).await, Err(error) if !error.is_ours())
    }

    /// Says whose a token is, and how long that holds.
    async fn person(&self, token: &str) -> Result<(UserInfo, Duration), IdentityError> {
        let issuer = self.issuer.as_ref();
        if let Some(issuer) = issuer.filter(|issuer| !self.asks_cluster || issuer.is_named_by(token)) {
            return issuer.person(token).await;
        }
        let owner = self.owner(token).await.map_err(IdentityError::Unreachable)?;
        let left = time_left(token, Timestamp::now()).unwrap_or(MOST_KEPT);
        Ok((owner.ok_or(IdentityError::Unknown)?, left))
    }

    /// Asks the cluster whose token it is.
    async fn owner(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), audiences: None },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true)).unwrap_or_default();
        let extra = user.extra.filter(|extra| !extra.is_empty());
        Ok(user.username.filter(|name| !name.is_empty()).map(|username| UserInfo {
            username,
            groups: user.groups.unwrap_or_default(),
            extra: extra.and_then(|extra| serde_json::to_value(extra).ok()),
        }))
    }

    /// Tells whether a caller may do something, as it was a moment ago.
    pub(crate) async fn may(&self, caller: &Caller, right: &Right) -> Result<bool, kube::Error> {
        let Caller::Person(person) = caller else { return Ok(true) };
        // Groups and the rest decide as well as the name.
        let who = serde_json::to_vec(person).map_err(kube::Error::SerdeError)?;
        let key = (Sha256::digest(who).into(), right.clone());
        if let Some(known) = self.rights.get(&key, Instant::now()) {
            return Ok(known);
        }
        let allowed = allowed(&self.client, person, right).await?;
        self.rights.put(key, allowed, self.remember, Instant::now());
        Ok(allowed)
    }
}

/// Asks the cluster now whether somebody may do something.
pub(crate) async fn allowed(client: &Client, person: &UserInfo, right: &Right) -> Result<bool, kube::Error> {
    let extra: Option<BTreeMap<String, Vec<String>>> =
        person.extra.clone().and_then(|extra| serde_json::from_value(extra).ok());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(person.username.clone()),
            groups: Some(person.groups.clone()),
            extra,
            resource_attributes: Some(ResourceAttributes {
                verb: Some(right.verb.to_owned()),
                group: Some(right.group.to_string()),
                resource: Some(right.resource.to_string()),
                subresource: right.subresource.map(str::to_owned),
                namespace: right.namespace.clone(),
                name: right.name.clone(),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    Ok(status.allowed && status.denied != Some(true))
}

/// Takes what an `Authorization` header gives by some scheme.
fn given<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (by, credentials) = authorization.split_once(' ')?;
    Some(credentials.trim()).filter(|given| by.eq_ignore_ascii_case(scheme) && !given.is_empty())
}

/// Reads how long a token lives that says so itself; it is not trusted with anything else.
fn time_left(token: &str, now: Timestamp) -> Option<Duration> {
    let end = Timestamp::from_second(unverified(token)?["exp"].as_i64()?).ok()?;
    Some(Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// Reads what a token claims, whoever made it.
fn unverified(token: &str) -> Option<Value> {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares for how long a token with these claims is believed, in seconds.
    fn check(claims: &str, wanted: Option<u64>) {
        let token = format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(time_left(&token, now).map(|left| left.as_secs()), wanted, "{claims}");
    }

    #[test]
    fn a_token_is_believed_until_its_end() {
        check(r#"{"exp": 1030}"#, Some(30));
        check(r#"{"exp": 900}"#, Some(0));
        check(r#"{"exp": "soon"}"#, None);
        check("{}", None);
        check("not json", None);
        assert_eq!(time_left("opaque", Timestamp::UNIX_EPOCH), None);
    }
}
