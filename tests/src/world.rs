//! A cluster with a Velero and a small application, and an engine on it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context as _;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::client::ClientBuilder;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::conditions;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client, Config};
use ochre::content::{self, Content};
use ochre::options::GatewayOptions;
use ochre::{Authentication, Election, Readiness, ServeError, Serving};
use ochre_core::action::{Action, ActionStatus, definition};
use ochre_core::catalog::Loaded;
use ochre_core::phase::Phase;
use ochre_sandbox::api::{Asked, Fault};
use ochre_sandbox::{Options, Sandbox, demo, kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::engine::Engine;
use crate::fuse::Fuse;
use crate::real::Real;

/// How long anything may take before a test gives up; nothing comes near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The shipped catalog, loaded once: every template is tried on samples of every revision.
static CATALOG: LazyLock<Loaded> = LazyLock::new(|| {
    let loaded = content::load(None).unwrap();
    assert!(content::errors(&loaded).next().is_none());
    loaded
});

/// A cluster with a Velero, on which engines may be started.
pub struct World {
    /// Speaks to the cluster as a person with kubectl would.
    pub client: Client,
    /// The namespace that Velero watches.
    pub velero_namespace: String,
    pub(crate) place: Place,
    /// How an engine reaches the cluster, and as whom.
    pub(crate) engine: Config,
}

/// What the cluster is.
pub(crate) enum Place {
    /// An in-memory API and a simulated Velero.
    Sandbox { sandbox: Arc<Sandbox>, data: TempDir, stop: CancellationToken, _guard: DropGuard },
    /// A real Kubernetes and a real Velero, one for all tests.
    Real(Real),
}

impl World {
    /// Takes a cluster with a quick Velero and the small application: the real one, where there is one.
    pub async fn start() -> Self {
        match Real::of_environment() {
            Some(real) => {
                let world = Self::real(real).await;
                demo::install(world.client.clone()).await.unwrap();
                world.application_is_ready().await;
                world
            }
            None => Self::with(|_| {}).await,
        }
    }

    /// Takes a cluster without the small application where it can: a real one takes a while to run it.
    pub async fn empty() -> Self {
        match Real::of_environment() {
            Some(real) => Self::real(real).await,
            None => Self::with(|_| {}).await,
        }
    }

    /// Takes the real cluster, as if it were new.
    async fn real(real: Real) -> Self {
        ochre::install_tls();
        let client = Client::try_from(real.config().await).unwrap();
        let engine = real.engine_config(&client).await;
        let world = Self { client, velero_namespace: "velero".to_owned(), place: Place::Real(real), engine };
        world.clear().await;
        world
    }

    /// Starts a cluster whose options are changed first.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut world = Self::bare(change).await;
        let definitions: Api<_> = Api::all(world.client.clone());
        definitions.create(&PostParams::default(), &definition()).await.unwrap();
        // The engine's own.
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ochre-system"}});
        world.create(namespace).await;
        let metadata = json!({"name": "ochre", "namespace": "ochre-system"});
        world.create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await;
        world.engine.auth_info.token = Some(world.token("ochre-system", "ochre").await.into());
        demo::install(world.client.clone()).await.unwrap();
        world
    }

    /// Starts a cluster without the Action's definition and without the application.
    pub async fn bare(change: impl FnOnce(&mut Options)) -> Self {
        ochre::install_tls();
        let data = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut options = Options::new(data.path());
        options.step_delay = Duration::ZERO;
        options.sync_period = Duration::from_millis(100);
        change(&mut options);
        let velero_namespace = options.velero_namespace.clone();
        let url = format!("http://{address}");
        std::fs::write(data.path().join("kubeconfig"), kubeconfig(address)).unwrap();
        let sandbox = Arc::new(Sandbox::start(options, &url).await.unwrap());
        let stop = CancellationToken::new();
        let (served, stopped) = (Arc::clone(&sandbox), stop.clone());
        tokio::spawn(async move { served.serve(listener, stopped).await });
        let engine = Config::new(url.parse().unwrap());
        let client = Client::try_from(engine.clone()).unwrap();
        let place = Place::Sandbox { sandbox, data, stop: stop.clone(), _guard: stop.drop_guard() };
        Self { client, velero_namespace, place, engine }
    }

    /// Starts an engine and waits until it is ready.
    pub async fn engine(&self) -> Engine {
        self.engine_with(None).await
    }

    /// Starts an engine that asks for tokens and for rights, and waits until it is ready.
    pub async fn guarded_engine(&self) -> Engine {
        let authentication = vec![Authentication::Token];
        self.engine_told(GatewayOptions { authentication, ..GatewayOptions::default() }).await
    }

    /// Starts an engine whose writes go through a fuse.
    pub async fn fused_engine(&self, fuse: &Fuse) -> Engine {
        self.engine_with(Some(fuse)).await
    }

    async fn engine_with(&self, fuse: Option<&Fuse>) -> Engine {
        let readiness = Readiness::default();
        let engine = self.unready_engine(readiness.clone(), fuse).await;
        tokio::time::timeout(PATIENCE, readiness.wait()).await.expect("the engine does not become ready");
        engine
    }

    /// Starts an engine that leads only while it holds the Lease, and waits until it is ready.
    pub async fn candidate(&self, election: Election, fuse: Option<&Fuse>) -> (Engine, Readiness) {
        let readiness = Readiness::default();
        let client = self.client_for(fuse);
        let options = GatewayOptions::default();
        let engine = self
            .start_engine(client, readiness.clone(), Some(election), options, CATALOG.clone())
            .await
            .unwrap();
        self.within(readiness.wait()).await;
        (engine, readiness)
    }

    /// Starts an engine whose requests meet the faults of a plan, and waits until it is ready.
    pub async fn faulty_engine(
        &self,
        election: Option<Election>,
        options: GatewayOptions,
        plan: impl FnMut(&Asked) -> Option<Fault> + Send + 'static,
    ) -> Engine {
        self.faulty_engine_of(CATALOG.clone(), election, options, plan).await
    }

    /// Starts such an engine with another catalog than the shipped one.
    pub async fn faulty_engine_of(
        &self,
        loaded: Loaded,
        election: Option<Election>,
        options: GatewayOptions,
        plan: impl FnMut(&Asked) -> Option<Fault> + Send + 'static,
    ) -> Engine {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let Place::Sandbox { sandbox, stop, .. } = &self.place else {
            panic!("only the sandbox's API can be made to fail");
        };
        let (served, stopped) = (Arc::clone(sandbox), stop.clone());
        tokio::spawn(async move { served.serve_faulty(listener, stopped, plan).await });
        let mut config = self.engine.clone();
        config.cluster_url = url.parse().unwrap();
        let client = Client::try_from(config).unwrap();
        let readiness = Readiness::default();
        let engine = self.start_engine(client, readiness.clone(), election, options, loaded).await.unwrap();
        self.within(readiness.wait()).await;
        engine
    }

    /// Starts an engine with another catalog than the shipped one, and waits until it is ready.
    pub async fn engine_of(&self, loaded: Loaded, options: GatewayOptions) -> Engine {
        let readiness = Readiness::default();
        let engine =
            self.start_engine(self.client_for(None), readiness.clone(), None, options, loaded).await.unwrap();
        self.within(readiness.wait()).await;
        engine
    }

    /// Starts an engine and does not wait.
    pub async fn unready_engine(&self, readiness: Readiness, fuse: Option<&Fuse>) -> Engine {
        let options = GatewayOptions::default();
        self.start_engine(self.client_for(fuse), readiness, None, options, CATALOG.clone()).await.unwrap()
    }

    /// Starts an engine whose gateway is told otherwise, and waits until it is ready.
    pub async fn engine_told(&self, options: GatewayOptions) -> Engine {
        let readiness = Readiness::default();
        let engine = self
            .start_engine(self.client_for(None), readiness.clone(), None, options, CATALOG.clone())
            .await
            .unwrap();
        self.within(readiness.wait()).await;
        engine
    }

    /// Starts an engine that cannot be; yields why.
    pub async fn refused_engine(&self, options: GatewayOptions) -> ServeError {
        let (readiness, loaded) = (Readiness::default(), CATALOG.clone());
        let engine = self.start_engine(self.client_for(None), readiness, None, options, loaded).await;
        engine.err().unwrap()
    }

    /// Starts an engine that ends by itself; yields how.
    pub async fn ending_engine(&self, options: GatewayOptions) -> Result<(), ServeError> {
        let (readiness, loaded) = (Readiness::default(), CATALOG.clone());
        let engine = self.start_engine(self.client_for(None), readiness, None, options, loaded).await?;
        self.within(engine.work).await.unwrap()
    }

    fn client_for(&self, fuse: Option<&Fuse>) -> Client {
        let config = self.engine.clone();
        match fuse {
            Some(fuse) => ClientBuilder::try_from(config).unwrap().with_layer(fuse).build(),
            None => Client::try_from(config).unwrap(),
        }
    }

    async fn start_engine(
        &self,
        client: Client,
        readiness: Readiness,
        election: Option<Election>,
        options: GatewayOptions,
        loaded: Loaded,
    ) -> Result<Engine, ServeError> {
        let content = Content::new(loaded).unwrap();
        let velero_namespace = self.velero_namespace.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if options.connections.tls().is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = Serving {
            client,
            content,
            velero_namespace,
            options,
            listener,
            health: None,
            election,
            readiness,
        };
        let work = tokio::spawn(ochre::serve(serving, stop.clone()).await?);
        Ok(Engine { url, stop, work })
    }

    /// Opens the API of a kind in a namespace; cluster-scoped kinds have none.
    pub fn api(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Opens the API of a kind of Velero.
    pub fn velero(&self, kind: &str) -> Api<DynamicObject> {
        self.api("velero.io/v1", kind, Some(&self.velero_namespace))
    }

    /// Lists the names of Velero's objects of a kind.
    pub async fn velero_names(&self, kind: &str) -> Vec<String> {
        let list = self.velero(kind).list(&ListParams::default()).await.unwrap();
        list.items.into_iter().filter_map(|object| object.metadata.name).collect()
    }

    /// Creates an object from JSON.
    pub async fn create(&self, object: Value) -> DynamicObject {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let types = object.types.clone().unwrap();
        let api = self.api(&types.api_version, &types.kind, object.metadata.namespace.as_deref());
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// Opens the Actions of a namespace.
    pub fn actions(&self, namespace: &str) -> Api<Action> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates an Action of the shipped catalog as kubectl would, to be run at once.
    pub async fn apply_action(&self, name: &str, parameters: Value) -> Action {
        let action: Action = serde_json::from_value(json!({
            "apiVersion": "core.ochre.dev/v1alpha1", "kind": "Action", "metadata": {"name": name},
            "spec": {"actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": parameters}, "run": true},
        }))
        .unwrap();
        self.actions("default").create(&PostParams::default(), &action).await.unwrap()
    }

    /// Waits until an Action's status is as wanted, and takes it.
    pub async fn until(&self, name: &str, wanted: impl Fn(&ActionStatus) -> bool) -> ActionStatus {
        self.until_in("default", name, wanted).await
    }

    /// Does so in a namespace.
    pub async fn until_in(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&ActionStatus) -> bool,
    ) -> ActionStatus {
        let is_wanted =
            |action: Option<&Action>| action.and_then(|action| action.status.as_ref()).is_some_and(&wanted);
        let waiting = await_condition(self.actions(namespace), name, is_wanted);
        let Ok(found) = tokio::time::timeout(PATIENCE, waiting).await else {
            let now = self.actions(namespace).get_opt(name).await;
            panic!("{name} does not come to it: {now:#?}");
        };
        found.unwrap().and_then(|action| action.status).unwrap()
    }

    /// Waits until an Action of a namespace has ended.
    pub async fn ended_in(&self, namespace: &str, name: &str) -> ActionStatus {
        self.until_in(namespace, name, |status| status.phase.is_terminal()).await
    }

    /// Waits until an Action has ended.
    pub async fn ended(&self, name: &str) -> ActionStatus {
        self.until(name, |status| status.phase.is_terminal()).await
    }

    /// Waits until an Action has ended well.
    pub async fn succeeded(&self, name: &str) -> ActionStatus {
        let status = self.ended(name).await;
        assert_eq!(status.phase, Phase::Succeeded, "{status:#?}");
        status
    }

    /// Waits for something that must come.
    pub async fn within<T>(&self, waiting: impl Future<Output = T>) -> T {
        tokio::time::timeout(PATIENCE, waiting).await.expect("it does not come")
    }

    /// Waits until an object is gone, or another has its name.
    pub(crate) async fn gone(&self, api: Api<DynamicObject>, name: &str, uid: &str) {
        self.within(Box::pin(await_condition(api, name, conditions::is_deleted(uid)))).await.unwrap();
    }

    /// Waits until an object is as wanted.
    pub async fn object(
        &self,
        api: Api<DynamicObject>,
        name: &str,
        wanted: impl Condition<DynamicObject>,
    ) -> Option<DynamicObject> {
        let waiting = await_condition(api, name, wanted);
        tokio::time::timeout(PATIENCE, waiting).await.context(name.to_owned()).unwrap().unwrap()
    }
}
