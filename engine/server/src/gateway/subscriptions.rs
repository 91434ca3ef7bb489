//! Subscriptions: what the watch cache sees, as it sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_graphql::{Context, Enum, Result, SimpleObject};
use futures::stream::{self, Stream};
use kube::ResourceExt as _;
use ochre_core::access::Right;
use ochre_core::action::Action as Resource;

use super::Gateway;
use super::inputs::ActionFilter;
use super::operations::{At, permitted};
use super::outputs::Action;
use crate::changes::{Changes, Touched};
use crate::identity::Caller;
use crate::index::By;
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

/// Follows.
#[async_graphql::Subscription]
impl Subscription {
    /// Follows an Action: as it is now, then whenever it changes. Null while there is none, and once it is gone.
    async fn action_changed(
        &self,
        context: &Context<'_>,
        name: String,
    ) -> Result<impl Stream<Item = Result<Option<Action>>> + use<>> {
        let watched = Watched::new(&permitted(context, "watch", Some(&name)).await?, Some(&name))?;
        let follower = Follower { watched, name, has_told: false, told: None };
        Ok(stream::unfold(follower, Follower::next))
    }

    /// Follows Actions: those that fit now, then whatever becomes of them and of those that come to fit.
    /// What changes faster than it is read comes together.
    async fn actions_changed(
        &self,
        context: &Context<'_>,
        filter: Option<ActionFilter>,
    ) -> Result<impl Stream<Item = Result<Vec<ActionEvent>>> + use<>> {
        let at = permitted(context, "watch", None).await?;
        let fits = Box::new(filter.unwrap_or_default().prepare()?);
        let watched = Watched::new(&at, None)?;
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
    caller: Caller,
    right: Right,
    /// Whether nothing more is told.
    has_ended: bool,
}

impl Watched {
    /// Follows from now on: what changes after the first look is seen at the second.
    fn new(at: &At<'_>, name: Option<&str>) -> Result<Self> {
        let actions = at.gateway.actions()?.clone();
        let changes = actions.changes(at.namespace);
        Ok(Self {
            gateway: at.gateway.clone(),
            actions,
            namespace: at.namespace.to_owned(),
            changes,
            caller: at.caller.clone(),
            right: Right::action("watch", at.namespace, name),
            has_ended: false,
        })
    }

    /// Tells what is told while the caller may still know it; the first refusal is the last that is said.
    async fn tell<News>(&mut self, news: News) -> Result<News> {
        let permitted = self.gateway.permit(&self.caller, &self.right).await;
        self.has_ended = permitted.is_err();
        Ok(permitted.map(|()| news)?)
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
    async fn next(mut self) -> Option<(Result<Option<Action>>, Self)> {
        if self.watched.has_ended {
            return None;
        }
        loop {
            let now = self.watched.get(&self.name);
            let version = now.as_ref().map(|action| version(action));
            if !self.has_told || self.told != version {
                (self.has_told, self.told) = (true, version);
                let shown = now.map(Action);
                return Some((self.watched.tell(shown).await, self));
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
    async fn next(mut self) -> Option<(Result<Vec<ActionEvent>>, Self)> {
        if self.watched.has_ended {
            return None;
        }
        if self.told.is_none() {
            self.told = Some(BTreeMap::new());
            let events = self.look(Touched::All);
            return Some((self.watched.tell(events).await, self));
        }
        loop {
            let touched = self.watched.changes.next().await?;
            let events = self.look(touched);
            if !events.is_empty() {
                return Some((self.watched.tell(events).await, self));
            }
        }
    }

    fn look(&mut self, touched: Touched) -> Vec<ActionEvent> {
        let told = self.told.get_or_insert_default();
        let names = match touched {
            Touched::Names(names) => names,
            Touched::All => {
                let index = self.watched.actions.index();
                let all = index.all(&self.watched.namespace, By::Name).map(|action| action.name_any());
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
            let action = now.map(Action);
            events.push(ActionEvent { kind, name, action });
        }
        events
    }
}

/// Names a state of an Action; no two have the same, under whichever name.
fn version(action: &Resource) -> String {
    action.resource_version().unwrap_or_default()
}
