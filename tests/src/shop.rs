//! A MariaDB on the real cluster, with rows that a restore must bring back, and hands for the machine below.

use std::path::{Path, PathBuf};

use kube::api::DynamicObject;
use serde_json::Value;
use tokio::process::Command;

use crate::World;
use crate::world::Place;

const DATABASE: &str = include_str!("../../hack/demo.d/mariadb.yaml");
const ROWS: &str = "create database shop; use shop; create table orders (id int primary key, content varchar(200)); \
     insert into orders select seq, concat('order ', seq) from seq_1_to_5000";
const SUM: &str = "select count(*), sum(crc32(content)) from shop.orders";

/// Selects everything of the database.
pub const SHOP: &str = "app=shop-db";

impl World {
    /// Starts the database on a fresh volume, writes rows, and takes their count and checksum.
    pub async fn open_shop(&self) -> String {
        self.open_shop_with(|_| {}).await
    }

    /// Starts the database after a change of its StatefulSet.
    pub async fn open_shop_with(&self, change: impl FnOnce(&mut Value)) -> String {
        self.volume("first", "local").await;
        let mut change = Some(change);
        for document in DATABASE.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document).unwrap();
            if object["kind"] == "StatefulSet" {
                change.take().unwrap()(&mut object);
            }
            self.create(object).await;
        }
        self.shop_is_ready().await;
        self.sql(ROWS).await;
        self.shop_sum().await
    }

    /// Waits until the database answers.
    pub async fn shop_is_ready(&self) {
        let pods = self.api("v1", "Pod", Some("store"));
        self.object(pods, "shop-db-0", is_ready).await.unwrap();
    }

    /// Takes count and checksum of the rows.
    pub async fn shop_sum(&self) -> String {
        self.sql(SUM).await
    }

    /// Destroys the database, its namespace and the files of its volume; puts a fresh volume there.
    pub async fn lose_shop(&self) {
        self.lose_shop_without_a_volume().await;
        self.volume("second", "local").await;
    }

    /// Destroys the database, its namespace and the files of its volume.
    pub async fn lose_shop_without_a_volume(&self) {
        self.delete_namespaces(&["store".to_owned()]).await;
        self.kubectl(&["delete", "persistentvolume", "first", "--wait"]).await;
    }

    /// Runs SQL in the database's pod.
    pub async fn sql(&self, statement: &str) -> String {
        let command = ["-n", "store", "exec", "shop-db-0", "--", "mariadb", "-uroot", "-N", "-e", statement];
        self.kubectl(&command).await
    }

    /// Damages what a namespace's volumes hold in the store; yields what was there.
    pub fn damage_repository(&self, namespace: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = self.machine().bucket().join("kopia").join(namespace);
        // Kopia's names of packs of data begin with `p`.
        let packs = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let packs = packs.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('p'));
        let kept: Vec<(PathBuf, Vec<u8>)> =
            packs.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        assert!(!kept.is_empty(), "nothing to damage in {}", folder.display());
        for (path, content) in &kept {
            std::fs::write(path, vec![0; content.len()]).unwrap();
        }
        kept
    }

    /// Puts back what was there before it was damaged.
    pub fn mend_repository(&self, kept: Vec<(PathBuf, Vec<u8>)>) {
        for (path, content) in kept {
            std::fs::write(path, content).unwrap();
        }
    }

    /// Runs kubectl to its end, as an administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        output(self.kubectl_command(arguments)).await
    }

    /// Runs kubectl as an administrator, which must fail; yields what it said.
    pub async fn kubectl_fails(&self, arguments: &[&str]) -> String {
        let mut command = self.kubectl_command(arguments);
        let done = command.kill_on_drop(true).output().await.unwrap();
        assert!(!done.status.success(), "{command:?} is not refused");
        String::from_utf8(done.stderr).unwrap()
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let kubeconfig = match &self.place {
            Place::Sandbox { data, .. } => data.path().join("kubeconfig"),
            Place::Real(real) => real.run.join("admin.kubeconfig"),
        };
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
        command
    }

    /// Stops or starts a part of the cluster, by `hack/cluster`.
    pub async fn part(&self, what: &str, part: &str) {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/cluster");
        let name = self.machine().run.file_name().unwrap();
        let mut command = Command::new(tool);
        command.arg("--name").arg(name).arg(what).arg(part);
        output(command).await;
    }

    pub(crate) fn machine(&self) -> &crate::real::Real {
        match &self.place {
            Place::Real(real) => real,
            Place::Sandbox { .. } => panic!("this needs a real cluster: hack/test leads into one"),
        }
    }
}

/// Tells whether a pod is ready.
pub fn is_ready(pod: Option<&DynamicObject>) -> bool {
    let conditions = pod.and_then(|pod| pod.data["status"]["conditions"].as_array());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}

async fn output(mut command: Command) -> String {
    let done = command.kill_on_drop(true).output().await.unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}
