//! Kubernetes label selectors: `a=b,c!=d,e in (f,g),!h`.

mod parse;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

pub use parse::is_dns_label;
pub(crate) use parse::is_dns_subdomain;
pub use parse::{SelectorError, check_key, check_value, parse};

/// Tells whether the labels that `find` finds satisfy a selector, as Kubernetes would.
pub fn matches<'labels>(selector: &LabelSelector, find: impl Fn(&str) -> Option<&'labels str>) -> bool {
    let mut equal = selector.match_labels.iter().flatten();
    let mut demands = selector.match_expressions.iter().flatten();
    equal.all(|(key, value)| find(key) == Some(value))
        && demands.all(|demand| satisfies(demand, find(&demand.key)))
}

fn satisfies(demand: &LabelSelectorRequirement, found: Option<&str>) -> bool {
    let listed = || found.is_some_and(|v| demand.values.iter().flatten().any(|value| value == v));
    match demand.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}
