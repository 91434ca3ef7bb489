//! CEL, the language of what only a finished step can know.
//!
//! The variables are `steps.<name>.{phase, object, outputs}` and, where a step looks at its own
//! object, `object`. What an expression names is checked before anything runs. Its size and depth are
//! bounded wherever it is parsed, and what it costs wherever it is evaluated, since the evaluator
//! itself has no limit.

mod budget;
mod names;
mod parse;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::{Context, Env};
use serde_json::{Map, Value, json};

use budget::metered;
use names::Names;

pub use budget::{Budget, MAX_STEPS};
pub use parse::MAX_LENGTH;

use crate::code::Code;
use crate::schema::is_deeper;
use crate::workflow::{Step, Workflow};

/// The most expressions that a workflow may have.
pub const MAX_EXPRESSIONS: usize = 512;
/// The deepest that loops (`map`, `filter`, `all`, `exists`) may nest.
pub const MAX_NESTING: usize = 2;

/// The deepest that what an expression yields may nest.
const MAX_RESULT_DEPTH: usize = 48;

/// Says what is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem} in the expression `{expression}`")]
pub struct ExpressionError {
    /// Where it stands, such as `steps/0/when`.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// The expression, cut to 120 characters.
    pub expression: String,
}

impl ExpressionError {
    fn new(place: &str, expression: &str, problem: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            problem: problem.into(),
            expression: expression.chars().take(120).collect(),
        }
    }

    /// Names the kind of error.
    pub const fn code(&self) -> Code {
        Code::BadUserInput
    }
}

/// What an expression may look at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Every step by name: `{phase, object, outputs}`.
    pub steps: Map<String, Value>,
    /// The step's own object, where there is one.
    pub object: Option<Value>,
    /// What its expressions may cost together; a clone shares it.
    pub budget: Budget,
}

/// The standard library, without optional values.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// Evaluates an expression; the result is JSON. Fails when it takes more than the scope's budget has left.
pub fn evaluate(place: &str, expression: &str, scope: &Scope) -> Result<Value, ExpressionError> {
    let fail = |problem: String| ExpressionError::new(place, expression, problem);
    let spent = || {
        fail(format!("takes, with those before it, more than {MAX_STEPS} steps to evaluate; look at less"))
    };
    let tree = parse(place, expression)?;
    let seen = visible(scope, &Names::of(&tree)).map_err(fail)?;
    let weight: u64 = seen.iter().map(|(_, value)| weigh(value)).sum();
    if !scope.budget.pay(weight.saturating_add(expression.len() as u64)) {
        return Err(spent());
    }
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    scope.budget.lend(&mut context).map_err(fail)?;
    for (name, value) in &seen {
        context.add_variable_from_value(*name, to_cel(value));
    }
    let result = cel::Value::resolve(&metered(tree).map_err(fail)?, &context);
    if scope.budget.is_spent() {
        return Err(spent());
    }
    let result = result.map_err(|error| fail(error.to_string()))?;
    let result = result.json().map_err(|error| fail(error.to_string()))?;
    // It goes into manifests and into the status, which nobody could read if it were as deep as what it was taken from.
    if is_deeper(&result, MAX_RESULT_DEPTH) {
        return Err(fail(format!("yields what nests deeper than {MAX_RESULT_DEPTH} levels")));
    }
    Ok(result)
}

/// Takes of a scope what an expression names.
fn visible<'scope>(
    scope: &'scope Scope,
    names: &Names,
) -> Result<Vec<(&'static str, Cow<'scope, Value>)>, String> {
    if let Some(problem) = &names.problem {
        return Err(problem.clone());
    }
    let mut steps = Map::new();
    for (name, _) in &names.steps {
        if let Some(step) = scope.steps.get(name) {
            let mut step = json!({"phase": step["phase"], "outputs": step["outputs"]});
            if names.objects.contains(name) {
                step["object"] = scope.steps[name]["object"].clone();
            }
            steps.insert(name.clone(), step);
        }
    }
    let object = scope.object.as_ref().filter(|_| names.variables.contains("object"));
    let object = object.map(|object| ("object", Cow::Borrowed(object)));
    Ok(object.into_iter().chain([("steps", Cow::Owned(Value::Object(steps)))]).collect())
}

/// Evaluates an expression that must be true or false.
pub fn evaluate_bool(place: &str, expression: &str, scope: &Scope) -> Result<bool, ExpressionError> {
    match evaluate(place, expression, scope)? {
        Value::Bool(result) => Ok(result),
        other => Err(ExpressionError::new(place, expression, format!("yields {other}, not true or false"))),
    }
}

/// Replaces every `{$cel: "…"}` of a manifest by what it yields; an entry that yields null is left out.
pub fn substitute(place: &str, manifest: &Value, scope: &Scope) -> Result<Value, ExpressionError> {
    if let Some(expression) = embedded(manifest) {
        return evaluate(place, expression, scope);
    }
    match manifest {
        Value::Object(entries) => {
            let mut result = Map::new();
            for (key, value) in entries {
                let new = substitute(&format!("{place}/{key}"), value, scope)?;
                if !new.is_null() || value.is_null() {
                    result.insert(key.clone(), new);
                }
            }
            Ok(Value::Object(result))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| substitute(&format!("{place}/{index}"), item, scope))
            .filter(|item| !matches!(item, Ok(Value::Null)))
            .collect(),
        other => Ok(other.clone()),
    }
}

/// Tells whether a manifest is whole as it stands, without any `{$cel: "…"}`.
pub fn is_literal(manifest: &Value) -> bool {
    let mut found = Vec::new();
    in_manifest("", manifest, &mut found);
    found.is_empty()
}

/// Checks every expression of a workflow: that it parses, stays within the bounds, and names only
/// steps before its own and outputs that they have.
pub fn check_workflow(workflow: &Workflow) -> Vec<ExpressionError> {
    let mut known = BTreeMap::new();
    let mut problems = Vec::new();
    let mut count = 0;
    for (index, step) in workflow.steps.iter().enumerate() {
        let place = format!("steps/{index}");
        let found = expressions(step, &place);
        count += found.len();
        if count > MAX_EXPRESSIONS {
            let problem =
                format!("the workflow has more than {MAX_EXPRESSIONS} expressions, the first beyond");
            problems.push(ExpressionError::new(&place, "", problem));
            return problems;
        }
        problems.extend(
            found
                .into_iter()
                .filter_map(|(place, expression, own)| check(&place, expression, &known, own).err()),
        );
        known.insert(step.name.clone(), step.output_names());
    }
    problems
}

/// Names the steps whose objects a step's expressions look at.
pub fn objects_used(step: &Step) -> BTreeSet<String> {
    expressions(step, "")
        .iter()
        .filter_map(|(place, expression, _)| parse(place, expression).ok())
        .flat_map(|tree| Names::of(&tree).objects)
        .collect()
}

/// Lists the expressions of a step: place, text, and whether `object` is known there.
fn expressions<'step>(step: &'step Step, place: &str) -> Vec<(String, &'step str, bool)> {
    let mut found = Vec::new();
    if let Some(when) = &step.when {
        found.push((format!("{place}/when"), when.as_str(), false));
    }
    if let Some(resource) = &step.resource {
        in_manifest(&format!("{place}/resource/manifest"), &resource.manifest, &mut found);
        if let Some(until) = &resource.until {
            found.push((format!("{place}/resource/until"), until, true));
        }
    }
    if let Some(check) = &step.check {
        found.push((format!("{place}/check/that"), &check.that, false));
    }
    for (name, expression) in &step.outputs {
        found.push((format!("{place}/outputs/{name}"), expression, step.resource.is_some()));
    }
    found
}

fn in_manifest<'step>(place: &str, value: &'step Value, found: &mut Vec<(String, &'step str, bool)>) {
    if let Some(expression) = embedded(value) {
        found.push((place.to_owned(), expression, false));
        return;
    }
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                in_manifest(&format!("{place}/{key}"), value, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                in_manifest(&format!("{place}/{index}"), item, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn embedded(value: &Value) -> Option<&str> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    entries.get("$cel")?.as_str()
}

fn check(
    place: &str,
    expression: &str,
    known: &BTreeMap<String, BTreeSet<String>>,
    own_object: bool,
) -> Result<(), ExpressionError> {
    let tree = parse(place, expression)?;
    let names = Names::of(&tree);
    let fail = |problem: String| Err(ExpressionError::new(place, expression, problem));
    if let Some(problem) = names.problem {
        return fail(problem);
    }
    metered(tree).map_err(|problem| ExpressionError::new(place, expression, problem))?;
    if names.deepest > MAX_NESTING {
        return fail(format!("nests loops {} deep, the most is {MAX_NESTING}", names.deepest));
    }
    for name in &names.variables {
        let fits = name == "steps" || (name == "object" && own_object);
        if !fits {
            return fail(format!("names `{name}`, which is not known here"));
        }
    }
    for (step, output) in &names.steps {
        let Some(outputs) = known.get(step) else {
            return fail(format!("names the step `{step}`, which is none before this one"));
        };
        if let Some(output) = output.as_ref().filter(|output| !outputs.contains(*output)) {
            let have = outputs.iter().cloned().collect::<Vec<_>>().join(", ");
            return fail(format!("names the output `{output}` of the step `{step}`, which has {have}"));
        }
    }
    Ok(())
}

fn parse(place: &str, expression: &str) -> Result<IdedExpr, ExpressionError> {
    parse::parse(expression).map_err(|problem| ExpressionError::new(place, expression, problem))
}

/// Counts the values of a value, and each eight bytes of its texts.
fn weigh(value: &Value) -> u64 {
    let mut weight = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        weight += 1;
        match value {
            Value::String(text) => weight += text.len() as u64 / 8,
            Value::Array(items) => open.extend(items),
            Value::Object(entries) => {
                weight += entries.keys().map(|key| 1 + key.len() as u64 / 8).sum::<u64>();
                open.extend(entries.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    weight
}

/// Turns JSON into CEL. Every whole number becomes an int, since CEL refuses `uint + int`.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)), cel::Value::Int),
        Value::String(text) => cel::Value::String(text.clone().into()),
        Value::Array(items) => cel::Value::List(items.iter().map(to_cel).collect::<Vec<_>>().into()),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), to_cel(value)))
            .collect::<std::collections::HashMap<_, _>>()
            .into(),
    }
}

#[cfg(test)]
mod tests;
