//! What a token of an issuer claims, and who that is: the rules of Kubernetes' API server.

use std::time::Duration;

use jiff::Timestamp;
use ochre_core::action::UserInfo;
use serde_json::Value;

use super::AUTHENTICATED;
use crate::options::OidcOptions;

/// How far the issuer's clock may be ahead.
const SKEW: Duration = Duration::from_secs(60);
/// What names that Kubernetes gives out begin with.
const RESERVED: &str = "system:";

/// Says what is wrong with a token.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum TokenError {
    /// It cannot be read, or not by these rules.
    #[error("it is no JWT that is signed with a key of its issuer")]
    Malformed,
    /// It is signed with another key, or in another way, or was changed.
    #[error("it is not signed with a key of its issuer")]
    Signature,
    /// It is for others.
    #[error("its claim {0} is not what --oidc-{1} says")]
    Foreign(&'static str, &'static str),
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It has not begun.
    #[error("it is not valid yet")]
    Early,
    /// It names nobody, or nobody that may be believed.
    #[error("its claim {0} {1}")]
    Claim(String, &'static str),
}

/// What a token must claim, and which of it says who somebody is.
pub(super) struct Rules {
    issuer: String,
    audience: String,
    username: Claim,
    groups: Option<Claim>,
}

/// A claim, and what is put before its value.
struct Claim {
    name: String,
    prefix: String,
}

impl Rules {
    /// Takes the rules of the options.
    pub(super) fn new(issuer: &str, audience: &str, options: &OidcOptions) -> Self {
        let name = options.oidc_username_claim.clone();
        let prefix = match options.oidc_username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) => prefix.to_owned(),
            None if name == "email" => String::new(),
            None => format!("{issuer}#"),
        };
        let groups = options.oidc_groups_claim.clone();
        let groups = groups.map(|name| Claim { name, prefix: options.oidc_groups_prefix.clone() });
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            username: Claim { name, prefix },
            groups,
        }
    }

    /// Tells whether claims, signed or not, are of the issuer.
    pub(super) fn is_ours(&self, claims: &Value) -> bool {
        claims["iss"] == self.issuer
    }

    /// Says who claims that are signed are about, and how long they hold.
    pub(super) fn person(&self, claims: &Value, now: Timestamp) -> Result<(UserInfo, Duration), TokenError> {
        if !self.is_ours(claims) {
            return Err(TokenError::Foreign("iss", "issuer"));
        }
        if !texts(&claims["aud"]).contains(&self.audience.as_str()) {
            return Err(TokenError::Foreign("aud", "audience"));
        }
        let now = now.as_duration().as_secs_f64();
        let end = claims["exp"].as_f64().ok_or_else(|| TokenError::lacks("exp"))?;
        let left = Duration::try_from_secs_f64(end - now).ok().filter(|left| !left.is_zero());
        let left = left.ok_or(TokenError::Expired)?;
        let is_early = |begin: &Value| begin.as_f64().is_none_or(|begin| begin > now + SKEW.as_secs_f64());
        if claims.get("nbf").is_some_and(is_early) {
            return Err(TokenError::Early);
        }
        Ok((UserInfo { username: self.username(claims)?, groups: self.groups(claims)?, extra: None }, left))
    }

    fn username(&self, claims: &Value) -> Result<String, TokenError> {
        let Claim { name, prefix } = &self.username;
        let value = claims[name].as_str().filter(|value| !value.is_empty());
        let username = format!("{prefix}{}", value.ok_or_else(|| TokenError::lacks(name))?);
        if name == "email" && claims.get("email_verified").is_some_and(|is_verified| is_verified != true) {
            return Err(TokenError::Claim(name.clone(), "is not verified"));
        }
        if username.starts_with(RESERVED) {
            return Err(TokenError::Claim(name.clone(), "is a name that only Kubernetes gives out"));
        }
        Ok(username)
    }

    /// Names the groups; those that only Kubernetes gives out are nobody's by an issuer's word.
    fn groups(&self, claims: &Value) -> Result<Vec<String>, TokenError> {
        let claimed = self.groups.iter().filter_map(|claim| Some((claim, claims.get(&claim.name)?)));
        let mut groups = Vec::new();
        for (Claim { name, prefix }, value) in claimed {
            let is_read = match value {
                Value::Array(values) => values.iter().all(Value::is_string),
                value => value.is_string() || value.is_null(),
            };
            if !is_read {
                return Err(TokenError::Claim(name.clone(), "is neither a text nor a list of texts"));
            }
            groups.extend(texts(value).iter().map(|group| format!("{prefix}{group}")));
        }
        groups.retain(|group| !group.starts_with(RESERVED));
        groups.push(AUTHENTICATED.to_owned());
        Ok(groups)
    }
}

impl TokenError {
    fn lacks(claim: &str) -> Self {
        Self::Claim(claim.to_owned(), "is missing")
    }
}

/// Reads one text, or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}
