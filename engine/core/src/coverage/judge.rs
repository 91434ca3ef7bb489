//! Judges volume by volume.

use std::collections::BTreeSet;

use super::evidence::{Evidence, Index, makes_its_own_pods, place};
use super::{Covered, Gap, Reason, State, Subject};
use crate::velero::{DataSource as Source, Fate, PodVolume, Role, SavedObject, SavedPod, Selection};

/// How a spec may name claims and pods.
const CLAIMS: [&str; 3] = ["persistentvolumeclaims", "persistentvolumeclaim", "pvc"];
const PODS: [&str; 3] = ["pods", "pod", "po"];

/// Says of every volume that should be in a Backup whether its data is; scratch volumes do not count.
pub fn coverage(evidence: &Evidence<'_>) -> Vec<Covered> {
    let index = Index::new(evidence);
    // Whoever leaves claims or pods out by kind does not ask for their data.
    let selection = Selection::of(evidence.spec);
    let asks_for_claims = selection.admits_kind(&CLAIMS);
    let claims = index
        .wanted_claims()
        .into_iter()
        .filter(|(namespace, claim)| asks_for_claims || index.is_listed(namespace, claim));
    let mut covered: Vec<Covered> =
        claims.map(|(namespace, claim)| index.judge_claim(namespace, claim)).collect();
    if selection.admits_kind(&PODS) {
        covered.extend(index.judge_other_volumes());
    }
    covered
}

impl Index<'_> {
    fn judge_claim(&self, namespace: String, claim: String) -> Covered {
        let saved = self.claim(&namespace, &claim);
        let unbound = saved.is_some_and(|saved| saved.role == Role::Claim(None));
        let state = match self.told_of_claim(&namespace, &claim) {
            Some(Fate::Saved(copied)) => State::Saved(copied.clone()),
            _ if unbound => State::Unbound,
            told => {
                let gap = self.why_claim(&namespace, &claim, saved, told);
                accepted_or_not(saved.is_some_and(|saved| saved.accepts_gap), gap)
            }
        };
        Covered { namespace, subject: Subject::Claim(claim), state }
    }

    fn why_claim(
        &self,
        namespace: &str,
        claim: &str,
        saved: Option<&SavedObject>,
        told: Option<&Fate>,
    ) -> Gap {
        if let Some(Fate::Failed(words)) = told {
            return failed(words);
        }
        let mounting = self.mounting(namespace, claim);
        if !self.is_listed(namespace, claim) {
            let by = mounting
                .first()
                .map(|(pod, _)| *pod)
                .or_else(|| self.workload_of(namespace, claim).map(|(workload, ..)| workload));
            let by = by.map_or_else(|| "a pod".to_owned(), ToString::to_string);
            return gap(Reason::NotSelected, format!("{by} uses it, and the backup does not select it"));
        }
        if let Some(Role::Claim(Some(volume))) = saved.map(|saved| &saved.role)
            && self.is_host_path(volume)
        {
            return gap(Reason::HostPath, format!("its PersistentVolume {volume} is a hostPath"));
        }
        let running = mounting.iter().find(|(_, pod)| pod.phase == "Running");
        match (running, mounting.first()) {
            (Some((saved, pod)), _) => {
                let mounted = pod
                    .volumes
                    .iter()
                    .find(|volume| matches!(&volume.source, Source::Claim(named) if named == claim));
                self.why_pod(saved, pod, mounted.map_or("", |volume| &volume.name), told)
            }
            (None, Some((saved, pod))) => not_running(saved, pod),
            (None, None) => self.why_unmounted(namespace, claim, told),
        }
    }

    /// Says why the data of a volume was not saved that a pod in the Backup mounts.
    fn why_pod(&self, saved: &SavedObject, pod: &SavedPod, volume: &str, told: Option<&Fate>) -> Gap {
        if pod.phase != "Running" {
            return not_running(saved, pod);
        }
        let everything = self.spec["defaultVolumesToFsBackup"] == true;
        if everything && pod.opted_out.contains(volume) {
            return gap(Reason::OptedOut, format!("{saved} excludes its volume {volume} by annotation"));
        }
        if !everything && !pod.opted_in.contains(volume) {
            if self.takes_snapshots() {
                return no_snapshot(told);
            }
            return gap(Reason::NotOptedIn, format!("{saved} does not ask for its volume {volume}"));
        }
        match told {
            Some(Fate::Failed(words)) => failed(words),
            Some(Fate::Skipped(words)) => skipped(words),
            Some(Fate::Saved(_)) | None => gap(
                Reason::NotMentioned,
                format!("{saved} runs with it, and none of Velero's files mentions it"),
            ),
        }
    }

    fn why_unmounted(&self, namespace: &str, claim: &str, told: Option<&Fate>) -> Gap {
        if self.spec["defaultVolumesToFsBackup"] != true && self.takes_snapshots() {
            return no_snapshot(told);
        }
        let dropped = self.dropped(namespace);
        if let Some((workload, made, number)) = self.workload_of(namespace, claim) {
            let is_its = |pod: &&&str| match number {
                Some(number) => **pod == format!("{}-{number}", workload.name),
                None => pod.starts_with(&format!("{}-", workload.name)),
            };
            if let Some(pod) = dropped.iter().find(is_its) {
                return dropped_pod(namespace, pod);
            }
            let wanted = made.replicas.unwrap_or(1);
            if number.map_or(wanted == 0, |number| number >= made.first + wanted) {
                return scaled_down(workload, wanted);
            }
            let message = format!("the pod of {workload} that mounts it is not in the backup");
            return gap(Reason::PodNotSelected, message);
        }
        match (dropped.first(), told) {
            (Some(pod), _) => dropped_pod(namespace, pod),
            (None, Some(Fate::Skipped(words))) if words.contains("pod ") => skipped(words),
            (None, _) => gap(Reason::NotMounted, "no pod mounts it".to_owned()),
        }
    }

    fn takes_snapshots(&self) -> bool {
        self.spec["snapshotVolumes"] != false
    }

    /// Judges the data that pods keep outside of claims, once for all pods with the same volume.
    fn judge_other_volumes(&self) -> Vec<Covered> {
        let mut seen: BTreeSet<(String, String, String)> = BTreeSet::new();
        let mut covered = Vec::new();
        let mut judge = |saved: &SavedObject, volume: &PodVolume, why: &dyn Fn() -> State| {
            let of = match &volume.source {
                Source::HostPath(path) => path,
                Source::Elsewhere(kind) => kind,
                Source::Claim(_) | Source::Ephemeral | Source::Scratch => return,
            };
            let namespace = place(saved).0.to_owned();
            if seen.insert((namespace.clone(), volume.name.clone(), of.clone())) {
                let subject = Subject::Mounted(saved.kind.clone(), saved.name.clone(), volume.name.clone());
                covered.push(Covered { namespace, subject, state: why() });
            }
        };
        for (saved, pod) in &self.pods {
            for volume in &pod.volumes {
                judge(saved, volume, &|| self.judge_mount(saved, pod, volume));
            }
        }
        for (saved, workload) in self.workloads.iter().filter(|(saved, _)| makes_its_own_pods(saved)) {
            for volume in &workload.volumes {
                judge(saved, volume, &|| {
                    let gap = match (&volume.source, workload.replicas) {
                        (Source::HostPath(path), _) => host_path(path),
                        (_, Some(0)) => scaled_down(saved, 0),
                        _ => gap(Reason::PodNotSelected, format!("no pod of {saved} is in the backup")),
                    };
                    accepted_or_not(saved.accepts_gap, gap)
                });
            }
        }
        covered
    }

    fn judge_mount(&self, saved: &SavedObject, pod: &SavedPod, volume: &PodVolume) -> State {
        let told = self.told_of_mount(place(saved).0, &saved.name, &volume.name);
        let gap = match (&volume.source, told) {
            (_, Some(Fate::Saved(copied))) => return State::Saved(copied.clone()),
            (Source::HostPath(path), _) => host_path(path),
            _ => self.why_pod(saved, pod, &volume.name, told),
        };
        accepted_or_not(saved.accepts_gap, gap)
    }
}

fn accepted_or_not(accepted: bool, gap: Gap) -> State {
    if accepted { State::Accepted(gap) } else { State::Gap(gap) }
}

fn gap(reason: Reason, message: String) -> Gap {
    Gap { reason, message, cure: reason.cure() }
}

fn failed(words: &str) -> Gap {
    gap(Reason::SaveFailed, format!("Velero tried to save it, and says {words}"))
}

fn skipped(words: &str) -> Gap {
    gap(Reason::Skipped, format!("Velero skipped it and says: {words}"))
}

fn host_path(path: &str) -> Gap {
    gap(Reason::HostPath, format!("its data is in the folder {path} of the node, by hostPath"))
}

fn not_running(saved: &SavedObject, pod: &SavedPod) -> Gap {
    gap(Reason::PodNotRunning, format!("{saved}, which mounts it, did not run: its phase was {}", pod.phase))
}

fn dropped_pod(namespace: &str, pod: &str) -> Gap {
    let message = format!(
        "Pod {namespace}/{pod} was dropped from the backup by an error, though the backup's list names it"
    );
    gap(Reason::PodDropped, message)
}

fn scaled_down(workload: &SavedObject, replicas: u64) -> Gap {
    gap(Reason::ScaledDown, format!("{workload} is scaled to {replicas}, so no pod mounts it"))
}

fn no_snapshot(told: Option<&Fate>) -> Gap {
    let words = match told {
        Some(Fate::Skipped(words) | Fate::Failed(words)) if !words.is_empty() => words,
        _ => "nothing",
    };
    gap(Reason::NoSnapshot, format!("a snapshot was asked for, and none was taken; Velero says {words}"))
}
