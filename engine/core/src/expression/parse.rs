//! Parses an expression within bounds: whatever is within them is walked, evaluated and dropped on a small stack.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::parser::PrattParser;

/// The most bytes that one expression may have.
pub const MAX_LENGTH: usize = 2048;
/// The deepest that brackets may nest: the parser recurses into each.
const MAX_BRACKETS: u16 = 24;
/// The most levels of an expression's tree: a loop is about five, a call two. The evaluator takes some 40 KiB of stack
/// for each where it is not optimised, of the 2 MiB that a worker thread has.
const MAX_DEPTH: usize = 20;
/// The most nodes of the tree.
const MAX_NODES: usize = 2048;

/// Parses an expression, or says what is wrong with it.
pub(super) fn parse(expression: &str) -> Result<IdedExpr, String> {
    if expression.len() > MAX_LENGTH {
        return Err(format!("has {} bytes, the most is {MAX_LENGTH}", expression.len()));
    }
    let parser = PrattParser::new().max_recursion_depth(MAX_BRACKETS).max_expression_node_count(MAX_NODES);
    let tree = parser.parse(expression).map_err(|errors| {
        errors.errors.first().map_or_else(
            || "does not parse".to_owned(),
            |first| format!("does not parse at column {}: {}", first.pos.1, first.msg.trim()),
        )
    })?;
    bounded(tree)
}

/// Refuses a tree that is too deep, without recursing into it.
pub(super) fn bounded(tree: IdedExpr) -> Result<IdedExpr, String> {
    let mut open = vec![(&tree, 1)];
    while let Some((node, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(format!("nests deeper than {MAX_DEPTH} levels"));
        }
        open.extend(children(node).into_iter().map(|child| (child, depth + 1)));
    }
    Ok(tree)
}

/// Counts the nodes of a tree.
pub(super) fn size(tree: &IdedExpr) -> u32 {
    let mut count = 0;
    let mut open = vec![tree];
    while let Some(node) = open.pop() {
        count += 1;
        open.extend(children(node));
    }
    count
}

/// Tells whether a node is a name with fields, such as `steps.backup.phase`, which is looked up in one go.
pub(super) fn is_path(node: &IdedExpr) -> bool {
    let mut at = node;
    while let Expr::Select(select) = &at.expr {
        at = &select.operand;
    }
    matches!(at.expr, Expr::Ident(_))
}

/// Lists what a node is made of; of a path nothing.
pub(super) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Select(_) if is_path(node) => Vec::new(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Struct(literal) => literal.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Comprehension(loops) => {
            vec![&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result]
        }
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}
