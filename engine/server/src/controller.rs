//! The controller: observes, decides, acts and writes the status. Its only writer.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::runtime::controller::Action as Next;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, controller};
use kube::{Api, Client, ResourceExt};
use ochre_core::action::{Action, ActionStatus};
use ochre_core::decide::{Effect, Need, Observed, decide, forbidden, smallest, stalled};
use ochre_core::phase::Phase;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;
use tracing::Span;
use tracing::field::Empty;

use crate::audit::Audit;
use crate::guarded::Guarded;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::runner::{Runner, RunnerError};
use crate::store::{shown, version};

/// How often one look may observe and act; a workflow of 64 steps takes a few rounds a step.
const MAX_ROUNDS: usize = 512;
/// How many Actions are looked at at a time, and how many of one namespace.
const AT_ONCE: u16 = 16;
const OF_NAMESPACE: usize = 4;
/// The shortest and the longest wait after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// When to look again at what could not be looked at, and has no step that would fail for it.
const FORBIDDEN: SignedDuration = SignedDuration::from_secs(30);

/// When to look again whether the audit log can be written.
const UNRECORDED: SignedDuration = SignedDuration::from_secs(5);
/// What is said of an Action meanwhile.
const UNRECORDED_MESSAGE: &str = "the audit log cannot be written, so no run begins and nothing is made; it goes on by itself when that can be done again, and the reason is in the engine's log";

/// Says why an Action could not be taken further now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The cluster could not be observed or changed.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The status was not taken.
    #[error("the status of {action} was not taken: {source}")]
    Status {
        /// The Action.
        action: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// Observing and acting came to no end.
    #[error("{action} did not settle within {MAX_ROUNDS} rounds")]
    Unsettled {
        /// The Action.
        action: String,
    },
}

impl ReconcileError {
    /// Tells whether somebody changed the Action in between.
    fn is_conflict(&self) -> bool {
        let (Self::Runner(RunnerError::Cluster(error)) | Self::Status { source: error, .. }) = self else {
            return false;
        };
        matches!(error, kube::Error::Api(status) if status.is_conflict())
    }
}

struct Context {
    client: Client,
    runner: Runner,
    metrics: Metrics,
    audit: Audit,
    places: Arc<Places>,
    /// The version that we wrote last, so that an older one in the cache is not acted upon.
    written: Mutex<HashMap<ObjectRef<Action>, u64>>,
    failures: Mutex<HashMap<ObjectRef<Action>, u32>>,
    /// The phase of each Action that is in the audit log and may not be in its status yet.
    noted: Mutex<HashMap<ObjectRef<Action>, Noted>>,
    /// The Actions with an end that met a conflict: it may be one with the write itself, whose answer was lost.
    tried: Mutex<HashSet<ObjectRef<Action>>>,
}

/// What a line of the audit log says of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Noted {
    uid: Option<String>,
    attempt: u32,
    phase: Phase,
    run_by: Option<String>,
    workflow: Option<String>,
}

/// Takes every Action as far as it goes, until told to stop; what is under way is finished first.
pub(crate) async fn run(
    client: Client,
    runner: Runner,
    metrics: Metrics,
    audit: Audit,
    cache: Store<Action>,
    (triggers, mut triggered): (UnboundedSender<ObjectRef<Action>>, UnboundedReceiver<ObjectRef<Action>>),
    stop: CancellationToken,
) {
    let (written, failures) = (Mutex::default(), Mutex::default());
    let (noted, tried) = (Mutex::default(), Mutex::default());
    let places = Arc::new(Places::new(OF_NAMESPACE, triggers));
    let context =
        Arc::new(Context { client, runner, metrics, audit, places, written, failures, noted, tried });
    let forgetting = Arc::clone(&context);
    let triggers = futures::stream::poll_fn(move |task| triggered.poll_recv(task));
    // The triggers name all that changes.
    Controller::for_stream(futures::stream::pending(), cache)
        .with_config(controller::Config::default().concurrency(AT_ONCE))
        .reconcile_on(triggers)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, on_error, context)
        .for_each(|result| {
            match result {
                // A failed look was logged where it is tried again.
                Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
                Err(controller::Error::ObjectNotFound(gone)) => {
                    let gone = gone.into_kind_unchecked(());
                    forgetting.written().remove(&gone);
                    forgetting.failures().remove(&gone);
                    forgetting.noted().remove(&gone);
                    forgetting.tried().remove(&gone);
                    forgetting.places.pass(&gone);
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the controller stumbled");
                }
            }
            futures::future::ready(())
        })
        .await;
}

#[tracing::instrument(skip_all, fields(action.namespace = action.namespace(), action.name = action.name_any(), action.phase = Empty))]
async fn reconcile(action: Arc<Action>, context: Arc<Context>) -> Result<Next, ReconcileError> {
    // It is looked at again as soon as there is a place.
    let Some(_place) = context.places.take(&ObjectRef::from(action.as_ref())) else {
        return Ok(Next::await_change());
    };
    match go_on(&action, &context).await {
        // Its newer form is looked at next, as soon as it comes.
        Err(error) if error.is_conflict() => Ok(Next::requeue(BACKOFF.0)),
        ended => ended,
    }
}

/// Takes an Action as far as it goes now.
async fn go_on(action: &Action, context: &Context) -> Result<Next, ReconcileError> {
    let who = ObjectRef::from(action);
    if context.written().get(&who).is_some_and(|written| version(action) < *written) {
        return Ok(Next::await_change());
    }
    let now = Timestamp::now();
    let (settled, mut status, mut requeue) = Box::pin(settle(action, context, now)).await?;
    let begins = |status: &&ActionStatus| status.phase == Phase::Running && phase(&settled) != Phase::Running;
    if let Some(begun) = status.as_ref().filter(begins)
        && !context.begins(&settled, begun)
    {
        (status, requeue) = (Some(unrecorded(&settled)), Some(UNRECORDED));
    }
    let departing = settled.metadata.deletion_timestamp.is_some();
    if let Some(status) = status.filter(|status| settled.status.as_ref() != Some(status)) {
        write(settled, status, context).await?;
    } else if departing || settled.status.as_ref().is_some_and(|status| status.phase.is_terminal()) {
        context.runner.forget(&who, settled.metadata.uid.as_deref().unwrap_or_default());
        context.written().remove(&who);
        if context.tried().remove(&who)
            && let Some(status) = settled.status.as_ref().filter(|status| status.phase.is_terminal())
        {
            context.note(&settled, status, None);
        }
        context.noted().remove(&who);
    }
    context.failures().remove(&who);
    Ok(requeue.map_or_else(Next::await_change, |wait| {
        // A deadline is passed only after its instant.
        Next::requeue(Duration::try_from(wait).unwrap_or_default() + Duration::from_millis(1))
    }))
}

/// Observes and acts until there is nothing more to do now.
async fn settle(
    action: &Action,
    context: &Context,
    now: Timestamp,
) -> Result<(Action, Option<ActionStatus>, Option<SignedDuration>), ReconcileError> {
    let mut action = action.clone();
    let mut observed = Observed::default();
    let mut unseen = None;
    let mut lists = None;
    for _ in 0..MAX_ROUNDS {
        let decision = decide(&as_if_recorded(&action), &observed, context.runner.settings(), now);
        if !decision.needs.is_empty() {
            if lists.is_none() && decision.needs.iter().any(|need| matches!(need, Need::List(_))) {
                lists = context.runner.lists().await;
            }
            let seen = context.runner.observe(&action, decision.needs.clone(), &mut observed, now).await;
            let Err(error) = seen else { continue };
            if let RunnerError::Forbidden(_) = error
                && context.runner.knows_rights().await
                && let Some(status) = decision.status
            {
                return Ok((action, Some(forbidden(status, &error.to_string(), now)), Some(FORBIDDEN)));
            }
            // Asked again at once as long as that shows more, so that many small failures are no great one.
            if unseen.as_ref() != Some(&decision.needs) {
                unseen = Some(decision.needs);
                continue;
            }
            if let Some(status) = decision.status {
                let status = stalled(status, &error.to_string(), now);
                if action.status.as_ref() != Some(&status) {
                    write(action, status, context).await?;
                }
            }
            return Err(error.into());
        } else if decision.effects.is_empty() {
            return Ok((action, decision.status, decision.requeue));
        } else if decision.effects.iter().any(Effect::is_on_others) && !context.audit.is_whole() {
            let status = unrecorded(&action);
            return Ok((action, Some(status), Some(UNRECORDED)));
        } else if let Some(changed) = context.runner.apply(&action, decision.effects, &mut observed).await? {
            context.written().insert(ObjectRef::from(&changed), version(&changed));
            if let Some(status) = action.status.as_ref().filter(|status| status.is_unreadable) {
                // It is let go, and nothing else would tell of its end.
                context.audit.phase(&action, status, None);
            }
            action = changed;
        }
    }
    Err(ReconcileError::Unsettled { action: action.name_any() })
}

/// Says in the status that nothing is done, since it could not be written down.
fn unrecorded(action: &Action) -> ActionStatus {
    let message = Some(UNRECORDED_MESSAGE.to_owned());
    ActionStatus { message, ..action.status.clone().unwrap_or_default() }
}

/// Takes away what was said while the audit log could not be written, which nothing else would.
fn as_if_recorded(action: &Action) -> Cow<'_, Action> {
    let mut action = Cow::Borrowed(action);
    let message = action.status.as_ref().and_then(|status| status.message.as_deref());
    if message == Some(UNRECORDED_MESSAGE)
        && let Some(status) = &mut action.to_mut().status
    {
        status.message = None;
    }
    action
}

fn noted(action: &Action, status: &ActionStatus) -> (ObjectRef<Action>, Noted) {
    let noted = Noted {
        uid: action.metadata.uid.clone(),
        attempt: status.attempt,
        phase: status.phase,
        run_by: status.run_by.as_ref().map(|by| by.username.clone()),
        workflow: status.rendering.as_ref().map(|rendering| rendering.workflow_ref.digest.clone()),
    };
    (ObjectRef::from(action), noted)
}

fn phase(action: &Action) -> Phase {
    action.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// Writes the status, or of one that is too large what matters. That a run has ended goes into the audit log even
/// where the API server takes neither.
async fn write(mut action: Action, status: ActionStatus, context: &Context) -> Result<(), ReconcileError> {
    let old = phase(&action);
    let is_new = old != status.phase;
    if is_new {
        tracing::info!(action.phase = status.phase.as_str(), "enters");
        Span::current().record("action.phase", status.phase.as_str());
    }
    action.status = Some(status);
    let mut refused = None;
    let mut written = replace(&action, context).await;
    if let Err(error) = &written
        && is_too_large(error)
        && let Some(status) = action.status.take_if(|status| status.phase.is_terminal() || old.is_under_way())
    {
        tracing::warn!(error = error as &dyn std::error::Error, "the status is too large, and is cut");
        refused = Some(error.to_string());
        action.status = Some(smallest(status, Timestamp::now()));
        written = replace(&action, context).await;
    }
    let decided = action.status.as_ref().filter(|status| status.phase != old);
    match &written {
        Ok(written) => {
            if let Some(status) = decided {
                context.note(&action, status, refused);
            }
            context.written().insert(ObjectRef::from(written), version(written));
        }
        // What is decided next may be something else, or there is nothing left of which to tell it.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
            if decided.is_some_and(|status| status.phase.is_terminal()) {
                context.tried().insert(ObjectRef::from(&action));
            }
        }
        Err(error) => {
            if let Some(status) = decided.filter(|status| status.phase.is_terminal()) {
                context.note(&action, status, Some(error.to_string()));
            }
        }
    }
    written.map(|_| ()).map_err(|source| ReconcileError::Status { action: action.name_any(), source })
}

async fn replace(action: &Action, context: &Context) -> kube::Result<Action> {
    let actions: Api<Guarded<Action>> =
        Api::namespaced(context.client.clone(), &action.namespace().unwrap_or_default());
    let replacement = Guarded(Ok(action.clone()));
    actions.replace_status(&action.name_any(), &PostParams::default(), &replacement).await.map(shown)
}

/// Tells whether the API server, or etcd, refuses an object for its size.
fn is_too_large(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let says = |words: &str| status.message.contains(words);
    status.code == 413
        || (matches!(status.code, 422 | 500)
            && (says("too large") || says("larger than max") || says("Too long")))
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn on_error(action: Arc<Action>, error: &ReconcileError, context: Arc<Context>) -> Next {
    let who = ObjectRef::from(action.as_ref());
    let mut failures = context.failures();
    let count = failures.entry(who).or_default();
    let (shortest, longest) = BACKOFF;
    let wait = longest.min(shortest.saturating_mul(2_u32.saturating_pow(*count)));
    *count += 1;
    tracing::warn!(
        action.name = action.name_any(),
        error = error as &dyn std::error::Error,
        cause = error.source(),
        retry.ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        "could not go on"
    );
    Next::requeue(wait)
}

impl Context {
    /// Writes into the audit log that a run begins, before it does, once for all tries; tells whether it may.
    fn begins(&self, action: &Action, status: &ActionStatus) -> bool {
        let (who, noted) = noted(action, status);
        if self.noted().get(&who) == Some(&noted) {
            return true;
        }
        let is_written = self.audit.begins(action, status);
        if is_written {
            self.noted().insert(who, noted);
        }
        is_written
    }

    /// Writes into the audit log and the metrics that a run came to a phase, once for all tries to say so in its status.
    fn note(&self, action: &Action, status: &ActionStatus, refused: Option<String>) {
        let (who, noted) = noted(action, status);
        if self.noted().get(&who) == Some(&noted) {
            return;
        }
        self.audit.phase(action, status, refused);
        if status.phase.is_terminal() {
            self.metrics.finished(status);
        }
        self.noted().insert(who, noted);
    }

    fn tried(&self) -> MutexGuard<'_, HashSet<ObjectRef<Action>>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<ObjectRef<Action>, Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<ObjectRef<Action>, u64>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<ObjectRef<Action>, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
