"""The guides of the site: commands, settings, tables and examples are those of the code."""

import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from birefnet_lite import BiRefNetConfig
from birefnet_lite.checkpoints.published import PUBLISHED
from birefnet_lite.cli.doctor import CHECKS
from birefnet_lite.cli.parser import build_parser
from birefnet_lite.config import _OFFICIAL_CHOICES
from birefnet_lite.training.pixel_losses import PIXEL_LOSSES
from birefnet_lite.training.settings import TrainSettings

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "docs" / "guides"
PAGES = [*sorted(GUIDES.glob("*.md")), ROOT / "README.md", ROOT / "notebooks" / "README.md"]


def read(name):
    return (GUIDES / f"{name}.md").read_text(encoding="utf-8")


def rows(text, heading):
    """The cells of the table whose first line starts with `| heading`."""
    table = text.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").replace(r"\|", "&").split("|")] for line in table]


def commands():
    """Each command of the documents, with its page."""
    for path in PAGES:
        for line in re.findall(r"-m birefnet_lite ([a-z][^`\n]*)", path.read_text(encoding="utf-8")):
            yield pytest.param(line.partition("#")[0].strip(), id=f"{path.stem}: {line}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_are_those_of_the_parser(line):
    words = shlex.split(line)
    if len(words) > 1:
        build_parser().parse_args(words)
    else:
        assert words[0] in build_parser().format_help()


def test_the_settings_file_is_valid():
    (block,) = re.findall(r"```toml\n(.*?)```", read("training"), re.DOTALL)
    TrainSettings(**tomllib.loads(block))


def test_the_table_of_published_files_is_that_of_the_code():
    expected = [
        [f"`{name}`", f"`{entry.backbone}`", "{} × {}".format(*entry.train_size), entry.patch_order]
        for name, entry in PUBLISHED.items()
    ]
    found = rows(read("checkpoints"), "name")
    assert [[*row[:3], row[3].split(", ")[0]] for row in found] == expected
    verified = [row[3].endswith("verified") for row in found]
    assert verified == [entry.patch_order_is_verified for entry in PUBLISHED.values()]


def test_the_table_of_flags_has_each_flag_of_the_original_once_with_its_field():
    found = rows(read("from_the_original"), "flag of the original")
    flags = [row[0].strip("`") for row in found]
    assert sorted(flags) == sorted(inspect.signature(BiRefNetConfig.from_official).parameters)
    for flag, values, field, own in found:
        for name in re.findall(r"`(\w+)`", field):
            assert name in BiRefNetConfig.__dataclass_fields__, flag
            if name in _OFFICIAL_CHOICES and name != "squeeze_block":
                assert re.findall(r"`'(\w*)'`", values) == list(_OFFICIAL_CHOICES[name])
                assert re.findall(r'`"(\w+)"`', own) == list(get_args(BiRefNetConfig.__dataclass_fields__[name].type))


def test_the_settings_and_losses_that_stand_for_the_original_exist():
    text = read("from_the_original")
    for _, setting in rows(text.split("## Flags of the training")[1], "original"):
        for name in re.findall(r"`(\w+)(?: =|`)", setting):
            assert name in TrainSettings.__dataclass_fields__, name
    for name in ("iou", "iou_sum", "iou_patch", "iou_patch_original", "structure", "structure_original"):
        assert f"`{name}`" in text
        assert name in PIXEL_LOSSES


def test_troubleshooting_explains_every_line_of_the_doctor():
    explained = ", ".join(row[0] for row in rows(read("troubleshooting"), "line"))
    assert [check.subject for check in CHECKS if check.subject not in explained] == []


def test_the_example_for_photos_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save("cat.jpg")
    (block,) = re.findall(r"```python\n(.*?)```", read("photos"), re.DOTALL)
    exec(block, {})
    with Image.open("cat.png") as cut:
        assert (cut.mode, cut.size) == ("RGBA", (60, 40))
