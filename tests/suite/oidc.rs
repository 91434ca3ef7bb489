//! Tokens of an OpenID Connect issuer: who is let in by them, and for how long.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ochre::options::{GatewayOptions, OidcOptions};
use ochre::{Authentication, ServeError, SetupError};
use ochre_tests::{Answer, Engine, Issuer, Person, Signing, World, unsigned};
use ring::hmac;
use serde_json::{Value, json};

const WHO: &str = "{ whoAmI { username groups } }";

/// What a gateway is told that takes the issuer's tokens and remembers nobody.
fn told(issuer: &Issuer) -> GatewayOptions {
    GatewayOptions {
        authentication: vec![Authentication::Oidc],
        oidc: OidcOptions {
            oidc_issuer: Some(issuer.url.clone()),
            oidc_audience: Some("ochre".to_owned()),
            oidc_groups_claim: Some("groups".to_owned()),
            ..OidcOptions::default()
        },
        remember: Duration::ZERO,
        ..GatewayOptions::default()
    }
}

async fn start() -> (World, Issuer, Engine) {
    let (world, issuer) = (World::empty().await, Issuer::start().await);
    let engine = world.engine_told(told(&issuer)).await;
    (world, issuer, engine)
}

/// Asks who it is that has a token.
async fn who(engine: &Engine, token: &str) -> Answer {
    engine.graphql_by(Some(&Person::with_token("", token)), WHO, json!({})).await
}

/// Fails unless a token is refused for a reason.
async fn is_refused(engine: &Engine, token: &str, says: &str) {
    let answer = who(engine, token).await;
    assert_eq!(answer.status, 401, "{says}: {:#}", answer.body);
    answer.refuses("UNAUTHENTICATED", &[says]);
}

/// Changes claims.
fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_token_of_the_issuer_is_somebody_with_groups() {
    let (_world, issuer, engine) = start().await;
    let alice = json!({
        "username": format!("{}#alice", issuer.url), "groups": ["backup-team", "system:authenticated"],
    });
    for signing in [Signing::Es256, Signing::EdDsa, Signing::Rs256, Signing::Ps512] {
        let token = issuer.signed(signing, &json!({}), &issuer.claims());
        assert_eq!(who(&engine, &token).await.data()["whoAmI"], alice, "{signing:?}");
    }
    // Whatever key it is that fits.
    let unnamed = issuer.signed(Signing::Rs256, &json!({"kid": null}), &issuer.claims());
    assert_eq!(who(&engine, &unnamed).await.data()["whoAmI"], alice);
    let several = with(issuer.claims(), "aud", json!(["others", "ochre"]));
    assert_eq!(who(&engine, &issuer.token(&several)).await.data()["whoAmI"], alice);
    // What only Kubernetes gives out, no issuer does.
    let master = with(issuer.claims(), "groups", json!(["system:masters", "backup-team"]));
    assert_eq!(who(&engine, &issuer.token(&master)).await.data()["whoAmI"], alice);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn an_issuer_with_tls_is_believed_when_its_certificate_is() {
    let (world, (issuer, certificate)) = (World::empty().await, Issuer::start_private().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let token = issuer.token(&issuer.claims());
    let mut told = told(&issuer);
    let stranger = world.engine_told(told.clone()).await;
    let answer = who(&stranger, &token).await;
    answer.refuses("UPSTREAM_UNAVAILABLE", &["could not be asked for its keys"]);
    told.oidc.oidc_ca_file = Some(file);
    let engine = world.engine_told(told).await;
    assert_eq!(who(&engine, &token).await.data()["whoAmI"]["username"], format!("{}#alice", issuer.url));
    assert_eq!(issuer.asked(), 1, "who does not believe it does not ask it for keys");
}

#[tokio::test]
async fn a_token_that_is_not_quite_right_is_nobody_s() {
    let (_world, issuer, engine) = start().await;
    let now = Timestamp::now().as_second();
    for (claim, value, says) in [
        ("aud", json!("others"), "aud is not what --oidc-audience says"),
        ("aud", json!(null), "aud is not what --oidc-audience says"),
        ("iss", json!("https://elsewhere.example"), "iss is not what --oidc-issuer says"),
        ("iss", json!([issuer.url]), "iss is not what --oidc-issuer says"),
        ("exp", json!(now - 1), "has expired"),
        ("exp", json!("tomorrow"), "exp is missing"),
        ("exp", json!(null), "exp is missing"),
        ("nbf", json!(now + 120), "not valid yet"),
        ("nbf", json!("yesterday"), "not valid yet"),
        ("sub", json!(""), "sub is missing"),
        ("sub", json!(7), "sub is missing"),
        ("groups", json!({"admins": true}), "groups is neither a text nor a list of texts"),
        ("groups", json!(["a", 1]), "groups is neither a text nor a list of texts"),
    ] {
        is_refused(&engine, &issuer.token(&with(issuer.claims(), claim, value)), says).await;
    }
    let soon = with(issuer.claims(), "nbf", json!(now + 30));
    who(&engine, &issuer.token(&soon)).await.data();
}

#[tokio::test]
async fn a_token_that_is_signed_otherwise_is_nobody_s() {
    let (_world, issuer, engine) = start().await;
    let (claims, good) = (issuer.claims(), issuer.token(&issuer.claims()));
    who(&engine, &good).await.data();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let not_signed = "not signed with a key of its issuer";

    let promoted = with(claims.clone(), "sub", json!("admin")).to_string();
    let promoted = format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(promoted));
    is_refused(&engine, &promoted, not_signed).await;
    is_refused(&engine, &format!("{signed}."), not_signed).await;
    is_refused(&engine, &format!("{}.", unsigned(&json!({"alg": "none"}), &claims)), "no JWT").await;
    is_refused(&engine, signed, "no JWT").await;

    // The public key taken for a secret.
    let public = issuer.public_key();
    let header = json!({"alg": "HS256", "kid": public["kid"]});
    for secret in [public.to_string(), public["x"].as_str().unwrap().to_owned()] {
        let message = unsigned(&header, &claims);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&secret, message.as_bytes()));
        is_refused(&engine, &format!("{message}.{signature}"), not_signed).await;
    }
    // One key's name with another's signature, and keys that the token brings itself.
    let elsewhere = Issuer::start().await;
    is_refused(&engine, &elsewhere.token(&claims), not_signed).await;
    let brought = elsewhere.signed(Signing::Es256, &json!({"jwk": elsewhere.public_key()}), &claims);
    is_refused(&engine, &brought, not_signed).await;
    let renamed = issuer.signed(Signing::EdDsa, &json!({"alg": "ES256"}), &claims);
    is_refused(&engine, &renamed, not_signed).await;
    let critical = issuer.signed(Signing::Es256, &json!({"crit": ["b64"], "b64": true}), &claims);
    is_refused(&engine, &critical, "no JWT").await;

    let huge = with(claims, "about", json!("x".repeat(16 * 1024)));
    is_refused(&engine, &issuer.token(&huge), "longer than 16384 bytes").await;
    who(&engine, &good).await.data();
}

#[tokio::test]
async fn keys_are_exchanged_without_a_restart() {
    let (_world, issuer, engine) = start().await;
    let old = issuer.token(&issuer.claims());
    who(&engine, &old).await.data();
    issuer.rotate();
    // Nobody asks the issuer as long as the keys that are known do.
    who(&engine, &old).await.data();
    assert_eq!(issuer.asked(), 1);
    who(&engine, &issuer.token(&issuer.claims())).await.data();
    assert_eq!(issuer.asked(), 2);
    is_refused(&engine, &old, "not signed with a key of its issuer").await;
}

#[tokio::test]
async fn made_up_keys_do_not_have_the_issuer_asked_without_end() {
    let (_world, issuer, engine) = start().await;
    for kid in 0..50 {
        let token =
            issuer.signed(Signing::Es256, &json!({"kid": format!("made-up-{kid}")}), &issuer.claims());
        is_refused(&engine, &token, "not signed with a key of its issuer").await;
    }
    assert!(issuer.asked() < 10, "it was asked {} times", issuer.asked());
}

#[tokio::test]
async fn an_issuer_that_is_away_locks_nobody_out_whose_key_is_known() {
    let (_world, issuer, engine) = start().await;
    issuer.is_away(true);
    let answer = who(&engine, &issuer.token(&issuer.claims())).await;
    assert_eq!((answer.status, &answer.body["errors"][0]["extensions"]["retryAfter"]), (503, &json!(5)));
    answer.refuses("UPSTREAM_UNAVAILABLE", &["the issuer of the token could not be asked for its keys"]);

    issuer.is_away(false);
    who(&engine, &issuer.token(&issuer.claims())).await.data();
    issuer.is_away(true);
    who(&engine, &issuer.token(&issuer.claims())).await.data();
    issuer.rotate();
    is_refused(&engine, &issuer.token(&issuer.claims()), "not signed with a key of its issuer").await;
}

#[tokio::test]
async fn what_a_group_may_its_members_may() {
    let (world, issuer, engine) = start().await;
    let alice = Person::with_token("", &issuer.token(&issuer.claims()));
    let query = "{ actions { name } }";
    let refused = engine.graphql_by(Some(&alice), query, json!({})).await;
    refused.refuses("FORBIDDEN", &["#alice may not list actions"]);
    world.grant_group("backup-team", "default", "actions", &["list"]).await;
    engine.graphql_by(Some(&alice), query, json!({})).await.data();
    let others = issuer.token(&with(issuer.claims(), "groups", json!("others")));
    let others = Person::with_token("", &others);
    engine.graphql_by(Some(&others), query, json!({})).await.refuses("FORBIDDEN", &["may not list actions"]);
}

#[tokio::test]
async fn the_claims_are_what_the_options_say() {
    let (world, issuer) = (World::empty().await, Issuer::start().await);
    let mut options = told(&issuer);
    options.oidc.oidc_username_claim = "email".to_owned();
    options.oidc.oidc_groups_prefix = "corporate:".to_owned();
    let engine = world.engine_told(options.clone()).await;
    let email = with(issuer.claims(), "email", json!("alice@example.com"));
    let found = who(&engine, &issuer.token(&email)).await.data();
    let alice = json!({
        "username": "alice@example.com", "groups": ["corporate:backup-team", "system:authenticated"],
    });
    assert_eq!(found["whoAmI"], alice);
    let unverified = with(email, "email_verified", json!(false));
    is_refused(&engine, &issuer.token(&unverified), "email is not verified").await;
    is_refused(&engine, &issuer.token(&issuer.claims()), "email is missing").await;

    options.oidc.oidc_username_claim = "sub".to_owned();
    for (prefix, wanted) in [("-", "alice"), ("people:", "people:alice")] {
        options.oidc.oidc_username_prefix = Some(prefix.to_owned());
        let engine = world.engine_told(options.clone()).await;
        let found = who(&engine, &issuer.token(&issuer.claims())).await.data();
        assert_eq!(found["whoAmI"]["username"], wanted);
        let system = with(issuer.claims(), "sub", json!("system:admin"));
        if prefix == "-" {
            is_refused(&engine, &issuer.token(&system), "only Kubernetes gives out").await;
        }
    }
}

#[tokio::test]
async fn tokens_of_the_cluster_go_beside_those_of_the_issuer() {
    let (world, issuer) = (World::empty().await, Issuer::start().await);
    let authentication = vec![Authentication::Token, Authentication::Oidc];
    let engine = world.engine_told(GatewayOptions { authentication, ..told(&issuer) }).await;
    let pipeline = world.person("pipeline").await;
    let found = engine.graphql_by(Some(&pipeline), WHO, json!({})).await.data();
    assert_eq!(found["whoAmI"]["username"], pipeline.username);
    who(&engine, &issuer.token(&issuer.claims())).await.data();
    // What says that it is the issuer's is not shown to the cluster.
    let elsewhere = Issuer::start().await;
    is_refused(&engine, &elsewhere.token(&issuer.claims()), "not signed with a key of its issuer").await;
    is_refused(&engine, &elsewhere.token(&elsewhere.claims()), "the cluster does not know").await;
}

#[tokio::test]
async fn a_web_socket_ends_with_the_token() {
    let (world, issuer) = (World::empty().await, Issuer::start().await);
    let options = GatewayOptions {
        keep_alive: Duration::from_millis(200),
        remember: Duration::from_secs(60),
        ..told(&issuer)
    };
    let engine = world.engine_told(options).await;
    let end = Timestamp::now().as_second() + 2;
    let token = issuer.token(&with(issuer.claims(), "exp", json!(end)));
    let mut socket = engine.raw_socket(&[("sec-websocket-protocol", "graphql-transport-ws")]).await;
    let payload = json!({"authorization": format!("Bearer {token}")});
    socket.say(json!({"type": "connection_init", "payload": payload})).await;
    assert_eq!(world.within(socket.hear()).await.message()["type"], "connection_ack");
    let (code, why) = world.within(socket.end()).await.closed();
    assert_eq!(code, 4403, "{why}");
    assert!(why.contains("has ended"), "{why}");
    assert!(Timestamp::now().as_second() >= end);
}

#[tokio::test]
async fn an_issuer_must_be_named_and_private() {
    let (world, issuer) = (World::empty().await, Issuer::start().await);
    let refused = async |change: fn(&mut OidcOptions)| {
        let mut options = told(&issuer);
        change(&mut options.oidc);
        let ServeError::Identity(error) = world.refused_engine(options).await else {
            panic!("another error")
        };
        error.to_string()
    };
    for (change, says) in [
        ((|oidc| oidc.oidc_issuer = None) as fn(&mut OidcOptions), "oidc needs --oidc-issuer"),
        (|oidc| oidc.oidc_audience = None, "oidc needs --oidc-audience"),
        (|oidc| oidc.oidc_issuer = Some("http://issuer.example".to_owned()), "must be an address with https"),
        (|oidc| oidc.oidc_issuer = Some("issuer.example".to_owned()), "must be an address with https"),
        (|oidc| oidc.oidc_ca_file = Some("no-such-file".into()), "no-such-file cannot be used"),
        (|oidc| oidc.oidc_ca_file = Some("Cargo.toml".into()), "no certificate in PEM"),
    ] {
        let said = refused(change).await;
        assert!(said.contains(says), "`{says}` is not said in: {said}");
    }
    for (authentication, says) in [
        (vec![], "say --authentication token"),
        (vec![Authentication::Anonymous, Authentication::Oidc], "goes with no other"),
    ] {
        let options = GatewayOptions { authentication, ..told(&issuer) };
        let ServeError::Identity(error @ (SetupError::Untold | SetupError::NotAlone)) =
            world.refused_engine(options).await
        else {
            panic!("another error")
        };
        assert!(error.to_string().contains(says), "{error}");
    }
}
