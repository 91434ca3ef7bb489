//! What evaluating may cost.
//!
//! The evaluator has no limit of its own, so its tree is rewritten before it runs: what an operation
//! or a loop is about to look through is weighed first, and paid for from a budget. A loop pays for
//! all its rounds before the first. With the budget spent every later payment fails, whatever absorbs
//! errors (`||`, `all`), so that what is left to do is what has been paid for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::{CelBool, CelBytes, CelInt, CelList, CelMap, CelString};
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, FunctionContext};

use super::parse::{bounded, is_path, size};

/// The most steps that the expressions of one look at a step may take together: about one for each value, and for
/// each eight bytes of text, that an operation looks at.
pub const MAX_STEPS: u64 = 1_000_000;
/// The most bytes that a compiled regular expression may take.
const MAX_REGEX: usize = 16 * 1024;

/// How many states fit into them.
const MAX_STATES: u64 = 512;

/// Functions of the rewritten tree; no expression can spell them.
const PAY: &str = "@pay";
const PAY_ROUNDS: &str = "@payRounds";
const PAY_ENTRY: &str = "@payEntry";
const MATCHES: &str = "@matches";

/// The functions that may be called: each is linear in its arguments, which are paid for.
const FUNCTIONS: [&str; 13] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bytes",
    "bool",
    "type",
    "dyn",
];
/// The operators that look no further into their operands than one key or flag.
const SHALLOW: [&str; 5] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
];
/// The operators that look at all of their operands.
const DEEP: [&str; 13] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::NEGATE,
];

/// The operators and functions that yield a number or a flag.
const SMALL: [&str; 18] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    "size",
    "contains",
    "startsWith",
    "endsWith",
    MATCHES,
    "int",
    "uint",
    "double",
];

/// Steps that several expressions share.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<AtomicU64>);

impl Budget {
    /// Pays for steps; tells whether they were left.
    pub(super) fn pay(&self, steps: u64) -> bool {
        let before = self.0.load(Ordering::Relaxed);
        let after = before.saturating_add(steps);
        self.0.store(after, Ordering::Relaxed);
        after <= MAX_STEPS
    }

    /// Tells whether more was asked for than there was.
    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_STEPS
    }

    /// Lends its functions to a context.
    pub(super) fn lend(&self, context: &mut Context<'_, '_>) -> Result<(), String> {
        let pay = self.clone();
        let pay = function(move |call| {
            let value = call.args.pop().ok_or_else(|| call.error("pays for nothing"))?;
            pay.or_fail(weigh(value.as_ref(), pay.left()), call)?;
            Ok(value)
        });
        let entry = self.clone();
        let entry = function(move |call| {
            let value = call.args.pop().ok_or_else(|| call.error("pays for nothing"))?;
            let is_map = value.downcast_ref::<CelMap>().is_some();
            entry.or_fail(if is_map { 1 } else { weigh(value.as_ref(), entry.left()) }, call)?;
            Ok(value)
        });
        let rounds = self.clone();
        let rounds = function(move |call| {
            let nodes = call.args.pop().and_then(|nodes| nodes.downcast_ref::<CelInt>().map(|n| *n.inner()));
            let range = call.args.pop().ok_or_else(|| call.error("pays for nothing"))?;
            let nodes = nodes.and_then(|nodes| u64::try_from(nodes).ok()).unwrap_or(u64::MAX);
            let count = count(range.as_ref()).saturating_mul(nodes);
            rounds.or_fail(count.saturating_add(weigh(range.as_ref(), rounds.left())), call)?;
            Ok(range)
        });
        let matches = self.clone();
        let matches = function(move |call| {
            let arguments = call.this.iter().chain(&call.args);
            let mut texts =
                arguments.filter_map(|value| value.downcast_ref::<CelString>().map(CelString::inner));
            let (Some(text), Some(pattern), None) = (texts.next(), texts.next(), texts.next()) else {
                return Err(call.error("takes a text and a regular expression"));
            };
            matches.or_fail(cost_of_matching(text, pattern), call)?;
            let regex = regex_lite::RegexBuilder::new(pattern).size_limit(MAX_REGEX).build();
            let is_match =
                regex.map_err(|error| ExecutionError::function_error("matches", error))?.is_match(text);
            Ok(CowVal::owned(CelBool::from(is_match)))
        });
        [(PAY, pay), (PAY_ENTRY, entry), (PAY_ROUNDS, rounds), (MATCHES, matches)]
            .into_iter()
            .try_for_each(|(name, function)| context.add_function(name, function))
            .map_err(|error| error.to_string())
    }

    fn left(&self) -> u64 {
        MAX_STEPS.saturating_sub(self.0.load(Ordering::Relaxed))
    }

    fn or_fail(&self, steps: u64, call: &FunctionContext<'_, '_>) -> Result<(), ExecutionError> {
        if self.pay(steps) { Ok(()) } else { Err(call.error("the budget is spent")) }
    }
}

type Function = Box<
    dyn for<'context, 'call> Fn(
            &mut FunctionContext<'context, 'call>,
        ) -> Result<CowVal<'context, 'call>, ExecutionError>
        + Send
        + Sync,
>;

/// Boxes a function as a context takes it.
fn function<F>(body: F) -> Function
where
    F: for<'context, 'call> Fn(
            &mut FunctionContext<'context, 'call>,
        ) -> Result<CowVal<'context, 'call>, ExecutionError>
        + Send
        + Sync
        + 'static,
{
    Box::new(body)
}

/// Counts the states of a regular expression for each byte of the text, and once for compiling it.
fn cost_of_matching(text: &str, pattern: &str) -> u64 {
    // `{3,20}` repeats what is before it 20 times, and what repeats may itself be repeated.
    let repeats = pattern.split('{').skip(1).map(|rest| {
        let numbers = rest.split('}').next().unwrap_or_default().split(',');
        numbers.filter_map(|number| number.parse::<u64>().ok()).max().unwrap_or(1).max(1)
    });
    let states = repeats.fold(pattern.len() as u64, u64::saturating_mul).min(MAX_STATES);
    (64 + states).saturating_add((text.len() as u64 + 1).saturating_mul(states) / 16)
}

/// Counts the values of a value and each eight bytes of its texts, and stops beyond `most`.
fn weigh(value: &dyn Val, most: u64) -> u64 {
    let mut weight = 0_u64;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        weight = weight.saturating_add(1);
        if let Some(text) = value.downcast_ref::<CelString>() {
            weight = weight.saturating_add(text.inner().len() as u64 / 8);
        } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
            weight = weight.saturating_add(bytes.inner().len() as u64 / 8);
        } else if let Some(list) = value.downcast_ref::<CelList>() {
            open.extend(list.inner().iter().map(AsRef::as_ref));
        } else if let Some(map) = value.downcast_ref::<CelMap>() {
            for (key, value) in map.inner() {
                open.extend([key.inner(), value.as_ref()]);
            }
        }
        if weight.saturating_add(open.len() as u64) > most {
            return u64::MAX;
        }
    }
    weight
}

/// Counts what a loop goes through.
fn count(range: &dyn Val) -> u64 {
    let list = range.downcast_ref::<CelList>().map(|list| list.inner().len());
    list.or_else(|| range.downcast_ref::<CelMap>().map(|map| map.inner().len())).unwrap_or_default() as u64
}

/// Rewrites a tree so that all that it does is paid for; fails at what cannot be.
pub(super) fn metered(tree: IdedExpr) -> Result<IdedExpr, String> {
    bounded(rewritten(tree)?)
}

fn rewritten(node: IdedExpr) -> Result<IdedExpr, String> {
    if is_path(&node) {
        return Ok(node);
    }
    let IdedExpr { id, expr } = node;
    let expr = match expr {
        Expr::Unspecified => return Err("is not whole".to_owned()),
        Expr::Struct(literal) => {
            return Err(format!("makes a `{}`, which is no type here", literal.type_name));
        }
        expr @ (Expr::Ident(_) | Expr::Literal(_)) => expr,
        Expr::Select(mut select) => {
            *select.operand = rewritten(*select.operand)?;
            Expr::Select(select)
        }
        Expr::Call(call) => Expr::Call(metered_call(call)?),
        Expr::List(mut list) => {
            list.elements = list.elements.into_iter().map(paid).collect::<Result<_, _>>()?;
            Expr::List(list)
        }
        Expr::Map(mut map) => {
            for entry in &mut map.entries {
                if let cel::common::ast::EntryExpr::MapEntry(entry) = &mut entry.expr {
                    entry.key = paid(std::mem::take(&mut entry.key))?;
                    entry.value = paid(std::mem::take(&mut entry.value))?;
                }
            }
            Expr::Map(map)
        }
        Expr::Comprehension(mut loops) => {
            let nodes = i64::from(size(&loops.loop_cond) + size(&loops.loop_step) + 4);
            let range = rewritten(std::mem::take(&mut loops.iter_range))?;
            let nodes = IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(CelInt::from(nodes))) };
            loops.iter_range = call(id, PAY_ROUNDS, vec![range, nodes]);
            for part in [&mut loops.accu_init, &mut loops.loop_cond, &mut loops.loop_step, &mut loops.result]
            {
                *part = rewritten(std::mem::take(part))?;
            }
            Expr::Comprehension(loops)
        }
    };
    Ok(IdedExpr { id, expr })
}

fn metered_call(call: CallExpr) -> Result<CallExpr, String> {
    let CallExpr { mut func_name, target, args } = call;
    let name = func_name.as_str();
    let argument = |index: usize, argument: IdedExpr| {
        // Of a container that is indexed one entry is looked at.
        match name {
            operators::INDEX if index == 0 => rewritten(argument),
            operators::IN if index == 1 => paid_by(PAY_ENTRY, argument),
            // What a sum's own terms weigh has been paid for, and sums are not deep.
            operators::ADD if is_sum(&argument) => rewritten(argument),
            name if SHALLOW.contains(&name) => rewritten(argument),
            _ => paid(argument),
        }
    };
    let known = SHALLOW.contains(&name)
        || DEEP.contains(&name)
        || name == operators::INDEX
        || FUNCTIONS.contains(&name);
    if !known {
        return Err(format!("calls `{name}`, which is not known; there are {}", FUNCTIONS.join(", ")));
    }
    let target = target.map(|target| paid(*target)).transpose()?.map(Box::new);
    let args =
        args.into_iter().enumerate().map(|(index, arg)| argument(index, arg)).collect::<Result<_, _>>()?;
    if name == "matches" {
        MATCHES.clone_into(&mut func_name);
    }
    Ok(CallExpr { func_name, target, args })
}

/// Has what a node yields paid for before it is used.
fn paid(node: IdedExpr) -> Result<IdedExpr, String> {
    paid_by(PAY, node)
}

fn paid_by(function: &str, node: IdedExpr) -> Result<IdedExpr, String> {
    let node = rewritten(node)?;
    Ok(match &node.expr {
        // Literals are paid for by the expression's length, and what is in them by itself. An accumulator is a
        // number, a flag, or a list that is appended to in place.
        Expr::Literal(_) | Expr::List(_) | Expr::Map(_) => node,
        // These yield no more than a flag or a number.
        Expr::Call(call) if SMALL.contains(&call.func_name.as_str()) => node,
        Expr::Ident(name) if name.starts_with('@') => node,
        _ => call(node.id, function, vec![node]),
    })
}

fn is_sum(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Call(call) if call.func_name == operators::ADD)
}

fn call(id: u64, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}
