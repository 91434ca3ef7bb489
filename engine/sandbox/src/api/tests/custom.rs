use super::*;

const KIND: &str = "example.com/v1/Widget";

fn definition(subresources: &Value) -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": subresources,
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {
                    "type": "object", "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object", "required": ["size"],
                            "x-kubernetes-validations": [
                                {"rule": "self.size < 10", "message": "too big"},
                                {"rule": "self.size >= oldSelf.size", "messageExpression": "'may not shrink from ' + string(oldSelf.size)"},
                            ],
                            "properties": {
                                "size": {"type": "integer", "minimum": 0},
                                "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                                "when": {"type": "string", "nullable": true},
                            },
                        },
                        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                    },
                }},
            }],
        },
    })
}

async fn world(subresources: Value) -> World {
    let world = World::new().await;
    world
        .create("apiextensions.k8s.io/v1/CustomResourceDefinition", definition(&subresources))
        .await
        .unwrap();
    world
}

async fn widget(world: &World, spec: Value) -> Result<DynamicObject, kube::Error> {
    world.create(KIND, json!({"metadata": {"name": "w"}, "spec": spec, "status": {"phase": "Early"}})).await
}

async fn merge(world: &World, patch: Value) -> Result<DynamicObject, kube::Error> {
    world.of(KIND).patch("w", &PatchParams::default(), &Patch::Merge(patch)).await
}

#[tokio::test]
async fn a_definition_is_served_until_it_goes() {
    let world = world(json!({"status": {}})).await;
    let definitions = world.of("apiextensions.k8s.io/v1/CustomResourceDefinition");
    let definition = definitions.get("widgets.example.com").await.unwrap();
    assert_eq!(definition.data["status"]["conditions"][1]["type"], "Established");
    widget(&world, json!({"size": 1})).await.unwrap();
    let discovery = world.client.list_api_group_resources("example.com/v1").await.unwrap();
    assert_eq!(discovery.resources[0].short_names.as_deref(), Some(["wd".to_owned()].as_slice()));
    definitions.delete("widgets.example.com", &DeleteParams::default()).await.unwrap();
    assert!(refusal(world.of(KIND).get("w").await).ends_with("404 page not found"));
}

#[tokio::test]
async fn defaults_are_filled_in_and_unknown_fields_pruned() {
    let world = world(json!({"status": {}})).await;
    let spec = json!({"size": 1, "junk": 2, "free": {"any": {"thing": 3}}, "when": null});
    let widget = widget(&world, spec).await.unwrap();
    let expected = json!({"size": 1, "free": {"any": {"thing": 3}}, "when": null, "color": "red"});
    assert_eq!(widget.data["spec"], expected);
}

#[tokio::test]
async fn the_schema_refuses_with_causes() {
    let world = world(json!({"status": {}})).await;
    for (spec, expected) in [
        (json!({}), "FieldValueRequired spec.size, FieldValueInvalid <nil>"),
        (json!({"size": -1}), "FieldValueInvalid spec.size"),
        (
            json!({"size": "x", "color": "green"}),
            "FieldValueTypeInvalid spec.size, FieldValueNotSupported spec.color, FieldValueInvalid <nil>",
        ),
        (json!({"size": 12}), "FieldValueInvalid spec"),
    ] {
        let kube::Error::Api(status) = widget(&world, spec.clone()).await.unwrap_err() else {
            panic!("{spec}")
        };
        let causes = status.details.clone().unwrap().causes;
        let causes: Vec<String> =
            causes.iter().map(|cause| format!("{} {}", cause.reason, cause.field)).collect();
        assert_eq!(
            (status.code, status.reason.as_str(), causes.join(", ").as_str()),
            (422, "Invalid", expected)
        );
    }
}

#[tokio::test]
async fn transition_rules_hold_on_update_only() {
    let world = world(json!({"status": {}})).await;
    widget(&world, json!({"size": 5})).await.unwrap();
    merge(&world, json!({"spec": {"size": 6}})).await.unwrap();
    assert_eq!(
        refusal(merge(&world, json!({"spec": {"size": 4}})).await),
        "422 Invalid: Widget.example.com \"w\" is invalid: spec: Invalid value: may not shrink from 6"
    );
}

#[tokio::test]
async fn a_rule_that_cannot_be_understood_is_not_let_through() {
    let world = World::new().await;
    let mut broken = definition(&json!({}));
    broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "self.("}]);
    let refused = world.create("apiextensions.k8s.io/v1/CustomResourceDefinition", broken).await;
    assert!(refusal(refused).contains("spec.versions[0].schema: rule `self.(` does not compile"));
    let mut strange = definition(&json!({}));
    strange["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "nonsense(self)"}]);
    world.create("apiextensions.k8s.io/v1/CustomResourceDefinition", strange).await.unwrap();
    assert!(refusal(widget(&world, json!({"size": 1})).await).contains("rule evaluation error"));
}

#[tokio::test]
async fn status_is_split_off_where_it_is_a_subresource() {
    let world = world(json!({"status": {}})).await;
    let created = widget(&world, json!({"size": 1})).await.unwrap();
    assert!(created.data.get("status").is_none());
    let patched = merge(&world, json!({"spec": {"size": 2}, "status": {"phase": "Main"}})).await.unwrap();
    assert_eq!((patched.data.get("status"), patched.metadata.generation), (None, Some(2)));
    let patch = Patch::Merge(json!({"spec": {"size": 9}, "status": {"phase": "Good"}}));
    let patched = world.of(KIND).patch_status("w", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(
        (&patched.data["status"]["phase"], &patched.data["spec"]["size"]),
        (&json!("Good"), &json!(2))
    );
    assert_eq!(patched.metadata.generation, Some(2));
}

#[tokio::test]
async fn without_a_subresource_status_is_like_any_field() {
    let world = world(json!({})).await;
    let created = widget(&world, json!({"size": 1})).await.unwrap();
    assert_eq!((&created.data["status"]["phase"], created.metadata.generation), (&json!("Early"), Some(1)));
    let patched = merge(&world, json!({"status": {"phase": "Late"}})).await.unwrap();
    assert_eq!((&patched.data["status"]["phase"], patched.metadata.generation), (&json!("Late"), Some(2)));
    let patch = Patch::Merge(json!({"status": {}}));
    assert!(
        refusal(world.of(KIND).patch_status("w", &PatchParams::default(), &patch).await).starts_with("404")
    );
}

#[tokio::test]
async fn tables_show_printer_columns() {
    let world = world(json!({})).await;
    widget(&world, json!({"size": 7})).await.unwrap();
    let request = http::Request::get("/apis/example.com/v1/widgets")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .body(Vec::new())
        .unwrap();
    let table: Value = world.client.request(request).await.unwrap();
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|column| column["name"].as_str())
        .collect();
    assert_eq!(names, ["Name", "Size", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..2], [json!("w"), json!(7)]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}
