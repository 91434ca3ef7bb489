"""Builds the cluster's images from programs and Debian packages."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import oci
import programs
from needs import BUSYBOX, CACHE, Failed, call

VELERO = f"docker.io/velero/velero:{programs.VELERO}"
PLUGIN = "docker.io/local/velero-plugin-for-aws:1"
PAUSE = "docker.io/local/pause:1"
BUSYBOX_IMAGE = "docker.io/local/busybox:1"
MARIADB = "docker.io/local/mariadb:10.11"
# The demonstration's images, which nobody can fetch here: what they would do does not matter to a backup.
STAND_INS = ("docker.io/library/mongodb:4.4", "docker.io/library/frontend:1.0", "docker.io/library/shop:1.2")

_PACKAGES = (
    "mariadb-server-core", "mariadb-client-core", "mariadb-common", "mysql-common",
    "libmariadb3", "libaio1", "liburing2", "libsnappy1v5",
)
# It only waits, and lets no child of its pod become a zombie.
_PAUSE_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""
_MARIADB_START = """#!/bin/sh
# Makes the system tables at the first start; then it is the server.
set -e
data=/var/lib/mysql
if [ ! -d $data/mysql ]; then
  mariadb-install-db --no-defaults --user=mysql --datadir=$data --auth-root-authentication-method=normal --skip-test-db >/dev/null
fi
exec mariadbd --no-defaults --user=mysql --datadir=$data --socket=/run/mysqld/mysqld.sock \\
  --innodb-buffer-pool-size=16M --innodb-log-file-size=8M --performance-schema=OFF
"""


def path(image):
    """Names the file of an image, built or not."""
    made_of = [pathlib.Path(__file__), pathlib.Path(oci.__file__), *(programs.path(name).name for name in programs.GO)]
    return CACHE / "images" / f"{image.rsplit('/', 1)[1].replace(':', '_')}-{programs.digest(*made_of)}.tar"


def build(say):
    """Builds what is missing."""
    (CACHE / "images").mkdir(parents=True, exist_ok=True)
    for image, (fill, options) in IMAGES.items():
        if path(image).exists():
            continue
        say(f"builds the image {image}")
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            root = pathlib.Path(folder) / "root"
            root.mkdir()
            fill(root)
            oci.write(image, root, path(image), **options)


def _pause(root):
    source = root.parent / "pause.c"
    source.write_text(_PAUSE_SOURCE)
    call("gcc", "-Os", "-static", "-o", root / "pause", source)


def _base(root):
    for folder in ("bin", "etc", "proc", "sys", "dev", "var", "run", "root", "tmp"):
        (root / folder).mkdir()
    (root / "tmp").chmod(0o1777)
    users = (("root", 0, "/root"), ("mysql", 999, "/var/lib/mysql"), ("nobody", 65534, "/"))
    (root / "etc/passwd").write_text("".join(f"{name}:x:{n}:{n}::{home}:/bin/sh\n" for name, n, home in users))
    (root / "etc/group").write_text("".join(f"{name}:x:{n}:\n" for name, n, _ in users))


def _busybox(root):
    _base(root)
    _shell(root)


def _shell(root):
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in call(BUSYBOX, "--list").split():
        if not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")


def _velero(root):
    """Server, node-agent, data movers and the container that restored pods wait for are all this image."""
    _base(root)
    for name in ("velero", "velero-restore-helper"):
        shutil.copy(programs.path(name), root / name)


def _plugin(root):
    """`velero install` mounts a folder at /target, and the plugin copies itself there."""
    _base(root)
    shutil.copy(BUSYBOX, root / "bin/cp")
    (root / "plugins").mkdir()
    shutil.copy(programs.path("velero-plugin-for-aws"), root / "plugins/velero-plugin-for-aws")


def _mariadb(root):
    _base(root)
    (root / "usr").mkdir()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as packages:
        # apt fetches as a user of its own, who must be able to write here.
        os.chmod(packages, 0o777)
        call("apt-get", "download", "-q", *_PACKAGES, cwd=packages)
        for package in pathlib.Path(packages).glob("*.deb"):
            call("dpkg-deb", "-x", package, root)
    for unread in ("doc", "man", "lintian"):
        shutil.rmtree(root / "usr/share" / unread, ignore_errors=True)
    _shell(root)
    _libraries(root, "usr/sbin/mariadbd", "usr/bin/mariadb", "usr/bin/my_print_defaults", "usr/bin/resolveip")
    for folder in ("run/mysqld", "var/lib/mysql"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        os.chown(root / folder, 999, 999)
    (root / "run.sh").write_text(_MARIADB_START)
    (root / "run.sh").chmod(0o755)


def _libraries(root, *programs_of_it):
    """Copies the libraries that the machine itself lends."""
    own = root / "usr/lib/x86_64-linux-gnu"
    for name in programs_of_it:
        listed = subprocess.run(
            ["ldd", root / name], text=True, capture_output=True, env={**os.environ, "LD_LIBRARY_PATH": str(own)}
        )
        for line in listed.stdout.splitlines():
            if "not found" in line:
                raise Failed(f"{name} needs a library that this machine lacks: {line.strip()}")
            found = next((word for word in line.split() if word.startswith("/")), None)
            if found and not found.startswith(str(root)):
                there = root / found.lstrip("/")
                there.parent.mkdir(parents=True, exist_ok=True)
                if not there.exists():
                    shutil.copy(found, there)


# image: (what fills its root, how it runs)
IMAGES = {
    PAUSE: (_pause, {"entrypoint": ["/pause"]}),
    BUSYBOX_IMAGE: (_busybox, {"command": ["/bin/sh"]}),
    VELERO: (_velero, {"entrypoint": ["/velero"]}),
    PLUGIN: (_plugin, {"entrypoint": ["/bin/cp", "/plugins/velero-plugin-for-aws", "/target/"]}),
    MARIADB: (_mariadb, {"command": ["/run.sh"], "owners": True}),
    **{image: (_pause, {"entrypoint": ["/pause"]}) for image in STAND_INS},
}
