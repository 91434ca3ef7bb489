"""The main job on a real cluster: a MariaDB, the loss of its namespace and its volume, the return of its rows."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

from conversation import Failure, detail, run, say

CLUSTER = "demo"
ADDRESS = "127.0.0.1:3000"
ACCOUNT = ("-n", "ochre-system")
HERE = pathlib.Path(__file__).parent
SUM = "select count(*), sum(crc32(content)) from shop.orders"
ROWS = "create database shop; use shop; create table orders (id int primary key, content varchar(200)); insert into orders select seq, concat('order ', seq) from seq_1_to_5000"


def start_cluster(root, keep):
    """Starts a cluster, and this program again inside its network."""
    cluster = [root / "hack/cluster", "--name", CLUSTER]
    say("Starting a real cluster (the first time builds Kubernetes and Velero: about 15 minutes)")
    started = subprocess.call([*cluster, "up"])
    if started:
        return started
    try:
        return subprocess.call([*cluster, "run", "--", root / "hack/demo", "--inside"])
    finally:
        if not keep:
            subprocess.call([*cluster, "down"])


def show_in_cluster(root, ochre):
    """Shows the main job; runs inside the cluster's network, with its KUBECONFIG."""
    install(root)
    with engine(ochre):
        volumes = pathlib.Path(os.environ["OCHRE_CLUSTER_RUN"]) / "volumes"
        volume("first", volumes)
        kubectl("apply", "-f", HERE / "mariadb.yaml")
        ready()
        sql(ROWS)
        before = sql(SUM)
        say(f"MariaDB runs; rows and checksum: {before}")

        graphql, document = f"http://{ADDRESS}/graphql", (HERE / "mariadb.graphql").read_text()
        say("Backup: create, run, watch, delete")
        status = run(graphql, document, "BackupShop")
        for saved in status["runner"]["status"]["steps"][0].get("volumes", []):
            detail(f"volume: {json.dumps(saved)}")

        say("The namespace, the volume and its files are destroyed")
        kubectl("delete", "namespace", "store", "--wait")
        kubectl("delete", "persistentvolume", "first", "--wait")
        shutil.rmtree(volumes / "first")
        volume("second", volumes)

        say("Restore: create, run, watch, delete")
        run(graphql, document, "RestoreShop")
        ready()
        after = sql(SUM)
        say(f"MariaDB runs again; rows and checksum: {after}")
        if after != before:
            raise Failure(f"the rows came back different: before {before}, after {after}")
        detail("they are equal: the data is back")


def install(root):
    """Installs what the engine needs: its kinds, and an account with no right but its own."""
    kubectl("apply", "-f", root / "manifests/crds")
    kubectl("wait", "--for=condition=Established", "customresourcedefinition/actions.core.ochre.dev")
    # All of manifests/base but its Deployment, for which an image would have to be built.
    for part in ("namespace", "service-account", "rbac", "reader", "reader-secrets"):
        kubectl("apply", "-f", root / f"manifests/base/{part}.yaml")


class engine:
    """The engine at work, under its own account."""

    def __init__(self, ochre):
        kubeconfig = pathlib.Path(os.environ["OCHRE_CLUSTER_RUN"]) / "engine.kubeconfig"
        settings = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
        settings["users"][0]["user"] = {"token": kubectl(*ACCOUNT, "create", "token", "ochre").strip()}
        kubeconfig.write_text(json.dumps(settings))
        self.command = [ochre, "--log", "warn", "serve", "--authentication", "anonymous"]
        self.command += ["--kubeconfig", kubeconfig, "--listen", ADDRESS]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=sys.stderr)
        until("the engine", lambda: urllib.request.urlopen(f"http://{ADDRESS}/readyz", timeout=5), pause=0.01)
        return self.process

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=15)


def volume(name, folder):
    """Makes an empty volume: this cluster has nobody to provision one."""
    (folder / name).mkdir()
    kubectl("apply", "-f", "-", input=json.dumps({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "local",
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]}]}
            ]}},
        },
    }))


def ready():
    until("MariaDB", lambda: kubectl("-n", "store", "wait", "--for=condition=Ready", "pod/shop-db-0", "--timeout=1s"))


def sql(statement):
    return kubectl("-n", "store", "exec", "shop-db-0", "--", "mariadb", "-uroot", "-N", "-e", statement).strip()


def until(what, attempt, pause=0.2):
    deadline = time.monotonic() + 60
    while True:
        try:
            return attempt()
        except (Failure, OSError) as error:
            if time.monotonic() > deadline:
                raise Failure(f"{what} did not become ready: {error}") from error
            time.sleep(pause)


def kubectl(*arguments, **options):
    done = subprocess.run(["kubectl", *map(str, arguments)], text=True, capture_output=True, **options)
    if done.returncode:
        raise Failure(f"kubectl {' '.join(map(str, arguments[:4]))}: {done.stderr.strip()}")
    return done.stdout
