//! Objects read one by one: one that cannot be read is known by its metadata, and spoils no list and no watch.
//!
//! kube's own `DeserializeGuard` does not help where an object nests too deep, since serde_json gives up the whole text
//! then, nor where it takes too much memory. Here what is beyond a depth or a size is passed over
//! (`ochre_core::shallow`).

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, GetParams, ListParams, ObjectList};
use kube::core::{PartialObjectMeta, Request};
use kube::{Api, Client, Resource};
use ochre_core::action::FINALIZER;
use ochre_core::shallow::{MAX_BYTES, MAX_DEPTH, bytes, shallow};
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// How many objects of a list are read at a time.
const PAGE: u32 = 50;
/// The most characters of a reason.
const MAX_WHY: usize = 300;
/// The most bytes of metadata that are kept of an object whose rest is not.
pub(crate) const MAX_METADATA: usize = 4096;
/// The labels that are kept of larger metadata begin with a domain of these: they say whose an object is.
const LABELS: [&str; 2] = ["core.ochre.dev/", "velero.io/"];

/// An object, or what is known of one that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<K>(pub(crate) Result<K, Box<Unreadable>>);

/// What is known of an object that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unreadable {
    /// Its metadata, or what is kept of large one.
    pub(crate) metadata: ObjectMeta,
    /// Its `spec.actionRef`, which Actions have.
    pub(crate) action_ref: Value,
    /// Why it cannot be read.
    pub(crate) why: String,
}

impl<K: Resource> Guarded<K> {
    /// Says in the log that an object of a kind cannot be read.
    pub(crate) fn report(&self, kind: &str) {
        let Err(unreadable) = &self.0 else { return };
        let ObjectMeta { namespace, name, .. } = &unreadable.metadata;
        tracing::warn!(kind, namespace, name, error = unreadable.why, "an object cannot be read");
    }
}

/// Deletes an object, and does not read the answer: it may be the object.
pub(crate) async fn delete<K: Resource + Clone>(
    api: &Api<K>,
    name: &str,
    parameters: &DeleteParams,
) -> kube::Result<()> {
    let request = Request::new(api.resource_url()).delete(name, parameters);
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.extensions_mut().insert("delete");
    api.clone().into_client().request_text(request).await.map(drop)
}

/// Reads the metadata of an object.
pub(crate) async fn get_metadata<K: Resource + Clone>(
    api: &Api<Guarded<K>>,
    name: &str,
) -> kube::Result<Option<ObjectMeta>> {
    let request = Request::new(api.resource_url()).get_metadata(name, &GetParams::default());
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.extensions_mut().insert("get_metadata");
    let found = api.clone().into_client().request::<Guarded<PartialObjectMeta<K>>>(request).await;
    match found {
        Ok(found) => Ok(Some(found.into_metadata())),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists the metadata of objects that are looked for, a page at a time; of the others nothing is kept.
pub(crate) async fn list_metadata<K: Resource + Clone>(
    api: &Api<Guarded<K>>,
    is_wanted: impl Fn(&ObjectMeta) -> bool,
) -> kube::Result<Vec<ObjectMeta>> {
    let (mut found, mut next) = (Vec::new(), Some(ListParams::default().limit(PAGE)));
    while let Some(page) = next {
        let request = Request::new(api.resource_url()).list_metadata(&page);
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        request.extensions_mut().insert("list_metadata");
        let client: Client = api.clone().into_client();
        let list: ObjectList<Guarded<PartialObjectMeta<K>>> = client.request(request).await?;
        found.extend(list.items.into_iter().map(Guarded::into_metadata).filter(&is_wanted));
        next = page_after(page, list.metadata.continue_);
    }
    Ok(found)
}

/// Lists objects that are looked for, a page at a time; of the others nothing is kept.
pub(crate) async fn list<K: Resource + Clone + DeserializeOwned + std::fmt::Debug>(
    api: &Api<Guarded<K>>,
    is_wanted: impl Fn(&ObjectMeta) -> bool,
) -> kube::Result<Vec<Guarded<K>>> {
    let (mut found, mut next) = (Vec::new(), Some(ListParams::default().limit(PAGE)));
    while let Some(page) = next {
        let list = api.list(&page).await?;
        found.extend(list.items.into_iter().filter(|object| is_wanted(object.meta())));
        next = page_after(page, list.metadata.continue_);
    }
    Ok(found)
}

/// Asks for the next page of a list, where there is one.
fn page_after(page: ListParams, token: Option<String>) -> Option<ListParams> {
    token.filter(|token| !token.is_empty()).map(|token| page.continue_token(&token))
}

impl<K> Guarded<PartialObjectMeta<K>> {
    /// Takes the metadata.
    pub(crate) fn into_metadata(self) -> ObjectMeta {
        self.0.map_or_else(|unreadable| unreadable.metadata, |object| object.metadata)
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

impl<K: Serialize> Serialize for Guarded<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(object) => object.serialize(serializer),
            Err(unreadable) => Err(S::Error::custom(&unreadable.why)),
        }
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut rest, cut) = shallow(deserializer)?;
        let why = if cut.is_large {
            format!("it takes more than {MAX_BYTES} bytes of memory, which is the most")
        } else if cut.is_deep {
            format!("it nests deeper than {MAX_DEPTH} levels")
        } else {
            match K::deserialize(&rest) {
                Ok(object) => return Ok(Self(Ok(object))),
                // Read again, since only failures are worth keeping the path for.
                Err(error) => serde_path_to_error::deserialize::<_, K>(&rest)
                    .map_or_else(|error| error.to_string(), |_| error.to_string()),
            }
        };
        let action_ref = rest.pointer_mut("/spec/actionRef").map(Value::take).unwrap_or_default();
        Ok(Self(Err(Box::new(Unreadable::new(metadata(rest["metadata"].take()), action_ref, &why)))))
    }
}

impl Unreadable {
    /// Keeps what an object is known by, and why there is no more of it.
    pub(crate) fn new(metadata: ObjectMeta, action_ref: Value, why: &str) -> Self {
        let action_ref = if bytes(&action_ref) > MAX_METADATA { Value::Null } else { action_ref };
        Self { metadata: trimmed(metadata), action_ref, why: why.chars().take(MAX_WHY).collect() }
    }
}

/// Takes from metadata that are large what an object is not known by.
pub(crate) fn trimmed(metadata: ObjectMeta) -> ObjectMeta {
    let is_small = |part: &Value| bytes(part) <= MAX_METADATA;
    if serde_json::to_value(&metadata).is_ok_and(|whole| is_small(&whole)) {
        return metadata;
    }
    let mut labels = metadata.labels.unwrap_or_default();
    labels.retain(|name, _| LABELS.iter().any(|domain| name.starts_with(domain)));
    let mut finalizers = metadata.finalizers.unwrap_or_default();
    if !serde_json::to_value(&finalizers).is_ok_and(|all| is_small(&all)) {
        finalizers.retain(|finalizer| finalizer == FINALIZER);
    }
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        labels: serde_json::to_value(&labels).is_ok_and(|all| is_small(&all)).then_some(labels),
        finalizers: Some(finalizers).filter(|finalizers| !finalizers.is_empty()),
        ..ObjectMeta::default()
    }
}

/// Reads metadata, or as much of it as an object is known by.
fn metadata(value: Value) -> ObjectMeta {
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    let known = ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    };
    serde_json::from_value(value).unwrap_or(known)
}

#[cfg(test)]
mod tests {
    //! Pages and lines of which one object cannot be read.

    use kube::api::WatchEvent;
    use kube::core::DynamicObject;
    use ochre_core::action::Action;
    use serde_json::json;

    use super::*;

    /// Writes an Action whose parameters nest so deep, the object itself included.
    fn nested(name: &str, depth: usize, open: &str, close: &str) -> String {
        // The object, its spec, its input and its parameters.
        let (open, close) = (open.repeat(depth - 4), close.repeat(depth - 4));
        action(name, &format!(r#""input":{{"parameters":{{"deep":{open}1{close}}}}}"#))
    }

    fn action(name: &str, spec: &str) -> String {
        format!(
            r#"{{"apiVersion":"core.ochre.dev/v1alpha1","kind":"Action","metadata":{{"name":"{name}","namespace":"default","uid":"u-{name}","resourceVersion":"7","managedFields":[{{"manager":"kubectl","fieldsType":"FieldsV1","fieldsV1":{}}}]}},"spec":{{"actionRef":{{"path":"cap.interface.data.backup"}},{spec}}}}}"#,
            format_args!("{}{}", r#"{"f:a":"#.repeat(500), "{}".to_owned() + &"}".repeat(500)),
        )
    }

    fn page(items: &[String]) -> ObjectList<Guarded<Action>> {
        let items = items.join(",");
        let text = format!(
            r#"{{"apiVersion":"core.ochre.dev/v1alpha1","kind":"ActionList","metadata":{{"resourceVersion":"9"}},"items":[{items}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    /// All that makes an Action unreadable, and what is said of it.
    fn unreadable() -> Vec<(String, &'static str)> {
        let mut all = vec![
            (
                action("bad", r#""approvals":[{"step":"a","attempt":4294967296,"approved":true}]"#),
                "spec.approvals[0].attempt: invalid value: integer `4294967296`, expected u32",
            ),
            (action("bad", r#""run":"yes""#), "spec.run: invalid type: string \"yes\", expected a boolean"),
            (action("bad", r#""approvals":[{}]"#), "spec.approvals[0]: missing field `step`"),
        ];
        for large in [format!("[{}0]", "0,".repeat(600_000)), format!("{:?}", "x".repeat(MAX_BYTES))] {
            let large = format!(r#""input":{{"parameters":{{"large":{large},"after":[{{}}]}}}}"#);
            all.push((action("bad", &large), "it takes more than 2097152 bytes of memory"));
        }
        for depth in [MAX_DEPTH + 1, 122, 123, 124, 125, 126, 127, 128, 129, 1000, 10_000, 500_000] {
            for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
                all.push((nested("bad", depth, open, close), "it nests deeper than 100 levels"));
            }
        }
        all
    }

    #[test]
    fn of_a_page_one_object_alone_is_unreadable() {
        for (bad, says) in unreadable() {
            let mut items: Vec<String> =
                (0..99).map(|number| action(&format!("good-{number}"), r#""run":true"#)).collect();
            items.insert(50, bad);
            let page = page(&items);
            let (read, not): (Vec<_>, Vec<_>) = page.items.into_iter().partition(|item| item.0.is_ok());
            assert_eq!(read.len(), 99, "{says}");
            let [Guarded(Err(bad))] = not.as_slice() else { panic!("{says}: {}", not.len()) };
            assert!(bad.why.starts_with(says), "{} for {says}", bad.why);
            let ObjectMeta { name, namespace, uid, resource_version, .. } = &bad.metadata;
            let known =
                [name, namespace, uid, resource_version].map(|text| text.as_deref().unwrap_or_default());
            assert_eq!(known, ["bad", "default", "u-bad", "7"]);
            assert_eq!(bad.action_ref["path"], "cap.interface.data.backup");
        }
    }

    #[test]
    fn a_line_of_a_watch_names_the_object_that_is_unreadable() {
        for (bad, says) in unreadable() {
            let line = format!(r#"{{"type":"MODIFIED","object":{bad}}}"#);
            let event: WatchEvent<Guarded<Action>> = serde_json::from_str(&line).unwrap();
            let WatchEvent::Modified(Guarded(Err(bad))) = event else { panic!("{says}: {event:?}") };
            assert_eq!(bad.metadata.name.as_deref(), Some("bad"));
        }
    }

    #[test]
    fn of_large_metadata_is_kept_what_an_object_is_known_by() {
        let labels: serde_json::Map<String, Value> = (0..20_000)
            .map(|number| (format!("label-{number}"), "x".into()))
            .chain([("core.ochre.dev/action-namespace".to_owned(), "shop".into())])
            .collect();
        for (finalizers, kept) in [(1, 2), (5000, 1)] {
            let finalizers: Vec<String> = (0..finalizers).map(|number| format!("a.b/{number}")).collect();
            let finalizers = [&[FINALIZER.to_owned()], finalizers.as_slice()].concat();
            let metadata = json!({"labels": labels, "finalizers": finalizers, "name": "a", "uid": "u"});
            let metadata = trimmed(serde_json::from_value(metadata).unwrap());
            assert_eq!((metadata.name.as_deref(), metadata.uid.as_deref()), (Some("a"), Some("u")));
            assert_eq!((metadata.labels.unwrap().len(), metadata.finalizers.unwrap().len()), (1, kept));
        }
    }

    #[test]
    fn what_nests_as_deep_as_it_may_is_read_as_it_is() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let Guarded(read) = page(&[nested("good", MAX_DEPTH, open, close)]).items.remove(0);
            let read = read.unwrap();
            let deep = format!("{}1{}", open.repeat(MAX_DEPTH - 4), close.repeat(MAX_DEPTH - 4));
            assert_eq!(read.spec.input.parameters["deep"].to_string(), deep);
            assert_eq!(read.metadata.managed_fields, None);
        }
    }

    /// serde_json's own keys would have a text parsed as JSON again, past every limit, if a dependency asked for it.
    #[test]
    fn no_key_means_more_than_it_says() {
        for key in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let text = action("plain", &format!(r#""input":{{"parameters":{{"a":{{"{key}":"[1]"}}}}}}"#));
            let Guarded(read) = page(&[text]).items.remove(0);
            assert_eq!(read.unwrap().spec.input.parameters["a"], serde_json::json!({key: "[1]"}));
            let plain: Value = serde_json::from_str(&format!(r#"{{"{key}":"[1]"}}"#)).unwrap();
            assert!(plain.is_object(), "{plain}");
        }
    }

    #[test]
    fn numbers_and_texts_are_those_of_serde_json() {
        let text = r#"{"metadata":{"name":"a"},"data":[null,true,-1,0,18446744073709551615,1.5,1e300,"\u00e9\n",{},[]]}"#;
        let Guarded(read) = serde_json::from_str::<Guarded<DynamicObject>>(text).unwrap();
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(read.unwrap()).unwrap()["data"], plain["data"]);
    }
}
