use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use super::{Claim, claim, held_by};

fn lease(spec: &Value) -> Lease {
    serde_json::from_value(json!({"metadata": {"name": "ochre", "resourceVersion": "7"}, "spec": spec}))
        .unwrap()
}

#[test]
fn a_lease_is_taken_when_it_is_free_or_expired_and_never_before() {
    let check = |spec: Option<Value>, unchanged_ms: u64, expected: Claim| {
        let lease = spec.as_ref().map(lease);
        let found = claim(lease.as_ref(), "me", Duration::from_millis(unchanged_ms));
        assert_eq!(found, expected, "{spec:?} unchanged for {unchanged_ms} ms");
    };
    let left = |milliseconds| Claim::Wait(Duration::from_millis(milliseconds));
    let theirs = || Some(json!({"holderIdentity": "other", "leaseDurationSeconds": 15}));
    check(None, 0, Claim::Create);
    check(theirs(), 0, left(15_000));
    check(theirs(), 14_999, left(1));
    check(theirs(), 15_000, Claim::Take);
    check(theirs(), 60_000, Claim::Take);
    // Whatever the holder's clock says of it.
    let tomorrow = json!({"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "2999-01-01T00:00:00.000000Z"});
    check(Some(tomorrow), 15_000, Claim::Take);
    let yesterday = json!({"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00.000000Z"});
    check(Some(yesterday), 0, left(15_000));
    check(Some(json!({"holderIdentity": "", "leaseDurationSeconds": 15})), 0, Claim::Take);
    check(Some(json!({})), 0, Claim::Take);
    check(Some(json!({"holderIdentity": "me", "leaseDurationSeconds": 15})), 0, Claim::Take);
    // One that does not say how long it lasts cannot hold anybody up.
    check(Some(json!({"holderIdentity": "other"})), 0, Claim::Take);
    check(Some(json!({"holderIdentity": "other", "leaseDurationSeconds": -1})), 0, Claim::Take);
}

#[test]
fn a_lease_says_who_holds_it_since_when_and_how_often_it_changed_hands() {
    let check = |before: Option<&Lease>, identity: &str, at: i64, expected: Value| {
        let now = Timestamp::from_second(at).unwrap();
        let lease = held_by(before, identity, Duration::from_secs(15), now);
        assert_eq!(serde_json::to_value(&lease.spec).unwrap(), expected);
        lease
    };
    let spec = |holder: &str, acquired: u8, renewed: u8, transitions: u8| {
        let at = |second| format!("1970-01-01T00:00:0{second}.000000Z");
        json!({
            "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": transitions,
            "acquireTime": at(acquired), "renewTime": at(renewed),
        })
    };
    let first = check(None, "a", 1, spec("a", 1, 1, 0));
    let renewed = check(Some(&first), "a", 2, spec("a", 1, 2, 0));
    let free = check(Some(&renewed), "", 3, spec("", 1, 3, 0));
    let second = check(Some(&free), "b", 4, spec("b", 4, 4, 1));
    check(Some(&second), "a", 5, spec("a", 5, 5, 2));
    // The version that was seen fences the write.
    let seen = lease(&json!({}));
    let taken = held_by(Some(&seen), "a", Duration::from_secs(15), Timestamp::UNIX_EPOCH);
    assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
}
