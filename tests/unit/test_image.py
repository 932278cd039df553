"""The Dockerfile, as far as it can be checked without building it: its stages, its users, its sources, its versions."""

import fnmatch
import json
import re
import subprocess
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hatch_build import SHIPPED

ROOT = Path(__file__).parents[2]
TARGETS = ("cpu", "gpu")


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Stage → what it is built from, and its instructions as (name, rest), continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    arguments: dict[str, str] = {}
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    steps: list[tuple[str, str]] = []
    for line in filter(str.strip, re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()):
        name, rest = line.strip().split(None, 1)
        if name == "ARG":
            key, _, value = rest.partition("=")
            arguments[key] = value
        elif name == "FROM":
            base, _, stage = rest.split()
            steps = []
            found[stage] = (re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base), steps)
        else:
            steps.append((name, rest))
    return found


def history(target: str) -> list[tuple[str, str]]:
    """All instructions that make a target, those of the stages below it first."""
    base, steps = stages()[target]
    return [*(history(base) if base in stages() else []), *steps]


def last(target: str, instruction: str) -> str:
    return [rest for name, rest in history(target) if name == instruction][-1]


def test_the_base_is_one_official_image_pinned_by_its_tag() -> None:
    bases = {base for base, _ in stages().values() if base not in stages()}
    assert bases == {"python:3.11-slim-bookworm"}
    assert list(stages())[-1] == "cpu", "the last stage is what a build without --target makes"


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_runs_as_root(target: str) -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last(target, "USER")), "by number: Kubernetes can't tell whether a name is root"


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_started_and_probed_exists(target: str) -> None:
    command = json.loads(last(target, "CMD"))
    assert command[0] in {script.name for script in entry_points(group="console_scripts")} and command[1:3] == ["--profile", target]
    probe = json.loads(last(target, "HEALTHCHECK").partition("CMD ")[2])
    installed = next(rest for name, rest in history(target) if name == "RUN" and "apt-get install" in rest)
    assert probe[0] in installed.split()
    assert '"/healthz"' in (ROOT / "deployments" / "http" / "app.py").read_text() and probe[-1].endswith(":8000/healthz")


def copied() -> list[str]:
    """Every path of the checkout that an instruction reads."""
    found = []
    for _, steps in stages().values():
        for name, rest in steps:
            if name == "COPY":
                found += rest.split()[:-1]
            found += [mount for mount in re.findall(r"--mount=type=bind,source=([^,\s]+)", rest) if not mount.startswith("/")]
    return found


def test_every_source_exists_is_tracked_and_reaches_the_builder() -> None:
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files", *copied()], capture_output=True, text=True, check=True).stdout
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "only what is let in can reach an image"
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(path == source or path.startswith(source + "/") for path in tracked.splitlines()), f"{source} is not in git"
        assert f"!{source}" in rules, f"{source} is not let in by .dockerignore"
    for built in (
        "deployments/http/static/viewer.js",
        "deployments/models/relief/assets/a.tflite",
        "web/node_modules/three/package.json",
    ):
        assert any(built.startswith(rule + "/") or fnmatch.fnmatch(built, rule) for rule in rules[1:] if rule[0] != "!"), built


def test_the_wheel_is_built_from_all_that_its_build_reads() -> None:
    named = set(re.findall(r'^(?:readme = |license-files = \[)"([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    assert named == {"README.md", "LICENSE"}
    assert {"pyproject.toml", "hatch_build.py", "web", "deployments", *named, *SHIPPED} <= set(copied())


def test_depth_anything_is_the_version_that_make_installs() -> None:
    pattern = re.compile(r"--no-deps --ignore-requires-python (\S+ \S+)")
    (of_make,) = pattern.findall((ROOT / "Makefile").read_text())
    (of_image,) = pattern.findall((ROOT / "Dockerfile").read_text())
    assert of_image == of_make


def test_versions_are_those_of_the_constraints() -> None:
    for name, rest in [step for _, steps in stages().values() for step in steps]:
        if name == "RUN" and "pip install" in rest:
            for command in rest.split("&&"):
                assert "pip install" not in command or "--constraint" in command or "--no-deps" in command, command
