//! What goes wrong in a field stays there: the nearest that may be null becomes null, and the others are answered.
//! And an answer that grows too large is given up.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextExecute, NextResolve, ResolveInfo,
};
use async_graphql::parser::types::Field;
use async_graphql::{
    PathSegment, QueryPathNode, QueryPathSegment, Response, ServerError, ServerResult, Value,
};
use futures::FutureExt as _;
use ochre_core::code::Code;

use super::Asked;
use super::answer::error;
use super::buffer::{Answers, BYTES};

/// Keeps failures and panics of resolvers to their fields, and what an answer costs within its limit.
pub(super) struct Fields {
    /// The most that an answer may cost: one for every field and item, and one more for every 64 bytes of a value.
    pub cost: usize,
}

impl ExtensionFactory for Fields {
    fn create(&self) -> Arc<dyn Extension> {
        let (cost, room) = (AtomicUsize::default(), AtomicUsize::default());
        Arc::new(Made { limit: self.cost, cost, room, failures: Mutex::default() })
    }
}

/// What is known of one answer while it is made.
struct Made {
    limit: usize,
    cost: AtomicUsize,
    /// For how much of that there is room.
    room: AtomicUsize,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    errors: Vec<ServerError>,
    /// The objects that miss a field which must not be null; async-graphql would send them without it.
    broken: Vec<Path>,
    /// The error of the field at which the answer became too large.
    too_much: Option<ServerError>,
}

type Path = Vec<PathSegment>;

#[async_trait::async_trait]
impl Extension for Made {
    async fn execute(
        &self,
        context: &ExtensionContext<'_>,
        operation: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(context, operation).await;
        let Failures { mut errors, broken, too_much } = std::mem::take(&mut *self.failures());
        self.cost.store(0, Ordering::Relaxed);
        self.room.store(0, Ordering::Relaxed);
        response.errors.append(&mut errors);
        if !broken.is_empty() {
            response.data = Value::Null;
        }
        if let Some(error) = too_much {
            response.data = Value::Null;
            response.errors = vec![error];
        }
        response
    }

    async fn resolve(
        &self,
        context: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let (node, kind, field) = (info.path_node, info.return_type, info.field);
        let answers = context.data_opt::<Asked>().map(|asked| &asked.answers);
        if !self.afford(1, answers, field, node) {
            return Ok(None);
        }
        if matches!(node.segment, QueryPathSegment::Index(_)) {
            // An item of a list, of which it is not said right whether it may be null; its field knows.
            return next.run(context, info).await;
        }
        let resolved = AssertUnwindSafe(next.run(context, info)).catch_unwind().await;
        let is_leaf = field.selection_set.node.items.is_empty();
        if let (true, Ok(Ok(Some(value)))) = (is_leaf, &resolved)
            && !self.afford(bytes(value) / BYTES, answers, field, node)
        {
            return Ok(None);
        }
        let mut failures = self.failures();
        let (value, is_failed) = match resolved.unwrap_or_else(|_| Err(panicked(field, path(node)))) {
            Ok(value) if failures.broken.is_empty() => return Ok(value),
            Ok(value) => failures.remove(value.unwrap_or_default(), kind, &path(node)),
            Err(error) => {
                failures.errors.push(error);
                (Value::Null, kind.ends_with('!'))
            }
        };
        if is_failed {
            let mut object = path(node);
            object.pop();
            failures.broken.push(object);
        }
        Ok(Some(value))
    }
}

impl Made {
    /// Adds to what the answer costs; gives it up at this field where that is beyond the limit, or beyond the room that
    /// all answers have. What is yet to come is passed over.
    fn afford(
        &self,
        cost: usize,
        answers: Option<&Answers>,
        field: &Field,
        node: &QueryPathNode<'_>,
    ) -> bool {
        let all = self.cost.fetch_add(cost, Ordering::Relaxed).saturating_add(cost);
        if all > self.limit {
            self.give_up(self.too_much(), field, path(node));
            return false;
        }
        if all.saturating_mul(BYTES) <= self.room.load(Ordering::Relaxed) {
            return true;
        }
        match answers.map_or(Ok(usize::MAX), |answers| answers.make(all.saturating_mul(BYTES))) {
            Ok(room) => {
                self.room.store(room, Ordering::Relaxed);
                true
            }
            Err(error) => {
                self.give_up(error, field, path(node));
                false
            }
        }
    }

    fn too_much(&self) -> ServerError {
        let message = format!(
            "the answer passes the limit `cost`, {}; ask for fewer fields, or for fewer objects at a time (first, filter)",
            self.limit
        );
        error(Code::LimitExceeded, message, Vec::new())
    }

    /// Gives the answer up, and says at which field.
    fn give_up(&self, mut error: ServerError, field: &Field, path: Path) {
        (error.locations, error.path) = (vec![field.name.pos], path);
        self.failures().too_much.get_or_insert(error);
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    /// Takes the broken objects out of a field's value; tells whether the object around it is broken too.
    fn remove(&mut self, mut value: Value, kind: &str, path: &Path) -> (Value, bool) {
        let (within, others) =
            std::mem::take(&mut self.broken).into_iter().partition(|at| at.starts_with(path));
        self.broken = others;
        let within: Vec<Path> = within;
        let mut is_failed = false;
        for at in within {
            is_failed |= becomes_null(&mut value, kind, &at[path.len()..]);
        }
        (value, is_failed)
    }
}

/// Makes what is at a place in nested lists null; tells whether what holds it must be null instead.
fn becomes_null(value: &mut Value, kind: &str, place: &[PathSegment]) -> bool {
    let is_null = match (place, &mut *value) {
        ([PathSegment::Index(index), rest @ ..], Value::List(items)) => {
            let item = kind.trim_end_matches('!');
            let item = item.strip_prefix('[').and_then(|item| item.strip_suffix(']')).unwrap_or(item);
            items.get_mut(*index).is_some_and(|value| becomes_null(value, item, rest))
        }
        ([], _) => true,
        _ => false,
    };
    if is_null {
        *value = Value::Null;
    }
    is_null && kind.ends_with('!')
}

/// The panic hook has logged what happened; nobody else is told.
fn panicked(field: &Field, path: Path) -> ServerError {
    let name = field.name.node.as_str();
    tracing::error!(field = name, "a resolver panicked");
    let message = format!("{name}: internal error; it is logged, and nothing else is affected");
    let mut error = error(Code::Internal, message, vec![field.name.pos]);
    error.path = path;
    error
}

/// Measures a value about as long as it is in JSON.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.iter().map(bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + bytes(value)).sum(),
        Value::Null | Value::Number(_) | Value::Boolean(_) | Value::Enum(_) | Value::Binary(_) => 8,
    }
}

fn path(node: &QueryPathNode<'_>) -> Path {
    let segment = |segment: &QueryPathSegment<'_>| match segment {
        QueryPathSegment::Index(index) => PathSegment::Index(*index),
        QueryPathSegment::Name(name) => PathSegment::Field((*name).to_owned()),
    };
    let mut path = vec![segment(&node.segment)];
    path.extend(node.parents().map(|node| segment(&node.segment)));
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    //! Resolvers that fail.

    use async_graphql::{EmptyMutation, Object, Result, Schema, Subscription};
    use futures::{Stream, StreamExt as _, stream};
    use serde_json::{Value, json};

    use super::Fields;
    use crate::gateway::answer::Answer;

    fn fails() -> bool {
        panic!("a secret")
    }

    struct Query;

    #[Object]
    #[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
    impl Query {
        async fn good(&self) -> i32 {
            1
        }

        async fn nullable_panics(&self) -> Option<i32> {
            fails().then_some(1)
        }

        async fn panics(&self) -> i32 {
            i32::from(fails())
        }

        async fn nullable_fails(&self) -> Result<Option<i32>> {
            Err("no".into())
        }

        async fn text(&self, length: usize) -> String {
            "x".repeat(length)
        }

        async fn many(&self, count: usize) -> Vec<Self> {
            (0..count).map(|_| Self).collect()
        }

        async fn inner(&self) -> Option<Self> {
            Some(Self)
        }

        async fn inners(&self) -> Vec<Option<Self>> {
            vec![Some(Self), None]
        }

        async fn must_be(&self) -> Vec<Self> {
            vec![Self, Self]
        }

        async fn may_be(&self) -> Option<Vec<Self>> {
            Some(vec![Self, Self])
        }
    }

    struct Ticks;

    #[Subscription]
    impl Ticks {
        async fn ticks(&self) -> impl Stream<Item = Query> {
            stream::iter([Query, Query])
        }
    }

    /// Runs an operation; yields the answers, each with its errors as `path: code`.
    async fn run(document: &str) -> Vec<(Value, Vec<String>)> {
        let schema = Schema::build(Query, EmptyMutation, Ticks).extension(Fields { cost: 100 }).finish();
        let responses: Vec<_> = schema.execute_stream(document).collect().await;
        let shown = responses.into_iter().map(|response| {
            let answer = json!(Answer::from(response));
            assert!(!answer.to_string().contains("secret"), "{answer}");
            let errors = answer["errors"].as_array().cloned().unwrap_or_default();
            let line = |error: &Value| {
                format!("{}: {}", error["path"], error["extensions"]["code"]).replace('"', "")
            };
            (answer["data"].clone(), errors.iter().map(line).collect())
        });
        shown.collect()
    }

    #[tokio::test]
    async fn a_field_that_fails_is_null_and_the_others_are_there() {
        for (document, data, errors) in [
            ("{ good }", json!({"good": 1}), vec![]),
            (
                "{ good nullablePanics }",
                json!({"good": 1, "nullablePanics": null}),
                vec!["[nullablePanics]: INTERNAL"],
            ),
            (
                "{ good nullableFails }",
                json!({"good": 1, "nullableFails": null}),
                vec!["[nullableFails]: BAD_USER_INPUT"],
            ),
            ("{ good panics }", Value::Null, vec!["[panics]: INTERNAL"]),
            (
                "{ good inner { good x: panics } }",
                json!({"good": 1, "inner": null}),
                vec!["[inner,x]: INTERNAL"],
            ),
            (
                "{ good inner { inner { panics } } }",
                json!({"good": 1, "inner": {"inner": null}}),
                vec!["[inner,inner,panics]: INTERNAL"],
            ),
            (
                "{ inners { good nullablePanics } }",
                json!({"inners": [{"good": 1, "nullablePanics": null}, null]}),
                vec!["[inners,0,nullablePanics]: INTERNAL"],
            ),
            (
                "{ inners { good panics } }",
                json!({"inners": [null, null]}),
                vec!["[inners,0,panics]: INTERNAL"],
            ),
            (
                "{ good mayBe { good panics } }",
                json!({"good": 1, "mayBe": null}),
                vec!["[mayBe,0,panics]: INTERNAL", "[mayBe,1,panics]: INTERNAL"],
            ),
            (
                "{ good mustBe { good panics } }",
                Value::Null,
                vec!["[mustBe,0,panics]: INTERNAL", "[mustBe,1,panics]: INTERNAL"],
            ),
            (
                "{ inner { mustBe { panics } } good }",
                json!({"inner": null, "good": 1}),
                vec!["[inner,mustBe,0,panics]: INTERNAL", "[inner,mustBe,1,panics]: INTERNAL"],
            ),
        ] {
            assert_eq!(
                run(document).await,
                [(data, errors.into_iter().map(str::to_owned).collect())],
                "{document}"
            );
        }
    }

    #[tokio::test]
    async fn an_answer_that_costs_too_much_is_given_up() {
        for (document, place) in [
            ("{ text(length: 6000) }", None),
            ("{ text(length: 7000) }", Some("[text]")),
            ("{ a: text(length: 3000) b: text(length: 3000) c: text(length: 3000) }", Some("[c]")),
            ("{ many(count: 49) { good } }", None),
            ("{ many(count: 1000) { good } }", Some("[many,")),
            ("{ inner { many(count: 40) { good text(length: 640) panics } } }", Some("[inner,many,")),
        ] {
            let answers = run(document).await;
            let [(data, errors)] = answers.as_slice() else { panic!("{answers:?}") };
            match place {
                None => assert!(errors.is_empty() && !data.is_null(), "{document}: {errors:?}"),
                Some(place) => {
                    assert!(data.is_null(), "{document}");
                    let [error] = errors.as_slice() else { panic!("{document}: {errors:?}") };
                    assert!(error.starts_with(place) && error.ends_with(": LIMIT_EXCEEDED"), "{error}");
                }
            }
        }
        let ticks = run("subscription { ticks { text(length: 4000) } }").await;
        assert!(ticks.iter().all(|(_, errors)| errors.is_empty()), "each event is an answer: {ticks:?}");
    }

    #[tokio::test]
    async fn a_subscription_goes_on_after_a_field_that_failed() {
        let tick = (
            json!({"ticks": {"good": 1, "nullablePanics": null}}),
            vec!["[ticks,nullablePanics]: INTERNAL".to_owned()],
        );
        assert_eq!(run("subscription { ticks { good nullablePanics } }").await, [tick.clone(), tick]);
        let broken = (Value::Null, vec!["[ticks,panics]: INTERNAL".to_owned()]);
        assert_eq!(run("subscription { ticks { good panics } }").await, [broken.clone(), broken]);
    }
}
