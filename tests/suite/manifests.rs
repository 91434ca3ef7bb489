//! What a cluster gets, held against what the engine does.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kube::api::DeleteParams;
use ochre::options::GatewayOptions;
use ochre::{Authentication, Election, Times};
use ochre_core::phase::Phase;
use ochre_sandbox::api::{Asked, Fault};
use ochre_tests::{BASE, Rule, World, files, keeping, lent, rules};
use serde_json::{Value, json};

const APPLICATION: &str = "helm.sh/chart=mongodb-10.3.1";

#[test]
fn every_file_is_applied() {
    let listed = |folder: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        let kustomization: Value = serde_saphyr::from_str(&text).unwrap();
        serde_json::from_value(kustomization["resources"].clone()).unwrap()
    };
    let base = Path::new(BASE);
    let found: BTreeSet<String> = files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed(base).into_iter().collect::<BTreeSet<_>>(), found);
    assert_eq!(listed(base.parent().unwrap()), ["crds/actions.yaml", "base", "admission"]);
}

#[test]
fn no_rule_is_wide_and_each_says_what_it_is_for() {
    for Rule { role, grants: rule, .. } in rules() {
        assert!(!rule.to_string().contains('*'), "{role}: {rule}");
        // Accounts are lent one by one where they are, and nothing else that one may be.
        for verb in ["escalate", "bind", "impersonate"] {
            assert!(!rule["verbs"].to_string().contains(verb), "{role}: {rule}");
        }
    }
    for (name, text) in files() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in
            lines.iter().enumerate().filter(|(_, line)| line.trim().starts_with("- apiGroups"))
        {
            assert!(
                lines[number - 1].trim().starts_with('#'),
                "{name}:{}: {line} is not explained",
                number + 1
            );
        }
    }
}

/// Every field of the spec either is what is asked for, so that changing it asks anew and it is held while a run is
/// on, or has a rule of its own.
#[test]
fn no_field_of_the_spec_is_forgotten() {
    const RULED: [&str; 5] = ["run", "cancel", "attempt", "approvals", "requestedBy"];
    let definition = serde_json::to_value(ochre_core::action::definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let rules = schema["x-kubernetes-validations"].to_string();
    let policy = |name: &str| {
        let path = Path::new(BASE).parent().unwrap().join("admission").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let policies = [policy("identity.yaml"), policy("rights.yaml")];
    let fields = schema["properties"]["spec"]["properties"].as_object().unwrap().keys();
    for field in fields.filter(|field| !RULED.contains(&field.as_str())) {
        let compared = [
            format!("object.spec.{field} != oldObject.spec.{field}"),
            format!("object.spec.?{field} != oldObject.spec.?{field}"),
            format!("object.spec[?'{field}'] != oldObject.spec[?'{field}']"),
        ];
        for policy in &policies {
            assert!(compared.iter().any(|words| policy.contains(words)), "{field} may be changed unasked");
        }
        let held = [format!("self.spec.{field} == oldSelf"), format!("self.spec.__{field}__ == oldSelf")];
        assert!(held.iter().any(|words| rules.contains(words)), "{field} may be changed while a run is on");
    }
}

/// Finds the one object of a kind in the manifests.
fn object(kind: &str) -> Value {
    let files = files();
    let documents = files.iter().flat_map(|(_, text)| text.split("\n---\n"));
    let mut found =
        documents.map(|text| serde_saphyr::from_str(text).unwrap()).filter(|it: &Value| it["kind"] == kind);
    let (object, another) = (found.next(), found.next());
    assert!(object.is_some() && another.is_none(), "there is one {kind}");
    object.unwrap()
}

/// Kubernetes' standard `restricted` for pods, and a file system that is read only.
#[test]
fn every_container_is_restricted_by_itself() {
    let pod = &object("Deployment")["spec"]["template"]["spec"];
    for field in ["hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers", "ephemeralContainers"] {
        assert!(pod[field].is_null(), "{field}");
    }
    let wanted = json!({
        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    let containers = pod["containers"].as_array().unwrap();
    assert!(!containers.is_empty());
    for container in containers {
        assert_eq!(container["securityContext"], wanted, "{}", container["name"]);
        assert!(container["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
    }
    for field in ["runAsUser", "runAsGroup"] {
        assert_ne!(pod["securityContext"][field], 0, "{field}");
    }
    assert_eq!(object("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn the_network_and_drains_leave_the_engines_what_they_need() {
    let (policy, budget, deployment) =
        (object("NetworkPolicy"), object("PodDisruptionBudget"), object("Deployment"));
    let pods = &deployment["spec"]["selector"]["matchLabels"];
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], *pods);
    assert_eq!(budget["spec"]["selector"]["matchLabels"], *pods);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    // What comes in is what a port of the container is for.
    let ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap();
    let open: Vec<&Value> = ports.iter().map(|port| &port["name"]).collect();
    let let_in = policy["spec"]["ingress"].as_array().unwrap();
    let let_in: Vec<&Value> =
        let_in.iter().flat_map(|rule| rule["ports"].as_array().unwrap()).map(|port| &port["port"]).collect();
    assert_eq!(let_in, open);
    // At a drain one engine stays.
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    assert!(budget["spec"]["maxUnavailable"].as_u64().unwrap() < replicas);
    // No rule leads to the metadata of a machine.
    for rule in policy["spec"]["egress"].as_array().unwrap() {
        let blocks = rule["to"].as_array().into_iter().flatten().map(|to| &to["ipBlock"]);
        for block in blocks.clone().filter(|block| block["cidr"] == "0.0.0.0/0") {
            assert!(block["except"].as_array().unwrap().contains(&json!("169.254.0.0/16")), "{block}");
        }
        let is_dns = rule["ports"].as_array().unwrap().iter().all(|port| port["port"] == 53);
        assert!(is_dns || blocks.count() > 0, "{rule} leads everywhere");
    }
}

/// A tag may be another image tomorrow.
#[test]
fn every_base_image_is_named_by_its_digest() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Containerfile")).unwrap();
    let bases: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 3);
    for base in bases {
        let image = base.split(' ').next().unwrap();
        let is_pinned = image.split_once('@').is_some_and(|(_, digest)| {
            // Who builds must say it.
            let argument = digest.strip_prefix("${").and_then(|name| name.strip_suffix('}'));
            let is_told = |name: &str| text.lines().any(|line| line == format!("ARG {name}"));
            digest.starts_with("sha256:") || argument.is_some_and(is_told)
        });
        assert!(is_pinned || image == "scratch", "{base}");
    }
}

/// Only the simulated Velero, and its API, do as they are told; hack/test leaves these out on a real cluster.
mod simulated {
    use super::*;

    /// The sandbox lets the engine do what the manifests let it do, and nothing else.
    #[tokio::test]
    async fn the_engine_needs_what_its_rules_grant_and_nothing_else() {
        let world = World::start().await;
        let rules = rules();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let used = Arc::new(Mutex::new(BTreeSet::new()));
        let (mut granted, noted, written) = (rules.clone(), Arc::clone(&used), Arc::clone(&refused));
        // What the account's owner has lent.
        granted.push(lent("keeper"));
        let authorise = move |asked: &Asked| {
            if asked.user.is_some() {
                // It counts what the ServiceAccount may, which is none of the engine's business.
                return None;
            }
            if asked.resource.is_empty() {
                // How the API server is, everybody may ask.
                return None;
            }
            let granting = granted.iter().filter(|rule| rule.grant(asked));
            let found: Vec<(String, String, &str)> =
                granting.map(|rule| (rule.role.clone(), asked.resource.clone(), asked.verb)).collect();
            if found.is_empty() {
                written.lock().unwrap().push(asked.clone());
                return Some(Fault::Forbidden);
            }
            noted.lock().unwrap().extend(found);
            None
        };
        let election = |identity: &str| Election {
            namespace: "ochre-system".to_owned(),
            identity: identity.to_owned(),
            times: Times::default(),
        };
        let guarded =
            GatewayOptions { authentication: vec![Authentication::Token], ..GatewayOptions::default() };
        let engine =
            world.faulty_engine(Some(election("leader")), GatewayOptions::default(), authorise.clone()).await;
        let follower = world.faulty_engine(Some(election("follower")), guarded, authorise.clone()).await;
        // A backup and a restore, all by GraphQL.
        engine.backed_up_application(&world).await;
        world.lose_application().await;
        engine.create("restore", None, json!({"action": "restore", "name": "mongo"})).await.data();
        world.succeeded("restore").await;
        // A run that is cancelled, and one whose Action is deleted in a namespace that goes.
        world.stop_velero().await;
        let canceled = json!({"action": "backup", "name": "canceled", "selector": APPLICATION});
        engine.create("canceled", None, canceled).await.data();
        world.until("canceled", |status| status.steps.iter().any(|step| step.object.is_some())).await;
        engine.on("cancelAction", "canceled").await.data();
        assert_eq!(world.ended("canceled").await.phase, Phase::Canceled);
        world
            .apply_action("deleted", json!({"action": "backup", "name": "deleted", "selector": APPLICATION}))
            .await;
        world.until("deleted", |status| status.phase == Phase::Running).await;
        let deleted = world.actions("default").get("deleted").await.unwrap();
        world.actions("default").delete("deleted", &DeleteParams::default()).await.unwrap();
        world.action_gone(&deleted).await;
        // One whose token is asked about, and what they may.
        let alice = world.person("alice").await;
        let answer = follower.graphql_by(Some(&alice), "{ actions { name } }", json!({})).await;
        answer.refuses("FORBIDDEN", &["may not list"]);
        engine.drain().await;
        follower.drain().await;
        // One that goes beyond Velero's objects.
        let keeper = world.faulty_engine_of(keeping(), None, GatewayOptions::default(), authorise).await;
        world.account("keeper", &[]).await;
        keeper.keep("kept", Some("keeper")).await.data();
        world.succeeded("kept").await;
        keeper.drain().await;

        assert_eq!(*refused.lock().unwrap(), Vec::<Asked>::new(), "what was asked and not granted");
        let used = used.lock().unwrap();
        for rule in rules.iter().filter(|rule| rule.role == "ochre-engine") {
            let all =
                |field: &str| -> Vec<String> { serde_json::from_value(rule.grants[field].clone()).unwrap() };
            for (resource, verb) in all("resources")
                .iter()
                .flat_map(|each| all("verbs").into_iter().map(move |verb| (each, verb)))
            {
                let is_used = used.iter().any(|(_, name, asked)| name == resource && *asked == verb);
                assert!(is_used, "{verb} {resource} is granted and not needed");
            }
        }
    }
}
