//! The `ochre` binary as a process of its own, under the engine's account on the real cluster.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;
use tokio::process::{Child, Command};

use crate::World;

/// Where the process listens: the cluster's network has no other.
const ADDRESS: &str = "127.0.0.1:3000";

/// An engine that can be killed as a process is.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `ochre serve`.
    pub async fn start(world: &World) -> Self {
        let kubeconfig = world.engine_kubeconfig().await;
        let mut command = Command::new(binary());
        command.args(["--log", "warn", "serve", "--authentication", "anonymous"]);
        command.args(["--listen", ADDRESS, "--kubeconfig"]).arg(kubeconfig);
        let child = command.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        Self { child }
    }

    /// Kills it: it has no time to say anything.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Runs the binary to its end; yields what it printed.
pub async fn ochre(arguments: &[&str]) -> String {
    let done = Command::new(binary()).args(arguments).kill_on_drop(true).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

impl World {
    /// Writes a kubeconfig for the engine's ServiceAccount.
    async fn engine_kubeconfig(&self) -> PathBuf {
        let machine = self.machine();
        let text = std::fs::read_to_string(machine.run.join("admin.kubeconfig")).unwrap();
        let mut kubeconfig: serde_json::Value = serde_json::from_str(&text).unwrap();
        kubeconfig["users"][0]["user"] = json!({"token": machine.engine_token(&self.client).await});
        let path = machine.run.join("engine.kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        path
    }
}

/// Finds the binary that was built beside this test.
fn binary() -> PathBuf {
    let path = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("ochre");
    assert!(path.is_file(), "{} is not built: cargo build --package ochre", path.display());
    path
}
