"""The wheel, the environment file, and imports that must not load heavy packages."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())

# Where conda-forge's name is another one.
CONDA_NAMES = {
    "torch": "pytorch-cpu",
    "huggingface-hub": "huggingface_hub",
    "jupyter-client": "jupyter_client",
    "matplotlib": "matplotlib-base",
}

# Names under which distributions are imported, where they differ.
IMPORT_NAMES = {
    "ipython": "IPython",
    "pillow": "PIL",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "websocket-client": "websocket",
}

# Declared because something other than an import needs them: tqdm's bars in notebooks, the README's commands, the logs
# of accelerate, exported files, the hooks and .ci/run, pytest, the site's configuration.
NEED_NO_IMPORT = {
    "codespell", "hatchling", "ipywidgets", "jupyterlab", "mypy", "myst-nb", "nbval", "onnxruntime", "pip",
    "pre-commit", "pydata-sphinx-theme", "ruff", "tensorboard",
}  # fmt: skip


def requirements(lines: list[str]) -> dict[str, str]:
    return dict(re.fullmatch(r"([\w.-]+?)\s*(>=[\d.]+)?", line).groups() for line in lines)


def test_environment_and_project_ask_for_the_same():
    *conda, pip = ENVIRONMENT["dependencies"]
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    assert pip == {"pip": ["-e ."]}
    wanted = {CONDA_NAMES.get(name, name): bound
              for name, bound in requirements(PROJECT["project"]["dependencies"]).items()}  # fmt: skip
    wanted |= {"python": PROJECT["project"]["requires-python"], "pip": None}
    assert requirements(conda) == wanted


def imported_by(*folders: str) -> set[str]:
    """The top-level names that files in these folders import anywhere, less Python's own and this project's."""
    found = set()
    scripts = ("tests", "notebooks/tools", "docs", "benchmarks")
    own = {path.stem for folder in scripts for path in (ROOT / folder).rglob("*.py")}
    own |= {"birefnet_lite", "docs", "widgets"}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - own - sys.stdlib_module_names


def import_names(lines: list[str]) -> set[str]:
    """The names under which declared distributions are imported, less those of `NEED_NO_IMPORT`."""
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in {*requirements(lines)} - NEED_NO_IMPORT}


PACKAGES = import_names(PROJECT["project"]["dependencies"])
EXPORT = import_names(PROJECT["project"]["optional-dependencies"]["export"])
DEVELOPMENT = import_names(PROJECT["dependency-groups"]["dev"])
SITE = import_names(PROJECT["dependency-groups"]["docs"])


def test_packages_declare_what_they_import_and_nothing_else():
    imported = imported_by("birefnet_lite", "widgets") - {"triton"}  # which comes with torch
    assert imported == PACKAGES | EXPORT


def test_tests_and_author_tools_declare_what_they_import_and_nothing_else():
    imported = imported_by("tests", "notebooks/tools") - {"triton"} - NEED_NO_IMPORT
    apart = {"cv2", "py_sod_metrics"}  # programs of which tests/make_metric_reference.py records the numbers
    assert imported - apart <= DEVELOPMENT | PACKAGES
    assert imported | EXPORT >= DEVELOPMENT


def test_the_site_declares_what_it_imports_and_nothing_else():
    apart = {"docutils"}  # which comes with sphinx
    assert imported_by("docs") - apart <= SITE | DEVELOPMENT | PACKAGES
    assert imported_by("docs") >= SITE


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the wheel installed into it, built from a copy so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--quiet"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    assert zipfile.ZipFile(wheel).testzip() is None
    return target


def test_the_wheel_has_both_packages_and_all_their_files(installed):
    tracked = subprocess.run(
        ["git", "ls-files", "birefnet_lite", "widgets"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("this is no git checkout, so nothing says which files belong to the packages")
    missing = [name for name in tracked if not (installed / name).is_file()]
    assert missing == []
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))


@pytest.mark.slow
def test_the_installed_packages_work_without_the_checkout(installed, tmp_path):
    code = (
        "import birefnet_lite, widgets, torch; from birefnet_lite import BiRefNet;"
        f"assert birefnet_lite.__file__.startswith({str(installed)!r});"
        f"assert widgets.__file__.startswith({str(installed)!r});"
        "model = BiRefNet().eval();"
        "print(tuple(model(torch.zeros(1, 3, 64, 64)).logits.shape))"
    )
    # -S leaves out the checkout's own editable install; its dependencies are put back by hand.
    paths = [str(installed), *(path for path in sys.path if "site-packages" in path or "python3" in path)]
    code = f"import sys; sys.path[:0] = {paths!r}; {code}"
    result = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(1, 1, 64, 64)"


def test_importing_opens_no_connection_and_leaves_alone_what_few_need(tmp_path):
    """Run apart, in a home of its own, with every way out closed."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import birefnet_lite, birefnet_lite.inference.predict, birefnet_lite.analysis, widgets\n"
        "nano = birefnet_lite.load('nano', 'cpu')\n"
        "birefnet_lite.segment(nano, birefnet_lite.inference.predict.np.zeros((64, 64, 3), 'uint8'), 64)\n"
        "slow = {'timm', 'kornia', 'captum', 'onnx', 'accelerate', 'torchvision', 'matplotlib', 'torch._dynamo'}\n"
        "slow &= set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TORCH_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_no_lock_file_is_tracked():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert not [name for name in tracked if Path(name).name in ("uv.lock", "poetry.lock", "package-lock.json")]
    assert not [name for name in tracked if name.startswith((".uv/", ".venv/"))]
