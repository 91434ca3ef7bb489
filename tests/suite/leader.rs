//! Of several engines one acts, and another goes on when it is gone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use ochre::options::GatewayOptions;
use ochre::{Election, Readiness, Times};
use ochre_core::action::LABEL_UID;
use ochre_sandbox::api::{Asked, Fault};
use ochre_tests::{Engine, Fuse, Side, World};
use serde_json::{Value, json};

/// Where the engine may write a Lease.
const NAMESPACE: &str = "ochre-system";
/// Short enough to wait for, long enough for a busy machine.
const QUICK: Times = Times {
    lease: Duration::from_secs(2),
    renew_deadline: Duration::from_millis(1500),
    retry: Duration::from_millis(200),
};

fn election(identity: &str, times: Times) -> Election {
    Election { namespace: NAMESPACE.to_owned(), identity: identity.to_owned(), times }
}

/// Starts an engine that leads from the start.
async fn leader(world: &World, times: Times, fuse: Option<&Fuse>) -> (Engine, Readiness) {
    let (engine, readiness) = world.candidate(election("first", times), fuse).await;
    world.within(readiness.wait_for_leader("first")).await;
    (engine, readiness)
}

/// Starts an engine that follows.
async fn follower(world: &World, times: Times) -> (Engine, Readiness) {
    let (engine, readiness) = world.candidate(election("second", times), None).await;
    world.within(readiness.wait_for_leader("first")).await;
    (engine, readiness)
}

async fn said(engine: &Engine) -> (u16, String) {
    let answer = reqwest::get(engine.url.clone() + "/readyz").await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn backup(name: &str) -> Value {
    json!({"action": "backup", "name": name, "selector": "helm.sh/chart=mongodb-10.3.1"})
}

/// Counts what an Action made.
async fn made(world: &World, action: &str, kind: &str) -> usize {
    let uid = world.actions("default").get(action).await.unwrap().metadata.uid.unwrap();
    let mine = ListParams::default().labels(&format!("{LABEL_UID}={uid}"));
    world.velero(kind).list(&mine).await.unwrap().items.len()
}

#[tokio::test]
async fn another_takes_over_from_a_leader_that_dies() {
    let world = World::start().await;
    let (first, _) = leader(&world, QUICK, None).await;
    let (second, following) = follower(&world, QUICK).await;
    assert_eq!(said(&first).await, (200, "ok; first leads".to_owned()));
    assert_eq!(said(&second).await, (200, "ok; first leads".to_owned()), "a follower is ready");
    world.stop_velero().await;
    second.create("nightly", None, backup("mongo")).await.data();
    world.until("nightly", |status| status.steps.iter().any(|step| step.object.is_some())).await;

    first.kill().await;
    world.start_velero().await;
    world.within(following.wait_for_leader("second")).await;
    world.succeeded("nightly").await;
    assert_eq!(made(&world, "nightly", "Backup").await, 1);
    second.drain().await;
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_lets_go_at_once() {
    let hours = Duration::from_secs(3600);
    let patient = Times { lease: 3 * hours, renew_deadline: 2 * hours, retry: hours };
    let world = World::start().await;
    let (first, _) = leader(&world, patient, None).await;
    let (second, following) = follower(&world, patient).await;
    first.drain().await;
    world.within(following.wait_for_leader("second")).await;
    world.apply_action("nightly", backup("mongo")).await;
    world.succeeded("nightly").await;
    second.drain().await;
    let leases = world.api("coordination.k8s.io/v1", "Lease", Some(NAMESPACE));
    let lease = leases.get("ochre").await.unwrap();
    assert_eq!(lease.data["spec"]["holderIdentity"], "");
    assert_eq!(lease.data["spec"]["leaseTransitions"], 1);
}

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_before_another_begins() {
    let world = World::start().await;
    // It makes the Lease, renews it once, and is not heard of any more.
    let fuse = Fuse::new(3, Side::Before);
    let (first, _) = leader(&world, QUICK, Some(&fuse)).await;
    let (second, following) = follower(&world, QUICK).await;
    world.within(following.wait_for_leader("second")).await;
    assert_eq!(said(&first).await, (200, "ok; it is not known who leads".to_owned()));
    world.apply_action("nightly", backup("mongo")).await;
    world.succeeded("nightly").await;
    first.kill().await;
    second.drain().await;
}

#[tokio::test]
async fn a_lease_that_is_taken_away_is_not_acted_under() {
    let world = World::start().await;
    let (first, leading) = leader(&world, QUICK, None).await;
    let thief = json!({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 3600}});
    let leases = world.api("coordination.k8s.io/v1", "Lease", Some(NAMESPACE));
    let patch = Patch::Merge(thief);
    leases.patch("ochre", &PatchParams::default(), &patch).await.unwrap();
    world.within(leading.wait_for_leader("thief")).await;
    let action = first.create("nightly", None, backup("mongo")).await.data();
    assert_eq!(action["createAction"]["status"]["phase"], "INITIAL", "nobody acts");
    leases.delete("ochre", &DeleteParams::default()).await.unwrap();
    world.succeeded("nightly").await;
    first.drain().await;
}

/// What happens when a process is held up for so long that it does not know that it leads no more.
#[tokio::test]
async fn two_that_both_act_make_nothing_twice() {
    let world = World::start().await;
    let (first, second) = (world.engine().await, world.engine().await);
    let names: Vec<String> = (0..8).map(|number| format!("save-{number}")).collect();
    for name in &names {
        world.apply_action(name, backup(name)).await;
    }
    for name in &names {
        world.succeeded(name).await;
        assert_eq!(made(&world, name, "Backup").await, 1);
    }
    world.lose_application().await;
    world.apply_action("restore", json!({"action": "restore", "name": "save-3"})).await;
    world.succeeded("restore").await;
    assert_eq!(made(&world, "restore", "Restore").await, 1);
    first.drain().await;
    second.drain().await;
}

/// Only the sandbox's API loses answers as it is told.
mod simulated {
    use super::*;

    #[tokio::test]
    async fn a_leader_whose_answers_are_lost_goes_on() {
        let world = World::start().await;
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lost);
        let plan = move |asked: &Asked| {
            let is_renewal = asked.verb == "update" && asked.resource == "leases";
            (is_renewal && counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2))
                .then_some(Fault::LostAnswer)
        };
        let engine =
            world.faulty_engine(Some(election("first", QUICK)), GatewayOptions::default(), plan).await;
        let renewals = Mutex::new(BTreeSet::new());
        let renewed = |lease: Option<&DynamicObject>| {
            let mut renewals = renewals.lock().unwrap();
            renewals.extend(lease.map(|lease| lease.data["spec"]["renewTime"].to_string()));
            renewals.len() > 4
        };
        let leases = world.api("coordination.k8s.io/v1", "Lease", Some(NAMESPACE));
        let lease = world.object(leases, "ochre", renewed).await.unwrap();
        assert_eq!(lease.data["spec"]["holderIdentity"], "first");
        assert_eq!(lease.data["spec"]["leaseTransitions"], 0, "it was never lost");
        assert!(lost.load(Ordering::SeqCst) > 2, "answers were lost");
        engine.drain().await;
    }
}
