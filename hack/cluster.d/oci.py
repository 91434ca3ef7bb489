"""Writes a folder as a container image: an OCI layout of one layer in a tar, without a registry or a daemon."""

import hashlib
import io
import json
import os
import pathlib
import platform
import tarfile
import tempfile

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MEDIA = "application/vnd.oci.image"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(name, root, out, entrypoint=None, command=None, user=None, owners=False):
    """Writes the image `name` of the folder `root` to the file `out`.

    The same files make the same image: they have no age, and belong to root but for `owners`.
    """
    out = pathlib.Path(out)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        layer = pathlib.Path(scratch) / "layer.tar"
        _layer(root, layer, owners)
        digest, size = _digest(layer), layer.stat().st_size
        run = {"Env": [_PATH], "Entrypoint": entrypoint, "Cmd": command, "User": user}
        config = _blob({
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {key: value for key, value in run.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        })
        manifest = _blob({
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": _points_to(f"{_MEDIA}.config.v1+json", config),
            "layers": [{"mediaType": f"{_MEDIA}.layer.v1.tar", "digest": digest, "size": size}],
        })
        index = {"schemaVersion": 2, "manifests": [{
            **_points_to(f"{_MEDIA}.manifest.v1+json", manifest),
            "annotations": {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
            },
        }]}
        whole = pathlib.Path(scratch) / "image.tar"
        with tarfile.open(whole, "w") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", json.dumps(index).encode())
            for blob in (config, manifest):
                _add(tar, _place(_sha(blob)), blob)
            tar.add(layer, arcname=_place(digest))
        os.replace(whole, out)


def _layer(root, out, owners):
    def anonymous(entry):
        # Numbers count; the names of this machine's users do not.
        entry.uname = entry.gname = ""
        entry.mtime = 0
        if not owners:
            entry.uid = entry.gid = 0
        return entry

    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(os.listdir(root)):
            tar.add(pathlib.Path(root) / entry, arcname=entry, filter=anonymous)


def _digest(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _sha(blob):
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _blob(value):
    return json.dumps(value).encode()


def _points_to(media, blob):
    return {"mediaType": media, "digest": _sha(blob), "size": len(blob)}


def _place(digest):
    return "blobs/" + digest.replace(":", "/")


def _add(tar, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
