//! What the engine waits for before it can work: the kinds that it needs, and the first list of Actions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ochre_core::{action, velero};
use tokio::sync::{SetOnce, watch};

use crate::store::Actions;

/// How long to wait before asking again for a missing kind.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The kinds that the engine cannot do without: (group and version, plurals).
const NEEDED: [(&str, &[&str]); 2] = [
    ("core.ochre.dev/v1alpha1", &["actions"]),
    (velero::API_VERSION, &["backups", "restores", "backupstoragelocations", "downloadrequests"]),
];

/// Says whether the engine is ready, and if not, what is missing.
#[derive(Clone, Default)]
pub struct Readiness(Arc<State>);

#[derive(Default)]
struct State {
    actions: SetOnce<Actions>,
    /// Empty until the cluster was looked at.
    waits_for: watch::Sender<String>,
    /// Who leads; `None` where nobody is elected, empty while it is not known.
    leader: watch::Sender<Option<String>>,
}

impl Readiness {
    /// Hands out the Actions once they can be read; else says what is missing.
    pub(crate) fn actions(&self) -> Result<&Actions, String> {
        match self.0.actions.get() {
            Some(actions) if actions.is_ready() => Ok(actions),
            Some(_) => Err("not ready: waits for the first list of Actions".to_owned()),
            None => match self.0.waits_for.borrow().as_str() {
                "" => Err("not ready: the cluster was not looked at yet".to_owned()),
                waits_for => Err(format!("not ready: {waits_for}")),
            },
        }
    }

    /// Hears who leads.
    pub(crate) fn led_by(&self, leader: &str) {
        self.0.leader.send_replace(Some(leader.to_owned()));
    }

    /// Says who leads, where somebody is elected.
    pub(crate) fn leader(&self) -> Option<String> {
        self.0.leader.borrow().clone()
    }

    /// Waits until a process of this name leads.
    pub async fn wait_for_leader(&self, name: &str) {
        let mut told = self.0.leader.subscribe();
        // It fails only when nobody can tell any more, and the state is held here.
        let _ = told.wait_for(|leader| leader.as_deref() == Some(name)).await;
    }

    /// Waits until the engine is ready.
    pub async fn wait(&self) {
        self.0.actions.wait().await.ready().await;
    }

    /// Waits until it is known what the cluster lacks, and says it; for ever when it lacks nothing.
    pub async fn missing(&self) -> String {
        let mut told = self.0.waits_for.subscribe();
        // It fails only when nobody can tell any more, and the state is held here.
        told.wait_for(|waits_for| !waits_for.is_empty()).await.map(|told| told.clone()).unwrap_or_default()
    }

    /// Declares that the Actions are watched.
    pub(crate) fn watched(&self, actions: Actions) {
        // Set once, at the start.
        let _ = self.0.actions.set(actions);
    }

    /// Waits until the cluster has every kind that the engine needs.
    pub(crate) async fn wait_for_kinds(&self, client: &Client) {
        loop {
            let missing = missing(client).await;
            if missing.is_empty() {
                return;
            }
            let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
            let waits_for = format!("the cluster lacks {missing}");
            let news = *self.0.waits_for.borrow() != waits_for;
            if news {
                tracing::warn!(missing, "waits for kinds");
                self.0.waits_for.send_replace(waits_for);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// Names the CustomResourceDefinitions that the cluster lacks.
async fn missing(client: &Client) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    for (group_version, plurals) in NEEDED {
        let group = group_version.split('/').next().unwrap_or(action::GROUP);
        let served = match client.list_api_group_resources(group_version).await {
            Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
            Err(kube::Error::Api(status)) if status.code == 404 => BTreeSet::new(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the cluster does not answer");
                missing.insert("an answer of the API server".to_owned());
                continue;
            }
        };
        let lacking = plurals.iter().filter(|plural| !served.contains(**plural));
        missing.extend(lacking.map(|plural| format!("{plural}.{group}")));
    }
    missing
}
