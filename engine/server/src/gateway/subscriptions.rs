//! Subscriptions: what the watch cache sees, as it sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_graphql::{Context, Enum, Result, SimpleObject};
use futures::stream::{self, Stream};
use kube::ResourceExt as _;
use ochre_core::action::Action as Resource;

use super::Gateway;
use super::inputs::ActionFilter;
use super::operations::at;
use super::outputs::Action;
use crate::changes::{Changes, Touched};
use crate::store::Actions;

/// Follows.
pub(super) struct Subscription;

/// What became of an Action.
#[derive(SimpleObject)]
pub(super) struct ActionEvent {
    /// What happened.
    kind: ActionEventKind,
    /// The name of the Action.
    name: String,
    /// The Action as it is now; null when it is gone.
    action: Option<Action>,
}

/// What happened to an Action, seen through a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum ActionEventKind {
    /// It fits, and did not before.
    Added,
    /// It fits still, and has changed.
    Modified,
    /// It fits no more, or is gone.
    Removed,
}

#[async_graphql::Subscription]
#[expect(clippy::unused_async, reason = "resolvers are async in async-graphql")]
impl Subscription {
    /// Follows an Action: as it is now, then whenever it changes. Null while there is none, and once it is gone.
    async fn action_changed(
        &self,
        context: &Context<'_>,
        name: String,
    ) -> Result<impl Stream<Item = Option<Action>> + use<>> {
        let (gateway, namespace) = at(context)?;
        let watched = Watched::new(gateway, namespace)?;
        let follower = Follower { watched, name, has_told: false, told: None };
        Ok(stream::unfold(follower, Follower::next))
    }

    /// Follows Actions: those that fit now, then whatever becomes of them and of those that come to fit.
    /// What changes faster than it is read comes together.
    async fn actions_changed(
        &self,
        context: &Context<'_>,
        filter: Option<ActionFilter>,
    ) -> Result<impl Stream<Item = Vec<ActionEvent>> + use<>> {
        let (gateway, namespace) = at(context)?;
        let fits = Box::new(filter.unwrap_or_default().prepare()?);
        let watched = Watched::new(gateway, namespace)?;
        let observer = Observer { watched, fits, told: None };
        Ok(stream::unfold(observer, Observer::next))
    }
}

/// The Actions of a namespace, and their changes.
struct Watched {
    gateway: Gateway,
    actions: Actions,
    namespace: String,
    changes: Changes,
}

impl Watched {
    /// Follows from now on: what changes after the first look is seen at the second.
    fn new(gateway: &Gateway, namespace: &str) -> Result<Self> {
        let actions = gateway.actions()?.clone();
        let changes = actions.changes(namespace);
        Ok(Self { gateway: gateway.clone(), actions, namespace: namespace.to_owned(), changes })
    }

    fn get(&self, name: &str) -> Option<Arc<Resource>> {
        self.actions.get(&self.namespace, name)
    }
}

/// Follows one Action.
struct Follower {
    watched: Watched,
    name: String,
    /// Whether anything was told.
    has_told: bool,
    /// The version that was told last, if there was an Action.
    told: Option<String>,
}

impl Follower {
    async fn next(mut self) -> Option<(Option<Action>, Self)> {
        loop {
            let now = self.watched.get(&self.name);
            let version = now.as_ref().map(|action| version(action));
            if !self.has_told || self.told != version {
                (self.has_told, self.told) = (true, version);
                let shown = now.map(|action| self.watched.gateway.show(action));
                return Some((shown, self));
            }
            while !self.watched.changes.next().await?.has(&self.name) {}
        }
    }
}

/// Follows all Actions that fit.
struct Observer {
    watched: Watched,
    fits: Box<dyn Fn(&Resource) -> bool + Send + Sync>,
    /// The versions that were told last; nothing before the first look.
    told: Option<BTreeMap<String, String>>,
}

impl Observer {
    async fn next(mut self) -> Option<(Vec<ActionEvent>, Self)> {
        if self.told.is_none() {
            self.told = Some(BTreeMap::new());
            let events = self.look(Touched::All);
            return Some((events, self));
        }
        loop {
            let touched = self.watched.changes.next().await?;
            let events = self.look(touched);
            if !events.is_empty() {
                return Some((events, self));
            }
        }
    }

    fn look(&mut self, touched: Touched) -> Vec<ActionEvent> {
        let told = self.told.get_or_insert_default();
        let names = match touched {
            Touched::Names(names) => names,
            Touched::All => {
                let all = self.watched.actions.list(&self.watched.namespace);
                let all = all.into_iter().map(|action| action.name_any());
                all.chain(told.keys().cloned()).collect::<BTreeSet<_>>()
            }
        };
        let mut events = Vec::new();
        for name in names {
            let now = self.watched.get(&name);
            let version = now.as_ref().filter(|action| (self.fits)(action)).map(|action| version(action));
            let before = match &version {
                Some(version) => told.insert(name.clone(), version.clone()),
                None => told.remove(&name),
            };
            let kind = match (before, version) {
                (None, Some(_)) => ActionEventKind::Added,
                (Some(before), Some(version)) if before != version => ActionEventKind::Modified,
                (Some(_), None) => ActionEventKind::Removed,
                (None, None) | (Some(_), Some(_)) => continue,
            };
            let action = now.map(|action| self.watched.gateway.show(action));
            events.push(ActionEvent { kind, name, action });
        }
        events
    }
}

/// Names a state of an Action; no two have the same, under whichever name.
fn version(action: &Resource) -> String {
    action.resource_version().unwrap_or_default()
}
