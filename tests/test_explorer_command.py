"""`python -m birefnet_lite explore`: what it writes and serves, and what it refuses."""

import http.client
import os
import re
import subprocess
import sys
import threading

import pytest

import birefnet_lite
from birefnet_lite.__main__ import main
from birefnet_lite.photos import load_photo
from widgets.explorer.graph import SHIPPED
from widgets.explorer.page import RUNTIME, write_folder
from widgets.explorer.server import make_server


def test_one_file_is_within_its_size_and_allows_no_connection(explorer_file):
    text = explorer_file.read_text()
    assert len(text.encode()) <= 22e6
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    assert "connect-src 'none'" in policy
    assert "unsafe-eval'" not in policy.replace("wasm-unsafe-eval'", "")
    recorded = re.search(r'id="recorded">(.*?)<', text)
    assert len(recorded[1]) <= 3.2e6


def test_folder_loads_little_before_the_runtime(explorer_folder):
    assert (explorer_folder / "index.html").stat().st_size <= 1.5e6
    assert {path.name for path in explorer_folder.iterdir()} == {
        "index.html", "gradients.gz", "network.onnx.gz", "nano.safetensors.gz", *RUNTIME.values(),
    }  # fmt: skip


def test_licences_are_in_the_page(explorer_folder):
    text = (explorer_folder / "index.html").read_text()
    assert "Copyright (c) Microsoft Corporation" in text
    assert 'id="notices"' in text
    for credit in ("NASA, public domain", "Stefan van der Walt, CC0", "Rachel Michetti"):
        assert credit in text


def test_the_command_writes_a_file_with_other_photos(tmp_path, capsys):
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(load_photo("coffee")[0]).save(photos / "my <cup>.png")
    assert main(["explore", "-o", str(tmp_path / "x.html"), "--photos", str(photos)]) == 0
    assert "MB" in capsys.readouterr().err
    text = (tmp_path / "x.html").read_text()
    assert "my <cup>" not in text
    assert "Stefan van der Walt" not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "no.safetensors"], "takes a .safetensors file"),
        (["-o", "."], "folder"),
        (["--photos", "EMPTY", "-o", "x.html"], "holds no photo"),
        (["--folder", "FILE"], "is a file"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").write_text("")
    assert main(["explore", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_the_weights_are_not_written_over(tmp_path, capsys):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(SHIPPED.read_bytes())
    assert main(["explore", "--model", str(weights), "-o", str(weights)]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert weights.read_bytes() == SHIPPED.read_bytes()


@pytest.mark.slow
def test_another_checkpoint_gets_a_graph_of_its_own(tmp_path):
    pytest.importorskip("onnxscript")
    # tests/test_explorer_graph.py exports every kind of part; this network takes the exporter a fraction of the time.
    fewer_parts = {"multi_scale_input": "none", "context_scales": 0, "aspp": "none", "train_size": (64, 64)}
    config = birefnet_lite.BiRefNetConfig.preset("nano").replace(**fewer_parts)
    other = birefnet_lite.BiRefNet(config).eval()
    weights = tmp_path / "mine.safetensors"
    birefnet_lite.save(other, weights)
    write_folder(tmp_path / "site", birefnet_lite.load(weights, "cpu"), weights)
    assert (tmp_path / "site" / "mine.safetensors.gz").is_file()
    assert '"weights": "mine.safetensors"' in (tmp_path / "site" / "index.html").read_text()


def test_the_server_sets_types_and_lists_nothing(tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "a.gz").write_bytes(b"x")
    (tmp_path / "inner").mkdir()
    with make_server(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        types = {}
        for path in ("/", "/a.gz", "/inner/", "/../secret"):
            connection = http.client.HTTPConnection(host, port)
            connection.request("GET", path)
            answer = connection.getresponse()
            types[path] = (answer.status, answer.getheader("Content-Type"))
            connection.close()
        server.shutdown()
    assert types["/"] == (200, "text/html; charset=utf-8")
    assert types["/a.gz"] == (200, "application/octet-stream")
    assert types["/inner/"][0] == 404
    assert types["/../secret"][0] == 404


def test_the_command_prints_its_address_and_a_kill_leaves_no_files(tmp_path):
    command = [sys.executable, "-m", "birefnet_lite", "explore", "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert list(tmp_path.iterdir())
        process.terminate()
    assert not list(tmp_path.iterdir())
