"""The layout of the package: few entries, and some things are done in one file only.

tests/test_docs_architecture.py checks the imports: no circles, and none from a folder further up.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("birefnet_lite", "widgets")


def files_with(pattern, *folders):
    """The Python files in these folders in which the pattern occurs."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)) for path in paths if re.search(pattern, path.read_text(encoding="utf-8"))}


def test_the_package_folder_shows_at_most_18_entries():
    entries = {path.name for path in (ROOT / "birefnet_lite").iterdir()} - {"__pycache__"}
    assert len(entries) <= 18, sorted(entries)


@pytest.mark.parametrize(
    ("pattern", "folders", "files"),
    [
        pytest.param(
            # The exporter moves the files of a folder, whose names are written in one of them.
            r"os\.(replace|rename)\b|mkstemp|NamedTemporaryFile",
            PACKAGES,
            {"birefnet_lite/output.py", "birefnet_lite/inference/export.py"},
            id="atomic-writes",
        ),
        pytest.param(
            r"[\"']inward_reference[\"']",
            ("birefnet_lite/analysis", "widgets"),
            {"birefnet_lite/analysis/layer_names.py"},
            id="names-of-layers",
        ),
        pytest.param(
            r"interpolate\(",
            ("birefnet_lite/network",),
            {"birefnet_lite/network/resize.py"},
            id="resize-of-tensors",
        ),
    ],
)
def test_one_file_alone_does(pattern, folders, files):
    assert files_with(pattern, *folders) == files
