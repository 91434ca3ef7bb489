//! What goes wrong in a field stays there: the nearest that may be null becomes null, and the others are answered.

use std::panic::AssertUnwindSafe;
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

use super::answer::error;

/// Keeps failures and panics of resolvers to their fields.
pub(super) struct Fields;

impl ExtensionFactory for Fields {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Failed::default())
    }
}

/// What failed in one answer.
#[derive(Default)]
struct Failed(Mutex<Failures>);

#[derive(Default)]
struct Failures {
    errors: Vec<ServerError>,
    /// The objects that miss a field which must not be null; async-graphql would send them without it.
    broken: Vec<Path>,
}

type Path = Vec<PathSegment>;

#[async_trait::async_trait]
impl Extension for Failed {
    async fn execute(
        &self,
        context: &ExtensionContext<'_>,
        operation: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(context, operation).await;
        let Failures { mut errors, broken } = std::mem::take(&mut *self.failures());
        response.errors.append(&mut errors);
        if !broken.is_empty() {
            response.data = Value::Null;
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
        if matches!(node.segment, QueryPathSegment::Index(_)) {
            // An item of a list, of which it is not said right whether it may be null; its field knows.
            return next.run(context, info).await;
        }
        let resolved = AssertUnwindSafe(next.run(context, info)).catch_unwind().await;
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

impl Failed {
    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let schema = Schema::build(Query, EmptyMutation, Ticks).extension(Fields).finish();
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
