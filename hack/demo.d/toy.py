"""The main job in the sandbox: a toy application, its loss, its return."""

import json
import subprocess

from conversation import Failure, detail, get, run, say, send

SELECTOR = "helm.sh/chart=mongodb-10.3.1"
# (path, kind) of what the application is made of.
KINDS = [
    ("apis/apps/v1/statefulsets", "StatefulSet"),
    ("api/v1/services", "Service"),
    ("api/v1/configmaps", "ConfigMap"),
    ("api/v1/secrets", "Secret"),
    ("api/v1/persistentvolumeclaims", "PersistentVolumeClaim"),
    ("api/v1/persistentvolumes", "PersistentVolume"),
]
# What Velero strips or sets anew, and what the cluster assigns.
ASSIGNED = ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences", "selfLink"]
ADDED_LABELS = ["velero.io/backup-name", "velero.io/restore-name"]
BINDING = ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"]


def show_in_sandbox(ochre):
    """Starts a sandbox on free ports and shows the main job in it."""
    command = [ochre, "--log", "warn", "sandbox", "--listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"]
    # A process group of its own: Ctrl-C reaches us alone, and we end the sandbox.
    sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        line = sandbox.stdout.readline()
        if not line:
            raise Failure(f"the sandbox did not start: {sandbox.stderr.read()}")
        show(json.loads(line))
    finally:
        sandbox.terminate()
        try:
            sandbox.wait(timeout=15)
        except subprocess.TimeoutExpired:
            sandbox.kill()


def show(sandbox):
    graphql, cluster = sandbox["graphql"], sandbox["cluster"]
    say(f"The sandbox serves GraphQL at {graphql} and a Kubernetes API at {cluster}")
    before = application(cluster)
    bystanders = count_bystanders(cluster)
    say(f"The application ({SELECTOR}) has {len(before)} objects beside {bystanders} others")
    for name in sorted(before):
        detail(name)

    say("Backup: create, run, watch, delete")
    status = run(graphql, sandbox["operations"]["backup"], "CreateMongoDBBackup")
    step = status["runner"]["status"]["steps"][0]
    say(f"The backup {step['outputs']['name']} holds {step['outputs']['items']} objects")
    for kind, count in step["outputs"]["kinds"].items():
        detail(f"{count} {kind}")

    say("The application is lost")
    lose(cluster)
    left = application(cluster)
    if left:
        raise Failure(f"still there: {', '.join(sorted(left))}")

    say("Restore: create, run, watch, delete")
    status = run(graphql, sandbox["operations"]["restore"], "RestoreMongoDBBackup")
    say(f"What came back: {status['message']}")
    compare(before, application(cluster))
    if count_bystanders(cluster) != bystanders:
        raise Failure("the bystanders were touched")
    say("Every object of the application is back and equal, and the bystanders were left alone")


def application(cluster):
    """Reads the labelled objects, by kind and name."""
    found = {}
    for path, kind in KINDS:
        for item in get(f"{cluster}/{path}?labelSelector={SELECTOR.replace('=', '%3D').replace('/', '%2F')}")["items"]:
            metadata = item["metadata"]
            place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
            found[f"{kind} {place}{metadata['name']}"] = item
    return found


def count_bystanders(cluster):
    labelled = len(application(cluster))
    return sum(len(get(f"{cluster}/{path}")["items"]) for path, _ in KINDS) - labelled


def lose(cluster):
    for path, kind in KINDS:
        group, plural = path.rsplit("/", 1)
        for name, item in application(cluster).items():
            if name.split(" ")[0] != kind:
                continue
            metadata = item["metadata"]
            place = f"namespaces/{metadata['namespace']}/" if "namespace" in metadata else ""
            send("DELETE", f"{cluster}/{group}/{place}{plural}/{metadata['name']}")
            detail(f"deleted {name}")


def compare(before, after):
    missing = sorted(set(before) - set(after))
    if missing:
        raise Failure(f"did not come back: {', '.join(missing)}")
    for name in sorted(before):
        old, new = plain(before[name]), plain(after[name])
        if old != new:
            raise Failure(f"{name} came back different:\n  was {json.dumps(old)}\n  is  {json.dumps(new)}")
        detail(f"back: {name}")


def plain(item):
    """Takes away what Velero strips, and what the cluster assigns."""
    item = json.loads(json.dumps(item))
    item.pop("status", None)
    metadata, spec = item["metadata"], item.get("spec", {})
    for field in ASSIGNED:
        metadata.pop(field, None)
    for label in ADDED_LABELS:
        metadata.get("labels", {}).pop(label, None)
    for annotation in BINDING:
        metadata.get("annotations", {}).pop(annotation, None)
    if not metadata.get("annotations"):
        metadata.pop("annotations", None)
    for field in ["clusterIP", "clusterIPs", "claimRef", "volumeName"]:
        spec.pop(field, None)
    return item
