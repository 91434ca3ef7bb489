//! After a Restore: waits until what was ready is ready again. During one: says what it waits for.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::files::{Read, read};
use super::step::{At, Progress};
use super::{Blocked, ListKey, Run, later};
use crate::action::{Gap, Outcome};
use crate::phase::Verdict;
use crate::readiness::{Brought, Expected, Hang, Live, expected, hang, is_there};
use crate::schema::parse_duration;
use crate::velero::{self, Item, ItemOutcome, Selection, Status};
use crate::workflow::Expect;

/// How long restored pods may take to be ready when nothing says otherwise.
const READY_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a Restore may take before it is asked what it waits for.
const LONG: Duration = Duration::from_secs(30);
/// How many pods a message names, and an outcome lists.
const NAMED: usize = 3;
const GAPS: usize = 20;

impl Run<'_> {
    /// Holds a good end back until the pods that the Restore brought are as ready as they were.
    pub(super) fn until_ready(
        &mut self,
        at: &At<'_>,
        expect: &Expect,
        restore: &Value,
        items: &[Item],
        end: Progress,
    ) -> Result<Progress, Blocked> {
        let Progress::Done { outcome, outputs, .. } = &end else { return Ok(end) };
        let brought = brought(items);
        if !expect.wait_ready || !brought.iter().any(|(kind, ..)| *kind == "Pod") {
            return Ok(end);
        }
        let backup = restore["spec"]["backupName"].as_str().unwrap_or_default();
        let timeout = expect.ready_timeout.as_deref().and_then(|text| parse_duration(text).ok());
        let timeout = timeout.unwrap_or(READY_TIMEOUT);
        let deadline = later(completed(restore).unwrap_or_else(|| at.began(self.now)), timeout);
        let waits = |message: String| Progress::Reading {
            reason: "WaitingForReady".to_owned(),
            message,
            until: Some(deadline),
        };
        let unreadable = |why: String| {
            super::before::unknown(format!(
                "restored, but what the Backup {backup} holds could not be read, so nobody knows which pods should be ready: {why}"
            ))
        };
        let pending = waits("restored; reads which pods were ready".to_owned());
        let contents = read!(self.contents(at, backup)?, pending, unreadable);
        let expected = expected(contents, &Selection::of(&restore["spec"]), &brought);
        let hanging = self.hanging(&expected, restore["metadata"]["name"].as_str().unwrap_or_default())?;
        if hanging.is_empty() {
            return Ok(end);
        }
        let named: Vec<String> =
            hanging.iter().take(NAMED).map(|hang| format!("{}: {}", hang.object, hang.reason)).collect();
        let more = if hanging.len() > NAMED {
            format!("; and {} more", hanging.len() - NAMED)
        } else {
            String::new()
        };
        let named = format!("{}{more}", named.join("; "));
        if self.now < deadline {
            self.look_again_at(deadline);
            return Ok(waits(format!("restored; waits until what was ready is ready again: {named}")));
        }
        let gaps =
            hanging.into_iter().take(GAPS).map(|hang| Gap { object: hang.object, reason: hang.reason });
        let (warnings, errors) = outcome.as_ref().map_or((0, 0), |found| (found.warnings, found.errors));
        Ok(Progress::Failed {
            reason: "NotReady",
            message: format!("restored, but not ready again within {} s: {named}", timeout.as_secs()),
            outcome: Some(Outcome { verdict: Verdict::Partial, gaps: gaps.collect(), warnings, errors }),
            outputs: outputs.clone(),
        })
    }

    /// Finds what hangs, each once; the pods of a namespace are watched, and those of what makes them if one is gone.
    fn hanging(&mut self, expected: &[Expected], restore: &str) -> Result<Vec<Hang>, Blocked> {
        let velero = self.settings.velero_namespace.clone();
        let mut hanging: Vec<Hang> = Vec::new();
        for expected in expected {
            let list = |api_version: &str, kind: &str| ListKey {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                namespace: Some(expected.namespace.clone()),
            };
            let pods = self.list(list("v1", "Pod"))?;
            let makers = match &expected.maker {
                Some(maker) if !is_there(expected, pods, restore) => {
                    self.list(list(maker.api_version(), &maker.kind))?
                }
                _ => &[],
            };
            if let Some(hang) = hang(expected, Live { pods, makers }, restore, &velero)
                && !hanging.contains(&hang)
            {
                hanging.push(hang);
            }
        }
        Ok(hanging)
    }

    /// Says which claims of a Restore that takes long wait for a volume.
    pub(super) fn claims_without_volume(&mut self, restore: &Value) -> Result<Option<String>, Blocked> {
        let status = Status::of(restore);
        let started = status.start_timestamp.and_then(|at| at.parse::<Timestamp>().ok());
        let Some(started) = started.filter(|_| status.phase == "InProgress") else { return Ok(None) };
        let asked = later(started, LONG);
        if self.now < asked {
            self.look_again_at(asked);
            return Ok(None);
        }
        let claims = self.list(ListKey {
            api_version: "v1".to_owned(),
            kind: "PersistentVolumeClaim".to_owned(),
            namespace: None,
        })?;
        // The label alone is any tenant's to set.
        let selection = Selection::of(&restore["spec"]);
        let its_own = |claim: &&Value| {
            claim["metadata"]["labels"][velero::LABEL_RESTORE_NAME] == restore["metadata"]["name"]
                && claim["metadata"]["namespace"].as_str().is_some_and(|place| selection.leads_to(place))
        };
        let waiting: Vec<&Value> =
            claims.iter().filter(its_own).filter(|claim| claim["status"]["phase"] == "Pending").collect();
        Ok(waiting.first().map(|claim| {
            let text = |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let more = if waiting.len() > 1 { format!(" (and {} more)", waiting.len() - 1) } else { String::new() };
            format!(
                "PersistentVolumeClaim {}/{}{more} waits for a volume: no PersistentVolume of storage class `{}` with {} is free; create one, and the restore goes on",
                text("/metadata/namespace"), text("/metadata/name"),
                text("/spec/storageClassName"), text("/spec/resources/requests/storage"),
            )
        }))
    }
}

fn brought(items: &[Item]) -> Brought<'_> {
    let came =
        items.iter().filter(|item| matches!(item.outcome, Some(ItemOutcome::Created | ItemOutcome::Updated)));
    came.filter_map(|item| Some((item.kind.as_str(), item.namespace.as_deref()?, item.name.as_str())))
        .collect()
}

fn completed(restore: &Value) -> Option<Timestamp> {
    restore["status"]["completionTimestamp"].as_str()?.parse().ok()
}
