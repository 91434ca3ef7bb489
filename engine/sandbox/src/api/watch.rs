//! Watches: a cursor in the event log, seen through a selector.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::failure::Failure;
use super::route::{Query, View};
use super::selector::Selector;
use super::store::{Event, Store};
use super::write::Place;
use super::{Api, present};

const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// Follows one kind, in a namespace or in all, as one client sees it.
struct Watch {
    api: Api,
    place: Place,
    namespace: Option<String>,
    selector: Selector,
    view: View,
    /// The version up to which everything was sent.
    cursor: u64,
    lines: VecDeque<Bytes>,
    changes: Receiver<u64>,
    deadline: Option<Instant>,
    bookmark: Option<Instant>,
    over: bool,
}

/// Answers a watch request with a stream of lines that ends with the client, the deadline or the API.
pub(crate) fn watch(
    api: &Api,
    place: Place,
    namespace: Option<String>,
    query: &Query,
    view: View,
) -> Result<Body, Failure> {
    let since = query.check_watch()?;
    let streaming_list = Query::flag(query.send_initial_events.as_ref());
    let changes = api.changes();
    let (cursor, initial) = {
        let store = api.store();
        let wants_list = streaming_list || since.is_none();
        let initial =
            if wants_list { store.list(&place.kind.resource(), namespace.as_deref()) } else { Vec::new() };
        let now = store.version();
        (if wants_list { now } else { since.unwrap_or(now) }, initial)
    };
    let bookmarks = Query::flag(query.allow_watch_bookmarks.as_ref());
    let mut watch = Watch {
        api: api.clone(),
        place,
        namespace,
        selector: query.selector()?,
        view,
        cursor,
        lines: VecDeque::new(),
        changes,
        deadline: query
            .timeout_seconds
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        bookmark: bookmarks.then(|| Instant::now() + BOOKMARK_PERIOD),
        over: false,
    };
    for object in &initial {
        if watch.selector.matches(object) {
            watch.send("ADDED", object);
        }
    }
    if streaming_list {
        watch.send_bookmark(true);
    }
    Ok(Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watch))
    })))
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            // Seen first, read second: what comes in between wakes the next turn.
            self.changes.borrow_and_update();
            self.read_log();
            if self.lines.is_empty() && !self.over {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        let (deadline, bookmark) = (self.deadline, self.bookmark);
        tokio::select! {
            changed = self.changes.changed() => self.over = changed.is_err(),
            () = self.api.closing() => self.over = true,
            () = until(deadline) => self.over = true,
            () = until(bookmark) => {
                self.bookmark = Some(Instant::now() + BOOKMARK_PERIOD);
                self.send_bookmark(false);
            }
        }
    }

    fn read_log(&mut self) {
        let api = self.api.clone();
        let store = api.store();
        let resource = self.place.kind.resource();
        let events: Vec<Event> = match store.since(self.cursor) {
            Ok(events) => events
                .filter(|event| event.resource == resource)
                .filter(|event| self.namespace.as_ref().is_none_or(|namespace| *namespace == event.namespace))
                .cloned()
                .collect(),
            Err(oldest) => {
                let expired = Failure::Expired { asked: self.cursor, oldest };
                self.push("ERROR", &expired.status());
                self.over = true;
                return;
            }
        };
        self.cursor = store.version();
        self.over = is_gone(&store, &resource);
        drop(store);
        for event in &events {
            self.send_event(event);
        }
    }

    /// Sends what an event is to somebody who sees only what the selector selects.
    fn send_event(&mut self, event: &Event) {
        let before = event.before.as_ref().filter(|before| self.selector.matches(before));
        let after = !event.deleted && self.selector.matches(&event.object);
        match (before, after) {
            (None, true) => self.send("ADDED", &event.object),
            (Some(_), true) => self.send("MODIFIED", &event.object),
            (Some(_), false) if event.deleted => self.send("DELETED", &event.object),
            (Some(before), false) => {
                let mut last = (**before).clone();
                last["metadata"]["resourceVersion"] = json!(event.version.to_string());
                self.send("DELETED", &Arc::new(last));
            }
            (None, false) => {}
        }
    }

    fn send(&mut self, kind: &str, object: &Arc<Value>) {
        let now = self.api.now();
        let object = present(&self.place, object, self.view, now);
        self.push(kind, &object);
    }

    fn send_bookmark(&mut self, initial_events_end: bool) {
        let mut metadata = json!({"resourceVersion": self.cursor.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let kind = &self.place.kind;
        let mut bookmark = json!({
            "kind": kind.kind, "apiVersion": kind.api_version(&self.place.version.name), "metadata": metadata,
        });
        if matches!(self.view, View::Metadata) {
            bookmark["kind"] = json!("PartialObjectMetadata");
            bookmark["apiVersion"] = json!("meta.k8s.io/v1");
        }
        // A typed client reads the bookmark as an object of the kind, which may need its spec.
        self.push("BOOKMARK", &bookmark);
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let mut line = json!({"type": kind, "object": object}).to_string();
        line.push('\n');
        self.lines.push_back(line.into());
    }
}

fn is_gone(store: &Store, resource: &str) -> bool {
    store.kind(resource).is_none()
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
