"""The engine beside many Actions that have ended: its start and its memory."""

import http.client
import json
import pathlib
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from conversation import Failure, get
from mariadb import kubectl, until
from table import say, spread

COUNTS = [1000, 10000]
MARK = "core.ochre.dev/uid"
PORT = 3100
PATH = "/apis/core.ochre.dev/v1alpha1/namespaces/bench/actions"


def rows_beside_finished(served, runs):
    """Starts the engine again and again beside 1,000, then 10,000 of them."""
    # Those that were made before would count too.
    template = json.loads(kubectl("get", "action", "one-0", "-o", "json"))
    kubectl("delete", "actions", "--all", "--wait")
    rows, there = [], 0
    for count in COUNTS:
        say(f"Makes {count} finished Actions")
        make(template, range(there, count))
        there = count
        starts, memory, peaks = [], [], []
        for number in range(runs):
            say(f"Starts beside {count}, {number + 1} of {runs}")
            began = time.monotonic()
            with served as process:
                starts.append(time.monotonic() - began)
                until_idle(process)
                memory.append(kept(process, "VmRSS"))
                peaks.append(kept(process, "VmHWM"))
        rows.append((f"{count:,}", spread(starts), spread(memory, "MiB"), spread(peaks, "MiB")))
    return rows


def make(template, numbers):
    """Makes copies of a finished Action, its status and all; each marked as seen, as if it had run itself."""
    proxy = subprocess.Popen(["kubectl", "proxy", f"--port={PORT}"], stdout=subprocess.DEVNULL)
    try:
        until("the proxy", lambda: get(f"http://127.0.0.1:{PORT}{PATH}?limit=1"))
        with ThreadPoolExecutor(4) as workers:
            list(workers.map(lambda start: make_some(template, numbers[start::4]), range(4)))
    finally:
        proxy.terminate()
        proxy.wait()


def make_some(template, numbers):
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    for number in numbers:
        bare = {key: template[key] for key in ("apiVersion", "kind", "spec")}
        action = send(connection, "POST", PATH, {**bare, "metadata": {"name": f"finished-{number}"}})
        action["metadata"]["annotations"] = {MARK: action["metadata"]["uid"]}
        action = send(connection, "PUT", f"{PATH}/finished-{number}", action)
        send(connection, "PUT", f"{PATH}/finished-{number}/status", {**action, "status": template["status"]})


def send(connection, method, path, body):
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = json.load(answer)
    if answer.status >= 300:
        raise Failure(f"{method} {path}: {said.get('message')}")
    return said


def until_idle(process):
    """Waits until a process has not worked for half a second."""
    before = None
    while (now := worked(process)) != before:
        before = now
        time.sleep(0.5)


def worked(process):
    return pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]


def kept(process, what):
    """Reads how much memory a process holds (VmRSS) or held at most (VmHWM), in MiB."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise Failure("the engine has ended")
