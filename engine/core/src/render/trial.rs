//! Tries a template when the catalog loads: every branch of every block, without values.

use handlebars::template::TemplateElement;
use serde_json::Value;

use super::TemplateError;
use super::fill::Filler;
use super::slots::{Slot, mark};
use crate::manifest::Position;

/// The most ways through a template that are tried.
const MAX_TRIALS: usize = 256;

/// Renders the template with each block taken and not taken, beside all others taken and all
/// others not taken, and lists what is wrong with what comes out.
pub(super) fn faults(template: &handlebars::Template, sites: &[Position]) -> Vec<TemplateError> {
    let blocks = count(template);
    let slots: Vec<Slot> = (0..sites.len()).map(|site| Slot { value: Value::Bool(true), site }).collect();
    let filler = Filler { slots: &slots, sites };
    let mut faults: Vec<TemplateError> = Vec::new();
    let ways =
        [true, false].into_iter().flat_map(|taken| (0..=blocks).map(move |flipped| Way { taken, flipped }));
    for way in ways.take(MAX_TRIALS) {
        let mut text = String::new();
        way.print(template, &mut 0, &mut text);
        if let Err(fault) = filler.parse(&text)
            && !faults.contains(&fault)
        {
            faults.push(fault);
        }
    }
    faults
}

/// One way through a template: every block is taken or none is, but for one.
#[derive(Clone, Copy)]
struct Way {
    taken: bool,
    flipped: usize,
}

impl Way {
    fn print(self, template: &handlebars::Template, next: &mut usize, text: &mut String) {
        for element in &template.elements {
            match element {
                TemplateElement::RawString(raw) => text.push_str(raw),
                TemplateElement::Expression(expression) => {
                    // A rewritten expression carries its number as its second parameter; a tick has none.
                    if let Some(handlebars::template::Parameter::Literal(site)) = expression.params.get(1)
                        && let Some(site) = site.as_u64().and_then(|site| usize::try_from(site).ok())
                    {
                        text.push_str(&mark(site));
                    }
                }
                TemplateElement::HelperBlock(block) => {
                    let taken = self.taken != (*next == self.flipped);
                    *next += 1;
                    for (branch, wanted) in [(&block.template, true), (&block.inverse, false)] {
                        let Some(branch) = branch else {
                            continue;
                        };
                        if taken == wanted {
                            self.print(branch, next, text);
                        } else {
                            *next += count(branch);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// Counts the blocks of a template and of all its branches.
fn count(template: &handlebars::Template) -> usize {
    let mut blocks = 0;
    for element in &template.elements {
        if let TemplateElement::HelperBlock(block) = element {
            let branches = [&block.template, &block.inverse];
            blocks += 1 + branches.into_iter().flatten().map(count).sum::<usize>();
        }
    }
    blocks
}
