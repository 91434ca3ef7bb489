//! The conditions of an Action, after KEP-1623.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Condition: the workflow is made and stored.
pub const RENDERED: &str = "Rendered";
/// Condition: steps are at work.
pub const RUNNING: &str = "Running";
/// Condition: the run ended as it should; `False` once it ended otherwise.
pub const SUCCEEDED: &str = "Succeeded";

/// Sets a condition; its transition time moves only when its status does.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let old = conditions.iter().position(|condition| condition.type_ == kind);
    let since = old
        .map(|index| &conditions[index])
        .filter(|old| old.status == status)
        .map_or(Time(now), |old| old.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match old {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}
