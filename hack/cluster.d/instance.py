"""One cluster: its namespaces, its processes, and everything away again."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import images
import programs
import settings
from needs import CACHE, Failed, call
from settings import NODE

_CGROUPS = pathlib.Path("/sys/fs/cgroup")
# What runs first in the namespaces of a cluster: with its end, all of it ends.
_INIT = """
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount --bind {run}/var-lib /var/lib
mount --bind {run}/var-log /var/log
touch {run}/init.ready
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done
"""


class Instance:
    """A cluster by its name."""

    def __init__(self, name):
        self.name = name
        self.space = f"ochre-{name}"
        self.run = CACHE / "runs" / name
        self.kubeconfig = self.run / "admin.kubeconfig"

    # --- what it is doing

    def is_up(self):
        return _lives(self._init())

    def components(self):
        every = [*programs.GO, "s3s-fs"]
        return settings.components(self.run, {name: str(programs.path(name)) for name in every})

    def alive(self, component):
        return self.is_up() and _lives(_read_pid(self.run / f"{component}.pid"))

    def inside(self, *command):
        """Words a command so that it runs in the network of the cluster."""
        return ["nsenter", f"--net=/run/netns/{self.space}", *map(str, command)]

    def kubectl(self, *arguments, **options):
        return call(*self.inside("kubectl", "--kubeconfig", self.kubeconfig, *arguments), **options)

    def says(self, *arguments):
        """Asks kubectl and takes an error for an empty answer."""
        try:
            return self.kubectl(*arguments).strip()
        except Failed:
            return ""

    def environment(self):
        """What programs need to find the cluster."""
        path = f"{self.run}/bin:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig), "OCHRE_CLUSTER": self.name, "OCHRE_CLUSTER_RUN": str(self.run)}

    # --- up

    def up(self, say):
        """Starts everything; what a failed start has begun is taken away again."""
        shutil.rmtree(self.run, ignore_errors=True)
        began = time.monotonic()
        try:
            self._prepare()
            self._namespaces()
            self.start("containerd")
            self.start("etcd")
            self.start("apiserver")
            self._wait(20, "containerd", lambda: self._ctr("version"))
            importing = [self._begin_import(images.path(image)) for image in images.IMAGES]
            self._wait(60, "the API server", lambda: self.kubectl("get", "--raw", "/readyz"))
            for component in ("controller-manager", "scheduler", "kubelet", "s3"):
                self.start(component)
            self._wait(60, "the node", lambda: self.kubectl("wait", "--for=condition=Ready", "node/node1", "--timeout=1s"))
            for process in importing:
                if process.wait():
                    raise Failed(f"an image could not be imported; see {self.run}/log/import.log")
            self._wait(60, "the default ServiceAccount", lambda: self.kubectl("-n", "default", "get", "serviceaccount", "default"))
            for component in self.components():
                # A crashed scheduler would say nothing at all.
                if not self.alive(component):
                    raise Failed(f"{component} has died:\n{self._last_words(component)}")
            say(f"Kubernetes {programs.KUBERNETES} after {time.monotonic() - began:.0f} s")
            self._velero()
            say(f"Velero {programs.VELERO} after {time.monotonic() - began:.0f} s")
        except BaseException:
            self.down()
            raise

    def _prepare(self):
        for folder in ("bin", "pki", "log", "s3/velero", "var-lib/kubelet", "var-lib/cni", "var-log", "cni", "volumes"):
            (self.run / folder).mkdir(parents=True)
        _certificates(self.run)
        written = {
            "cni/10-pods.conflist": settings.network(self.run),
            "kubelet.json": settings.kubelet(self.run, self.space),
            "audit.json": settings.AUDIT,
        }
        for file, content in written.items():
            (self.run / file).write_text(json.dumps(content, indent=1))
        (self.run / "containerd.toml").write_text(settings.containerd(self.run))
        (self.run / "init.sh").write_text(_INIT.format(run=self.run))
        # For people: Velero's own command line.
        (self.run / "bin/velero").symlink_to(programs.path("velero"))

    def _namespaces(self):
        call("ip", "netns", "add", self.space)
        for step in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{NODE}/32", "dev", "lo"],
            ["addr", "add", f"{settings.SERVICE}/32", "dev", "lo"],
            ["route", "add", settings.SERVICES, "dev", "lo", "src", NODE],
        ):
            call("ip", "-n", self.space, *step)
        for folder in self._cgroups():
            folder.mkdir(exist_ok=True)
            # A new cpuset is empty, and takes no process.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (folder / file).exists():
                    (folder / file).write_text((folder.parent / file).read_text())
        init = self._detach(
            "init",
            self.inside("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", self.run / "init.sh"),
        )
        self._wait(10, "the first process", lambda: (self.run / "init.ready").exists() or _fail())
        (self.run / "init.pid").write_text(str(_child(init)))

    def _velero(self):
        """Installs Velero as its own command line does."""
        credentials = self.run / "credentials"
        credentials.write_text(f"[default]\naws_access_key_id={settings.KEY}\naws_secret_access_key={settings.SECRET}\n")
        self.kubectl("create", "namespace", "velero")
        # By itself a node-agent copies one volume at a time.
        self.kubectl("-n", "velero", "create", "configmap", "node-agent", '--from-literal=config.json={"loadConcurrency":{"globalConfig":4}}')
        call(
            *self.inside(programs.path("velero"), "install", "--kubeconfig", self.kubeconfig, "--namespace", "velero"),
            "--image", images.VELERO, "--provider", "aws", "--plugins", images.PLUGIN, "--bucket", "velero",
            "--secret-file", credentials, "--use-volume-snapshots=false", "--use-node-agent", "--node-agent-configmap", "node-agent",
            "--concurrent-backups", "4", "--backup-location-config", f"region=us-east-1,s3ForcePathStyle=true,s3Url={settings.S3}",
            log=self.run / "log/velero-install.log",
        )
        # `local` is the default; `sandbox` is what the sandbox's own class is called.
        for name in ("local", "sandbox"):
            storage = {
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": str(name == "local").lower()}},
                "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
            }
            self.kubectl("apply", "-f", "-", input=json.dumps(storage))
        # By itself Velero looks once a minute whether the store still answers.
        often = '{"spec":{"validationFrequency":"5s"}}'
        self.kubectl("-n", "velero", "patch", "backupstoragelocation", "default", "--type=merge", "--patch", often)
        self._wait(90, "the backup location", lambda: self.location() == "Available" or _fail())
        ready = ("-n", "velero", "get", "daemonset", "node-agent", "-o", "jsonpath={.status.numberReady}")
        self._wait(60, "the node-agent", lambda: self.says(*ready) == "1" or _fail())

    def location(self):
        return self.says("-n", "velero", "get", "backupstoragelocation", "default", "-o", "jsonpath={.status.phase}")

    # --- its parts

    def start(self, component):
        """Starts a part, which must not be running."""
        command = self.components()[component]
        inner = ["nsenter", "-t", self._init(), "-n", "-m", "-p", "--wd=/", *command]
        (self.run / f"{component}.pid").write_text(str(self._detach(component, inner).pid))

    def stop(self, component):
        """Kills a part at once; etcd may end by itself, since without fsync it keeps what it was told in memory."""
        holder = _read_pid(self.run / f"{component}.pid")
        if not _lives(holder):
            return
        # nsenter waits for the part, its only child, and ends with it.
        child = _child_of(holder)
        os.kill(child or holder, signal.SIGTERM if component == "etcd" else signal.SIGKILL)
        self._wait(10, f"the end of {component}", lambda: not _lives(holder) or _fail())

    def load(self, tar):
        """Imports an image."""
        self._ctr("images", "import", pathlib.Path(tar).resolve())

    # --- down

    def down(self):
        """Ends every process, and with them every mount; then removes what has a name."""
        init = self._init()
        if _lives(init):
            os.kill(init, signal.SIGKILL)
            _until(10, lambda: not _lives(init))
        if pathlib.Path(f"/run/netns/{self.space}").exists():
            subprocess.run(["ip", "netns", "del", self.space], capture_output=True)
        left = [folder for folder in self._cgroups() if folder.exists() and not _until(10, lambda: _remove_cgroup(folder))]
        _until(10, lambda: _remove(self.run))
        if self.run.exists():
            left.append(self.run)
        if left:
            raise Failed("left behind: " + ", ".join(map(str, left)))

    # --- small things

    def _init(self):
        return _read_pid(self.run / "init.pid")

    def _cgroups(self):
        return [folder / self.space for folder in _CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]

    def _detach(self, name, command):
        with open(self.run / f"log/{name}.log", "ab") as log:
            return subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )

    def _in_all(self, *command):
        return ["nsenter", "-t", str(self._init()), "-n", "-m", "-p", "--wd=/", *map(str, command)]

    def _ctr(self, *arguments):
        return call(*self._in_all("ctr", "--address", self.run / "containerd.sock", "--namespace", "k8s.io", *arguments))

    def _begin_import(self, tar):
        return self._detach("import", self._in_all("ctr", "--address", self.run / "containerd.sock", "--namespace", "k8s.io", "images", "import", tar))

    def _last_words(self, component):
        file = self.run / f"log/{component}.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-10:]) if file.exists() else ""

    def _wait(self, seconds, what, attempt):
        def works():
            try:
                attempt()
                return True
            except Failed:
                return False

        if not _until(seconds, works):
            words = "\n".join(f"{part}: {self._last_words(part)}" for part in self.components() if not self.alive(part))
            raise Failed(f"{what} did not come within {seconds} s\n{words}".rstrip())


def names():
    """Lists the clusters that have a folder."""
    runs = CACHE / "runs"
    return sorted(folder.name for folder in runs.iterdir()) if runs.exists() else []


def _certificates(run):
    """Makes one authority, and a certificate for everybody who speaks."""
    pki = run / "pki"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    call("openssl", "req", "-x509", *key, "-keyout", pki / "ca.key", "-out", pki / "ca.crt", "-subj", "/CN=ochre-test")

    def issue(name, subject, extension):
        (pki / "extension").write_text(extension)
        call("openssl", "req", *key[:-2], "-keyout", pki / f"{name}.key", "-out", pki / f"{name}.csr", "-subj", subject)
        call(
            "openssl", "x509", "-req", "-days", "30", "-in", pki / f"{name}.csr", "-out", pki / f"{name}.crt",
            "-CA", pki / "ca.crt", "-CAkey", pki / "ca.key", "-CAcreateserial", "-extfile", pki / "extension",
        )

    hosts = f"IP:127.0.0.1,IP:{NODE},IP:{settings.SERVICE},DNS:localhost,DNS:kubernetes.default.svc"
    issue("server", "/CN=kube-apiserver", f"subjectAltName={hosts}")
    issue("kubelet-server", "/O=system:nodes/CN=system:node:node1", f"subjectAltName=IP:{NODE},DNS:node1")
    issue("apiserver", "/O=system:masters/CN=apiserver", "extendedKeyUsage=clientAuth")
    people = {
        "admin": "/O=system:masters/CN=admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
        "kubelet": "/O=system:nodes/CN=system:node:node1",
    }
    for name, subject in people.items():
        issue(name, subject, "extendedKeyUsage=clientAuth")
        _kubeconfig(run, name)
    call("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pki / "accounts.key")
    call("openssl", "ec", "-in", pki / "accounts.key", "-pubout", "-out", pki / "accounts.pub")


def _kubeconfig(run, name):
    entry = lambda key, value: [{"name": "ochre-test", key: value}]
    (run / f"{name}.kubeconfig").write_text(json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "ochre-test",
        "clusters": entry("cluster", {"server": f"https://{NODE}:443", "certificate-authority": f"{run}/pki/ca.crt"}),
        "users": entry("user", {"client-certificate": f"{run}/pki/{name}.crt", "client-key": f"{run}/pki/{name}.key"}),
        "contexts": entry("context", {"cluster": "ochre-test", "user": "ochre-test"}),
    }))


def _until(seconds, works):
    end = time.monotonic() + seconds
    while not works():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _fail():
    raise Failed("not yet")


def _read_pid(file):
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _lives(pid):
    if pid is None:
        return False
    try:
        # A zombie has ended too.
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _child_of(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _child(process):
    child = _child_of(process.pid)
    if child is None:
        raise Failed("the namespaces could not be made")
    return child


def _remove_cgroup(folder):
    for inner, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(inner)
        except OSError:
            pass
    return not folder.exists()


def _remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
