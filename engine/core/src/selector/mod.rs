//! Kubernetes label selectors: `a=b,c!=d,e in (f,g),!h`.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

pub use parse::is_dns_label;
pub(crate) use parse::is_dns_subdomain;
pub use parse::{SelectorError, check_key, check_value, parse};

/// Tells whether labels satisfy a selector, as Kubernetes would.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten();
    let demands = selector.match_expressions.iter().flatten();
    equal.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && demands.into_iter().all(|demand| satisfies(demand, labels))
}

fn satisfies(demand: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let found = labels.get(&demand.key);
    let listed = || found.is_some_and(|v| demand.values.iter().flatten().any(|value| value == v));
    match demand.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}
