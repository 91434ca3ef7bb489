use serde_json::json;

use super::{Catalog, CatalogError, ParameterSource, SourceFile};
use crate::action::ManifestRef;
use crate::code::Code;
use crate::fixtures::{catalog, content, files, load, manifest, problems};
use crate::manifest::{Import, Method, Relation, RequiredType, Requirement, TypeInstance, Verb};
use crate::policy;

const RUN: &str = "cap.interface.test.run";

const STEP: &str =
    "apiVersion: core.ochre.dev/v1alpha1\nkind: Workflow\nsteps:\n  - name: a\n    check: {that: \"true\"}";

fn told(files: Vec<SourceFile>) -> String {
    problems(&Catalog::load(files).problems)
}

fn small() -> Vec<SourceFile> {
    catalog("{name: {type: string}}", STEP)
}

/// Adds a revision of a file's manifest beside it.
fn revised(files: &mut Vec<SourceFile>, path: &str, revision: &str) {
    let file = files.iter().find(|file| file.path == path).unwrap();
    files.push(SourceFile {
        path: path.replace(".yaml", &format!("-{revision}.yaml")),
        text: file.text.replace("revision: 0.1.0", &format!("revision: {revision}")),
    });
}

#[test]
fn the_content_is_without_problems() {
    let catalog = load(content());
    let interfaces: Vec<_> = catalog
        .interfaces()
        .map(|each| format!("{} {}", each.reference.path, each.reference.revision))
        .collect();
    let revisions =
        ["0.1.0", "0.2.0", "0.3.0"].map(|revision| format!("cap.interface.data.backup {revision}"));
    assert_eq!(interfaces, revisions);
    let groups: Vec<_> = catalog.interface_groups().map(|(path, _)| path).collect();
    assert_eq!(groups, ["cap.interface.data"]);
}

#[test]
fn every_parameter_of_the_content_can_be_shown_in_a_form() {
    for interface in load(content()).interfaces() {
        let schema = &interface.parameter.as_ref().unwrap().schema;
        for name in schema.properties() {
            let property = &schema.document()["properties"][name];
            for field in ["title", "description"] {
                let text = property[field].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{name} has no {field}");
            }
        }
    }
}

#[test]
fn revisions_compare_as_numbers() {
    let mut files = small();
    for revision in ["0.9.0", "0.10.0"] {
        revised(&mut files, "interface/test/run.yaml", revision);
    }
    let catalog = load(files);
    assert_eq!(catalog.interface(RUN, None).unwrap().reference.revision, "0.10.0");
    assert_eq!(catalog.interface(RUN, Some("0.9.0")).unwrap().reference.revision, "0.9.0");
}

#[test]
fn lookups_that_fail_help() {
    let mut files = small();
    files.extend(content());
    let catalog = load(files);
    let check = |path: &str, revision: Option<&str>, expected: &str| {
        let error = catalog.interface(path, revision).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.code(), Code::NotFound);
    };
    check(
        "cap.interface.data.bakcup",
        None,
        "there is no Interface `cap.interface.data.bakcup` (did you mean `cap.interface.data.backup`?)",
    );
    check(
        "cap.interface.data.export-all-of-it-at-once-now",
        None,
        "there is no Interface `cap.interface.data.export-all-of-it-at-once-now` (`cap.interface.data` has `cap.interface.data.backup`)",
    );
    check(
        "cap.interface.something.entirely.different.run",
        None,
        "there is no Interface `cap.interface.something.entirely.different.run` (there is `cap.interface.test.run`)",
    );
    check(
        "cap.interface.data.backup",
        Some("0.4.0"),
        "Interface `cap.interface.data.backup` has no revision 0.4.0 (there are 0.1.0, 0.2.0, 0.3.0)",
    );
    check(
        "cap.interface.data.backup",
        Some("latest"),
        "Interface `cap.interface.data.backup` has no revision latest (there are 0.1.0, 0.2.0, 0.3.0)",
    );
}

#[test]
fn the_digest_is_of_the_content() {
    let digest = |files: Vec<SourceFile>| Catalog::load(files).catalog.digest().to_owned();
    let first = digest(content());
    assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
    let mut reversed = content();
    reversed.reverse();
    assert_eq!(digest(reversed), first);
    let mut changed = content();
    changed[0].text.push('\n');
    assert_ne!(digest(changed), first);
    assert_ne!(digest(files(&[("a", "bc")])), digest(files(&[("ab", "c")])));
}

#[test]
fn the_highest_revision_is_chosen_and_the_first_path_of_equals() {
    let choose = |files: Vec<SourceFile>| {
        let catalog = load(files);
        let interface = catalog.interface(RUN, None).unwrap();
        let choice = policy::choose(&catalog, interface).unwrap();
        let reference = &choice.implementation.reference;
        format!("{} {}: {}", reference.path, reference.revision, choice.reason)
    };
    let path = "implementation/test/run.yaml";
    let mut files = small();
    assert_eq!(choose(files.clone()), "cap.implementation.test.run 0.1.0: the only Implementation");
    let other = SourceFile { path: "implementation/other/run.yaml".to_owned(), ..files[2].clone() };
    files.push(other);
    assert_eq!(
        choose(files.clone()),
        "cap.implementation.other.run 0.1.0: the highest revision of 2 Implementations"
    );
    revised(&mut files, path, "0.2.0");
    revised(&mut files, path, "0.10.0");
    assert_eq!(
        choose(files),
        "cap.implementation.test.run 0.10.0: the highest revision of 4 Implementations"
    );
}

#[test]
fn an_interface_that_nothing_implements_says_so() {
    let mut files = small();
    files.pop();
    let catalog = load(files);
    let interface = catalog.interface(RUN, None).unwrap();
    let error = policy::choose(&catalog, interface).unwrap_err();
    assert!(matches!(error, CatalogError::NotImplemented { .. }));
}

#[test]
fn one_bad_manifest_leaves_the_good_ones() {
    let mut files = content();
    files.push(SourceFile { path: "interface/data/broken.yaml".to_owned(), text: "a: [".to_owned() });
    let loaded = Catalog::load(files);
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.catalog.interfaces().count(), 3);
    assert_eq!(loaded.catalog.implementations().count(), 1);
}

#[test]
fn types_refer_to_types() {
    let mut files = small();
    let schema = |schema: &str| format!("spec:\n  jsonSchema: {{value: {schema}}}\n");
    let person = schema(
        "{$ocfRefs: {age: {path: cap.type.age}}, $defs: {name: {type: string}}, type: object, properties: {name: {$ref: \"#/$defs/name\"}, age: {$ref: \"#/$ocfRefs/age\"}, name2: {type: string}}}",
    );
    let age = schema("{type: integer, minimum: 0, default: 7}");
    files.push(SourceFile { path: "type/person.yaml".to_owned(), text: manifest("Type", "person", &person) });
    files.push(SourceFile { path: "type/age.yaml".to_owned(), text: manifest("Type", "age", &age) });
    let interface = "spec:\n  output: {}\n  input: {parameters: {input: {typeRef: {path: cap.type.person, revision: 0.1.0}}}}\n";
    files[1].text = manifest("Interface", "run", interface);
    let catalog = load(files);
    let interface = catalog.interface(RUN, None).unwrap();
    let schema = &interface.parameter.as_ref().unwrap().schema;
    let pointers = |value| schema.validate(&value).into_iter().map(|v| v.pointer).collect::<Vec<_>>();
    assert_eq!(pointers(json!({"name": "x", "age": 1})), Vec::<String>::new());
    assert_eq!(pointers(json!({"name": 1, "age": -1})), ["/age", "/name"]);
    let mut value = json!({});
    schema.apply_defaults(&mut value);
    assert_eq!(value, json!({"age": 7}));
}

/// A catalog in which everything names something.
fn rich() -> Vec<SourceFile> {
    let type_instance = "{typeRef: {path: cap.type.db}";
    let interface = format!(
        "spec:\n  input:\n    parameters: {{input: {{typeRef: {{path: cap.type.db}}}}}}\n    typeInstances: {{old: {type_instance}, verbs: [get, update]}}}}\n  output: {{typeInstances: {{new: {type_instance}}}}}}}\n"
    );
    let implementation = format!(
        "spec:\n  appVersion: 1.x\n  implements: [{{path: cap.interface.test.run}}]\n  requires: {{cap.type: {{oneOf: [{{name: db, alias: main, valueConstraints: {{a: 1}}}}], anyOf: [{{name: cap.type.db, revision: 0.1.0}}]}}}}\n  imports: [{{interfaceGroupPath: cap.interface.test, alias: t, appVersion: 2.x, methods: [{{name: run}}]}}]\n  outputTypeInstanceRelations: {{new: {{uses: [old]}}}}\n  action:\n    runnerInterface: workflow.run\n    args:\n      workflow: |\n        {}\n",
        STEP.replace('\n', "\n        ")
    );
    let marked = |manifest: String| {
        manifest
            .replace("  description", "  attributes: {cap.attribute.good: {revision: 0.1.0}}\n  description")
    };
    let mut files = small();
    files[1].text = manifest("Interface", "run", &interface);
    files[2].text = marked(manifest("Implementation", "run", &implementation));
    for (path, text) in [
        (
            "core/repo.yaml",
            manifest(
                "RepoMetadata",
                "repo",
                "spec: {hubVersion: 0.5.0, ocfVersion: {supported: [0.0.1], default: 0.0.1}, implementation: {appVersion: {semVerTaggingStrategy: {latest: {pointsTo: edge}}}}}\n",
            ),
        ),
        (
            "attribute/good.yaml",
            manifest("Attribute", "good", "spec: {additionalRefs: [cap.attribute.fine]}\n"),
        ),
        ("type/age.yaml", manifest("Type", "age", "spec: {jsonSchema: {value: {type: integer}}}\n")),
        (
            "type/db.yaml",
            marked(manifest(
                "Type",
                "db",
                "spec: {additionalRefs: [cap.type.store], jsonSchema: {value: {type: object, $ocfRefs: {age: {path: cap.type.age}}}}}\n",
            )),
        ),
    ] {
        files.push(SourceFile { path: path.to_owned(), text });
    }
    files
}

fn reference(path: &str) -> ManifestRef {
    ManifestRef { path: path.to_owned(), revision: "0.1.0".to_owned() }
}

#[test]
fn what_a_repository_says_is_kept() {
    let catalog = load(rich());
    let (path, revisions) = catalog.repo_metadata().unwrap();
    let repository = revisions.values().next().unwrap();
    assert_eq!((path, repository.hub_version()), ("cap.core.repo", Some("0.5.0")));
    assert_eq!(repository.default_ocf_version(), Some("0.0.1"));
    assert_eq!(repository.supported_ocf_versions().collect::<Vec<_>>(), ["0.0.1"]);
    assert_eq!(repository.latest_points_to(), Some("edge"));
    let attribute = catalog.attributes()["cap.attribute.good"].values().next().unwrap();
    assert_eq!(attribute.additional_refs().collect::<Vec<_>>(), ["cap.attribute.fine"]);
    let described = catalog.types()["cap.type.db"].values().next().unwrap();
    assert_eq!(described.attributes, [reference("cap.attribute.good")]);
    assert_eq!(described.additional_refs, ["cap.type.store"]);
    assert_eq!(described.schema, json!({"type": "object", "$ocfRefs": {"age": {"path": "cap.type.age"}}}));
}

#[test]
fn what_an_interface_takes_and_yields_is_kept() {
    let catalog = load(rich());
    let interface = catalog.interface(RUN, None).unwrap();
    let parameter = interface.parameter.as_ref().unwrap();
    assert_eq!(parameter.source, ParameterSource::Type(reference("cap.type.db")));
    assert_eq!(
        parameter.schema.document(),
        &json!({"type": "object", "$ocfRefs": {"age": {"type": "integer"}}})
    );
    let type_ref = reference("cap.type.db");
    let old =
        TypeInstance { name: "old".into(), type_ref: type_ref.clone(), verbs: vec![Verb::Get, Verb::Update] };
    assert_eq!(interface.input, [old]);
    assert_eq!(interface.output, [TypeInstance { name: "new".into(), type_ref, verbs: vec![] }]);
}

#[test]
fn what_an_implementation_says_of_itself_is_kept() {
    let catalog = load(rich());
    let implementation = catalog.implementations().next().unwrap();
    assert_eq!(implementation.metadata.license.as_deref(), Some("Apache-2.0"));
    assert_eq!(implementation.attributes, [reference("cap.attribute.good")]);
    assert_eq!(implementation.app_version.as_deref(), Some("1.x"));
    assert_eq!(implementation.implements, [reference(RUN)]);
    let required = |alias: Option<&str>, value_constraints| RequiredType {
        type_ref: reference("cap.type.db"),
        alias: alias.map(str::to_owned),
        value_constraints,
    };
    let requirement = Requirement {
        prefix: "cap.type".into(),
        one_of: vec![required(Some("main"), Some(json!({"a": 1})))],
        any_of: vec![required(None, None)],
        all_of: vec![],
    };
    assert_eq!(implementation.requires, [requirement]);
    let import = Import {
        group: "cap.interface.test".into(),
        alias: Some("t".into()),
        app_version: Some("2.x".into()),
        methods: vec![Method { name: "run".into(), revision: None }],
    };
    assert_eq!(implementation.imports, [import]);
    assert_eq!(implementation.relations, [Relation { name: "new".into(), uses: vec!["old".into()] }]);
    assert_eq!(implementation.runner_interface(), "workflow.run");
    assert_eq!(implementation.arguments(), json!({"workflow": format!("{STEP}\n")}));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let mut all = small();
    all[1].text = all[1].text.replace(
        "name: {type: string}",
        "name: {type: strin}, input: {type: string}, context: {}, loop: {pattern: \"(?=x)\"}",
    );
    all[2].text = all[2].text.replace("{that: \"true\"}", "{that: \"{{nmae}}-x\"}");
    let type_of = |name: &str, schema: &str| {
        manifest("Type", name, &format!("spec:\n  jsonSchema:\n    value: |\n      {schema}\n"))
    };
    let implementation = |rest: &str| {
        manifest("Implementation", "x", &format!("spec:\n  outputTypeInstanceRelations: {{}}\n{rest}"))
    };
    let broken = "ocfVersion: 0.0.1\nkind: Type\n  metadata: x\n";
    let many = format!("{}---\na: 1\n", manifest("Vendor", "many", ""));
    let unknown = manifest("Attribute", "unknown", "sepc: {}\n").replace("description: A", "descriptoin: A");
    let mut more = vec![
        ("type/broken.yaml", broken.to_owned()),
        ("type/many.yaml", many),
        ("type/empty.yaml", "# nothing\n".to_owned()),
        ("type/list.yaml", "- a\n".to_owned()),
        ("type/notes.txt", "hello".to_owned()),
        ("type/twice.yaml", type_of("twice", "{type: object}")),
        ("type/twice-too.yaml", type_of("twice", "{type: object}")),
        (
            "type/json.yaml",
            type_of("json", "{\"type\": \"object\", \"properties\": {\"a\": {\"minimum\": \"x\"}}}"),
        ),
        ("type/outside.yaml", type_of("outside", "{$ref: \"http://example.com/schema\"}")),
        (
            "type/itself.yaml",
            type_of("itself", "{$ocfRefs: {a: {path: cap.type.itself}, b: {path: cap.type.nowhere}}}"),
        ),
        ("type/not-json.yaml", type_of("not-json", "{a: [}")),
        ("type/revision.yaml", type_of("revision", "{}").replace("revision: 0.1.0", "revision: v1.0")),
        ("type/number.yaml", type_of("number", "{}").replace("revision: 0.1.0", "revision: 0.1")),
        ("type/Upper.yaml", type_of("Upper", "{}")),
        ("type/prefix.yaml", type_of("prefix", "{}").replace("  name:", "  prefix: cap.other\n  name:")),
        ("attribute/unknown.yaml", unknown),
        ("vendor/kind.yaml", manifest("Vendro", "kind", "").replace("0.0.1", "0.0.2")),
        ("interface/lost/run.yaml", manifest("Interface", "run", "spec:\n  input: {parameters: {}}\n")),
        (
            "interface/test/dangling.yaml",
            manifest(
                "Interface",
                "dangling",
                "spec:\n  output: {}\n  input:\n    parameters:\n      a: {typeRef: {path: cap.type.twice, revision: 0.2.0}}\n      b: {}\n",
            ),
        ),
    ];
    more.extend([
        (
            "implementation/test/argo.yaml",
            implementation("  implements: [{path: cap.interface.test.urn}]\n  requires: {cap.core.type: {oneOf: [{name: x}]}}\n  action:\n    runnerInterface: argo.run\n    args: {workflow: {entrypoint: a}}\n").replace("name: x\n", "name: argo\n"),
        ),
        (
            "implementation/test/empty.yaml",
            implementation("  implements: []\n  additionalInput: {parameters: {}}\n  action: {runnerInterface: workflow.run, args: {}}\n").replace("name: Apache-2.0", "name: a, ref: b").replace("name: x\n", "name: empty\n"),
        ),
    ]);
    let more: Vec<(&str, &str)> = more.iter().map(|(path, text)| (*path, text.as_str())).collect();
    all.extend(files(&more));
    insta::assert_snapshot!("problems", told(all));
}

#[test]
fn capacts_first_manifests_get_helpful_problems() {
    let group = "ocfVersion: 0.0.1\nrevision: 0.1.0\nkind: InterfaceGroup\nmetadata:\n  prefix: cap.interface\n  name: data\n  displayName: Data\n  description: Data.\n  maintainers:\n    - email: team@example.com\nsignature:\n  och: abc\n";
    let interface = "ocfVersion: 0.0.1\nrevision: 0.1.0\nkind: Interface\nmetadata:\n  prefix: cap.interface.data.backup\n  name: backup\n  description: Backup action\n  maintainers:\n    - email: team@example.com\nspec:\n  input:\n    parameters:\n      input-parameters:\n        jsonSchema:\n          value: |-\n            {\n              \"$schema\": \"http://json-schema.org/draft-07/schema\",\n              \"type\": \"object\",\n              \"required\": [\"action\"],\n              \"properties\": {\"action\": {\"type\": \"string\", \"enum\": [\"backup\", \"restore\"]}}\n            }\nsignature:\n  och: abc\n";
    let implementation = "ocfVersion: 0.0.1\nrevision: 0.1.0\nkind: Implementation\nmetadata:\n  prefix: cap.implementation.velero.data.backup\n  name: backup\n  description: Backup action\n  maintainers:\n    - email: team@example.com\n  license:\n    name: Apache 2.0\nspec:\n  appVersion: \"1.5.x\"\n  implements:\n    - path: cap.interface.data.backup\n      revision: 0.1.0\n  imports:\n    - interfaceGroupPath: cap.interface.runner.argo\n      alias: argo\n      methods:\n        - name: run\n          revision: 0.1.0\n  action:\n    runnerInterface: argo.run\n    args:\n      workflow:\n        entrypoint: backup\nsignature:\n  och: abc\n";
    insta::assert_snapshot!(
        "capact",
        told(files(&[
            ("interface/data.yaml", group),
            ("interface/data/backup.yaml", interface),
            ("implementation/velero/data/backup.yaml", implementation),
        ]))
    );
}
