"""ochre beside Velero's own command line, both on the same real cluster and in turn: the ratios count."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from conversation import Failure, post
from finished import rows_beside_finished
from mariadb import ADDRESS, engine, install, kubectl
from requests_made import Requests
from table import ratio, say, spread, table

CLUSTER = "bench"
GRAPHQL = f"http://{ADDRESS}/graphql"
AT_ONCE = 200
CREATE = "mutation ($in: ActionDetailsInput) { createAction(in: $in) { name } }"
RUN = "mutation ($name: String!) { runAction(name: $name) { name } }"
GET = "query ($name: String!) { action(name: $name) { status { phase message runner { status } } } }"
LIST = "{ actions { name status { phase } } }"
# What is backed up: ten ConfigMaps of a namespace, so that neither side copies any volume.
SELECTION = {"includeNamespaces": "bench", "includeResources": "configmaps", "selector": "app=bench", "volumes": "none"}
OPTIONS = ["--include-namespaces=bench", "--include-resources=configmaps", "--selector=app=bench", "--snapshot-volumes=false"]


def start_cluster(root, options):
    """Starts a cluster, and this program again inside its network, with these options."""
    say("Builds ochre, optimised (minutes the first time)")
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked", "--package", "ochre"], cwd=root, check=True)
    cluster = [root / "hack/cluster", "--name", CLUSTER]
    started = subprocess.call([*cluster, "up"])
    if started:
        return started
    try:
        return subprocess.call([*cluster, "run", "--", root / "hack/bench", "--inside", *options])
    finally:
        subprocess.call([*cluster, "down"])


def measure_beside_velero(root, ochre, runs, queues):
    """Measures; runs inside the cluster's network, with its KUBECONFIG."""
    prepare(root)
    served = engine(ochre)
    with served:
        compared, asked = one_after_the_other(runs)
        more, asked_in_queue = many_at_once(queues)
    table(["on a real cluster", "ochre", "Velero's command line", "ratio"], compared + more)
    table(["requests of a run", "alone", f"of {AT_ONCE} at once"], asked.beside(asked_in_queue))
    table(["beside finished Actions", "from start to ready", "memory", "at most"], rows_beside_finished(served, runs))


def prepare(root):
    """Installs what the engine needs, and makes what is backed up."""
    install(root)
    kubectl("create", "namespace", "bench")
    for number in range(10):
        kubectl("-n", "bench", "create", "configmap", f"map-{number}", "--from-literal=key=value")
    kubectl("-n", "bench", "label", "configmap", "--all", "app=bench")
    # Velero looks only every five minutes which kinds there are.
    kubectl("-n", "velero", "rollout", "restart", "deployment/velero")
    kubectl("-n", "velero", "rollout", "status", "deployment/velero", "--timeout=90s")


def one_after_the_other(runs):
    """One backup by each in turn; of ochre's, until Velero's end is in the status, and until the Action's own."""
    for number in range(2):
        run_ochre(f"warm-{number}")
        run_velero(f"warm-velero-{number}")
    known, whole, velero, asked = [], [], [], Requests()
    for number in range(runs):
        say(f"One backup by each, {number + 1} of {runs}")
        asked.begin()
        first, last = run_ochre(f"one-{number}")
        # What is cleared away after the end belongs to the run too.
        time.sleep(1)
        asked.end(1)
        known.append(first)
        whole.append(last)
        velero.append(run_velero(f"one-velero-{number}"))
    return [
        ("one backup, until the status says that Velero is done", spread(known), spread(velero), ratio(known, velero)),
        ("the same, until SUCCEEDED: what is in it has been read", spread(whole), spread(velero), ratio(whole, velero)),
    ], asked


def run_ochre(name):
    """Runs one backup; yields the seconds until Velero's end is in the status, and until the Action's is."""
    began = time.monotonic()
    create(name)
    operation(RUN, name=name)
    known = None
    while True:
        status = operation(GET, name=name)["action"]["status"]
        now = time.monotonic() - began
        if status["phase"] in ("FAILED", "CANCELED"):
            raise Failure(f"{name}: {status['message']}")
        steps = ((status["runner"] or {}).get("status") or {}).get("steps") or [{}]
        done = status["phase"] == "SUCCEEDED"
        if known is None and (done or steps[0].get("reason") == "Completed"):
            known = now
        if done:
            return known, now
        time.sleep(0.005)


def create(name, run=False):
    given = {"action": "backup", "name": name, **SELECTION}
    given = {"name": name, "run": run, "actionRef": {"path": "cap.interface.data.backup"}, "input": {"parameters": given}}
    operation(CREATE, **{"in": given})


def create_and_run(name):
    create(name, run=True)


def operation(query, **variables):
    answer = post(GRAPHQL, {"query": query, "variables": variables})
    if answer.get("errors"):
        raise Failure(json.dumps(answer["errors"]))
    return answer["data"]


def run_velero(name):
    began = time.monotonic()
    velero(name, "--wait")
    return time.monotonic() - began


def velero(name, *options):
    done = subprocess.run(["velero", "backup", "create", name, *OPTIONS, *options], text=True, capture_output=True)
    if done.returncode:
        raise Failure(f"velero: {done.stderr}")


def many_at_once(runs):
    """Queues many on each side, and waits for all; in turn the one and the other first, since what is there slows Velero."""
    ours, theirs, asked = [], [], Requests()
    for run in range(runs):
        say(f"{AT_ONCE} backups at once by each, {run + 1} of {runs}")
        for ochre in (run % 2 == 0, run % 2 == 1):
            if not ochre:
                theirs.append(queue(velero, ended_backups, f"many-velero-{run}-"))
                continue
            asked.begin()
            ours.append(queue(create_and_run, ended_actions, f"many-{run}-"))
            time.sleep(1)
            asked.end(AT_ONCE)
    rows = []
    for words, of in (
        (f"{AT_ONCE} backups at once, until the last has ended", 0),
        ("the same, from Velero's first start to its last end, as it says", 1),
    ):
        mine, its = [run[of] for run in ours], [run[of] for run in theirs]
        rows.append((words, spread(mine), spread(its), ratio(mine, its)))
    return rows, asked


def queue(begin, ended, prefix):
    """Begins many at once; yields the seconds until all have ended, and those of Velero's own work."""
    names = {f"{prefix}{number}" for number in range(AT_ONCE)}
    began = time.monotonic()
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(begin, names))
    while not names <= ended():
        time.sleep(0.5)
    whole = time.monotonic() - began
    statuses = [status for name, status in backup_statuses() if name in names]
    first = min(moment(status["startTimestamp"]) for status in statuses)
    last = max(moment(status["completionTimestamp"]) for status in statuses)
    return whole, (last - first).total_seconds()


def moment(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def backup_statuses():
    backups = json.loads(kubectl("-n", "velero", "get", "backups", "-o", "json"))["items"]
    return [(backup["metadata"]["name"], backup.get("status", {})) for backup in backups]


def ended_backups():
    phases = {name: status.get("phase", "") for name, status in backup_statuses()}
    return only_good(phases, "Completed")


def ended_actions():
    phases = {action["name"]: action["status"]["phase"] for action in operation(LIST)["actions"]}
    return only_good(phases, "SUCCEEDED")


def only_good(phases, good):
    """Takes the names of those that have ended well; one that has not fails the measurement."""
    bad = [f"{name}: {phase}" for name, phase in phases.items() if "failed" in phase.lower()]
    if bad:
        raise Failure(", ".join(bad[:5]))
    return {name for name, phase in phases.items() if phase == good}
