"""The house: which packages there are, and that imports between them point one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "deployments"
MODULES = sorted(PACKAGE.rglob("*.py"))
SHELLS = {"graph", "ingress", "decoder", "inference", "packer", "relay"}
ORDER = ("splats", "stream", "pipeline", "scene", "models", "stages", "config", "http", "photos", "ops", "shells")
"""Each imports only from those before it, and from itself."""
BESIDE = {
    "client": {"splats", "stream"},
    "cast": {"splats", "stream", "client", "recording"},
    "recording": {"splats", "stream", "client", "recording"},
}
"""Imported by nothing here but each other: a program's ways in, and what each imports from."""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(module: str) -> str:
    """``deployments.splats.codecs.ply`` → ``splats``; the six files of the graph are one room."""
    name = module.split(".")[1]
    return "shells" if name in SHELLS else name


def rooms_imported_by(path: Path) -> set[str]:
    return {room(name) for name in imports(path) if name.startswith("deployments.")}


def ids(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_opening_the_folder_shows_the_graph() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == SHELLS | set(BESIDE) | {"__init__", "config", "pipeline"}


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__init__.py" or path.parent != PACKAGE], ids=ids)
def test_imports_between_packages_point_one_way(path: Path) -> None:
    here = room("deployments." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."))
    allowed = BESIDE[here] if here in BESIDE else set(ORDER[: ORDER.index(here) + 1])
    assert rooms_imported_by(path) <= allowed


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[-2] != PACKAGE.name], ids=ids)
def test_splats_and_stream_know_nothing_of_ray_torch_the_web_or_pictures(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] in ("splats", "stream"):
        roots = {name.partition(".")[0] for name in imports(path)}
        assert not roots & {"ray", "torch", "starlette", "uvicorn", "cv2", "PIL"}


def test_only_the_shells_and_what_runs_them_import_ray() -> None:
    with_ray = {ids(path) for path in MODULES if any(name.partition(".")[0] == "ray" for name in imports(path))}
    ops = ("launch", "serve_config", "progress", "metrics", "routing", "graph_state", "handles")
    assert with_ray == {f"{shell}.py" for shell in SHELLS} | {f"ops/{name}.py" for name in ops}


def test_only_models_import_torch() -> None:
    assert [ids(path) for path in MODULES if not ids(path).startswith("models/") and "torch" in imports(path)] == []


def test_opening_the_package_imports_nothing() -> None:
    assert imports(PACKAGE / "__init__.py") == set()


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_no_module_is_longer_than_a_sitting(path: Path) -> None:
    limit = 130 if path.stem in SHELLS and path.parent == PACKAGE else 500
    assert len(path.read_text().splitlines()) <= limit
