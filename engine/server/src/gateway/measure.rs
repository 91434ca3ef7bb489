//! How much a document asks for, with its fragments put in their places.

use std::collections::HashMap;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, FragmentSpread, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned};

use crate::options::Limits;

/// Says which limit a request passes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request passes the limit `{name}`: it is {found}, and may be {limit}; ask for less, or in several requests"
)]
pub(super) struct Exceeded {
    /// The name of the limit.
    pub name: &'static str,
    /// How much was asked for.
    pub found: usize,
    /// How much may be.
    pub limit: usize,
}

impl Exceeded {
    /// Holds a measure against its limit.
    pub(super) const fn check(name: &'static str, found: usize, limit: usize) -> Result<(), Self> {
        if found > limit { Err(Self { name, found, limit }) } else { Ok(()) }
    }
}

/// Says why a document is not run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// It asks for too much.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// A fragment that is in itself has no end.
    #[error("the fragment {0} is spread within itself")]
    Cycle(Name),
}

/// Sees that nothing in a document asks for too much; tells whether it asks for the schema.
pub(super) fn check(document: &ExecutableDocument, limits: &Limits) -> Result<bool, Problem> {
    let mut ruler = Ruler { document, limits, fragments: HashMap::new(), introspects: false };
    for name in document.fragments.keys() {
        ruler.fragment(name, 0)?;
    }
    for (_, operation) in document.operations.iter() {
        ruler.operation(&operation.node)?;
    }
    Ok(ruler.introspects)
}

/// How much a set of selections asks for.
#[derive(Clone, Copy, Debug, Default)]
struct Measure {
    /// How many fields it has at its top.
    top: usize,
    /// How many it has in all.
    fields: usize,
    aliases: usize,
    directives: usize,
    /// How many fields are within each other.
    depth: usize,
    /// How many sets of selections are within each other.
    nesting: usize,
    /// How many lists of an introspection are within each other.
    lists: usize,
}

impl Measure {
    /// Measures both beside each other.
    fn beside(self, other: Self) -> Self {
        Self {
            top: self.top.saturating_add(other.top),
            fields: self.fields.saturating_add(other.fields),
            aliases: self.aliases.saturating_add(other.aliases),
            directives: self.directives.saturating_add(other.directives),
            depth: self.depth.max(other.depth),
            nesting: self.nesting.max(other.nesting),
            lists: self.lists.max(other.lists),
        }
    }
}

/// Measures every fragment once, however often it is spread.
struct Ruler<'d> {
    document: &'d ExecutableDocument,
    limits: &'d Limits,
    /// Nothing for those that are being measured.
    fragments: HashMap<&'d Name, Option<Measure>>,
    /// Whether the schema is asked for anywhere.
    introspects: bool,
}

impl<'d> Ruler<'d> {
    fn operation(&mut self, operation: &'d OperationDefinition) -> Result<(), Problem> {
        let mut measure = self.set(&operation.selection_set, 0)?;
        let of_variables = operation.variable_definitions.iter().map(|it| it.node.directives.len());
        let directives = operation.directives.len() + of_variables.sum::<usize>();
        measure.directives = measure.directives.saturating_add(directives);
        for (name, found, limit) in [
            ("depth", measure.depth, self.limits.depth),
            ("aliases", measure.aliases, self.limits.aliases),
            ("root fields", measure.top, self.limits.root_fields),
            ("fields", measure.fields, self.limits.fields),
            ("directives", measure.directives, self.limits.directives),
        ] {
            Exceeded::check(name, found, limit)?;
        }
        Ok(())
    }

    /// Measures a set of selections that is within this many others.
    fn set(&mut self, set: &'d Positioned<SelectionSet>, outside: usize) -> Result<Measure, Problem> {
        self.check_nesting(outside + 1)?;
        let mut measure = Measure::default();
        for selection in &set.node.items {
            let one = match &selection.node {
                Selection::Field(field) => self.field(&field.node, outside)?,
                Selection::InlineFragment(fragment) => {
                    let inner = self.set(&fragment.node.selection_set, outside + 1)?;
                    with_directives(inner, &fragment.node.directives)
                }
                Selection::FragmentSpread(spread) => self.spread(&spread.node, outside + 1)?,
            };
            measure = measure.beside(one);
        }
        measure.nesting += 1;
        Ok(measure)
    }

    fn field(&mut self, field: &'d Field, outside: usize) -> Result<Measure, Problem> {
        let has_fields = !field.selection_set.node.items.is_empty();
        let inner =
            if has_fields { self.set(&field.selection_set, outside + 1)? } else { Measure::default() };
        let name = field.name.node.as_str();
        if matches!(name, "__schema" | "__type") {
            self.introspects = true;
            Exceeded::check("introspection", inner.lists, self.limits.introspection)?;
        }
        let is_list = matches!(name, "fields" | "inputFields" | "interfaces" | "possibleTypes");
        let measure = Measure {
            top: 1,
            fields: inner.fields.saturating_add(1),
            aliases: inner.aliases.saturating_add(usize::from(field.alias.is_some())),
            // How introspection unwraps a type: a chain without branches, which clients make long.
            depth: inner.depth + usize::from(name != "ofType"),
            lists: inner.lists + usize::from(is_list),
            ..inner
        };
        Ok(with_directives(measure, &field.directives))
    }

    fn spread(&mut self, spread: &'d FragmentSpread, outside: usize) -> Result<Measure, Problem> {
        let inner = self.fragment(&spread.fragment_name.node, outside)?;
        Ok(with_directives(inner, &spread.directives))
    }

    fn fragment(&mut self, name: &'d Name, outside: usize) -> Result<Measure, Problem> {
        match self.fragments.get(name) {
            Some(Some(measure)) => {
                let measure = *measure;
                self.check_nesting(outside + measure.nesting)?;
                return Ok(measure);
            }
            Some(None) => return Err(Problem::Cycle(name.clone())),
            None => {}
        }
        // What is not there the validation names.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Measure::default()) };
        self.fragments.insert(name, None);
        let measure = self.set(&fragment.node.selection_set, outside)?;
        let measure = with_directives(measure, &fragment.node.directives);
        self.fragments.insert(name, Some(measure));
        Ok(measure)
    }

    /// Holds the recursion here, in the validation and in the execution.
    fn check_nesting(&self, found: usize) -> Result<(), Exceeded> {
        // Nobody looks beyond the limit, so that much is known and no more.
        Exceeded::check("nesting", found.min(self.limits.nesting.saturating_add(1)), self.limits.nesting)
    }
}

fn with_directives(measure: Measure, directives: &[Positioned<Directive>]) -> Measure {
    Measure { directives: measure.directives.saturating_add(directives.len()), ..measure }
}

#[cfg(test)]
mod tests;
