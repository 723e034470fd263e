"""The browser's core, run by node against numbers from the Python renderer.

One source of goldens: Python, at test time.
"""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from birefnet_lite.analysis.summaries import similarity_of
from widgets import planes
from widgets.channel_ranking import rank
from widgets.front_end import join_modules
from widgets.number_format import format_value, short_value
from widgets.packing import Packer
from widgets.planes import Plane, quantise

ROOT = Path(__file__).parent
NODE = shutil.which("node")


def test_javascript_core_agrees_with_python(tmp_path):
    if NODE is None:
        pytest.skip("node is not installed")
    path = tmp_path / "goldens.json"
    path.write_text(json.dumps(_spell(goldens())))
    environment = {**os.environ, "GOLDENS": str(path)}
    done = subprocess.run(
        [NODE, "--test", str(ROOT / "js" / "core.test.js")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 11" in done.stdout


def test_the_joined_module_is_one_valid_module(tmp_path):
    source = join_modules()
    assert "import " not in source
    assert source.count("export ") == 1
    if NODE is None:
        pytest.skip("node is not installed")
    path = tmp_path / "viewer.mjs"
    path.write_text(source)
    script = f"const m = await import({json.dumps(path.as_uri())}); console.log(Object.keys(m.default).join())"
    done = subprocess.run([NODE, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "initialize,render", done.stderr


def goldens():
    random = np.random.default_rng(0)
    return {
        "paintings": [_painting(random, *case) for case in _cases()],
        "numbers": [_number(value, quantum) for value in _numbers() for quantum in (0.0, 3.1e-5, 0.01, 40.0)],
        "cells": [[n, c, planes.cells(n, c).tolist()] for n, c in ((7, 3), (3, 7), (1, 1), (1024, 32))],
        "ranks": [[v, rank(v).tolist()] for v in ([3.0, 1.0, 3.0], [math.nan, -1.0, math.inf, 0.0], [5.0])],
        "limits": [_limits(kind, *v) for kind in ("unit", "signed", "positive") for v in ((-1.0, 3.0), (2.0, 2.0))],
        "colours": [[name, planes.colour_map(name).ravel().tolist()] for name in planes.COLOUR_MAPS],
        "pictureTable": planes.picture_table().ravel().tolist(),
        "similarity": _similarity(random),
        "packed": _packed(random),
    }  # fmt: skip


def _cases():
    for name in planes.COLOUR_MAPS:
        for opacity in (0.0, 0.37, 1.0):
            for limits in (None, (-0.5, 0.75), (1.0, 1.0)):
                yield name, opacity, limits


def _painting(random, name, opacity, limits):
    values = random.normal(size=(5, 4)) * 10.0 ** random.integers(-6, 7)
    values[0, :3] = np.nan, np.inf, -np.inf
    plane = quantise(values)
    limits = limits or (plane.lo, plane.hi)
    colours = planes.colour_map(name)
    backdrop = random.integers(0, 256, (11, 9, 3)).astype(np.uint8)
    return {
        "plane": _plain(plane),
        "values": plane.values().ravel().tolist(),
        "limits": limits,
        "colours": colours.ravel().tolist(),
        "painted": planes.paint(plane, limits, colours).ravel().tolist(),
        "backdrop": backdrop.ravel().tolist(),
        "width": 9,
        "height": 11,
        "opacity": opacity,
        "overlaid": planes.overlay(plane, limits, colours, backdrop, opacity).ravel().tolist(),
    }


def _plain(plane: Plane):
    height, width = plane.codes.shape
    return {"codes": plane.codes.ravel().tolist(), "lo": plane.lo, "hi": plane.hi, "width": width, "height": height}


def _limits(kind, lo, hi):
    return [kind, lo, hi, list(planes.limits_of(kind, lo, hi))]


def _numbers():
    return [0.0, 1.0, -0.5, 0.123456789, 99.5, 123.456, -98765.4321, 2.5e6, 3.3e-5, -7e-12, 1e30,
            math.nan, math.inf, -math.inf]  # fmt: skip


def _number(value, quantum):
    return [value, quantum, format_value(value, quantum), short_value(value, quantum)]


def _similarity(random):
    maps = random.normal(size=(6, 4, 5)).astype(np.float32)
    maps[:, 0, 1] = 0
    cosines = similarity_of(maps, 2, 3).ravel().tolist()
    return {"planes": [_plain(quantise(channel)) for channel in maps], "at": 2 * 5 + 3, "cosines": cosines}


def _packed(random):
    packer = Packer()
    planes = []
    for channel, shape in enumerate([(1, 1), (3, 5), (2, 2)]):
        plane = quantise(random.normal(size=shape))
        packer.add_plane("a", channel, plane)
        planes.append(plane.codes.ravel().tolist())
    return {"parts": packer.parts, "bytes": list(packer.buffer()), "planes": planes}


def _spell(value):
    """JSON has no NaN and no infinities: spelled out here, read back by the test."""
    if isinstance(value, dict):
        return {key: _spell(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spell(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "$NaN" if math.isnan(value) else "$Infinity" if value > 0 else "$-Infinity"
    return value
