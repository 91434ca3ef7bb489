//! Commands that Velero runs in pods, before a backup and after a restore.

use ochre_core::phase::{Phase, Verdict};
use serde_json::{Value, json};

use super::volumes::{annotated, back_up, check, pod, says, start};

fn hook(command: &str, on_error: &str) -> Value {
    json!({
        "pre.hook.backup.velero.io/container": "mariadb",
        "pre.hook.backup.velero.io/command": json!(["sh", "-c", command]).to_string(),
        "pre.hook.backup.velero.io/on-error": on_error,
    })
}

#[tokio::test]
async fn rows_are_as_they_were_when_the_hook_ran() {
    let (world, engine) = start().await;
    let pre = "mariadb -uroot -e \"insert into shop.orders values (0, 'by the hook')\"";
    let sum = world.open_shop_with(|set| annotated(set, hook(pre, "Fail"))).await;
    check(&back_up(&world, &engine, json!({})).await, Phase::Succeeded, None, Verdict::Complete);
    let with_hook = world.shop_sum().await;
    assert_ne!(with_hook, sum);
    world.lose_shop().await;
    engine.create("back", None, json!({"action": "restore", "name": "shop"})).await.data();
    world.succeeded("back").await;
    assert_eq!(world.shop_sum().await, with_hook);
}

#[tokio::test]
async fn a_hook_that_fails_drops_the_pod_and_says_so() {
    let (world, engine) = start().await;
    world.open_shop_with(|set| annotated(set, hook("exit 3", "Fail"))).await;
    let status = back_up(&world, &engine, json!({})).await;
    let said = check(&status, Phase::Failed, Some("PartiallyFailed"), Verdict::Partial);
    says(&said, &["PersistentVolumeClaim store/data-shop-db-0", "hook"]);
    assert!(!status.steps[0].volumes[0].saved);
}

#[tokio::test]
async fn a_hook_that_may_fail_leaves_the_data_saved() {
    let (world, engine) = start().await;
    world.open_shop_with(|set| annotated(set, hook("exit 3", "Continue"))).await;
    let status = back_up(&world, &engine, json!({"allowPartial": true})).await;
    check(&status, Phase::Succeeded, None, Verdict::Partial);
    assert!(status.steps[0].volumes[0].saved);
}

#[tokio::test]
async fn a_hook_for_a_pod_that_does_not_run_fails_the_backup() {
    let (world, engine) = start().await;
    world.open_shop().await;
    let mut waiting = pod(json!({"name": "files", "emptyDir": {}}));
    waiting["spec"]["nodeSelector"] = json!({"no-such": "node"});
    waiting["metadata"]["annotations"] = json!({
        "pre.hook.backup.velero.io/command": json!(["true"]).to_string(),
        "pre.hook.backup.velero.io/on-error": "Fail",
    });
    world.create(waiting).await;
    let status = back_up(&world, &engine, json!({})).await;
    let said = check(&status, Phase::Failed, Some("PartiallyFailed"), Verdict::Partial);
    says(&said, &["web", "hook"]);
    assert!(status.steps[0].volumes.iter().any(|volume| volume.saved), "the database's own volume is saved");
}

#[tokio::test]
async fn a_hook_after_a_restore_finds_a_database_that_listens() {
    let (world, engine) = start().await;
    let sum = world.open_shop().await;
    check(&back_up(&world, &engine, json!({})).await, Phase::Succeeded, None, Verdict::Complete);
    world.lose_shop().await;
    let insert = "mariadb -uroot -e \"insert into shop.orders values (0, 'by the hook')\"";
    let exec = json!({"container": "mariadb", "command": ["sh", "-c", insert], "onError": "Fail", "waitForReady": true});
    let hooks = json!({"resources": [{"name": "insert", "postHooks": [{"exec": exec}]}]});
    engine.create("back", None, json!({"action": "restore", "name": "shop", "hooks": hooks})).await.data();
    check(&world.ended("back").await, Phase::Succeeded, None, Verdict::Complete);
    assert_ne!(world.shop_sum().await, sum, "the hook's row is not there");
}

#[tokio::test]
async fn a_hook_that_fails_after_a_restore_fails_it() {
    let (world, engine) = start().await;
    let sum = world.open_shop().await;
    check(&back_up(&world, &engine, json!({})).await, Phase::Succeeded, None, Verdict::Complete);
    world.lose_shop().await;
    let exec = json!({"container": "mariadb", "command": ["false"], "onError": "Fail", "waitForReady": true});
    let hooks = json!({"resources": [{"name": "fail", "postHooks": [{"exec": exec}]}]});
    engine.create("back", None, json!({"action": "restore", "name": "shop", "hooks": hooks})).await.data();
    let said = check(&world.ended("back").await, Phase::Failed, Some("PartiallyFailed"), Verdict::Partial);
    says(&said, &["hook"]);
    assert_eq!(world.shop_sum().await, sum, "the data is there all the same");
}
