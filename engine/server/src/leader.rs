//! Which of several engines acts: the one that holds the Lease.
//!
//! No other's clock is trusted: a Lease counts as expired when this process has seen it unchanged for as
//! long as it says. Its holder stops earlier than that when it cannot renew, so that no two act at once;
//! and should a write of the former still be on its way, its `resourceVersion` or the derived name of
//! what it creates makes it harmless.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::readiness::Readiness;

#[cfg(test)]
mod tests;

/// The name of the Lease.
const NAME: &str = "ochre";

/// Says how engines agree on who leads.
#[derive(Clone, Debug)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of this process; no other may have it, nor this one's successor.
    pub identity: String,
    /// How long everything takes.
    pub times: Times,
}

/// Says how long a leader counts as one.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long a Lease that is not renewed still belongs to its holder; whole seconds.
    pub lease: Duration,
    /// How long after its last renewal a leader stops to act.
    pub renew_deadline: Duration,
    /// How long a leader waits before it renews, and a follower before it tries again.
    pub retry: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(5),
        }
    }
}

/// What a process may do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// There is none: make it.
    Create,
    /// It is free, or expired: take it.
    Take,
    /// It is another's, for so long at least.
    Wait(Duration),
}

/// Decides about a Lease that this process has seen unchanged for some time.
fn claim(lease: Option<&Lease>, identity: &str, unchanged_for: Duration) -> Claim {
    let Some(lease) = lease else { return Claim::Create };
    // One that is still ours could not be renewed for a while, and nobody took it.
    if holder(lease).is_empty() || holder(lease) == identity {
        return Claim::Take;
    }
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    let lasts = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    match lasts.checked_sub(unchanged_for) {
        Some(left) if !left.is_zero() => Claim::Wait(left),
        Some(_) | None => Claim::Take,
    }
}

/// Writes a holder into a Lease; nobody, when it is let go.
fn held_by(lease: Option<&Lease>, identity: &str, lasts: Duration, now: Timestamp) -> Lease {
    let mut lease = lease.cloned().unwrap_or_default();
    lease.metadata.name = Some(NAME.to_owned());
    let is_taken = holder(&lease) != identity && !identity.is_empty();
    let spec = lease.spec.get_or_insert_default();
    if is_taken {
        spec.acquire_time = Some(MicroTime(now));
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = Some(i32::try_from(lasts.as_secs().max(1)).unwrap_or(i32::MAX));
    spec.renew_time = Some(MicroTime(now));
    lease
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// One of the engines that may lead.
pub(crate) struct Candidate {
    leases: Api<Lease>,
    election: Election,
    readiness: Readiness,
}

/// A Lease that is ours, and when the request that made it so was sent.
struct Held {
    lease: Lease,
    since: Instant,
}

impl Candidate {
    /// Enters an election; `readiness` is told who leads.
    pub(crate) fn new(client: Client, election: Election, readiness: Readiness) -> Self {
        Self { leases: Api::namespaced(client, &election.namespace), election, readiness }
    }

    /// Does the work whenever this process leads, until told to stop.
    ///
    /// When the Lease is lost the work is dropped where it stands. The work ends by itself when told to stop;
    /// then the Lease is let go, so that another takes over at once.
    pub(crate) async fn lead<W, E>(&self, stop: &CancellationToken, work: impl Fn() -> W) -> Result<(), E>
    where
        W: Future<Output = Result<(), E>>,
    {
        let mut result = Ok(());
        while let Some(held) = stop.run_until_cancelled(self.win()).await {
            tracing::info!(leader = self.election.identity, "leads");
            let ended = tokio::select! {
                biased;
                () = self.keep(held) => None,
                ended = work() => Some(ended),
            };
            if let Some(ended) = ended {
                result = ended;
                break;
            }
            self.readiness.led_by("");
        }
        self.release().await;
        result
    }

    /// Waits until the Lease is ours.
    async fn win(&self) -> Held {
        let mut changes = std::pin::pin!(watcher::watch_object(self.leases.clone(), NAME).default_backoff());
        let mut seen = loop {
            match changes.next().await {
                Some(Ok(lease)) => break Seen::new(lease),
                other => not_watched(other).await,
            }
        };
        loop {
            self.readiness.led_by(seen.lease.as_ref().map(holder).unwrap_or_default());
            let look_again = match claim(seen.lease.as_ref(), &self.election.identity, seen.since.elapsed()) {
                Claim::Wait(left) => Instant::now() + left,
                Claim::Create | Claim::Take => match self.take(&mut seen).await {
                    Some(held) => return held,
                    None => Instant::now() + self.election.times.retry,
                },
            };
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(lease)) => seen.see(lease),
                    other => not_watched(other).await,
                },
                () = sleep_until(look_again) => {}
            }
        }
    }

    /// Tries to take the Lease; when that fails, looks how it is now.
    async fn take(&self, seen: &mut Seen) -> Option<Held> {
        let since = Instant::now();
        let mine = self.mine(seen.lease.as_ref());
        let taken = match seen.lease {
            None => self.leases.create(&PostParams::default(), &mine).await,
            Some(_) => self.leases.replace(NAME, &PostParams::default(), &mine).await,
        };
        match taken {
            Ok(lease) => {
                self.readiness.led_by(&self.election.identity);
                Some(Held { lease, since })
            }
            Err(error) => {
                tracing::info!(error = &error as &dyn std::error::Error, "the lease was not to be had");
                // The watch may be late or mute; a Lease that changed starts its time anew.
                if let Ok(lease) = self.leases.get_opt(NAME).await {
                    seen.see(lease);
                }
                None
            }
        }
    }

    /// Renews the Lease; returns when it is another's or could not be renewed in time.
    async fn keep(&self, mut held: Held) {
        let Times { renew_deadline, retry, .. } = self.election.times;
        loop {
            sleep_until(held.since + retry).await;
            match timeout_at(held.since + renew_deadline, self.renew(&held.lease)).await {
                Ok(Some(renewed)) => held = renewed,
                Ok(None) => return tracing::warn!("another holds the lease, stops to act"),
                Err(_) => return tracing::warn!("the lease could not be renewed, stops to act"),
            }
        }
    }

    /// Renews the Lease, again and again until an answer comes; yields nothing when it is not ours any more.
    async fn renew(&self, lease: &Lease) -> Option<Held> {
        let retry = self.election.times.retry;
        let parameters = PostParams::default();
        let mut lease = lease.clone();
        loop {
            let since = Instant::now();
            let mine = self.mine(Some(&lease));
            let attempt = self.leases.replace(NAME, &parameters, &mine);
            // An answer that never comes must not use up the time for another try.
            match timeout(retry / 2, attempt).await {
                Ok(Ok(lease)) => return Some(Held { lease, since }),
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_not_found() => {
                    // It may be our own renewal, whose answer was lost.
                    if let Ok(now) = self.leases.get_opt(NAME).await {
                        lease = now.filter(|lease| holder(lease) == self.election.identity)?;
                        continue;
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not renewed");
                }
                Err(_) => tracing::warn!("the API server does not answer"),
            }
            sleep(retry / 5).await;
        }
    }

    /// Lets the Lease go, if it is ours; else it expires by itself.
    async fn release(&self) {
        let release = async {
            let Some(lease) = self.leases.get_opt(NAME).await? else { return Ok(()) };
            if holder(&lease) == self.election.identity {
                let free = held_by(Some(&lease), "", Duration::ZERO, Timestamp::now());
                self.leases.replace(NAME, &PostParams::default(), &free).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(self.election.times.retry, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not let go");
            }
            Err(_) => tracing::warn!("the lease was not let go in time"),
        }
    }

    fn mine(&self, lease: Option<&Lease>) -> Lease {
        held_by(lease, &self.election.identity, self.election.times.lease, Timestamp::now())
    }
}

/// A Lease, and since when it is known to be so, by our own clock.
struct Seen {
    lease: Option<Lease>,
    since: Instant,
}

impl Seen {
    fn new(lease: Option<Lease>) -> Self {
        Self { lease, since: Instant::now() }
    }

    /// Sees the Lease again; its time goes on unless it was changed.
    fn see(&mut self, lease: Option<Lease>) {
        let version = |lease: &Option<Lease>| lease.as_ref()?.metadata.resource_version.clone();
        if version(&self.lease) != version(&lease) {
            self.since = Instant::now();
        }
        self.lease = lease;
    }
}

/// Says that the watch is interrupted; it goes on by itself.
async fn not_watched(change: Option<watcher::Result<Option<Lease>>>) {
    match change {
        Some(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the lease is not seen");
        }
        Some(Ok(_)) => {}
        // A watch does not end; should it, there is nothing more to see.
        None => std::future::pending().await,
    }
}
