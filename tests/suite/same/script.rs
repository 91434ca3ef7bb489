//! A script of API calls, and what was said: the same words from every cluster.

use std::collections::BTreeMap;

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::client::Body;
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;
use ochre_tests::World;
use serde_json::{Value, json};

/// The namespace of everything that scripts make.
pub(super) const NAMESPACE: &str = "same";

/// Calls the API as a person would, and writes down what was asked and answered.
pub(super) struct Script {
    pub(super) world: World,
    text: String,
    /// What is different every time, and what stands for it.
    marks: Vec<(String, String)>,
}

impl Script {
    /// Begins on a cluster without the application.
    pub(super) async fn start() -> Self {
        let script = Self::on(World::empty().await);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        script.world.create(namespace).await;
        script
    }

    /// Begins on a cluster as it is.
    pub(super) fn on(world: World) -> Self {
        Self { world, text: String::new(), marks: Vec::new() }
    }

    pub(super) async fn get(&mut self, path: &str) -> Value {
        self.send("GET", path, "", String::new()).await
    }

    pub(super) async fn post(&mut self, path: &str, body: Value) -> Value {
        self.send("POST", path, "application/json", body.to_string()).await
    }

    pub(super) async fn put(&mut self, path: &str, body: Value) -> Value {
        self.send("PUT", path, "application/json", body.to_string()).await
    }

    /// Patches; `kind` is `json`, `merge`, `strategic-merge` or `apply`.
    pub(super) async fn patch(&mut self, kind: &str, path: &str, body: Value) -> Value {
        let form = if kind == "apply" { "yaml" } else { "json" };
        self.send("PATCH", path, &format!("application/{kind}-patch+{form}"), body.to_string()).await
    }

    pub(super) async fn delete(&mut self, path: &str, options: Value) -> Value {
        self.send("DELETE", path, "application/json", options.to_string()).await
    }

    /// Sends any request and writes down everything.
    pub(super) async fn send(&mut self, method: &str, path: &str, content: &str, body: String) -> Value {
        self.send_as(method, path, content, "application/json", body).await
    }

    /// Sends a request that says what form of answer it wants.
    pub(super) async fn send_as(
        &mut self,
        method: &str,
        path: &str,
        content: &str,
        accept: &str,
        body: String,
    ) -> Value {
        self.note(&format!("> {method} {path}"));
        if !content.is_empty() && content != "application/json" {
            self.note(&format!("> Content-Type: {content}"));
        }
        if accept != "application/json" {
            self.note(&format!("> Accept: {accept}"));
        }
        match serde_json::from_str(&body) {
            Ok(sent) if accept == "application/json" => self.note(&format!("> {}", normal(sent))),
            _ => body.lines().for_each(|line| self.note(&format!("> {line}"))),
        }
        let (code, form, answer) = self.call(method, path, content, accept, body).await;
        self.note(&format!("{code} {form}"));
        let documents: Vec<Value> = serde_json::Deserializer::from_str(&answer)
            .into_iter()
            .map(|document| document.unwrap_or_else(|_| json!(answer)))
            .collect();
        for document in &documents {
            self.learn(document);
            self.show(document);
        }
        self.note("");
        documents.into_iter().next().unwrap_or_default()
    }

    /// Sends a request that must succeed, and writes down nothing of it; a PATCH merges.
    pub(super) async fn quietly(&mut self, method: &str, path: &str, body: Value) -> Value {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.quietly_as(method, path, content, body).await
    }

    /// Patches without writing it down.
    pub(super) async fn quietly_patched(&mut self, kind: &str, path: &str, body: Value) -> Value {
        self.quietly_as("PATCH", path, &format!("application/{kind}-patch+json"), body).await
    }

    async fn quietly_as(&mut self, method: &str, path: &str, content: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (code, _, answer) = self.call(method, path, content, "application/json", body).await;
        assert!(code < 300, "{method} {path}: {answer}");
        let answer = serde_json::from_str(&answer).unwrap();
        self.learn(&answer);
        answer
    }

    /// Waits until a ConfigMap is gone.
    pub(super) async fn until_gone(&self, map: &Value) {
        let text = |field: &str| map["metadata"][field].as_str().unwrap();
        let maps = self.world.api("v1", "ConfigMap", Some(NAMESPACE));
        let gone = await_condition(maps, text("name"), conditions::is_deleted(text("uid")));
        self.world.within(Box::pin(gone)).await.unwrap();
    }

    /// Calls, and yields code, form and text.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        content: &str,
        accept: &str,
        body: String,
    ) -> (u16, String, String) {
        let mut request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        if !content.is_empty() {
            request = request.header(CONTENT_TYPE, content);
        }
        let request = request.body(Body::from(body.into_bytes())).unwrap();
        let answer = self.world.within(self.world.client.send(request)).await.unwrap();
        let form = answer.headers().get(CONTENT_TYPE).map(|form| form.to_str().unwrap().to_owned());
        let code = answer.status().as_u16();
        let bytes = self.world.within(answer.into_body().collect_bytes()).await.unwrap();
        (code, form.unwrap_or_default(), String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a line of one's own.
    pub(super) fn note(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes down a value but for what no two clusters share.
    pub(super) fn show(&mut self, value: &Value) {
        let shown = serde_saphyr::to_string(&normal(value.clone())).unwrap();
        self.note(shown.trim_end());
    }

    /// Reads a watch to its end, and writes down nothing of it.
    pub(super) async fn events(&mut self, path: &str) -> Vec<Value> {
        let (_, _, answer) = self.call("GET", path, "", "application/json", String::new()).await;
        let events: Vec<Value> =
            serde_json::Deserializer::from_str(&answer).into_iter().map(Result::unwrap).collect();
        for event in &events {
            self.learn(event);
        }
        events
    }

    /// Lets a mark stand for a text from now on.
    pub(super) fn mark(&mut self, text: &str, mark: &str) {
        if !text.is_empty() && !self.marks.iter().any(|(known, _)| known == text) {
            self.marks.push((text.to_owned(), mark.to_owned()));
        }
    }

    /// Finds what an answer has that is different every time.
    pub(super) fn learn(&mut self, value: &Value) {
        if let Some(metadata) = value.get("metadata") {
            if let Some(version) = metadata["resourceVersion"].as_str().filter(|version| version.len() > 2) {
                self.mark(version, "<version>");
            }
            if let (Some(prefix), Some(name)) = (metadata["generateName"].as_str(), metadata["name"].as_str())
            {
                self.mark(name, &format!("{prefix}<suffix>"));
            }
        }
        match value {
            Value::Object(entries) => entries.values().for_each(|value| self.learn(value)),
            Value::Array(items) => items.iter().for_each(|value| self.learn(value)),
            _ => {}
        }
    }

    /// Holds what was written down against what the real cluster said.
    pub(super) fn compare(self, topic: &str) {
        let mut text = self.text;
        for (given, mark) in self.marks {
            text = replace_words(&text, &given, &mark);
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.add_filter(r#"resourceVersion: "?\d+"?"#, "resourceVersion: <version>");
        settings.add_filter(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>");
        settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>");
        settings.add_filter(r"/tmp/\d+", "/tmp/<number>");
        settings.bind(|| insta::assert_snapshot!(format!("same-{topic}"), text));
    }
}

/// Replaces a text where it stands alone: a version is not a part of a uid or of a date.
fn replace_words(text: &str, word: &str, mark: &str) -> String {
    let inside = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_alphanumeric() || character == '-')
    };
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let alone = !inside(before.chars().next_back().or(result.chars().next_back()))
            && !inside(after.chars().next());
        result.push_str(before);
        result.push_str(if alone { mark } else { word });
        rest = after;
    }
    result + rest
}

/// Where messages go on in the words of Go's own parsers and types, which nobody should depend on.
const WORDS_OF_GO: [&str; 10] = [
    "json parse error: ",
    "a ConfigMap: json: ",
    "a ConfigMap: converting ",
    "a ConfigMap: no kind ",
    "error decoding patch: ",
    "error decoding YAML: ",
    "strconv.",
    "patch: Invalid value: ",
    "Invalid value: \"{",
    "is missing in ",
];

/// Takes out of an answer what the sandbox rightly does not have, or what no two clusters share.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(mut entries) => {
            // The sandbox knows who owns a field from the first apply on.
            entries.remove("managedFields");
            if entries.contains_key("jsonPath") || entries.get("format").is_some_and(Value::is_string) {
                // Columns are described in the words of the reference.
                entries.remove("description");
            }
            if entries.get("apiVersion").is_some_and(|version| version == "velero.io/v1")
                && entries["metadata"]["namespace"] == "velero"
                && let Some(metadata) = entries["metadata"].as_object_mut()
            {
                // How often Velero writes depends on how long it takes.
                metadata.remove("generation");
            }
            // The order of fields means nothing.
            let entries: BTreeMap<String, Value> = entries.into_iter().collect();
            entries.into_iter().map(|(key, value)| (key.clone(), field(&key, value))).collect()
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        other => other,
    }
}

fn field(key: &str, value: Value) -> Value {
    match (key, value) {
        // It names the machine, and is signed.
        ("downloadURL", Value::String(_)) => json!("<url>"),
        ("message", Value::String(message)) => json!(without_words_of_go(&message)),
        ("cells", Value::Array(cells)) => cells.into_iter().map(without_age).collect(),
        ("causes", Value::Array(causes)) => {
            // The real server looks at some metadata twice.
            let mut causes: Vec<Value> = causes.into_iter().map(normal).collect();
            causes.dedup();
            Value::Array(causes)
        }
        (_, value) => normal(value),
    }
}

fn without_words_of_go(message: &str) -> String {
    let cut = WORDS_OF_GO.iter().filter_map(|words| message.find(words).map(|at| at + words.len())).min();
    cut.map_or_else(|| message.to_owned(), |at| format!("{}<words of Go>", &message[..at]))
}

fn without_age(cell: Value) -> Value {
    let age = cell.as_str().and_then(|cell| cell.strip_suffix('s')).and_then(|age| age.parse::<u32>().ok());
    if age.is_some() { json!("<age>") } else { cell }
}
