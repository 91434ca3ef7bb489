//! What goes wrong between the engine and the API server changes no result: it takes longer, that is all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::api::ListParams;
use ochre::options::{GatewayOptions, Limits};
use ochre_core::action::LABEL_UID;
use ochre_core::phase::{Phase, Verdict};
use ochre_sandbox::api::{Asked, Fault};
use ochre_tests::World;
use serde_json::{Value, json};

/// Makes something happen to the first of each of these requests; a second one of the same gets through.
fn first_of_each(
    fault: Fault,
    meets: impl Fn(&Asked) -> bool + Send + 'static,
) -> impl FnMut(&Asked) -> Option<Fault> + Send {
    let mut seen = BTreeSet::new();
    move |asked| (meets(asked) && seen.insert(asked.clone())).then_some(fault)
}

fn is_write(asked: &Asked) -> bool {
    !is_read(asked) && !is_watch(asked)
}

fn is_read(asked: &Asked) -> bool {
    ["get", "list"].contains(&asked.verb)
}

fn is_watch(asked: &Asked) -> bool {
    asked.verb == "watch"
}

/// Backs up and restores with an engine of whose requests some meet a fault at first.
async fn check(fault: Fault, meets: impl Fn(&Asked) -> bool + Send + 'static) {
    survives(first_of_each(fault, meets)).await;
}

/// Backs up and restores with an engine whose requests meet what is planned.
async fn survives(plan: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
    let world = World::start().await;
    let engine = world.faulty_engine(None, GatewayOptions::default(), plan).await;
    let backup = json!({"action": "backup", "name": "mongo", "selector": "helm.sh/chart=mongodb-10.3.1"});
    run(&world, "save", "Backup", backup, Verdict::Complete).await;
    world.lose_application().await;
    run(&world, "bring-back", "Restore", json!({"action": "restore", "name": "mongo"}), Verdict::Complete)
        .await;
    engine.drain().await;
}

async fn run(world: &World, name: &str, kind: &str, parameters: Value, verdict: Verdict) {
    let action = world.apply_action(name, parameters).await;
    let status = world.succeeded(name).await;
    assert_eq!(status.outcome.unwrap().verdict, verdict);
    let mine = ListParams::default().labels(&format!("{LABEL_UID}={}", action.metadata.uid.unwrap()));
    assert_eq!(world.velero(kind).list(&mine).await.unwrap().items.len(), 1, "one {kind}");
}

#[tokio::test]
async fn writes_that_conflict_are_made_again() {
    // A create conflicts only with what is there already, which is another answer.
    check(Fault::Conflict, |asked| is_write(asked) && asked.verb != "create").await;
}

#[tokio::test]
async fn writes_that_are_too_many_are_made_later() {
    check(Fault::TooManyRequests { retry_after: 1 }, |asked| asked.verb == "create").await;
}

#[tokio::test]
async fn writes_that_fail_are_made_again() {
    check(Fault::InternalError, is_write).await;
}

#[tokio::test]
async fn writes_whose_answer_is_lost_are_made_once() {
    check(Fault::LostAnswer, is_write).await;
}

#[tokio::test]
async fn reads_that_fail_are_made_again() {
    check(Fault::InternalError, is_read).await;
}

#[tokio::test]
async fn watches_that_fail_are_begun_again() {
    check(Fault::InternalError, is_watch).await;
}

#[tokio::test]
async fn watches_that_break_off_are_begun_again() {
    check(Fault::DroppedWatch, is_watch).await;
}

#[tokio::test]
async fn watches_that_are_too_far_behind_list_again() {
    check(Fault::ExpiredWatch, is_watch).await;
}

#[tokio::test]
async fn an_api_server_that_refuses_everybody_until_it_is_ready_is_asked_again() {
    let mut first = first_of_each(Fault::Forbidden, |_| true);
    survives(move |asked| if asked.name == "/readyz" { Some(Fault::InternalError) } else { first(asked) })
        .await;
}

#[tokio::test]
async fn slow_answers_are_waited_for() {
    survives(|_| Some(Fault::Slow(Duration::from_millis(20)))).await;
}

#[tokio::test]
async fn what_may_not_be_read_ends_the_run_at_once_and_says_which_rule_is_missing() {
    let world = World::start().await;
    let may_not = |asked: &Asked| (asked.resource == "secrets").then_some(Fault::Forbidden);
    let engine = world.faulty_engine(None, GatewayOptions::default(), may_not).await;
    engine.backed_up_application(&world).await;
    world.lose_application().await;
    world.apply_action("bring-back", json!({"action": "restore", "name": "mongo"})).await;
    let status = world.ended("bring-back").await;
    let step = &status.steps[0];
    assert_eq!((status.phase, step.reason.as_deref()), (Phase::Failed, Some("Forbidden")));
    assert_eq!(status.outcome.unwrap().verdict, Verdict::Unknown);
    let expected = "step restore: the engine may not get or list secrets in chat: secrets is forbidden: User \"system:anonymous\" cannot get resource \"secrets\" in API group \"\" in the namespace \"chat\"; to let it, give a ClusterRole with the label core.ochre.dev/aggregate-to-engine: \"true\" the rule {apiGroups: [\"\"], resources: [secrets], verbs: [get, list]}";
    assert_eq!(status.message.unwrap(), expected);
    assert_eq!(world.velero_names("Restore").await, Vec::<String>::new(), "nothing was restored");
    engine.drain().await;
}

#[tokio::test]
async fn a_kind_that_may_not_be_watched_is_named_and_may_be_granted_later() {
    let world = World::start().await;
    let granted = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&granted);
    let engine = world
        .faulty_engine(None, GatewayOptions::default(), move |request| {
            let may_not = request.resource == "backupstoragelocations" && !asked.load(Ordering::SeqCst);
            may_not.then_some(Fault::Forbidden)
        })
        .await;
    let backup = json!({"action": "backup", "name": "mongo", "selector": "helm.sh/chart=mongodb-10.3.1"});
    world.apply_action("first", backup.clone()).await;
    let message = world.ended("first").await.message.unwrap();
    assert!(message.contains("may not get or list or watch backupstoragelocations in velero"), "{message}");
    granted.store(true, Ordering::SeqCst);
    run(&world, "second", "Backup", backup, Verdict::Complete).await;
    engine.drain().await;
}

#[tokio::test]
async fn an_operation_that_takes_too_long_is_given_up() {
    let world = World::start().await;
    let limits = Limits { time: Duration::from_millis(50), ..Limits::default() };
    let options = GatewayOptions { limits, ..GatewayOptions::default() };
    let hangs = |asked: &Asked| {
        let creates = asked.verb == "create" && asked.resource == "actions";
        creates.then_some(Fault::Slow(Duration::from_secs(3600)))
    };
    let engine = world.faulty_engine(None, options, hangs).await;
    let parameters = json!({"action": "backup", "name": "mongo", "selector": "a=b"});
    let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    let input = json!({"name": "slow", "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters}});
    let answer = engine.graphql(query, json!({"in": input})).await;
    assert_eq!(answer.body["data"], Value::Null);
    answer.refuses("LIMIT_EXCEEDED", &["`time`, 50ms", "look what of it was done"]);
    assert_eq!(engine.graphql("{ actions { name } }", json!({})).await.data(), json!({"actions": []}));
    engine.drain().await;
}

#[tokio::test]
async fn what_is_read_while_the_cluster_is_away_is_marked_as_old() {
    let world = World::empty().await;
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    // The first watch ends with what it sees first; no other begins while the cluster is away.
    let plan = move |asked: &Asked| match (is_watch(asked) && asked.resource == "actions", &is_away) {
        (true, away) if away.load(Ordering::SeqCst) => Some(Fault::InternalError),
        (true, _) => Some(Fault::DroppedWatch),
        (false, away) => away.load(Ordering::SeqCst).then_some(Fault::InternalError),
    };
    let engine = world.faulty_engine(None, GatewayOptions::default(), plan).await;
    let answer = engine.graphql("{ actions { name } }", json!({})).await;
    assert!(answer.body["extensions"].is_null(), "{}", answer.body);
    away.store(true, Ordering::SeqCst);
    world.apply_action("seen-last", json!({"action": "backup", "name": "b"})).await;
    let marked = async {
        loop {
            let answer = engine.graphql("{ actions { name } }", json!({})).await.body;
            if !answer["extensions"]["stale"]["seconds"].is_null() {
                return answer;
            }
        }
    };
    let answer = world.within(marked).await;
    assert!(answer["errors"].is_null() && answer["data"]["actions"].is_array(), "{answer}");
    let input = json!({"name": "b", "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": {"action": "backup", "name": "b"}}});
    let query = "mutation($in: ActionDetailsInput) { createAction(in: $in) { name } }";
    let refused = engine.graphql(query, json!({"in": input})).await;
    refused.refuses("UPSTREAM_UNAVAILABLE", &["creating the Action b"]);
    assert_eq!(refused.body["errors"][0]["extensions"]["retryAfter"], 5);
    away.store(false, Ordering::SeqCst);
    engine.drain().await;
}
