"""The onnxruntime-web files in the repository have the hashes and the licence that their record names."""

import gzip
import hashlib
import json

from widgets.explorer.renew_runtime import RECORD, RUNTIME, WANTED


def test_files_have_the_recorded_hashes():
    record = json.loads(RECORD.read_text())
    assert record["package"] == "onnxruntime-web"
    assert set(record["sha256"]) == {*WANTED, "LICENSE", "ThirdPartyNotices.txt"}
    for name, expected in record["sha256"].items():
        content = gzip.decompress((RUNTIME / f"{name}.gz").read_bytes())
        assert hashlib.sha256(content).hexdigest() == expected, name


def test_the_licence_is_there():
    assert b"Permission is hereby granted" in gzip.decompress((RUNTIME / "LICENSE.gz").read_bytes())


def test_explorer_adds_at_most_5_mb():
    folder = RUNTIME.parent
    assert (
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        < 5e6
    )
