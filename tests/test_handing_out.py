"""The container image and the dev container name files and versions that exist."""

import json
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guides" / "handing_out.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_image_copies_what_is_there_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert list(ROOT.glob(source)), source
            assert f"!{source.split('/')[0]}" in ignored


def test_the_image_and_the_dev_container_ask_for_versions_as_the_project_does():
    for name in ("torch", "torchvision"):
        (bound,) = (line for line in PROJECT["dependencies"] if re.match(rf"{name}\W", line))
        assert f'"{bound}"' in DOCKERFILE
    lowest = PROJECT["requires-python"].removeprefix(">=")
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    for text in (DOCKERFILE, container["image"]):
        assert tuple(map(int, re.search(r"python:(3\.\d+)", text)[1].split("."))) >= tuple(map(int, lowest.split(".")))
    (opened,) = container["customizations"]["codespaces"]["openFiles"]
    assert (ROOT / opened).is_file()
    assert opened in DOCKERFILE


def test_the_recipe_of_the_hub_is_valid_and_names_the_image_s_user():
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)
    server = yaml.safe_load(block)["singleuser"]
    assert f"--uid {server['uid']} learner" in DOCKERFILE
    assert f"USER {server['uid']}" in DOCKERFILE
    assert server["storage"]["homeMountPath"] == "/home/learner"
    assert server["lifecycleHooks"]["postStart"]["exec"]["command"][-1] in DOCKERFILE
