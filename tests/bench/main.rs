//! What ochre itself costs, measured once; `hack/bench` runs this several times and makes the table.

#![expect(clippy::unwrap_used, reason = "what fails here fails the measurement")]
#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use ochre::content::{self, Content};
use ochre_core::action::Action;
use ochre_core::decide::{Access, Need, Observed, Settings, decide};
use ochre_core::phase::Phase;
use ochre_tests::World;
use serde_json::{Value, json};

/// How often what is quick is done, to be measured at all.
const TIMES: u32 = 1000;
/// How many Actions are in flight at once.
const ACTIONS: usize = 1000;

fn main() {
    let began = Instant::now();
    let content = Content::new(content::load(None).unwrap()).unwrap();
    let load = began.elapsed();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (action, observed) = runtime.block_on(followed());
    let settings = Settings { velero_namespace: "velero".to_owned(), access: Access::Open, at_work: 2 };
    let render = each(|| content.render(&action, &settings).unwrap());
    let now = action.status.as_ref().unwrap().started_at.as_ref().unwrap().0;
    assert!(decide(&action, &observed, &settings, now).needs.is_empty());
    let decide = each(|| decide(&action, &observed, &settings, now));
    let flight = runtime.block_on(flight());
    let measured = json!({
        "load": load.as_secs_f64(), "render": render.as_secs_f64(), "decide": decide.as_secs_f64(),
        "flight": flight.as_secs_f64(), "memory": peak_memory(),
    });
    println!("{measured}");
}

/// Measures how long one of many calls takes.
fn each<T>(mut call: impl FnMut() -> T) -> Duration {
    let began = Instant::now();
    for _ in 0..TIMES {
        black_box(call());
    }
    began.elapsed() / TIMES
}

/// Takes a run whose Backup is at work, with all that `decide` needs to look at.
async fn followed() -> (Action, Observed) {
    let world = World::with(|options| options.step_delay = Duration::from_secs(3600)).await;
    let _engine = world.engine().await;
    world.apply_action("followed", backup("followed")).await;
    world.until("followed", |status| status.steps.iter().any(|step| step.object.is_some())).await;
    let action = world.actions("default").get("followed").await.unwrap();
    let mut observed = Observed::default();
    let settings =
        Settings { velero_namespace: world.velero_namespace.clone(), access: Access::Open, at_work: 2 };
    let now = action.status.as_ref().unwrap().started_at.as_ref().unwrap().0;
    loop {
        let needs = decide(&action, &observed, &settings, now).needs;
        if needs.is_empty() {
            return (action, observed);
        }
        for need in needs {
            let Need::Object(key) = need else {
                unreachable!("a run that follows its Backup needs {need:?}")
            };
            let object = world
                .api(&key.api_version, &key.kind, key.namespace.as_deref())
                .get(&key.name)
                .await
                .unwrap();
            observed.objects.insert(key, Some(serde_json::to_value(object).unwrap()));
        }
    }
}

/// Measures how long it takes until many Actions that were created at once have ended.
async fn flight() -> Duration {
    // What the simulated Velero does beside is none of it.
    let world = World::with(|options| options.sync_period = Duration::from_secs(60)).await;
    let _engine = world.engine().await;
    world.apply_action("source", backup("source")).await;
    world.succeeded("source").await;
    let began = Instant::now();
    let names: Vec<String> = (0..ACTIONS).map(|number| format!("flight-{number}")).collect();
    let create = futures::stream::iter(&names).for_each_concurrent(16, |name| async {
        world.apply_action(name, restore("source")).await;
    });
    tokio::join!(create, succeeded(&world, names.iter().cloned().collect()));
    began.elapsed()
}

/// Waits until all of these Actions have ended well.
async fn succeeded(world: &World, mut running: HashSet<String>) {
    let changes = watcher(world.actions("default"), watcher::Config::default()).applied_objects();
    let mut changes = std::pin::pin!(changes);
    while !running.is_empty() {
        let action: Action = changes.try_next().await.unwrap().unwrap();
        let Some(status) = action.status.filter(|status| status.phase.is_terminal()) else { continue };
        assert_eq!(status.phase, Phase::Succeeded, "{:?}", status.message);
        running.remove(&action.metadata.name.unwrap());
    }
}

/// Asks for little: what the simulated Velero has to list is none of it.
fn backup(name: &str) -> Value {
    json!({"action": "backup", "name": name, "includeNamespaces": "chat", "includeResources": "services"})
}

fn restore(name: &str) -> Value {
    json!({"action": "restore", "name": name, "existing": "keep"})
}

/// Reads the most memory that this process held, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
