"""Imports point one way: graph → shells → {asgi, frames, models} → {splats, stream}."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "deployments"
PURE = sorted([*(PACKAGE / "splats").glob("*.py"), *(PACKAGE / "stream").glob("*.py")])
SHELLS = {"graph", "ingress", "decoder", "inference", "packer"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_pure_folders_know_nothing_of_ray_torch_or_the_web(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(path)}
    assert not roots & {"ray", "torch", "starlette", "uvicorn", "cv2", "PIL"}


def test_only_the_graph_the_shells_the_launcher_and_the_metrics_import_ray() -> None:
    with_ray = {path.stem for path in PACKAGE.rglob("*.py") if any(name.partition(".")[0] == "ray" for name in imports(path))}
    assert with_ray == SHELLS | {"launch", "metrics"}


def test_only_models_import_torch() -> None:
    outside = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "models" and "torch" in imports(path)]
    assert outside == []


def test_nothing_below_imports_a_shell() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.stem not in SHELLS:
            assert not imports(path) & {f"deployments.{shell}" for shell in SHELLS}, path


def test_opening_the_package_imports_nothing() -> None:
    assert imports(PACKAGE / "__init__.py") == set()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_is_longer_than_a_sitting(path: Path) -> None:
    limit = 130 if path.stem in SHELLS else 500
    assert len(path.read_text().splitlines()) <= limit
