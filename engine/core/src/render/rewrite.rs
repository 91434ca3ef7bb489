//! Walks a parsed template: refuses what would break the promise of slots, and rewrites every
//! expression into a call that fills one.

use std::collections::{BTreeSet, HashMap};

use handlebars::Path;
use handlebars::PathSeg;
use handlebars::template::{BlockParam, HelperTemplate, Parameter, Subexpression, TemplateElement};
use serde_json::json;

use super::function::Function;
use super::slots::{MARK_END, MARK_START, SLOT, TICK};
use super::{CONTEXT, Context};
use crate::hint::{did_you_mean, listed};
use crate::manifest::{Position, Reporter, TextPlace};

/// The blocks that templates may use.
const BLOCKS: [&str; 4] = ["if", "unless", "each", "with"];
/// The deepest that blocks and helper calls may nest.
const MAX_DEPTH: usize = 16;
/// What `#each` knows besides the item.
const LOCALS: [&str; 4] = ["index", "key", "first", "last"];

/// Checks and rewrites a template; yields the place of every expression, and whether all is well.
///
/// Names are checked against `known`, unless it is not known.
pub(super) fn rewrite(
    template: &mut handlebars::Template,
    known: Option<&BTreeSet<String>>,
    place: TextPlace,
    reporter: &Reporter,
) -> (Vec<Position>, bool) {
    let mut walk = Walk {
        known,
        place,
        reporter,
        scopes: Vec::new(),
        sites: Vec::new(),
        position: place.resolve(Position::START),
        faultless: true,
    };
    walk.template(template, 0);
    (walk.sites, walk.faultless)
}

/// The body of an `#each` or `#with`: names there mean something else.
struct Scope {
    names: Vec<String>,
    is_loop: bool,
}

struct Walk<'a> {
    known: Option<&'a BTreeSet<String>>,
    place: TextPlace,
    reporter: &'a Reporter,
    scopes: Vec<Scope>,
    sites: Vec<Position>,
    position: Position,
    faultless: bool,
}

impl Walk<'_> {
    fn template(&mut self, template: &mut handlebars::Template, depth: usize) {
        if depth > MAX_DEPTH {
            return self.error(format!("blocks nest deeper than {MAX_DEPTH}"), None);
        }
        let handlebars::Template { elements, mapping, .. } = template;
        for (index, element) in elements.iter_mut().enumerate() {
            if let Some(at) = mapping.get(index) {
                let at = Position { line: at.0, column: at.1 };
                self.position = self.place.resolve(at);
            }
            self.element(element, depth);
        }
    }

    fn element(&mut self, element: &mut TemplateElement, depth: usize) {
        match element {
            TemplateElement::RawString(text) => {
                if text.contains([MARK_START, MARK_END]) {
                    self.error("the characters U+E000 and U+E001 are not allowed here", None);
                }
            }
            TemplateElement::Expression(expression) => self.expression(expression),
            TemplateElement::HelperBlock(block) => self.block(block, depth),
            TemplateElement::HtmlExpression(_) => self.error(
                "triple braces and `{{&…}}` are not allowed",
                Some("write two braces: no value needs quoting".to_owned()),
            ),
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                self.error("decorators are not allowed", None);
            }
            TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => self.error(
                "partials are not supported yet",
                Some("let one Implementation implement several revisions instead".to_owned()),
            ),
            TemplateElement::Comment(_) => {}
            _ => self.error("this part of Handlebars is not supported", None),
        }
    }

    /// Checks an expression, and turns it into a call of the slot helper.
    fn expression(&mut self, expression: &mut HelperTemplate) {
        let params = std::mem::take(&mut expression.params);
        let hash = std::mem::take(&mut expression.hash);
        let name = std::mem::replace(&mut expression.name, Parameter::Name(SLOT.to_owned()));
        let value = if params.is_empty() && hash.is_empty() {
            name
        } else {
            Parameter::Subexpression(Subexpression::new(name, params, hash))
        };
        self.value(&value, 0);
        let site = Parameter::Literal(json!(self.sites.len()));
        self.sites.push(self.position);
        expression.params = vec![value, site];
    }

    fn block(&mut self, block: &mut HelperTemplate, depth: usize) {
        let position = self.position;
        let name = block.name.as_name().unwrap_or_default().to_owned();
        if !BLOCKS.contains(&name.as_str()) {
            let hint = did_you_mean(&name, BLOCKS).or_else(|| Some(format!("there are {}", listed(BLOCKS))));
            return self.error(format!("`#{name}` is not a known block"), hint);
        }
        if block.params.len() != 1 || !block.hash.is_empty() {
            self.error(format!("`#{name}` takes one value"), None);
        }
        for param in &block.params {
            self.value(param, 0);
        }
        let opens_scope = matches!(name.as_str(), "each" | "with");
        if let Some(body) = &mut block.template {
            if opens_scope {
                let names = block.block_param.as_ref().map(names_of).unwrap_or_default();
                self.scopes.push(Scope { names, is_loop: name == "each" });
            }
            self.template(body, depth + 1);
            if opens_scope {
                self.scopes.pop();
            }
            if name == "each" {
                count_iterations(body);
            }
        }
        if let Some(body) = &mut block.inverse {
            self.position = position;
            self.template(body, depth + 1);
        }
    }

    /// Checks whatever has a value: a name, a literal or a helper's call.
    fn value(&mut self, parameter: &Parameter, depth: usize) {
        if depth > MAX_DEPTH {
            return self.error(format!("helper calls nest deeper than {MAX_DEPTH}"), None);
        }
        match parameter {
            Parameter::Path(path) => self.path(path),
            Parameter::Literal(_) => {}
            Parameter::Name(name) => self.error(format!("`{name}` is not a value"), None),
            Parameter::Subexpression(call) => self.call(call, depth),
            _ => self.error("this part of Handlebars is not supported", None),
        }
    }

    fn call(&mut self, call: &Subexpression, depth: usize) {
        let TemplateElement::Expression(call) = call.as_element() else {
            return self.error("this part of Handlebars is not supported", None);
        };
        let HelperTemplate { name, params, hash, .. } = call.as_ref();
        let name = name.as_name().unwrap_or_default();
        match Function::named(name) {
            None => {
                let names = Function::ALL.map(Function::as_str);
                let hint = did_you_mean(name, names).or_else(|| Some(format!("there are {}", listed(names))));
                self.error(format!("`{name}` is not a known helper"), hint);
            }
            Some(function) => {
                if let Err(reason) = function.check_arity(params.len()) {
                    self.error(reason, None);
                }
            }
        }
        if !hash.is_empty() {
            self.error(format!("`{name}` takes no named arguments"), None);
        }
        for param in params.iter().chain(hash.values()) {
            self.value(param, depth + 1);
        }
    }

    fn path(&mut self, path: &Path) {
        let (segments, raw) = match path {
            Path::Local((level, name, raw)) => return self.local(*level, name, raw),
            Path::Relative((segments, raw)) => (segments, raw.as_str()),
        };
        let names: Vec<&str> = segments
            .iter()
            .filter_map(|segment| match segment {
                PathSeg::Named(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let rooted = raw.starts_with("@root");
        // What has no name is `@root` or a `../`.
        let climbs = segments.len() - names.len() - usize::from(rooted);
        // Only the raw text still tells `this.name` from `name`.
        let after_this = raw.strip_prefix("this");
        let explicit = raw.starts_with("./")
            || after_this.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']));
        let Some(scope) = self.scopes.len().checked_sub(climbs) else {
            return self.error(format!("`{raw}` leads out of the template"), None);
        };
        if rooted || scope == 0 {
            return self.root_name(&names, raw);
        }
        let first = names.first().copied().unwrap_or_default();
        let bound = self.scopes.iter().any(|scope| scope.names.iter().any(|name| name == first));
        if !explicit && climbs == 0 && !bound {
            let hint = format!("write `this.{raw}` for the item's, `@root.{raw}` for the parameter");
            self.error(format!("`{raw}` is ambiguous inside #each and #with"), Some(hint));
        }
    }

    /// Checks a name at the top: a declared parameter, or the context.
    fn root_name(&mut self, names: &[&str], raw: &str) {
        let Some((first, rest)) = names.split_first() else {
            return self.error(format!("`{raw}` means something only inside #each and #with"), None);
        };
        if self.scopes.iter().any(|scope| scope.names.iter().any(|name| name == first)) {
            return;
        }
        if *first == CONTEXT {
            let field = rest.first().copied().unwrap_or_default();
            if !Context::NAMES.contains(&field) || rest.len() > 1 {
                let hint = did_you_mean(field, Context::NAMES)
                    .or_else(|| Some(format!("there are {}", listed(Context::NAMES))));
                self.error(format!("`{raw}` is not in the context"), hint);
            }
            return;
        }
        let Some(known) = self.known else {
            return;
        };
        if !known.contains(*first) {
            let names = || known.iter().map(String::as_str);
            let hint =
                did_you_mean(first, names()).or_else(|| Some(format!("there are {}", listed(names()))));
            self.error(format!("no parameter is named `{first}`"), hint);
        }
    }

    fn local(&mut self, level: usize, name: &str, raw: &str) {
        let scope = self.scopes.len().checked_sub(level + 1).and_then(|i| self.scopes.get(i));
        let in_loop = scope.is_some_and(|scope| scope.is_loop)
            || level == 0 && self.scopes.iter().any(|scope| scope.is_loop);
        if !LOCALS.contains(&name) || !in_loop {
            let hint = Some("inside #each there are `@index`, `@key`, `@first` and `@last`".to_owned());
            self.error(format!("`{raw}` means nothing here"), hint);
        }
    }

    fn error(&mut self, message: impl Into<String>, hint: Option<String>) {
        self.faultless = false;
        self.reporter.error(self.position, message, hint);
    }
}

fn names_of(block_param: &BlockParam) -> Vec<String> {
    let parameters = match block_param {
        BlockParam::Single(name) => vec![name],
        BlockParam::Pair((first, second)) => vec![first, second],
        _ => Vec::new(),
    };
    parameters.into_iter().filter_map(Parameter::as_name).map(str::to_owned).collect()
}

/// Makes each round of a loop count, even one that prints nothing.
fn count_iterations(body: &mut handlebars::Template) {
    let tick = Subexpression::new(Parameter::Name(TICK.to_owned()), Vec::new(), HashMap::new());
    // A helper without arguments is one by its name alone.
    body.elements.insert(0, *tick.element);
    if let Some(first) = body.mapping.first().cloned() {
        body.mapping.insert(0, first);
    }
}
