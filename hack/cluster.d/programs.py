"""Builds the programs of the cluster, each kept under the digest of what it is built from."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from needs import CACHE, Failed

HERE = pathlib.Path(__file__).parent
KUBERNETES = "1.36.4"
VELERO = "v1.18.3"
# It keeps each object as a plain file, so that a test can look at it, lose it or damage it.
S3S_FS = "0.14.1"

_velero = "github.com/vmware-tanzu/velero"
_plugin = "github.com/vmware-tanzu/velero-plugin-for-aws"


def _version_flags():
    """Without them the API server calls itself v0.0.0."""
    major, minor, _ = KUBERNETES.split(".")
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        yield f"-X {package}.gitVersion=v{KUBERNETES} -X {package}.gitMajor={major}"
        yield f"-X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"


# program: (module beside this file, package, flags of the linker)
GO = {
    "kube": ("kube", ".", " ".join(_version_flags())),
    "velero": ("velero", f"{_velero}/cmd/velero", f"-X {_velero}/pkg/buildinfo.Version={VELERO}"),
    "velero-restore-helper": ("velero", f"{_velero}/cmd/velero-restore-helper", ""),
    "velero-plugin-for-aws": ("plugin", f"{_plugin}/velero-plugin-for-aws", ""),
}


def digest(*parts):
    """Makes a short name out of everything that something is built from."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.read_bytes() if isinstance(part, pathlib.Path) else str(part).encode())
        whole.update(b"\0")
    return whole.hexdigest()[:12]


def path(name):
    """Names the file of a program, built or not."""
    if name == "s3s-fs":
        return CACHE / "programs" / f"s3s-fs-{S3S_FS}"
    module, package, flags = GO[name]
    sources = sorted(file for file in (HERE / module).iterdir() if file.is_file())
    return CACHE / "programs" / f"{name}-{digest(package, flags, *sources)}"


def build(say):
    """Builds what is missing."""
    (CACHE / "programs").mkdir(parents=True, exist_ok=True)
    for name in [*GO, "s3s-fs"]:
        wanted = path(name)
        if wanted.exists():
            continue
        say(f"builds {name} (minutes, once)")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            built = _cargo(folder) if name == "s3s-fs" else _go(name, pathlib.Path(folder) / name)
            # Renamed when it is whole: what has its name is never half of it.
            shutil.move(built, wanted)
        say(f"built {name} in {time.monotonic() - began:.0f} s")


def _go(name, out):
    module, package, flags = GO[name]
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {flags}", "-o", str(out), package]
    _run(command, cwd=HERE / module, env={**os.environ, "CGO_ENABLED": "0"})
    return out


def _cargo(folder):
    command = ["cargo", "install", "s3s-fs", "--features", "binary", "--version", S3S_FS, "--locked", "--root", folder]
    _run(command, cwd=folder, env={key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"})
    return pathlib.Path(folder) / "bin" / "s3s-fs"


def _run(command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise Failed(f"`{' '.join(command[:3])} …` failed:\n" + "\n".join(done.stdout.splitlines()[-20:]))
