//! The catalog as its readers look things up in it, before they create an Action.

use ochre::content;
use ochre::options::GatewayOptions;
use ochre_core::catalog::{Catalog, SourceFile};
use ochre_tests::{Engine, World};
use serde_json::{Value, json};

const BACKUP: &str = "cap.interface.data.backup";

async fn start() -> (World, Engine) {
    let world = World::empty().await;
    let engine = world.engine().await;
    (world, engine)
}

async fn ask(engine: &Engine, query: &str) -> Value {
    engine.graphql(query, json!({})).await.data()
}

#[tokio::test]
async fn an_interface_is_found_by_path_and_revision() {
    let (_world, engine) = start().await;
    let revision = |revision: &str| json!({"revision": revision});
    for (asked, found) in [
        ("latestRevision { revision }", json!({"latestRevision": revision("0.3.0")})),
        ("revision(revision: \"0.1.0\") { revision }", json!({"revision": revision("0.1.0")})),
        ("revision(revision: \"9.9.9\") { revision }", json!({"revision": null})),
        ("revision(revision: \"new\") { revision }", json!({"revision": null})),
        ("revisions { revision }", json!({"revisions": (["0.1.0", "0.2.0", "0.3.0"].map(revision))})),
        ("path name prefix", json!({"path": BACKUP, "name": "backup", "prefix": "cap.interface.data"})),
    ] {
        let query = format!("{{ interface(path: \"{BACKUP}\") {{ {asked} }} }}");
        assert_eq!(ask(&engine, &query).await, json!({"interface": found}), "{asked}");
    }
}

#[tokio::test]
async fn what_is_not_in_the_catalog_is_null() {
    let (_world, engine) = start().await;
    for field in ["interfaceGroup", "interface", "type", "implementation", "attribute"] {
        let query = format!("{{ {field}(path: \"cap.nowhere\") {{ path }} }}");
        assert_eq!(ask(&engine, &query).await, json!({field: null}));
    }
}

#[tokio::test]
async fn a_pattern_must_match_the_whole_path() {
    let (_world, engine) = start().await;
    for (field, pattern, paths) in [
        ("interfaces", "cap.interface.*", vec![BACKUP]),
        ("interfaces", "interface", vec![]),
        ("interfaceGroups", ".*data", vec!["cap.interface.data"]),
        (
            "types",
            ".*name-list|.*kubernetes",
            vec!["cap.core.type.platform.kubernetes", "cap.type.kubernetes.name-list"],
        ),
        (
            "implementations",
            "cap.implementation.(velero|restic).*",
            vec!["cap.implementation.velero.data.backup"],
        ),
        ("implementations", "cap.interface.*", vec![]),
        ("attributes", ".*", vec![]),
    ] {
        let query = format!("{{ {field}(filter: {{pathPattern: \"{pattern}\"}}) {{ path }} }}");
        let paths: Vec<Value> = paths.into_iter().map(|path| json!({"path": path})).collect();
        assert_eq!(ask(&engine, &query).await, json!({field: paths}), "{pattern}");
    }
    let all = ask(
        &engine,
        "{ a: interfaces { path } b: interfaces(filter: null) { path } c: interfaces(filter: {}) { path } }",
    )
    .await;
    assert_eq!(all["a"], json!([{"path": BACKUP}]));
    assert_eq!((&all["a"], &all["a"]), (&all["b"], &all["c"]));
    let wrong = engine.graphql("{ interfaces(filter: {pathPattern: \"(\"}) { path } }", json!({})).await;
    wrong.refuses("BAD_USER_INPUT", &["pathPattern"]);
}

#[tokio::test]
async fn an_interface_says_what_it_is_given() {
    let (_world, engine) = start().await;
    let query = format!(
        "{{ interface(path: \"{BACKUP}\") {{ latestRevision {{ spec {{
            input {{ parameters {{ name jsonSchema typeRef {{ path }} resolvedSchema }} typeInstances {{ name verbs }} }}
            output {{ typeInstances {{ name }} }}
        }} }} }} }}"
    );
    let mut spec = ask(&engine, &query).await["interface"]["latestRevision"]["spec"].take();
    let parameter = spec["input"]["parameters"][0].take();
    assert_eq!(
        spec,
        json!({"input": {"parameters": [null], "typeInstances": []}, "output": {"typeInstances": []}})
    );
    assert_eq!((&parameter["name"], &parameter["typeRef"]), (&json!("input-parameters"), &Value::Null));
    let written: Value = serde_json::from_str(parameter["jsonSchema"].as_str().unwrap()).unwrap();
    assert_eq!(written["properties"]["action"]["enum"], json!(["backup", "restore"]));
    assert_eq!(written["$ocfRefs"]["name-list"]["path"], "cap.type.kubernetes.name-list");
    let resolved = &parameter["resolvedSchema"];
    assert_eq!(resolved["properties"]["action"], written["properties"]["action"]);
    assert_eq!(resolved["$ocfRefs"]["name-list"]["title"], "Names");
}

#[tokio::test]
async fn an_interface_leads_to_its_implementations_and_back() {
    let (_world, engine) = start().await;
    let query = format!(
        "{{ interface(path: \"{BACKUP}\") {{ revision(revision: \"0.1.0\") {{ implementationRevisions {{
            revision
            metadata {{ path license {{ name }} attributes {{ revision }} documentationURL }}
            interfaces {{ revision metadata {{ path }} }}
            spec {{
                appVersion implements {{ path revision }}
                requires {{ prefix oneOf {{ alias }} anyOf {{ alias }} allOf {{ typeRef {{ path revision }} alias valueConstraints }} }}
                imports {{ alias }} additionalInput {{ parameters {{ name }} }} additionalOutput {{ typeInstances {{ name }} }}
                outputTypeInstanceRelations {{ typeInstanceName uses }}
                action {{ runnerInterface args }}
            }}
        }} }} }} }}"
    );
    let mut found = ask(&engine, &query).await["interface"]["revision"]["implementationRevisions"].take();
    let workflow = found[0]["spec"]["action"]["args"]["workflow"].take();
    assert!(workflow.as_str().unwrap().contains("kind: Workflow"), "{workflow}");
    let revisions = ["0.1.0", "0.2.0", "0.3.0"];
    let expected = json!([{
        "revision": "0.1.0",
        "metadata": {
            "path": "cap.implementation.velero.data.backup", "license": {"name": "Apache-2.0"}, "attributes": [],
            "documentationURL": "https://velero.io/docs",
        },
        "interfaces": (revisions.map(|revision| json!({"revision": revision, "metadata": {"path": BACKUP}}))),
        "spec": {
            "appVersion": ">=1.15",
            "implements": (revisions.map(|revision| json!({"path": BACKUP, "revision": revision}))),
            "requires": [{
                "prefix": "cap.core.type.platform", "oneOf": [], "anyOf": [],
                "allOf": [{
                    "typeRef": {"path": "cap.core.type.platform.kubernetes", "revision": "0.1.0"},
                    "alias": null, "valueConstraints": null,
                }],
            }],
            "imports": [], "additionalInput": null, "additionalOutput": null, "outputTypeInstanceRelations": [],
            "action": {"runnerInterface": "workflow.run", "args": {"workflow": null}},
        },
    }]);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn groups_hold_their_interfaces() {
    let (_world, engine) = start().await;
    let query = "{ interfaceGroups { path metadata { name displayName maintainers { email name url } } interfaces { path } none: interfaces(filter: {pathPattern: \"x\"}) { path } } }";
    let expected = json!({"interfaceGroups": [{
        "path": "cap.interface.data",
        "metadata": {
            "name": "data", "displayName": "Data",
            "maintainers": [{"email": "maintainers@ochre.dev", "name": "The ochre authors", "url": null}],
        },
        "interfaces": [{"path": BACKUP}],
        "none": [],
    }]});
    assert_eq!(ask(&engine, query).await, expected);
}

#[tokio::test]
async fn the_repository_and_its_types_are_described() {
    let (_world, engine) = start().await;
    let query = "{
        repoMetadata { path latestRevision { revision spec {
            ocfVersion { supported default }
            implementation { appVersion { semVerTaggingStrategy { latest { pointsTo } } } }
        } } }
        type(path: \"cap.type.kubernetes.name-list\") { latestRevision {
            metadata { ... on MetadataBaseFields { path displayName } attributes { revision } }
            spec { additionalRefs jsonSchema }
        } }
    }";
    let mut found = ask(&engine, query).await;
    let schema = found["type"]["latestRevision"]["spec"]["jsonSchema"].take();
    let schema: Value = serde_json::from_str(schema.as_str().unwrap()).unwrap();
    assert_eq!(schema["title"], "Names");
    let expected = json!({
        "repoMetadata": {"path": "cap.core.meta.repo-metadata", "latestRevision": {"revision": "0.1.0", "spec": {
            "ocfVersion": {"supported": ["0.0.1"], "default": "0.0.1"},
            "implementation": {"appVersion": {"semVerTaggingStrategy": {"latest": {"pointsTo": "STABLE"}}}},
        }}},
        "type": {"latestRevision": {
            "metadata": {"path": "cap.type.kubernetes.name-list", "displayName": "Names", "attributes": []},
            "spec": {"additionalRefs": [], "jsonSchema": null},
        }},
    });
    assert_eq!(found, expected);
}

/// A catalog that nobody ships: attributes, revisions beyond nine, and a warning.
fn another_catalog() -> Vec<SourceFile> {
    let file = |path: &str, kind: &str, revision: &str, rest: &str| SourceFile {
        path: path.to_owned(),
        text: format!(
            "ocfVersion: 0.0.1\nrevision: {revision}\nkind: {kind}\nmetadata:\n  description: A test.\n  maintainers: [{{email: a@b.c}}]\n{rest}"
        ),
    };
    let thing = "  name: thing\n  attributes: {cap.attribute.good: {revision: 0.1.0}}\nspec: {additionalRefs: [cap.type.store], jsonSchema: {value: {type: object}}}\n";
    vec![
        file("type/thing-9.yaml", "Type", "0.9.0", thing),
        file("type/thing-10.yaml", "Type", "0.10.0", thing),
        file(
            "attribute/good.yaml",
            "Attribute",
            "0.1.0",
            "  name: good\nspec: {additionalRefs: [cap.attribute.fine]}\n",
        ),
        file("attribute/odd.yaml", "Attribute", "0.1.0", "  name: odd\nsepc: {}\n"),
    ]
}

#[tokio::test]
async fn another_catalog_is_shown_with_what_is_not_right_in_it() {
    let world = World::empty().await;
    let loaded = Catalog::load(another_catalog());
    assert!(content::errors(&loaded).next().is_none(), "{:?}", loaded.problems);
    let engine = world.engine_of(loaded, GatewayOptions::default()).await;
    let query = "{
        catalogProblems { severity file line column message hint }
        repoMetadata { path }
        types(filter: {pathPattern: \"cap.type.store\"}) {
            path
            latestRevision { revision metadata { attributes { revision spec { additionalRefs } metadata { path } } } }
        }
    }";
    let expected = json!({
        "catalogProblems": [{
            "severity": "WARNING", "file": "attribute/odd.yaml", "line": 8, "column": 1,
            "message": "sepc is not a known field and is ignored", "hint": "did you mean `spec`?",
        }],
        "repoMetadata": null,
        "types": [{"path": "cap.type.thing", "latestRevision": {
            "revision": "0.10.0",
            "metadata": {"attributes": [{
                "revision": "0.1.0", "spec": {"additionalRefs": ["cap.attribute.fine"]},
                "metadata": {"path": "cap.attribute.good"},
            }]},
        }}],
    });
    assert_eq!(ask(&engine, query).await, expected);
}

#[tokio::test]
async fn whoever_may_ask_may_read_the_catalog() {
    let world = World::empty().await;
    let engine = world.guarded_engine().await;
    let query = "{ interfaces { path } }";
    engine.graphql_by(None, query, json!({})).await.refuses("UNAUTHENTICATED", &[]);
    let nobody_special = world.person("alice").await;
    let found = engine.graphql_by(Some(&nobody_special), query, json!({})).await.data();
    assert_eq!(found, json!({"interfaces": [{"path": BACKUP}]}));
}
