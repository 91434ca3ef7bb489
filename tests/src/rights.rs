//! What the manifests let the engine do.

use ochre_sandbox::api::Asked;
use serde_json::{Value, json};

/// The folder of what a cluster gets.
pub const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/base");
/// Names what comes from the label that lets others grant more.
const AGGREGATED: &str = "core.ochre.dev/aggregate-to-engine";

/// One rule, bound to the engine: everywhere, or in one namespace.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The role that it stands in.
    pub role: String,
    /// The namespace in which it holds; without one, in all.
    pub namespace: Option<String>,
    /// The rule itself.
    pub grants: Value,
}

impl Rule {
    /// Tells whether a field of it lists a value.
    pub fn has(&self, field: &str, value: &str) -> bool {
        self.grants[field].as_array().is_some_and(|values| values.iter().any(|each| each == value))
    }

    /// Tells whether it lets the engine do what it asks for.
    pub fn grant(&self, asked: &Asked) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == asked.namespace)
            && self.has("apiGroups", &asked.group)
            && self.has("resources", &asked.resource)
            && self.has("verbs", asked.verb)
            && (self.grants["resourceNames"].is_null() || self.has("resourceNames", &asked.name))
    }
}

/// Reads the manifests: name and text.
pub fn files() -> Vec<(String, String)> {
    let files = std::fs::read_dir(BASE).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
        })
        .filter(|(name, _)| name != "kustomization.yaml")
        .collect()
}

fn objects() -> Vec<Value> {
    let files = files();
    let documents = files.iter().flat_map(|(_, text)| text.split("\n---\n"));
    documents.map(|text| serde_saphyr::from_str(text).unwrap()).collect()
}

/// Follows the bindings of the engine's account to their rules, as Kubernetes does.
pub fn rules() -> Vec<Rule> {
    let objects = objects();
    let is_role = |role: &Value| ["Role", "ClusterRole"].iter().any(|kind| role["kind"] == *kind);
    let mut rules = Vec::new();
    for binding in objects.iter().filter(|object| !object["roleRef"].is_null()) {
        let subject = json!([{"kind": "ServiceAccount", "name": "ochre", "namespace": "ochre-system"}]);
        assert_eq!(binding["subjects"], subject);
        let namespace = binding["metadata"]["namespace"].as_str();
        let bound = |role: &&Value| {
            let is_named = role["kind"] == binding["roleRef"]["kind"]
                && role["metadata"]["name"] == binding["roleRef"]["name"]
                && (role["kind"] == "ClusterRole" || role["metadata"]["namespace"].as_str() == namespace);
            let is_added = binding["roleRef"]["name"] == "ochre-reader"
                && role["metadata"]["labels"][AGGREGATED] == "true";
            is_role(role) && (is_named || is_added)
        };
        let found: Vec<&Value> = objects.iter().filter(bound).collect();
        assert!(!found.is_empty(), "{binding:#} binds nothing");
        for role in found {
            rules.extend(role["rules"].as_array().unwrap().iter().map(|rule| Rule {
                role: role["metadata"]["name"].as_str().unwrap().to_owned(),
                namespace: namespace.map(str::to_owned),
                grants: rule.clone(),
            }));
        }
    }
    rules
}
