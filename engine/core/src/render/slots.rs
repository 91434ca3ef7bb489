//! Runs a rewritten template: values go into slots, marks into the text.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
    RenderErrorReason, Renderable, no_escape,
};
use serde_json::Value;

use super::function::Function;
use super::{MAX_WORKFLOW, TemplateError};

/// Begins a mark; refused in the text of templates.
pub(super) const MARK_START: char = '\u{E000}';
/// Ends a mark.
pub(super) const MARK_END: char = '\u{E001}';

/// The helper that every expression is rewritten to: its value, and the expression's number.
pub(super) const SLOT: &str = "ochre:slot";
/// The helper that begins the body of every loop.
pub(super) const TICK: &str = "ochre:tick";

/// How often the loops of one template may run.
const MAX_ITERATIONS: usize = 10_000;

/// A value that a template printed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) value: Value,
    /// The number of the expression in its template.
    pub(super) site: usize,
}

/// The text of a template, with marks in the place of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Marked {
    pub(super) text: String,
    pub(super) slots: Vec<Slot>,
}

/// Prints the mark of a slot.
pub(super) fn mark(slot: usize) -> String {
    format!("{MARK_START}{slot}{MARK_END}")
}

/// Runs a template that was rewritten.
pub(super) fn run(template: &handlebars::Template, root: &Value) -> Result<Marked, TemplateError> {
    let state = Arc::new(Mutex::new(State::default()));
    let mut registry = Handlebars::new();
    registry.register_escape_fn(no_escape);
    for function in Function::ALL {
        registry.register_helper(function.as_str(), Box::new(function));
    }
    registry.register_helper(SLOT, Box::new(SlotHelper(Arc::clone(&state))));
    registry.register_helper(TICK, Box::new(TickHelper(Arc::clone(&state))));
    let mut output = Bounded::default();
    let result = Context::wraps(root).and_then(|context| {
        let mut render_context = RenderContext::new(None);
        template.render(&registry, &context, &mut render_context, &mut output)
    });
    let state = std::mem::take(&mut *lock(&state));
    match result {
        Ok(()) => Ok(Marked { text: output.text, slots: state.slots }),
        Err(_) if output.full => Err(TemplateError::TooLarge { limit: MAX_WORKFLOW }),
        Err(error) => Err(state.failure.unwrap_or_else(|| TemplateError::Helper { message: reason(&error) })),
    }
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    bytes: usize,
    iterations: usize,
    failure: Option<TemplateError>,
}

struct SlotHelper(Arc<Mutex<State>>);

struct TickHelper(Arc<Mutex<State>>);

#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl HelperDef for SlotHelper {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        output: &mut dyn Output,
    ) -> HelperResult {
        let value = helper.param(0).map_or(&Value::Null, |param| param.value());
        let site = helper.param(1).and_then(|param| param.value().as_u64()).unwrap_or_default();
        let mut state = lock(&self.0);
        state.bytes = state.bytes.saturating_add(value.to_string().len());
        if state.bytes > MAX_WORKFLOW {
            return stop(&mut state, TemplateError::TooLarge { limit: MAX_WORKFLOW });
        }
        output.write(&mark(state.slots.len()))?;
        let site = usize::try_from(site).unwrap_or_default();
        state.slots.push(Slot { value: value.clone(), site });
        Ok(())
    }
}

impl HelperDef for TickHelper {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        let mut state = lock(&self.0);
        state.iterations += 1;
        if state.iterations > MAX_ITERATIONS {
            return stop(&mut state, TemplateError::TooManyIterations { limit: MAX_ITERATIONS });
        }
        Ok(())
    }
}

impl Output for Bounded {
    fn write(&mut self, segment: &str) -> io::Result<()> {
        if self.text.len() + segment.len() > MAX_WORKFLOW {
            self.full = true;
            return Err(io::Error::other("the output is full"));
        }
        self.text.push_str(segment);
        Ok(())
    }
}

fn stop(state: &mut State, failure: TemplateError) -> HelperResult {
    let reason = failure.to_string();
    state.failure = Some(failure);
    Err(RenderErrorReason::Other(reason).into())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reason(error: &RenderError) -> String {
    match error.reason() {
        RenderErrorReason::Other(reason) => reason.clone(),
        other => other.to_string(),
    }
}
