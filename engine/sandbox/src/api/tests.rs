use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{
    Api as Calls, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::Api;

mod custom;
mod lifecycle;
mod watches;

/// A cluster with the namespace `chat`.
struct World {
    api: Api,
    client: Client,
}

impl World {
    async fn new() -> Self {
        Self::with_log(1000).await
    }

    async fn with_log(capacity: usize) -> Self {
        let api = Api::new(capacity, jiff::Timestamp::now);
        let client = api.client();
        let world = Self { api, client };
        world.create("v1/Namespace", json!({"metadata": {"name": "chat"}})).await.unwrap();
        world
    }

    /// Returns calls on a kind, written as `v1/ConfigMap`, in `chat` if it is namespaced.
    fn of(&self, kind: &str) -> Calls<DynamicObject> {
        let (api_version, word) = kind.rsplit_once('/').unwrap();
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, word));
        let cluster = ["Namespace", "PersistentVolume", "CustomResourceDefinition", "ClusterRole", "Node"];
        if cluster.contains(&word) {
            Calls::all_with(self.client.clone(), &resource)
        } else {
            Calls::namespaced_with(self.client.clone(), "chat", &resource)
        }
    }

    async fn create(&self, kind: &str, object: Value) -> Result<DynamicObject, kube::Error> {
        let (api_version, word) = kind.rsplit_once('/').unwrap();
        let mut object = object;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(word);
        let object = serde_json::from_value(object).unwrap();
        self.of(kind).create(&PostParams::default(), &object).await
    }

    async fn config_map(&self, name: &str, labels: Value) -> DynamicObject {
        self.create("v1/ConfigMap", json!({"metadata": {"name": name, "labels": labels}})).await.unwrap()
    }

    async fn names(&self, kind: &str, labels: &str, fields: &str) -> Vec<String> {
        let list = self.of(kind).list(&ListParams::default().labels(labels).fields(fields)).await.unwrap();
        list.items.iter().map(ResourceExt::name_any).collect()
    }

    /// Starts a watch of ConfigMaps.
    async fn watch(
        &self,
        parameters: WatchParams,
        version: &str,
    ) -> impl Stream<Item = Result<WatchEvent<DynamicObject>, kube::Error>> {
        self.of("v1/ConfigMap").watch(&parameters, version).await.unwrap().boxed()
    }
}

/// Sums up a refusal: code, reason and message.
fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> String {
    match result.unwrap_err() {
        kube::Error::Api(status) => {
            format!("{} {}: {}", status.code, status.reason, status.message)
        }
        other => panic!("not a refusal: {other}"),
    }
}

/// Sums up a watch event: kind and name.
fn event(event: &WatchEvent<DynamicObject>) -> String {
    match event {
        WatchEvent::Added(object) => format!("added {}", object.name_any()),
        WatchEvent::Modified(object) => format!("modified {}", object.name_any()),
        WatchEvent::Deleted(object) => format!("deleted {}", object.name_any()),
        WatchEvent::Bookmark(bookmark) => {
            format!("bookmark {:?}", bookmark.metadata.annotations.keys().collect::<Vec<_>>())
        }
        WatchEvent::Error(status) => format!("error {} {}", status.code, status.reason),
    }
}

#[tokio::test]
async fn refusals_have_kubernetes_words() {
    let world = World::new().await;
    let maps = world.of("v1/ConfigMap");
    world.config_map("taken", json!({})).await;
    assert_eq!(refusal(maps.get("x").await), "404 NotFound: configmaps \"x\" not found");
    assert_eq!(
        refusal(world.of("apps/v1/Deployment").get("x").await),
        "404 NotFound: deployments.apps \"x\" not found"
    );
    assert_eq!(
        refusal(world.create("v1/ConfigMap", json!({"metadata": {"name": "taken"}})).await),
        "409 AlreadyExists: configmaps \"taken\" already exists"
    );
    assert_eq!(
        refusal(world.of("v1/Nothing").get("x").await),
        "404 NotFound: the server could not find the requested resource"
    );
    assert_eq!(
        refusal(world.of("example.com/v1/Nothing").get("x").await),
        "404 Failed to parse error data: 404 page not found"
    );
    let elsewhere: Calls<ConfigMap> = Calls::namespaced(world.client.clone(), "nowhere");
    let map = serde_json::from_value(json!({"metadata": {"name": "x"}})).unwrap();
    assert_eq!(
        refusal(elsewhere.create(&PostParams::default(), &map).await),
        "404 NotFound: namespaces \"nowhere\" not found"
    );
    assert!(
        refusal(world.create("v1/ConfigMap", json!({"metadata": {"name": "Not_A_Name"}})).await).starts_with(
            "422 Invalid: ConfigMap \"Not_A_Name\" is invalid: metadata.name: Invalid value: \"Not_A_Name\":"
        )
    );
    assert_eq!(
        refusal(world.create("v1/ConfigMap", json!({"metadata": {}})).await),
        "422 Invalid: ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
    assert!(refusal(maps.list(&ListParams::default().labels("a in b")).await).starts_with("400 BadRequest"));
}

#[tokio::test]
async fn objects_get_an_identity() {
    let world = World::new().await;
    let map = world.create("v1/ConfigMap", json!({"metadata": {"generateName": "run-"}})).await.unwrap();
    assert_eq!((map.name_any().len(), &map.name_any()[..4]), (9, "run-"));
    assert!(map.uid().is_some() && map.creation_timestamp().is_some() && map.resource_version().is_some());
    let namespace = Calls::<Namespace>::all(world.client.clone()).get("chat").await.unwrap();
    assert_eq!(namespace.labels()["kubernetes.io/metadata.name"], "chat");
    assert_eq!(namespace.status.unwrap().phase.as_deref(), Some("Active"));
    world.create("v1/Secret", json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}})).await.unwrap();
    let secret = Calls::<Secret>::namespaced(world.client.clone(), "chat").get("s").await.unwrap();
    assert_eq!((secret.data.unwrap()["a"].0.as_slice(), secret.string_data), (b"b".as_slice(), None));
}

#[tokio::test]
async fn a_stale_write_is_a_conflict() {
    let world = World::new().await;
    let maps = world.of("v1/ConfigMap");
    let first = world.config_map("a", json!({})).await;
    let mut second = first.clone();
    second.data = json!({"data": {"a": "b"}});
    let second = maps.replace("a", &PostParams::default(), &second).await.unwrap();
    let conflict = "409 Conflict: Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!(refusal(maps.replace("a", &PostParams::default(), &first).await), conflict);
    let stale = json!({"metadata": {"resourceVersion": first.resource_version()}, "data": {"x": "y"}});
    assert_eq!(refusal(maps.patch("a", &PatchParams::default(), &Patch::Merge(&stale)).await), conflict);
    let same = maps.replace("a", &PostParams::default(), &second).await.unwrap();
    assert_eq!(same.resource_version(), second.resource_version(), "a write that changes nothing is none");
    let precondition = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some("other".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    assert!(
        refusal(maps.delete("a", &precondition).await)
            .contains("the UID in the precondition (other) does not match the UID in record")
    );
}

#[tokio::test]
async fn every_kind_of_patch_works() {
    let world = World::new().await;
    let pods = world.of("v1/Pod");
    let containers = json!([{"name": "one", "image": "a"}, {"name": "two", "image": "b"}]);
    world
        .create("v1/Pod", json!({"metadata": {"name": "p"}, "spec": {"containers": containers}}))
        .await
        .unwrap();
    let parameters = PatchParams::default();
    let strategic = json!({"spec": {"containers": [{"name": "two", "image": "c"}]}});
    let pod = pods.patch("p", &parameters, &Patch::Strategic(strategic)).await.unwrap();
    let merged = json!([{"name": "two", "image": "c"}, {"name": "one", "image": "a"}]);
    assert_eq!(pod.data["spec"]["containers"], merged, "what a patch names comes first");
    let merge = json!({"spec": {"containers": [{"name": "one", "image": "d"}], "nodeName": "n"}});
    let pod = pods.patch("p", &parameters, &Patch::Merge(merge)).await.unwrap();
    assert_eq!(pod.data["spec"]["containers"], json!([{"name": "one", "image": "d"}]));
    let operations = json!([{"op": "test", "path": "/spec/nodeName", "value": "n"}, {"op": "remove", "path": "/spec/nodeName"}]);
    let operations = Patch::<()>::Json(serde_json::from_value(operations).unwrap());
    let pod = pods.patch("p", &parameters, &operations).await.unwrap();
    assert!(pod.data["spec"].get("nodeName").is_none());
    assert!(refusal(pods.patch("p", &parameters, &operations).await).starts_with("422 Invalid"));
    let apply =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"a": "b"}});
    let applied =
        world.of("v1/ConfigMap").patch("new", &PatchParams::apply("test"), &Patch::Apply(apply)).await;
    assert_eq!(applied.unwrap().data["data"]["a"], "b");
}

#[tokio::test]
async fn selectors_select() {
    let world = World::new().await;
    world.config_map("a", json!({"tier": "db", "app": "x"})).await;
    world.config_map("b", json!({"tier": "web"})).await;
    world.config_map("c", json!({})).await;
    for (labels, fields, expected) in [
        ("tier", "", "a b"),
        ("!tier", "", "c"),
        ("tier=db", "", "a"),
        ("tier==db,app=x", "", "a"),
        ("tier!=db", "", "b c"),
        ("tier in (db, web)", "", "a b"),
        ("tier notin (db)", "", "b c"),
        ("tier in (db,web),!app", "", "b"),
        ("", "metadata.name=c", "c"),
        ("", "metadata.name!=c,metadata.namespace=chat", "a b"),
    ] {
        let names = world.names("v1/ConfigMap", labels, fields).await;
        assert_eq!(names.join(" "), expected, "labels {labels:?}, fields {fields:?}");
    }
    let deleted = world
        .of("v1/ConfigMap")
        .delete_collection(&DeleteParams::default(), &ListParams::default().labels("tier"))
        .await;
    assert_eq!(deleted.unwrap().left().unwrap().items.len(), 2);
    assert_eq!(world.names("v1/ConfigMap", "", "").await, ["c"]);
}

/// Applies a ConfigMap with this data, as a manager.
async fn apply(world: &World, manager: &str, force: bool, data: Value) -> kube::Result<DynamicObject> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data});
    let parameters = PatchParams { force, ..PatchParams::apply(manager) };
    world.of("v1/ConfigMap").patch("shared", &parameters, &Patch::Apply(map)).await
}

#[tokio::test]
async fn an_apply_owns_what_it_wants_and_takes_nothing_from_others() {
    let world = World::new().await;
    let first = apply(&world, "one", false, json!({"a": "1", "b": "1"})).await.unwrap();
    let again = apply(&world, "one", false, json!({"a": "1", "b": "1"})).await.unwrap();
    assert_eq!(first.resource_version(), again.resource_version(), "the same again changes nothing");

    let refused = refusal(apply(&world, "two", false, json!({"a": "2", "c": "2"})).await);
    assert_eq!(refused, "409 Conflict: Apply failed with 1 conflict: conflict with \"one\": .data.a");
    let refused = refusal(apply(&world, "two", false, json!({"a": "2", "b": "2"})).await);
    let expected =
        "409 Conflict: Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b";
    assert_eq!(refused, expected);
    apply(&world, "two", false, json!({"a": "1", "c": "2"})).await.unwrap();
    let forced = apply(&world, "two", true, json!({"a": "2", "c": "2"})).await.unwrap();
    assert_eq!(forced.data["data"], json!({"a": "2", "b": "1", "c": "2"}));

    let less = apply(&world, "one", false, json!({})).await.unwrap();
    assert_eq!(less.data["data"], json!({"a": "2", "c": "2"}), "what nobody wants any more goes");
    let owners: Vec<Value> = less
        .managed_fields()
        .iter()
        .map(|entry| json!([entry.manager, entry.operation, entry.fields_v1]))
        .collect();
    assert_eq!(owners, [json!(["two", "Apply", {"f:data": {"f:a": {}, "f:c": {}}}])]);
}

#[tokio::test]
async fn other_writes_take_the_fields_that_they_change() {
    let world = World::new().await;
    world
        .create("v1/ConfigMap", json!({"metadata": {"name": "shared"}, "data": {"old": "1"}}))
        .await
        .unwrap();
    let refused = refusal(apply(&world, "one", false, json!({"old": "2"})).await);
    let expected = "409 Conflict: Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.old";
    assert_eq!(refused, expected);
    apply(&world, "one", false, json!({"old": "1", "new": "1"})).await.unwrap();
    let parameters = PatchParams { field_manager: Some("editor".to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"data": {"new": "2"}}));
    world.of("v1/ConfigMap").patch("shared", &parameters, &patch).await.unwrap();
    let refused = refusal(apply(&world, "one", false, json!({"old": "1", "new": "1"})).await);
    assert_eq!(
        refused,
        "409 Conflict: Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.new"
    );
    let kept = apply(&world, "one", false, json!({"old": "1"})).await.unwrap();
    assert_eq!(kept.data["data"], json!({"old": "1", "new": "2"}), "another owns it");
    let nobody = PatchParams::default();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}});
    let parameters = world.of("v1/ConfigMap").patch("shared", &nobody, &Patch::Apply(map)).await;
    assert!(refusal(parameters).contains("fieldManager: Required value"));
}

#[tokio::test]
async fn an_apply_owns_the_items_of_a_list_by_their_keys() {
    let world = World::new().await;
    let apply = async |manager: &str, containers: Value| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shared"}, "spec": {"containers": containers},
        });
        world.of("v1/Pod").patch("shared", &PatchParams::apply(manager), &Patch::Apply(pod)).await
    };
    apply("one", json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}])).await.unwrap();
    apply("two", json!([{"name": "c", "image": "x"}])).await.unwrap();
    let refused = refusal(apply("two", json!([{"name": "a", "image": "y"}])).await);
    let expected = "409 Conflict: Apply failed with 1 conflict: conflict with \"one\": .spec.containers[name=\"a\"].image";
    assert_eq!(refused, expected);
    let less = apply("one", json!([{"name": "b", "image": "x"}])).await.unwrap();
    let left = json!([{"name": "b", "image": "x"}, {"name": "c", "image": "x"}]);
    assert_eq!(less.data["spec"]["containers"], left);
}
