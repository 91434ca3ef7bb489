//! How much of one namespace Velero has at work.

use serde_json::Value;

use super::step::Progress;
use super::{Access, Blocked, Run};
use crate::action::LABEL_NAMESPACE;
use crate::velero;

/// How many names a message lists.
const NAMES: usize = 5;

impl Run<'_> {
    /// Says for what of the namespace's a Backup or Restore waits: Velero has few places, and cannot be told to stop.
    pub(super) fn crowd(&mut self, kind: &str) -> Result<Option<Progress>, Blocked> {
        if self.settings.access == Access::Open {
            return Ok(None);
        }
        let (namespace, most) = (self.namespace(), self.settings.at_work);
        let is_at_work = |object: &&Value| {
            object["metadata"]["labels"][LABEL_NAMESPACE] == namespace && velero::is_at_work(object)
        };
        let at_work: Vec<&Value> = self.velero_list(kind)?.iter().filter(is_at_work).collect();
        Ok((at_work.len() >= most).then(|| {
            let mut names: Vec<&str> =
                at_work.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
            names.sort_unstable();
            names.truncate(NAMES);
            let message = format!(
                "Velero is at work on {} {kind}s of Actions of the namespace {namespace}, canceled ones too, and {most} \
                 are at most; waits for one of them to end: {}",
                at_work.len(),
                names.join(", ")
            );
            Progress::Waiting { reason: "TooManyAtWork", message }
        }))
    }
}
