//! What an expression names.

use std::collections::BTreeSet;

use cel::common::ast::{Expr, IdedExpr};

use super::parse::children;

/// What an expression's tree names.
#[derive(Default)]
pub(super) struct Names {
    /// The variables.
    pub(super) variables: BTreeSet<String>,
    /// The steps, and which of their outputs.
    pub(super) steps: BTreeSet<(String, Option<String>)>,
    /// The steps whose objects are looked at.
    pub(super) objects: BTreeSet<String>,
    /// How deep loops nest.
    pub(super) deepest: usize,
    /// What is named as it cannot be.
    pub(super) problem: Option<String>,
    bound: Vec<String>,
    depth: usize,
}

impl Names {
    /// Reads a tree.
    pub(super) fn of(tree: &IdedExpr) -> Self {
        let mut names = Self::default();
        names.visit(tree);
        names
    }

    fn visit(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Select(_) => self.select(node),
            Expr::Comprehension(_) => self.comprehension(node),
            _ => children(node).into_iter().for_each(|child| self.visit(child)),
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
