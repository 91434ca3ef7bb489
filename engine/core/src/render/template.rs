//! A template of the catalog, checked and rewritten when the catalog loads.

use std::collections::BTreeSet;

use handlebars::TemplateErrorReason;
use serde_json::{Map, Value};

use super::fill::Filler;
use super::rewrite::rewrite;
use super::{CONTEXT, Context, MAX_WORKFLOW, TemplateError, slots, trial};
use crate::catalog::Interface;
use crate::manifest::{Position, Reporter, TextPlace};
use crate::schema::samples;
use crate::workflow::Workflow;

/// The most bytes that the text of a template may take.
const MAX_TEMPLATE: usize = 64 * 1024;

/// The deepest that blocks, calls and literals may nest: the parser recurses into each.
const MAX_NESTING: usize = 128;

/// A template that is known to yield workflows.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    rewritten: handlebars::Template,
    /// Where in the file each expression is.
    sites: Vec<Position>,
    /// Every name that a parameter may have.
    names: BTreeSet<String>,
}

impl Template {
    /// Compiles the template of an Implementation; reports everything that is wrong with it.
    ///
    /// It may use the names that any of its Interfaces declares; unless `complete`, not all of them
    /// are known, and names are not checked.
    pub(crate) fn compile(
        text: &str,
        place: TextPlace,
        interfaces: &[&Interface],
        complete: bool,
        reporter: &Reporter,
    ) -> Option<Self> {
        let start = place.resolve(Position::START);
        if text.len() > MAX_TEMPLATE {
            let message = format!("the template takes more than {MAX_TEMPLATE} bytes");
            reporter.error(start, message, None);
            return None;
        }
        if depth(text) > MAX_NESTING {
            let message = format!("the template nests deeper than {MAX_NESTING} levels");
            reporter.error(start, message, None);
            return None;
        }
        let mut template = match handlebars::Template::compile(text) {
            Ok(template) => template,
            Err(error) => {
                let (line, column) = error.pos().unwrap_or((1, 1));
                let at = opening_before(text, Position { line, column });
                let message = format!("the template does not parse: {}", describe(error.reason()));
                reporter.error(place.resolve(at), message, None);
                return None;
            }
        };
        let parameters = interfaces.iter().filter_map(|each| each.parameter.as_ref());
        let names: BTreeSet<String> =
            parameters.flat_map(|parameter| parameter.schema.properties().map(str::to_owned)).collect();
        let known = complete.then_some(&names);
        let (sites, faultless) = rewrite(&mut template, known, place, reporter);
        if !faultless {
            return None;
        }
        let template = Self { rewritten: template, sites, names };
        let good = template.try_branches(start, reporter, complete)
            && (!complete || template.try_samples(start, interfaces, reporter));
        good.then_some(template)
    }

    /// Renders a workflow.
    pub(crate) fn render(
        &self,
        parameters: &Map<String, Value>,
        context: &Context,
    ) -> Result<Workflow, TemplateError> {
        // A declared parameter that was not given is null.
        let mut root: Map<String, Value> =
            self.names.iter().map(|name| (name.clone(), Value::Null)).collect();
        root.extend(parameters.iter().map(|(name, value)| (name.clone(), value.clone())));
        root.insert(CONTEXT.to_owned(), context.to_json());
        let marked = slots::run(&self.rewritten, &Value::Object(root))?;
        let filler = Filler { slots: &marked.slots, sites: &self.sites };
        let value = filler.parse(&marked.text)?;
        let workflow = Workflow::parse(value).map_err(TemplateError::Workflow)?;
        let size = serde_json::to_string(&workflow).map_or(usize::MAX, |text| text.len());
        if size > MAX_WORKFLOW {
            return Err(TemplateError::TooLarge { limit: MAX_WORKFLOW });
        }
        Ok(workflow)
    }

    /// Tries every branch without values.
    fn try_branches(&self, start: Position, reporter: &Reporter, complete: bool) -> bool {
        let mut good = true;
        for fault in trial::faults(&self.rewritten, &self.sites) {
            let at = fault.position().unwrap_or(start);
            let hint = fault.hint().map(str::to_owned);
            // Blocks that exclude each other are tried together here: bad YAML may be nobody's.
            // What the samples yield decides.
            if matches!(fault, TemplateError::NotYaml { .. }) && complete {
                continue;
            }
            reporter.error(at, fault.to_string(), hint);
            good = false;
        }
        good
    }

    /// Renders what valid parameters yield.
    fn try_samples(&self, start: Position, interfaces: &[&Interface], reporter: &Reporter) -> bool {
        let mut seen = Vec::new();
        for interface in interfaces {
            let schema = interface.parameter.as_ref().map(|parameter| &parameter.schema);
            let samples = schema.map_or_else(|| vec![Map::new()], samples);
            if samples.is_empty() {
                let message = format!(
                    "the template could not be tried: no valid parameters of `{}` {} could be made up",
                    interface.reference.path, interface.reference.revision,
                );
                let hint = Some("give the schema's properties `examples`".to_owned());
                reporter.warning(start, message, hint);
            }
            for sample in samples {
                let Err(fault) = self.render(&sample, &Context::sample()) else {
                    continue;
                };
                if seen.contains(&fault) {
                    continue;
                }
                let message = format!("{fault} (tried with {})", Value::Object(sample));
                let hint = fault.hint().map(str::to_owned);
                reporter.error(fault.position().unwrap_or(start), message, hint);
                seen.push(fault);
            }
        }
        seen.is_empty()
    }
}

impl Context {
    /// Makes up a context to try templates with.
    fn sample() -> Self {
        Self {
            action_name: "sample".to_owned(),
            action_namespace: "default".to_owned(),
            action_uid: "00000000-0000-0000-0000-000000000000".to_owned(),
            attempt: 1,
            velero_namespace: "velero".to_owned(),
        }
    }
}

fn describe(reason: &TemplateErrorReason) -> String {
    match reason {
        TemplateErrorReason::InvalidSyntax(_) => {
            "these braces are not Handlebars, or never closed".to_owned()
        }
        TemplateErrorReason::MismatchingClosedHelper(open, closed) => {
            format!("`{open}` is open and `{closed}` is closed")
        }
        other => other.to_string(),
    }
}

/// The parser says where it gave up; what it gave up on begins at the braces before.
fn opening_before(text: &str, at: Position) -> Position {
    let mut last = at;
    for (index, line) in text.lines().enumerate().take(at.line) {
        let number = index + 1;
        for (byte, _) in line.match_indices("{{") {
            let found = Position { line: number, column: line[..byte].chars().count() + 1 };
            if found <= at {
                last = found;
            }
        }
    }
    last
}

/// Counts how deep brackets and blocks nest, before a parser recurses into them.
fn depth(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'#' if text[..index].ends_with("{{") => depth += 1,
            b'/' if text[..index].ends_with("{{") => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
