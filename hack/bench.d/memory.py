"""What the engine holds in memory while 16 restores read the files of one large backup at once."""

import gzip
import io
import json
import pathlib
import random
import subprocess
import tarfile
import tempfile
import time
import urllib.request

from conversation import Failure, post
from table import say, spread, table

RUNS = 16
SIZE = 60 * 1024 * 1024
# What the backup holds: how it is called, how large each object is.
SHAPES = [("objects of 1 KiB", 1024), ("objects of 100 KiB", 100 * 1024)]
CREATE = """mutation Create($name: String!, $parameters: String!) { createAction(in: {
  name: $name, run: true, actionRef: {path: "cap.interface.data.backup"}, input: {parameters: $parameters}}) { name } }"""


def measure_memory(root, target, runs):
    say("Builds, optimised (minutes the first time)")
    build = ["cargo", "build", "--release", "--quiet", "--locked", "--package", "ochre"]
    subprocess.run(build, cwd=root, check=True)
    binary = target / "release" / "ochre"
    rows = []
    for words, size in SHAPES:
        figures = []
        for number in range(runs):
            say(f"{RUNS} restores of a backup of 60 MiB in {words}, {number + 1} of {runs}")
            figures.append(peak(binary, size))
        rows.append((words, *(spread(list(each), unit) for each, unit in zip(zip(*figures), ["MiB", "MiB", "s"]))))
    table(["60 MiB of", "before", f"at most while {RUNS} restores read", "until all have ended"], rows)


def peak(binary, size):
    """Gives what the engine held before and at most, and how long it took."""
    with tempfile.TemporaryDirectory() as folder:
        data, config = pathlib.Path(folder) / "data", pathlib.Path(folder) / "kubeconfig"
        sandbox = [binary, "sandbox", "--api-only", "--cluster-listen=127.0.0.1:0", f"--data={data}",
                   f"--kubeconfig-out={config}", "--velero-step-delay=0s"]
        engine = [binary, "serve", "--authentication=anonymous", "--listen=127.0.0.1:3199", "--health-address=127.0.0.1:3198",
                  f"--kubeconfig={config}", "--log=warn"]
        with Process(sandbox) as cluster:
            cluster.line()
            with Process(engine) as engine:
                graphql = "http://127.0.0.1:3199/graphql"
                until(lambda: urllib.request.urlopen("http://127.0.0.1:3198/readyz", timeout=5))
                create(graphql, "save", {"action": "backup", "name": "large", "includeNamespaces": "chat", "volumes": "none"})
                wait(graphql, ["save"])
                fill(data, size)
                before = held(engine, "VmHWM")
                began = time.monotonic()
                names = [f"back-{number}" for number in range(RUNS)]
                for name in names:
                    # Nothing is selected: what is measured is how the engine finds that out.
                    create(graphql, name, {"action": "restore", "name": "large", "selector": "nothing=such"})
                wait(graphql, names)
                return before, held(engine, "VmHWM"), time.monotonic() - began


def fill(data, size):
    """Puts a large list and a large tarball in the place of a backup's own."""
    noise = random.Random(size)
    count = SIZE // size
    names = [f"chat/map-{number}" for number in range(count)]
    for path in data.rglob("*-resource-list.json.gz"):
        path.write_bytes(gzip.compress(json.dumps({"v1/ConfigMap": names}).encode()))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for number in range(count):
            body = json.dumps({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": f"map-{number}", "namespace": "chat", "labels": {"app": "large", "part": str(number)}},
                "data": {"text": noise.randbytes(size // 2 - 100).hex()},
            }).encode()
            entry = tarfile.TarInfo(f"resources/configmaps/namespaces/chat/map-{number}.json")
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    found = list(data.rglob("large.tar.gz"))
    if not found:
        raise Failure("the backup has no tarball")
    found[0].write_bytes(packed.getvalue())


def create(graphql, name, parameters):
    answer = post(graphql, {"query": CREATE, "variables": {"name": name, "parameters": json.dumps(parameters)}})
    if answer.get("errors"):
        raise Failure(json.dumps(answer["errors"]))


def wait(graphql, names):
    deadline = time.monotonic() + 600
    for name in names:
        query = f'{{ action(name: "{name}") {{ status {{ phase message }} }} }}'
        while True:
            status = post(graphql, {"query": query})["data"]["action"]["status"]
            if status["phase"] in ("SUCCEEDED", "FAILED", "CANCELED"):
                break
            if time.monotonic() > deadline:
                raise Failure(f"{name} is {status}")
            time.sleep(0.2)
        if name != "save" and "select none of the" not in (status["message"] or ""):
            raise Failure(f"{name} ended otherwise: {status}")


def until(call):
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except (OSError, ValueError, Failure):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def held(process, what):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise Failure("the engine has ended")


class Process:
    """A program that is ended with the block."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def line(self):
        return json.loads(self.process.stdout.readline())
