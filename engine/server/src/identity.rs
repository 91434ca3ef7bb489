//! Who asks, and what they may: both are asked of the cluster, and remembered for a short while.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use ochre_core::access::Right;
use ochre_core::action::UserInfo;
use ochre_core::decide::Access;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::options::GatewayOptions;

/// How long an answer is remembered at most.
const MOST_KEPT: Duration = Duration::from_secs(60);
/// The most answers that are remembered.
const MOST: usize = 10_000;
/// The most bytes of a token.
const MAX_TOKEN: usize = 16 * 1024;

/// How the gateway finds out who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Authentication {
    /// It does not: whoever reaches it may do everything.
    #[default]
    Anonymous,
    /// By a bearer token that the cluster knows.
    Token,
}

impl Authentication {
    /// Says whose rights a run has.
    pub(crate) const fn access(self) -> Access {
        match self {
            Self::Anonymous => Access::Open,
            Self::Token => Access::Checked,
        }
    }
}

/// Says who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Caller {
    /// Nobody is told apart.
    Anybody,
    /// Somebody whom the cluster knows.
    Person(UserInfo),
}

/// Says why it is not known who asks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// There is no token.
    #[error("it must be known who asks; send a header `authorization: Bearer <token>`")]
    Missing,
    /// The cluster does not know the token.
    #[error("the cluster does not know the bearer token, or it has ended; get a new one")]
    Unknown,
    /// The cluster could not be asked.
    #[error("the cluster could not be asked whose token it is; try again")]
    Unreachable(#[source] kube::Error),
}

/// Asks the cluster who people are and what they may.
pub(crate) struct Identity {
    authentication: Authentication,
    remember: Duration,
    client: Client,
    owners: Remembered<[u8; 32], UserInfo>,
    rights: Remembered<(String, Right), bool>,
}

impl Identity {
    /// Prepares to ask.
    pub(crate) fn new(client: Client, options: &GatewayOptions) -> Self {
        Self {
            authentication: options.authentication,
            remember: options.remember.min(MOST_KEPT),
            client,
            owners: Remembered::default(),
            rights: Remembered::default(),
        }
    }

    /// Finds out whose token it is.
    pub(crate) async fn caller(&self, token: Option<&str>) -> Result<Caller, IdentityError> {
        if self.authentication == Authentication::Anonymous {
            return Ok(Caller::Anybody);
        }
        let token = token.filter(|token| !token.is_empty()).ok_or(IdentityError::Missing)?;
        if token.len() > MAX_TOKEN {
            return Err(IdentityError::Unknown);
        }
        let key: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.owners.get(&key) {
            return Ok(Caller::Person(known));
        }
        let owner = self.owner(token).await.map_err(IdentityError::Unreachable)?;
        let owner = owner.ok_or(IdentityError::Unknown)?;
        let left = time_left(token, Timestamp::now()).unwrap_or(MOST_KEPT);
        self.owners.put(key, owner.clone(), left.min(self.remember));
        Ok(Caller::Person(owner))
    }

    /// Tells whether a token is still somebody's, unless that cannot be told.
    pub(crate) async fn is_still_known(&self, token: Option<&str>) -> bool {
        !matches!(self.caller(token).await, Err(IdentityError::Missing | IdentityError::Unknown))
    }

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
        let who = serde_json::to_string(person).map_err(kube::Error::SerdeError)?;
        let key = (who, right.clone());
        if let Some(known) = self.rights.get(&key) {
            return Ok(known);
        }
        let allowed = allowed(&self.client, person, right).await?;
        self.rights.put(key, allowed, self.remember);
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
                group: Some(right.group.to_owned()),
                resource: Some(right.resource.to_owned()),
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

/// Reads how long a token lives that says so itself; it is not trusted with anything else.
fn time_left(token: &str, now: Timestamp) -> Option<Duration> {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let end = Timestamp::from_second(claims["exp"].as_i64()?).ok()?;
    Some(Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// Answers, each with the moment at which it is forgotten.
struct Remembered<Key, Answer>(Mutex<HashMap<Key, (Answer, Instant)>>);

impl<Key, Answer> Default for Remembered<Key, Answer> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Key: Eq + Hash, Answer: Clone> Remembered<Key, Answer> {
    fn get(&self, key: &Key) -> Option<Answer> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(_, until)| *until > Instant::now()).map(|(answer, _)| answer.clone())
    }

    fn put(&self, key: Key, answer: Answer, keep: Duration) {
        let now = Instant::now();
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, (_, until)| *until > now);
        }
        // So many at once are not remembered at all: what is asked again is still right.
        if answers.len() < MOST {
            answers.insert(key, (answer, now + keep));
        }
    }
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

    #[test]
    fn what_was_answered_is_forgotten() {
        let answers = Remembered::default();
        answers.put("kept", 1, Duration::from_secs(60));
        answers.put("gone", 2, Duration::ZERO);
        assert_eq!(
            (answers.get(&"kept"), answers.get(&"gone"), answers.get(&"never")),
            (Some(1), None, None)
        );
    }
}
