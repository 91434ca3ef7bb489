//! `ochre sandbox`: a cluster, a Velero and the engine in one process.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use ochre::{Authentication, Readiness, Serving};
use ochre_core::action::definition;
use ochre_sandbox::velero::PRESENCE;
use ochre_sandbox::{Options, Sandbox, demo, install, kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::SandboxArguments;
use crate::{graphql_url, playground_url, prepare, print, stop_on_signal};

/// The operations of a backup and of a restore, to paste.
const BACKUP: &str = include_str!("backup.graphql");
const RESTORE: &str = include_str!("restore.graphql");
/// What `kubectl apply -k manifests` gives a cluster, but for what nothing asks for here: the engine's account, and the
/// policies by which nobody but that account says who asks for an Action.
const MANIFESTS: [&str; 4] = [
    include_str!("../../../../manifests/base/namespace.yaml"),
    include_str!("../../../../manifests/base/service-account.yaml"),
    include_str!("../../../../manifests/admission/identity.yaml"),
    include_str!("../../../../manifests/admission/rights.yaml"),
];

/// Serves until stopped.
pub(crate) async fn run(arguments: SandboxArguments) -> anyhow::Result<()> {
    let SandboxArguments {
        engine,
        cluster_listen,
        kubeconfig_out,
        data,
        api_only,
        no_demo_app,
        no_velero,
        ..
    } = &arguments;
    let stop = stop_on_signal()?;
    let folder = Folder::new(data.as_deref())?;
    let listener = listen(*cluster_listen).await?;
    let address = listener.local_addr()?;
    let mut options = Options::new(folder.path());
    options.velero_namespace.clone_from(&engine.velero_namespace);
    options.step_delay = arguments.velero_step_delay;
    options.end = arguments.velero_end;
    let sandbox = Sandbox::start(options, &format!("http://{address}")).await?;
    if *no_velero {
        be_absent(&sandbox, &engine.velero_namespace).await?;
    }
    let definitions: Api<_> = Api::all(sandbox.client());
    definitions.create(&PostParams::default(), &definition()).await?;
    if !no_demo_app {
        demo::install(sandbox.client()).await?;
    }
    let out = kubeconfig_out.clone().unwrap_or_else(|| folder.path().join("kubeconfig"));
    std::fs::write(&out, kubeconfig(address))
        .with_context(|| format!("{} could not be written", out.display()))?;

    let ready = json!({"cluster": format!("http://{address}"), "kubeconfig": out, "data": folder.path()});
    // The cluster outlives the engine, which drains when told to stop.
    let cluster_stop = CancellationToken::new();
    let cluster = sandbox.serve(listener, cluster_stop.clone());
    let work = async {
        let ended = if *api_only {
            print(&ready.to_string())?;
            stop.cancelled().await;
            Ok(())
        } else {
            serve_engine(&arguments, &sandbox, address, ready, stop.clone()).await
        };
        sandbox.velero().stop().await;
        cluster_stop.cancel();
        ended
    };
    let (served, ended) = tokio::select! {
        ended = async { tokio::join!(cluster, work) } => ended,
        () = sandbox.velero().obey() => anyhow::bail!("Velero's namespace is not watched any more"),
    };
    ended?;
    served.context("the cluster's listener failed")
}

/// Lets Velero be absent until somebody takes the annotation away.
async fn be_absent(sandbox: &Sandbox, namespace: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(sandbox.client());
    let absent = json!({"metadata": {"annotations": {(PRESENCE): "absent"}}});
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(absent)).await?;
    sandbox.velero().stop().await;
    Ok(())
}

async fn serve_engine(
    arguments: &SandboxArguments,
    sandbox: &Sandbox,
    cluster: SocketAddr,
    mut ready: Value,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut engine = arguments.engine.clone();
    // Only here nobody needs to say so: it is a cluster of one's own, on loopback.
    if engine.options.authentication.is_empty() {
        engine.options.authentication.push(Authentication::Anonymous);
    }
    let (engine, listener) = prepare(engine).await?;
    let graphql = graphql_url(&listener, &engine.options)?;
    let readiness = Readiness::default();
    ready["graphql"] = json!(graphql);
    ready["playground"] = json!(playground_url(&listener, &engine.options)?);
    ready["operations"] = json!({"backup": BACKUP, "restore": RESTORE});
    let told = readiness.clone();
    let tell = async {
        if stop.run_until_cancelled(told.wait()).await.is_some() {
            explain(&graphql, cluster, &ready);
            print(&ready.to_string())?;
        }
        anyhow::Ok(())
    };
    let velero = format!("'system:serviceaccounts:{}'", engine.velero_namespace);
    for manifest in MANIFESTS {
        let manifest = manifest.replace("'system:serviceaccounts:velero'", &velero);
        install(&sandbox.client(), &manifest).await?;
    }
    let serving = Serving {
        client: sandbox.client_of("ochre-system", "ochre").await?,
        content: engine.content,
        velero_namespace: engine.velero_namespace,
        options: engine.options,
        listener,
        health: None,
        election: None,
        readiness,
    };
    let serving = ochre::serve(serving, stop.clone()).await?;
    let (told, served) = tokio::join!(tell, serving);
    served?;
    told
}

/// Tells a person what to do; standard output is for scripts.
fn explain(graphql: &str, cluster: SocketAddr, ready: &Value) {
    let kubeconfig = ready["kubeconfig"].as_str().unwrap_or_default();
    let playground = ready["playground"].as_str().unwrap_or("off");
    let text = format!(
        "\nPlayground:  {playground}\n\
         GraphQL:     POST {graphql}  (Content-Type: application/json)\n\
         Kubernetes:  export KUBECONFIG={kubeconfig}  (http://{cluster})\n\n\
         To paste, one operation after the other:\n\n{BACKUP}\n\
         Delete the application, then:\n\n{RESTORE}\n"
    );
    // Nobody may be reading.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    anyhow::ensure!(
        address.ip().is_loopback(),
        "{address} is not a loopback address; the sandbox's cluster asks nobody who they are"
    );
    crate::listen(address).await
}

/// The folder of the object store; a temporary one goes with the process.
enum Folder {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn new(given: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = given else {
            return Ok(Self::Temporary(tempfile::Builder::new().prefix("ochre-").tempdir()?));
        };
        std::fs::create_dir_all(path).with_context(|| format!("{} could not be made", path.display()))?;
        Ok(Self::Given(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
