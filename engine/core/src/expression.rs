//! CEL, the language of what only a finished step can know.
//!
//! The variables are `steps.<name>.{phase, object, outputs}` and, where a step looks at its own
//! object, `object`. What an expression names is checked before anything runs; its size and the
//! nesting of its loops are bounded, since the evaluator itself has no limit.

use std::collections::{BTreeMap, BTreeSet};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Program};
use serde_json::{Map, Value};

use crate::code::Code;
use crate::workflow::{Step, Workflow};

/// The most bytes that one expression may have.
pub const MAX_LENGTH: usize = 2048;
/// The deepest that loops (`map`, `filter`, `all`, `exists`) may nest.
pub const MAX_NESTING: usize = 2;

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
}

/// Evaluates an expression; the result is JSON.
pub fn evaluate(place: &str, expression: &str, scope: &Scope) -> Result<Value, ExpressionError> {
    let fail = |problem: String| ExpressionError::new(place, expression, problem);
    let program = compile(place, expression)?;
    let mut context = Context::default();
    context.add_variable_from_value("steps", to_cel(&Value::Object(scope.steps.clone())));
    if let Some(object) = &scope.object {
        context.add_variable_from_value("object", to_cel(object));
    }
    let result = program.execute(&context).map_err(|error| fail(error.to_string()))?;
    result.json().map_err(|error| fail(error.to_string()))
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
    for (index, step) in workflow.steps.iter().enumerate() {
        let place = format!("steps/{index}");
        problems.extend(
            expressions(step, &place)
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
        .filter_map(|(place, expression, _)| compile(place, expression).ok())
        .flat_map(|program| {
            let mut walk = Walk::default();
            walk.visit(program.expression());
            walk.objects
        })
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
    let program = compile(place, expression)?;
    let mut walk = Walk::default();
    walk.visit(program.expression());
    let fail = |problem: String| Err(ExpressionError::new(place, expression, problem));
    if let Some(problem) = walk.problem {
        return fail(problem);
    }
    if walk.deepest > MAX_NESTING {
        return fail(format!("nests loops {} deep, the most is {MAX_NESTING}", walk.deepest));
    }
    for name in &walk.variables {
        let fits = name == "steps" || (name == "object" && own_object);
        if !fits {
            return fail(format!("names `{name}`, which is not known here"));
        }
    }
    for (step, output) in &walk.steps {
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

fn compile(place: &str, expression: &str) -> Result<Program, ExpressionError> {
    if expression.len() > MAX_LENGTH {
        let problem = format!("has {} bytes, the most is {MAX_LENGTH}", expression.len());
        return Err(ExpressionError::new(place, expression, problem));
    }
    Program::compile(expression).map_err(|errors| {
        let problem = errors.errors.first().map_or_else(
            || "does not parse".to_owned(),
            |first| format!("does not parse at column {}: {}", first.pos.1, first.msg.trim()),
        );
        ExpressionError::new(place, expression, problem)
    })
}

/// What an expression's tree names.
#[derive(Default)]
struct Walk {
    variables: BTreeSet<String>,
    steps: BTreeSet<(String, Option<String>)>,
    objects: BTreeSet<String>,
    bound: Vec<String>,
    depth: usize,
    deepest: usize,
    problem: Option<String>,
}

impl Walk {
    fn visit(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Select(_) => self.select(node),
            Expr::Call(call) => {
                call.target.iter().for_each(|target| self.visit(target));
                call.args.iter().for_each(|argument| self.visit(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(literal) => {
                literal.entries.iter().for_each(|entry| self.entry(&entry.expr));
            }
            Expr::Comprehension(_) => self.comprehension(node),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }
        }
    }

    fn comprehension(&mut self, node: &IdedExpr) {
        let Expr::Comprehension(comprehension) = &node.expr else { return };
        self.visit(&comprehension.iter_range);
        self.visit(&comprehension.accu_init);
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let outside = self.bound.len();
        self.bound.push(comprehension.iter_var.clone());
        self.bound.extend(comprehension.iter_var2.clone());
        self.bound.push(comprehension.accu_var.clone());
        self.visit(&comprehension.loop_cond);
        self.visit(&comprehension.loop_step);
        self.visit(&comprehension.result);
        self.bound.truncate(outside);
        self.depth -= 1;
    }

    fn name(&mut self, name: &str) {
        if self.bound.iter().any(|bound| bound == name) {
            return;
        }
        if name == "steps" {
            self.problem =
                Some("uses `steps` other than as `steps.<name>.<phase, object or outputs>`".to_owned());
        }
        self.variables.insert(name.to_owned());
    }

    /// Follows a chain such as `steps.backup.outputs.items` to its root.
    fn select(&mut self, node: &IdedExpr) {
        let mut fields = Vec::new();
        let mut at = node;
        while let Expr::Select(select) = &at.expr {
            fields.push(select.field.as_str());
            at = &select.operand;
        }
        fields.reverse();
        match &at.expr {
            Expr::Ident(root) if root == "steps" && !self.bound.iter().any(|bound| bound == root) => {
                self.step_path(&fields);
            }
            _ => self.visit(at),
        }
    }

    fn step_path(&mut self, fields: &[&str]) {
        self.variables.insert("steps".to_owned());
        match fields {
            [step, "phase"] => {
                self.steps.insert(((*step).to_owned(), None));
            }
            [step, "outputs", output, ..] => {
                self.steps.insert(((*step).to_owned(), Some((*output).to_owned())));
            }
            [step, "object", ..] => {
                self.steps.insert(((*step).to_owned(), None));
                self.objects.insert((*step).to_owned());
            }
            _ => {
                self.problem = Some(format!(
                    "names `steps.{}`; a step has phase, object and outputs.<name>",
                    fields.join(".")
                ));
            }
        }
    }
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
