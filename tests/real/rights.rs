//! What the engine asked of the real API server, by its audit log, held against what it may ask.

use std::collections::BTreeSet;

use ochre_core::phase::Phase;
use ochre_tests::{World, rules};
use serde_json::{Value, json};

/// Objects of kinds that nothing else here makes, as group and version, kind, namespace and the rest.
fn rare() -> Vec<(&'static str, &'static str, Option<&'static str>, Value)> {
    let chat = Some("chat");
    let labels = json!({"app": "rare"});
    let pod = json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "rare", "image": "local/busybox:1", "command": ["true"]}], "restartPolicy": "Never"},
    });
    let mut forever = pod.clone();
    forever["spec"]["restartPolicy"] = json!("Always");
    let selector = json!({"matchLabels": labels});
    vec![
        ("v1", "LimitRange", chat, json!({"spec": {"limits": [{"type": "Pod", "max": {"cpu": "64"}}]}})),
        ("v1", "ResourceQuota", chat, json!({"spec": {"hard": {"pods": "1000"}}})),
        ("v1", "PodTemplate", chat, json!({"template": forever})),
        (
            "v1",
            "ReplicationController",
            chat,
            json!({"spec": {"replicas": 0, "selector": labels, "template": forever}}),
        ),
        (
            "apps/v1",
            "DaemonSet",
            chat,
            json!({"spec": {"selector": selector, "template": {
                "metadata": {"labels": labels},
                "spec": {"nodeSelector": {"nowhere": "true"}, "containers": forever["spec"]["containers"]},
            }}}),
        ),
        ("batch/v1", "Job", chat, json!({"spec": {"suspend": true, "template": pod}})),
        (
            "batch/v1",
            "CronJob",
            chat,
            json!({"spec": {
                "schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": pod}},
            }}),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            chat,
            json!({"spec": {
                "maxReplicas": 1, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
            }}),
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            chat,
            json!({"spec": {"selector": selector, "maxUnavailable": 1}}),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            chat,
            json!({"spec": {
                "defaultBackend": {"service": {"name": "mongodb", "port": {"number": 27017}}},
            }}),
        ),
        ("networking.k8s.io/v1", "NetworkPolicy", chat, json!({"spec": {"podSelector": selector}})),
        ("storage.k8s.io/v1", "CSIStorageCapacity", chat, json!({"storageClassName": "local"})),
        ("rbac.authorization.k8s.io/v1", "Role", chat, json!({"rules": []})),
        (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            chat,
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rare"},
            }),
        ),
        ("networking.k8s.io/v1", "IngressClass", None, json!({"spec": {"controller": "example.org/none"}})),
        ("storage.k8s.io/v1", "CSIDriver", None, json!({"spec": {}})),
    ]
}

/// A restore over everything is refused, after every kind of the backup was looked at.
#[tokio::test]
async fn every_kind_that_may_be_read_is_read() {
    let world = World::start().await;
    let engine = world.engine().await;
    for (api_version, kind, namespace, rest) in rare() {
        let mut object = rest;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "rare", "namespace": namespace});
        world.create(object).await;
    }
    let mut kinds = BTreeSet::new();
    for rule in rules().iter().filter(|rule| rule.role.starts_with("ochre-reader")) {
        let all =
            |field: &str| -> Vec<String> { serde_json::from_value(rule.grants[field].clone()).unwrap() };
        let group = all("apiGroups").remove(0);
        let named =
            |resource: String| if group.is_empty() { resource } else { format!("{resource}.{group}") };
        kinds.extend(all("resources").into_iter().map(named));
    }
    let parameters = json!({"volumes": "none", "includeResources": kinds, "includeClusterResources": true});
    engine.backed_up(&world, "all", parameters).await;
    engine.create("back", None, json!({"action": "restore", "name": "all"})).await.data();
    let status = world.ended("back").await;
    assert_eq!(
        (status.phase, status.steps[0].reason.as_deref()),
        (Phase::Failed, Some("Exists")),
        "{status:#?}"
    );
    for (kind, name) in [("ingressclass", "rare"), ("csidriver", "rare")] {
        world.kubectl(&["delete", kind, name]).await;
    }
}

/// Whoever may write Actions may not say what became of them; admission policies need not hold that up.
#[tokio::test]
async fn nobody_but_the_engine_writes_a_status() {
    let world = World::empty().await;
    let mallory = world.person("mallory").await;
    let all = ["get", "list", "create", "update", "patch", "delete", "run", "cancel"];
    world.grant(&mallory, Some("default"), "actions", &all).await;
    world.apply_action("asked", json!({"action": "backup", "name": "asked"})).await;
    let forged = json!({"status": {"runBy": {"username": "admin"}}}).to_string();
    let forge = ["patch", "action", "asked", "--subresource=status", "--type=merge", "-p", &forged];
    let said =
        world.kubectl_fails(&[&["--as", &mallory.username, "-n", "default"], &forge[..]].concat()).await;
    assert!(said.contains("\"actions/status\""), "{said}");
}

/// Runs after all others: hack/test names the logs.
#[test]
fn what_was_asked_is_what_may_be_asked() {
    let logs = std::env::var("OCHRE_AUDIT_LOGS").expect("OCHRE_AUDIT_LOGS names the API servers' logs");
    let read = |path| std::fs::read_to_string(path).unwrap();
    let lines: String = logs.split(':').map(read).collect();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() > 1000, "the suites ran before: {} events", events.len());
    // What a ServiceAccount may, as which the engine acted or was not let act, is none of the engine's own rights.
    let is_as_another = |event: &&Value| {
        let refusal = event["responseStatus"]["message"].as_str().unwrap_or_default();
        event["impersonatedUser"].is_object() || refusal.contains(" cannot impersonate")
    };
    let own = events.iter().filter(|event| !is_as_another(event));
    let (refused, let_through): (Vec<&Value>, Vec<&Value>) =
        own.partition(|event| event["responseStatus"]["code"] == 403);
    // An API server that has only just started knows no roles yet, and refuses what it let through before.
    let what = |event: &Value| {
        let right = asked(event).ok_or_else(|| event["requestURI"].to_string());
        (right, event["objectRef"]["namespace"].to_string())
    };
    let may_be: BTreeSet<_> = let_through.iter().map(|event| what(event)).collect();
    let refused: Vec<&Value> = refused
        .into_iter()
        .filter(|event| !may_be.contains(&what(event)))
        .map(|event| &event["requestURI"])
        .collect();
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let used: BTreeSet<(String, String, String)> = let_through.into_iter().filter_map(asked).collect();
    let mut unused = Vec::new();
    for rule in rules() {
        let all =
            |field: &str| -> Vec<String> { serde_json::from_value(rule.grants[field].clone()).unwrap() };
        let is_reading = rule.role.starts_with("ochre-reader");
        let group = all("apiGroups").remove(0);
        for resource in all("resources") {
            let is_used = |verb: &String| used.contains(&(group.clone(), resource.clone(), verb.clone()));
            // Few objects are got one by one and many listed: which of both is a matter of number.
            if is_reading && all("verbs").iter().any(is_used) {
                continue;
            }
            unused.extend(
                all("verbs")
                    .into_iter()
                    .filter(|verb| !is_used(verb))
                    .map(|verb| format!("{}: {verb} {resource}.{group}", rule.role)),
            );
        }
    }
    assert!(unused.is_empty(), "granted and not needed: {unused:#?}");
}

/// Takes group, resource and verb out of an event; discovery asks for none.
fn asked(event: &Value) -> Option<(String, String, String)> {
    let about = &event["objectRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = about["resource"].as_str()?;
    let resource = match about["subresource"].as_str() {
        Some(part) => format!("{resource}/{part}"),
        None => resource.to_owned(),
    };
    Some((text(&about["apiGroup"]), resource, text(&event["verb"])))
}
