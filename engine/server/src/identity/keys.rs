//! The keys of an issuer, and whether one of them signed a token.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation, decode, decode_header};
use ring::error::Unspecified;
use ring::signature as keyed;
use serde_json::Value;

use super::claims::TokenError;

/// The most keys of an issuer that are looked at.
const MOST: usize = 100;

/// Public keys with which tokens may be signed.
pub(super) struct Keys(Vec<Key>);

/// One of them.
struct Key {
    id: Option<String>,
    /// What it may be used with; never a shared secret.
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

impl Keys {
    /// Reads a JWKS; keys that are of no use here are left out.
    pub(super) fn parse(set: &Value) -> Self {
        // An error says that it is installed already.
        let _ = RING.install_default();
        let all = set["keys"].as_array().into_iter().flatten().take(MOST);
        Self(all.filter_map(Key::parse).collect())
    }

    /// Tells whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sees that a token is signed with one of the keys, and reads what it claims, which is not judged here.
    pub(super) fn verify(&self, token: &str) -> Result<Value, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // What must be understood is not: RFC 7515, 4.1.11.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let fits = |key: &&Key| {
            key.algorithms.contains(&header.alg) && (header.kid.is_none() || key.id == header.kid)
        };
        self.0
            .iter()
            .filter(fits)
            .find_map(|key| decode::<Value>(token, &key.public, &validation).ok())
            .map(|token| token.claims)
            .ok_or(TokenError::Signature)
    }
}

impl Key {
    fn parse(key: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                vec![Algorithm::ES256]
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
                vec![Algorithm::ES384]
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                vec![Algorithm::EdDSA]
            }
            _ => return None,
        };
        if let Some(only) = key["alg"].as_str() {
            algorithms.retain(|algorithm| only.parse() == Ok(*algorithm));
        }
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then_some(Self { id: jwk.common.key_id, algorithms, public })
    }
}

/// What jsonwebtoken computes with: ring, as all else that speaks TLS here. It signs nothing.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Ring { algorithm: *algorithm, key: key.clone() })),
    key_utils: KeyUtils::new_unimplemented(),
};

/// A key with the algorithm that it is used with.
struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let of_rsa = |parameters: &keyed::RsaParameters| match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                keyed::RsaPublicKeyComponents { n, e }.verify(parameters, message, signed)
            }
            DecodingKeyKind::SecretOrDer(_) => Err(Unspecified),
        };
        let of_curve = |algorithm: &'static dyn keyed::VerificationAlgorithm| {
            let key = self.key.try_get_as_bytes().map_err(|_| Unspecified)?;
            keyed::UnparsedPublicKey::new(algorithm, key).verify(message, signed)
        };
        let verified = match self.algorithm {
            Algorithm::RS256 => of_rsa(&keyed::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => of_rsa(&keyed::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => of_rsa(&keyed::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => of_rsa(&keyed::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => of_rsa(&keyed::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => of_rsa(&keyed::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => of_curve(&keyed::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => of_curve(&keyed::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => of_curve(&keyed::ED25519),
            _ => Err(Unspecified),
        };
        verified.map_err(|Unspecified| signature::Error::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Compares what a key may be used with, in a set beside one that nobody can read.
    fn check(key: &Value, wanted: &[Algorithm]) {
        let keys = Keys::parse(&json!({"keys": ["unreadable", key]}));
        let found: Vec<_> = keys.0.into_iter().flat_map(|key| key.algorithms).collect();
        assert_eq!(found, wanted, "{key}");
    }

    #[test]
    fn a_key_is_used_with_what_it_is_for_and_nothing_else() {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let rsa = |more: Value| {
            let mut key = json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"});
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        check(&rsa(json!({})), &[RS256, RS384, RS512, PS256, PS384, PS512]);
        check(&rsa(json!({"use": "sig", "alg": "PS512"})), &[PS512]);
        check(&rsa(json!({"use": "enc"})), &[]);
        check(&rsa(json!({"alg": "ES256"})), &[]);
        check(&rsa(json!({"alg": "HS256"})), &[]);
        check(&rsa(json!({"n": "not base64!"})), &[]);
        check(&json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}), &[ES256]);
        check(&json!({"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"}), &[ES384]);
        check(&json!({"kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA"}), &[]);
        check(&json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}), &[EdDSA]);
        check(&json!({"kty": "oct", "k": "AAAA"}), &[]);
    }
}
