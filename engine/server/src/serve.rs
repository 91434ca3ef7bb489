//! The engine as a whole: gateway and controller beside each other, on any cluster.
//!
//! The gateway serves in every process; the controller runs in the one that leads.

use std::sync::Arc;

use futures::FutureExt as _;
use kube::{Client, ResourceExt as _};
use ochre_core::action::Action;
use ochre_core::decide::{Access, Settings};
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::audit::{Audit, AuditError};
use crate::content::Content;
use crate::controller;
use crate::gateway::{self, DocumentsError, Gateway};
use crate::identity::{Identity, SetupError};
use crate::leader::{Candidate, Election};
use crate::listen::answer;
use crate::metrics::Metrics;
use crate::options::GatewayOptions;
use crate::policies;
use crate::readiness::Readiness;
use crate::runner::Runner;
use crate::store::Actions;
use crate::tls::{Tls, TlsError};
use crate::watches::Watches;

/// Says why the engine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Whoever is not on this machine must say who they are, and be heard by nobody else.
    #[error(
        "{0} is not a loopback address; listen there without --authentication anonymous and with --tls-cert and \
         --tls-key, or with --insecure-http behind something that speaks TLS"
    )]
    NotLoopback(std::net::SocketAddr),
    /// Nobody can be let in as it was told.
    #[error(transparent)]
    Identity(#[from] SetupError),
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Listener(#[from] std::io::Error),
    /// The documents that are known beforehand are wrong.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// What is done could not be written down.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The cluster does not know this engine as the one that names others.
    #[error(
        "the cluster writes {0} into every Action that this engine makes for somebody else, who would then have the \
         rights of {0}: run it as the ServiceAccount ochre of ochre-system, which alone names others, or put its own \
         name into manifests/admission"
    )]
    Renamed(String),
    /// The policies take what Velero writes for what a person asks for.
    #[error(
        "the admission policy ochre-identity does not know Velero in the namespace {0}: what a restore writes into an \
         Action would be asked for in Velero's name; name the group system:serviceaccounts:{0} in isBrought of \
         manifests/admission/identity.yaml, or the namespace of Velero with --velero-namespace"
    )]
    VeleroUnknown(String),
    /// There is no certificate to listen with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client for Velero's files could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// How many bytes the kernel keeps of what a client does not read (it takes twice as much for them); it would be megabytes,
/// which count as the engine's.
const SEND_BUFFER: usize = 32 * 1024;
/// How many rights are asked for at a time about what Velero has, for all who ask.
const ASKING: usize = 32;

/// Holds what an engine is made of.
pub struct Serving {
    /// The cluster.
    pub client: Client,
    /// The catalog.
    pub content: Content,
    /// The namespace that Velero watches.
    pub velero_namespace: String,
    /// What the gateway is told.
    pub options: GatewayOptions,
    /// Where the gateway listens.
    pub listener: TcpListener,
    /// Where the probes listen, beside the gateway's own.
    pub health: Option<TcpListener>,
    /// How engines agree on who leads; without it this one does.
    pub election: Option<Election>,
    /// Is told when the engine is ready, and what is missing until then.
    pub readiness: Readiness,
}

/// Sees that all is there that serving needs, and yields what serves until told to stop, and then ends what is under
/// way.
pub async fn serve(
    serving: Serving,
    stop: CancellationToken,
) -> Result<impl Future<Output = Result<(), ServeError>>, ServeError> {
    let Serving { client, content, velero_namespace, options, listener, health, election, readiness } =
        serving;
    let address = listener.local_addr()?;
    // Connections have it of their listener.
    SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER)?;
    if !options.may_listen(address) {
        return Err(ServeError::NotLoopback(address));
    }
    let content = Arc::new(content);
    let settings = Settings { velero_namespace, access: options.access(), at_work: options.limits.at_work };
    let identity = Arc::new(Identity::new(client.clone(), &options)?);
    let audit = Audit::open(options.audit_log.as_deref())?;
    let watches = Arc::new(Watches::new(client.clone(), options.limits.watched));
    let gateway = Gateway {
        client: client.clone(),
        content: Arc::clone(&content),
        settings: settings.clone(),
        readiness: readiness.clone(),
        identity,
        audit: audit.clone(),
        watches: Arc::clone(&watches),
        asking: Arc::new(Semaphore::new(ASKING)),
    };
    let open = TaskTracker::new();
    let metrics = Metrics::new(readiness.clone());
    let is_loopback = address.ip().is_loopback();
    let told = options.clone();
    let limit = options.limits.actions;
    let tls = match told.connections.tls() {
        Some((certificate, key)) => Some(Tls::load(certificate, key).await?),
        None => None,
    };
    let router = gateway::router(gateway, metrics.clone(), options, is_loopback, stop.clone(), open.clone())?;
    let probes = gateway::probes(readiness.clone(), metrics.clone());
    let engine =
        Engine { client, content, settings, limit, watches, metrics, audit, readiness, stop: stop.clone() };
    Ok(async move {
        let gateway = answer(listener, tls, router, &told, &stop, open);
        let probes = async {
            if let Some(health) = health {
                answer(health, None, probes, &told, &stop, TaskTracker::new()).await;
            }
        };
        let engine = Box::pin(engine.run(election)).instrument(tracing::info_span!("engine"));
        // Dropping this future stops the open connections too.
        let _guard = stop.clone().drop_guard();
        // The engine takes the others with it; they end only when told to.
        let ((), (), engine) = tokio::join!(gateway, probes, engine.inspect(|_| stop.cancel()));
        engine
    })
}

/// What observes and acts.
struct Engine {
    client: Client,
    content: Arc<Content>,
    settings: Settings,
    /// How many bytes of Actions are kept.
    limit: usize,
    watches: Arc<Watches>,
    metrics: Metrics,
    audit: Audit,
    readiness: Readiness,
    stop: CancellationToken,
}

impl Engine {
    /// Watches the Actions once the cluster has what is needed, and works on them while this process leads.
    async fn run(self, election: Option<Election>) -> Result<(), ServeError> {
        let kinds = self.readiness.wait_for_kinds(&self.client);
        let Some(()) = self.stop.run_until_cancelled(kinds).await else {
            return Ok(());
        };
        if self.settings.access == Access::Checked {
            let Some(ended) = self.stop.run_until_cancelled(self.check_policies()).await else {
                return Ok(());
            };
            ended?;
        }
        let (audit, metrics) = (self.audit.clone(), self.metrics.clone());
        let (actions, watching) =
            Actions::watch(&self.client, self.limit, move |action| note_gone(action, &audit, &metrics));
        self.readiness.watched(actions.clone());
        tracing::info!("ready");
        let leading = async {
            match election {
                Some(election) => {
                    let candidate = Candidate::new(self.client.clone(), election, self.readiness.clone());
                    candidate.lead(&self.stop, || self.work(&actions)).await
                }
                None => self.work(&actions).await,
            }
        };
        tokio::select! {
            ended = leading => ended,
            () = watching => Ok(()),
        }
    }

    /// Says what the cluster's policies do to those who ask; fails where they would give everybody the same name.
    async fn check_policies(&self) -> Result<(), ServeError> {
        policies::warn(&self.client).await;
        let velero = &self.settings.velero_namespace;
        match policies::knows(&self.client, velero).await {
            Ok(true) => {}
            Ok(false) => return Err(ServeError::VeleroUnknown(velero.clone())),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "it cannot be told whether the cluster's policies know Velero");
            }
        }
        match policies::renamed(&self.client).await {
            Ok(None) => Ok(()),
            Ok(Some(name)) => Err(ServeError::Renamed(name)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "it cannot be told whether the cluster lets this engine name others");
                Ok(())
            }
        }
    }

    /// Takes the Actions further, until told to stop.
    async fn work(&self, actions: &Actions) -> Result<(), ServeError> {
        let Some(()) = self.stop.run_until_cancelled(actions.ready()).await else {
            return Ok(());
        };
        let (triggers, triggered) = tokio::sync::mpsc::unbounded_channel();
        let (client, content) = (self.client.clone(), Arc::clone(&self.content));
        let audit = self.audit.clone();
        self.watches.listen(triggers.clone());
        let watches = Arc::clone(&self.watches);
        let runner = Runner::new(client.clone(), self.settings.clone(), content, audit.clone(), watches)?;
        runner.begin().await;
        actions.listen(triggers.clone());
        let (metrics, stop) = (self.metrics.clone(), self.stop.clone());
        controller::run(client, runner, metrics, audit, actions.cache(), (triggers, triggered), stop).await;
        Ok(())
    }
}

/// Notes of an Action that is gone, if it was under way when it was last seen, that the end of its run is not known.
///
/// The finalizer holds an Action until its run has ended; it is gone before where somebody took the finalizer away, or
/// where its namespace goes. Every process notes it, whichever leads.
fn note_gone(action: &Action, audit: &Audit, metrics: &Metrics) {
    let Some(status) = action.status.as_ref().filter(|status| status.phase.is_under_way()) else { return };
    let left: Vec<String> = status.objects().map(ToString::to_string).collect();
    audit.vanished(action, status, &left);
    metrics.vanished();
    tracing::warn!(
        action.namespace = action.namespace(),
        action.name = action.name_any(),
        action.phase = status.phase.as_str(),
        left = left.join(", "),
        "an Action is gone that was under way when it was last seen: how its run ended is not known"
    );
}

/// Installs the one TLS provider of the process; a second call changes nothing.
pub fn install_tls() {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
