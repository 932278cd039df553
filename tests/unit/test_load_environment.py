"""``make load`` runs in the environment that ``make run`` made: neither torch nor what only the tests need."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("benchmarks", "deployments")


def runtime_dependencies() -> set[str]:
    """The names in ``[project] dependencies`` (Python 3.10 has no tomllib)."""
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    return {name.lower() for name in re.findall(r'^  "([\w.-]+)', listed, re.MULTILINE)}


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((found for found in (path.with_suffix(".py"), path / "__init__.py") if found.is_file()), None)


def run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """A module's statements but the bodies of its functions, which may never be called."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from run_on_import(child)


def imported_by(path: Path) -> set[str]:
    # A benchmark's functions are all called; of the product only those of the engine in use.
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if path.is_relative_to(ROOT / "benchmarks") else run_on_import(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: expected absolute imports"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imported_with(module: str) -> set[str]:
    """All modules that come with one of ours, whether ours, Python's or others'."""
    found, todo = set[str](), {module}
    while todo:
        found |= todo
        # Importing a.b.c runs a and a.b.
        names = {name.rsplit(".", cut)[0] for name in todo for cut in range(name.count(".") + 1)}
        paths = filter(None, (file_of(name) for name in names if name.split(".")[0] in OURS))
        todo = {name for path in paths for name in imported_by(path)} - found
    return found


def test_the_load_tool_imports_only_what_the_product_depends_on() -> None:
    roots = {name.split(".")[0] for name in imported_with("benchmarks.load.__main__")} - {*sys.stdlib_module_names, *OURS}
    assert {"numpy", "websockets"} <= roots, "the walk finds what it is there to find"
    dependencies, distributions = runtime_dependencies(), packages_distributions()
    assert [root for root in roots if not dependencies & {name.lower() for name in distributions[root]}] == []


def make_load(*variables: str) -> str:
    """What ``make load`` would run, where ``make run`` has not been run yet, and whatever make runs these tests."""
    variables_of_make = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "URL", "SESSIONS", "FPS", "SECONDS", "ARGS", "PORT")
    clean = {name: value for name, value in os.environ.items() if name not in variables_of_make}
    command = ["make", "--dry-run", "load", "VENV=not-made-yet", *variables]
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout


def test_make_load_installs_what_make_run_does_and_no_more() -> None:
    (install,) = (line for line in make_load().splitlines() if "pip install" in line)
    assert install.endswith("-e .")


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ((), "--url 'http://127.0.0.1:8000/' --duration-s '30'"),
        (("PORT=9000",), "--url 'http://127.0.0.1:9000/' --duration-s '30'"),
        (("URL=ws://a/ws", "SESSIONS=4", "FPS=5", "SECONDS=9"), "--url 'ws://a/ws' --sessions '4' --fps '5' --duration-s '9'"),
        (("ARGS=--closed-loop --out x",), "--url 'http://127.0.0.1:8000/' --duration-s '30' --closed-loop --out x"),
    ],
)
def test_make_load_passes_its_variables_on(variables: tuple[str, ...], arguments: str) -> None:
    words = make_load(*variables).replace("\\\n", " ").split()
    assert " ".join(words).endswith(f"-m benchmarks.load {arguments}")
