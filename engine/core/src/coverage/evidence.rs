//! What the bucket says of a Backup, put in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::velero::{DataSource as Source, Fate, Item, Role, SavedObject, SavedPod, Volume, Workload};

/// The most claims that are looked for because a workload's templates name them.
const MAX_PODS: u64 = 1000;

/// What the bucket says of a Backup.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'read> {
    /// The spec of the Backup, as Velero completed it.
    pub spec: &'read Value,
    /// Its resource list.
    pub items: &'read [Item],
    /// Its tarball.
    pub contents: &'read [SavedObject],
    /// Its volume info.
    pub volumes: &'read [Volume],
}

/// The evidence, by what it is asked for.
pub(super) struct Index<'read> {
    pub(super) spec: &'read Value,
    pub(super) pods: Vec<(&'read SavedObject, &'read SavedPod)>,
    pub(super) workloads: Vec<(&'read SavedObject, &'read Workload)>,
    claims: BTreeMap<(&'read str, &'read str), &'read SavedObject>,
    listed_claims: BTreeSet<(&'read str, &'read str)>,
    host_paths: BTreeSet<&'read str>,
    mounting: BTreeMap<(&'read str, &'read str), Vec<usize>>,
    /// The pods that the list names and the tarball lacks, by namespace.
    dropped: BTreeMap<&'read str, Vec<&'read str>>,
    told_of_claims: BTreeMap<(&'read str, &'read str), &'read Fate>,
    told_of_mounts: BTreeMap<(&'read str, &'read str, &'read str), &'read Fate>,
}

impl<'read> Index<'read> {
    pub(super) fn new(evidence: &Evidence<'read>) -> Self {
        let mut index = Self {
            spec: evidence.spec,
            pods: Vec::new(),
            workloads: Vec::new(),
            claims: BTreeMap::new(),
            listed_claims: BTreeSet::new(),
            host_paths: BTreeSet::new(),
            mounting: BTreeMap::new(),
            dropped: BTreeMap::new(),
            told_of_claims: BTreeMap::new(),
            told_of_mounts: BTreeMap::new(),
        };
        for saved in evidence.contents {
            index.add(saved);
        }
        let packed: BTreeSet<(&str, &str)> = index.pods.iter().map(|(pod, _)| place(pod)).collect();
        for item in evidence.items {
            let place = (item.namespace.as_deref().unwrap_or_default(), item.name.as_str());
            match item.kind.as_str() {
                "PersistentVolumeClaim" => {
                    index.listed_claims.insert(place);
                }
                "Pod" if !packed.contains(&place) => {
                    index.dropped.entry(place.0).or_default().push(place.1);
                }
                _ => {}
            }
        }
        for volume in evidence.volumes {
            index.hear(volume);
        }
        index
    }

    fn add(&mut self, saved: &'read SavedObject) {
        match &saved.role {
            Role::Pod(pod) => {
                for volume in &pod.volumes {
                    if let Source::Claim(claim) = &volume.source {
                        let key = (place(saved).0, claim.as_str());
                        self.mounting.entry(key).or_default().push(self.pods.len());
                    }
                }
                self.pods.push((saved, pod));
            }
            Role::Claim(_) => {
                self.claims.insert(place(saved), saved);
            }
            Role::Volume { host_path: true, .. } => {
                self.host_paths.insert(&saved.name);
            }
            Role::Workload(workload) => self.workloads.push((saved, workload)),
            Role::Volume { host_path: false, .. }
            | Role::Snapshot(_)
            | Role::SnapshotContent(_)
            | Role::Service { .. }
            | Role::Other => {}
        }
    }

    /// Of several words about one volume, the best counts: it is saved if one says so.
    fn hear(&mut self, volume: &'read Volume) {
        let keep = |known: &mut &'read Fate| {
            if !matches!(known, Fate::Saved(_)) {
                *known = &volume.fate;
            }
        };
        let namespace = volume.namespace.as_str();
        if let Some(claim) = &volume.claim {
            self.told_of_claims.entry((namespace, claim)).and_modify(keep).or_insert(&volume.fate);
        }
        if let Some((pod, name)) = &volume.mount {
            self.told_of_mounts.entry((namespace, pod, name)).and_modify(keep).or_insert(&volume.fate);
        }
    }

    /// Names every claim whose data should be in the Backup.
    pub(super) fn wanted_claims(&self) -> BTreeSet<(String, String)> {
        let owned = |(namespace, name): &(&str, &str)| ((*namespace).to_owned(), (*name).to_owned());
        let mut wanted: BTreeSet<_> = self.listed_claims.iter().map(owned).collect();
        wanted.extend(self.claims.keys().map(owned));
        wanted.extend(self.told_of_claims.keys().map(owned));
        wanted.extend(self.mounting.keys().map(owned));
        for (saved, workload) in &self.workloads {
            let namespace = place(saved).0.to_owned();
            let named = named_claims(saved, workload);
            wanted.extend(named.into_iter().map(|claim| (namespace.clone(), claim)));
        }
        let comes_with_a_pod =
            |saved: &SavedObject| saved.controller.as_ref().is_some_and(|(kind, _)| kind == "Pod");
        let ephemeral: BTreeSet<(String, String)> = self
            .pods
            .iter()
            .flat_map(|(saved, pod)| {
                let scratch = pod.volumes.iter().filter(|volume| volume.source == Source::Ephemeral);
                scratch.map(|volume| (place(saved).0.to_owned(), format!("{}-{}", saved.name, volume.name)))
            })
            .collect();
        wanted.retain(|key| {
            !ephemeral.contains(key) && !self.claim(&key.0, &key.1).is_some_and(comes_with_a_pod)
        });
        wanted
    }

    pub(super) fn claim(&self, namespace: &str, claim: &str) -> Option<&'read SavedObject> {
        self.claims.get(&(namespace, claim)).copied()
    }

    pub(super) fn is_listed(&self, namespace: &str, claim: &str) -> bool {
        self.listed_claims.contains(&(namespace, claim)) || self.claims.contains_key(&(namespace, claim))
    }

    pub(super) fn is_host_path(&self, volume: &str) -> bool {
        self.host_paths.contains(volume)
    }

    pub(super) fn mounting(
        &self,
        namespace: &str,
        claim: &str,
    ) -> Vec<(&'read SavedObject, &'read SavedPod)> {
        let found = self.mounting.get(&(namespace, claim)).into_iter().flatten();
        found.map(|index| self.pods[*index]).collect()
    }

    pub(super) fn dropped(&self, namespace: &str) -> &[&'read str] {
        self.dropped.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn told_of_claim(&self, namespace: &str, claim: &str) -> Option<&'read Fate> {
        self.told_of_claims.get(&(namespace, claim)).copied()
    }

    pub(super) fn told_of_mount(&self, namespace: &str, pod: &str, volume: &str) -> Option<&'read Fate> {
        self.told_of_mounts.get(&(namespace, pod, volume)).copied()
    }

    /// Finds what makes the pods that mount a claim, and the number of the pod where each has its own.
    pub(super) fn workload_of(
        &self,
        namespace: &str,
        claim: &str,
    ) -> Option<(&'read SavedObject, &'read Workload, Option<u64>)> {
        let here = self
            .workloads
            .iter()
            .filter(|(saved, _)| place(saved).0 == namespace && makes_its_own_pods(saved));
        here.into_iter().find_map(|(saved, workload)| {
            let direct = workload
                .volumes
                .iter()
                .any(|volume| matches!(&volume.source, Source::Claim(named) if named == claim));
            if direct {
                return Some((*saved, *workload, None));
            }
            let number = workload.claims.iter().find_map(|template| {
                claim.strip_prefix(&format!("{template}-{}-", saved.name))?.parse().ok()
            })?;
            Some((*saved, *workload, Some(number)))
        })
    }
}

pub(super) fn place(saved: &SavedObject) -> (&str, &str) {
    (saved.namespace.as_deref().unwrap_or_default(), saved.name.as_str())
}

/// What a Deployment or CronJob makes has its template, or an old one.
pub(super) fn makes_its_own_pods(saved: &SavedObject) -> bool {
    saved.controller.is_none()
}

/// Names the claims of the pods that a workload had.
fn named_claims(saved: &SavedObject, workload: &Workload) -> Vec<String> {
    if !makes_its_own_pods(saved) || workload.replicas == Some(0) {
        return Vec::new();
    }
    let direct = workload.volumes.iter().filter_map(|volume| match &volume.source {
        Source::Claim(claim) => Some(claim.clone()),
        _ => None,
    });
    let pods = workload.first..workload.first + workload.pods.min(MAX_PODS);
    let own = workload.claims.iter().flat_map(|template| {
        let name = &saved.name;
        pods.clone().map(move |number| format!("{template}-{name}-{number}"))
    });
    direct.chain(own).collect()
}
