"""The gateway under load, beside the API server and a GraphQL server of others, in turn: the ratios count."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
from datetime import datetime, timezone

from beside_velero import GRAPHQL, prepare, run_ochre
from conversation import Failure
from finished import PATH, kept, make
from hostile import TIMES, rows_of_hostile
from mariadb import engine, kubectl
from table import ratio, say, spread, table

COUNT = 10000
SUBSCRIBERS = 1000
FOLDER = "bench-gateway"
FORTIO = "v1.67.1"
HERE = pathlib.Path(__file__).resolve().parent / "gateway"


def fetch(target):
    """Gets the load generators from npm and by Go, which are not reached from inside the cluster's network."""
    work = target / FOLDER
    work.mkdir(parents=True, exist_ok=True)
    for file in HERE.iterdir():
        shutil.copy(file, work)
    subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit"], cwd=work, check=True)
    command = ["go", "install", f"fortio.org/fortio@{FORTIO}"]
    subprocess.run(command, env={**os.environ, "GOBIN": str(work.resolve())}, check=True)


def measure_gateway(root, target, runs):
    """Measures; runs inside the cluster's network, with its KUBECONFIG."""
    prepare(root)
    served = engine(target / "release" / "ochre")
    hostile = rows_of_hostile(root, served)
    with served:
        run_ochre("one-0")
    template = json.loads(kubectl("get", "action", "one-0", "-o", "json"))
    say(f"Makes {COUNT} finished Actions")
    make(template, range(COUNT))
    with served as process:
        measured = load(target / FOLDER, runs)
        memory = [kept(process, "VmHWM")]
    with without_lead(served):
        created = load(target / FOLDER, runs, creates=True)
    rows = [row(what, sides) for what, sides in measured["results"].items()]
    rows += [row(f"{what}, which nobody renders", sides) for what, sides in created["results"].items()]
    table(["beside 10,000 Actions", "ochre, a second", "p99", "API server", "p99", "Yoga", "p99", "ochre : API server", "ochre : Yoga"], rows)
    paced = [paced_row(what, sides["paced"]) for what, sides in measured["results"].items() if "paced" in sides]
    table(["at ten times the API server's rate", "ochre, a second", "median", "p99"], paced)
    delivery = measured["delivery"]
    print(f"\n{SUBSCRIBERS:,} subscribers hear of a change within {delivery['p50']:.0f} ms (median), {delivery['p99']:.0f} ms (p99).")
    print(f"The engine's memory, at most: {spread(memory, 'MiB')}.")
    table([f"sent {TIMES} times to do harm", "answered with", "time", "memory grows by"], hostile)


def row(what, sides):
    cells = [what]
    for side in ("ochre", "api", "yoga"):
        measured = sides.get(side)
        if measured is None:
            cells += ["", ""]
            continue
        cells += [spread([run["rate"] for run in measured], "/s"), spread([run["p99"] for run in measured], "ms")]
    rate = lambda side: [run["rate"] for run in sides[side]]
    cells.append(ratio(rate("ochre"), rate("api")))
    cells.append(ratio(rate("ochre"), rate("yoga")) if "yoga" in sides else "")
    return cells


def paced_row(what, runs):
    return [what, *(spread([run[key] for run in runs], unit) for key, unit in (("rate", "/s"), ("p50", "ms"), ("p99", "ms")))]


def without_lead(served):
    """The engine as one that follows: its gateway alone."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "ochre", "namespace": "ochre-system"},
        "spec": {
            "holderIdentity": "nobody",
            "leaseDurationSeconds": 3600,
            "renewTime": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
    kubectl("create", "-f", "-", input=json.dumps(lease))
    served.command += ["--leader-elect=true", "--namespace", "ochre-system"]
    return served


def load(work, runs, creates=False):
    """Leads the load generator."""
    asked = {
        "graphql": GRAPHQL,
        "api": api_server(),
        "path": PATH,
        "names": [f"finished-{number}" for number in range(COUNT)],
        "runs": runs,
        "seconds": 5,
        "connections": 200,
        "subscribers": SUBSCRIBERS,
        "creates": creates,
    }
    done = subprocess.run(["node", "load.mjs"], cwd=work, input=json.dumps(asked), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure("the load generator failed")
    return json.loads(done.stdout)


def api_server():
    """Says how the API server is reached, past any proxy, and who asks."""
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    decoded = lambda text: base64.b64decode(text).decode()
    return {
        "url": cluster["server"],
        "ca": decoded(cluster["certificate-authority-data"]),
        "cert": decoded(user["client-certificate-data"]),
        "key": decoded(user["client-key-data"]),
    }
