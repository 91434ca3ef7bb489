//! The image as pods, exactly as the manifests deploy it.

use std::time::Duration;

use ochre_core::phase::Verdict;
use ochre_tests::{SHOP, World};
use serde_json::json;

const NAMESPACE: &str = "ochre-system";
/// A leader that is gone is followed within its Lease and one retry.
const TAKEOVER: Duration = Duration::from_secs(17);

/// Names the pod that leads.
async fn leader(world: &World, is_wanted: impl Fn(&str) -> bool) -> String {
    let leases = world.api("coordination.k8s.io/v1", "Lease", Some(NAMESPACE));
    let held = |lease: Option<&kube::api::DynamicObject>| {
        lease.is_some_and(|lease| lease.data["spec"]["holderIdentity"].as_str().is_some_and(&is_wanted))
    };
    let lease = world.object(leases, "ochre", held).await.unwrap();
    let holder = lease.data["spec"]["holderIdentity"].as_str().unwrap();
    // The pod's name, and what makes the process unique.
    holder.rsplit_once('-').map_or(holder, |(pod, _)| pod).to_owned()
}

#[tokio::test]
async fn two_pods_deploy_one_leads_and_the_other_takes_over() {
    let world = World::start().await;
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");
    world.kubectl(&["apply", "-k", manifests]).await;
    world.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/ochre", "--timeout=120s"]).await;
    world.open_shop().await;

    let first = leader(&world, |holder| !holder.is_empty()).await;
    world.apply_action("nightly", json!({"action": "backup", "name": "shop", "selector": SHOP})).await;
    assert_eq!(world.succeeded("nightly").await.outcome.unwrap().verdict, Verdict::Complete);

    let killed = tokio::time::Instant::now();
    world.kubectl(&["-n", NAMESPACE, "delete", "pod", &first, "--grace-period=0", "--force"]).await;
    leader(&world, |holder| !holder.is_empty() && !holder.starts_with(&first)).await;
    // The one thing here that is about time: it is what the Lease promises.
    assert!(killed.elapsed() < TAKEOVER, "took over after {:?}", killed.elapsed());
    world.apply_action("again", json!({"action": "backup", "name": "again", "selector": SHOP})).await;
    world.succeeded("again").await;
    world.kubectl(&["-n", NAMESPACE, "delete", "deployment", "ochre", "--wait"]).await;
}
