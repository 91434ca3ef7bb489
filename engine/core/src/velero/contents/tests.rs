use serde_json::json;

use super::*;

/// Compares what is read of a text with what is read of the object itself.
fn check(object: &Value) {
    let read = SavedObject::from_json(object.to_string().as_bytes()).unwrap();
    assert_eq!(read, SavedObject::read(object));
}

#[test]
fn a_text_is_read_as_its_object_is() {
    let metadata = json!({"name": "web", "namespace": "chat", "labels": {"app": "web"}, "annotations": {
        "core.ochre.dev/coverage": "accept"}});
    for (api_version, kind, spec) in [
        ("v1", "Service", json!({"selector": {"app": "web"}})),
        ("v1", "PersistentVolume", json!({"claimRef": {"namespace": "chat", "name": "data"}})),
        ("v1", "PersistentVolumeClaim", json!({"volumeName": "pv-1"})),
        ("v1", "Pod", json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]})),
        (
            "apps/v1",
            "StatefulSet",
            json!({"replicas": 2, "template": {"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/a"}}]}}}),
        ),
        ("apps.openshift.io/v1", "DeploymentConfig", json!({})),
    ] {
        check(&json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec,
            "status": {"replicas": 2, "readyReplicas": 1, "phase": "Running"}, "data": {"key": "value"}}));
    }
}

#[test]
fn an_object_that_nests_too_deep_is_read_without_that() {
    for field in ["spec", "data", "status"] {
        let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
        let text = format!(
            r#"{{"apiVersion":"a/v1","kind":"A","metadata":{{"name":"a"}},"{field}":{{"deep":{open}{close}}}}}"#
        );
        let read = SavedObject::from_json(text.as_bytes()).unwrap();
        assert_eq!((read.kind.as_str(), read.name.as_str(), read.group.as_str()), ("A", "a", "a"));
    }
}
