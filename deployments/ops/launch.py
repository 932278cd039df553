"""``make run``: start a local Ray, serve the graph on it, say where it is, and leave nothing behind.

It is ``serve run`` with what a newcomer needs around it: the environment file, a profile, clear errors, progress, one line with
the address, and a clean end on Ctrl-C.
"""

import argparse
import contextlib
import errno
import io
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deployments.ops.reach import allow, warning

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parent
"""What replicas need on their path: the checkout, or where the wheel was installed."""
CONFIGS = {"cpu": "serve_config.cpu.yaml", "gpu": "serve_config.yaml"}
START_TIMEOUT_S = {"cpu": 120.0, "gpu": 900.0}
"""The GPU profile loads gigabytes and may compile kernels."""
OBJECT_STORE_BYTES = 512 * 2**20
"""Frames live for milliseconds: at most a few dozen of 10 MB are alive at a time. Ray's default takes 30 % of the memory."""


ENDINGS = (signal.SIGINT, signal.SIGTERM)


class LaunchError(Exception):
    """Why the server can't start, in one sentence for the person at the terminal."""


def main(argv: Sequence[str] | None = None) -> int:
    """``splatcast`` without photos. Returns the exit status."""
    options = _parse(argv)
    try:
        return _launch(options)
    except LaunchError as error:
        print(f"splatcast: {error}", file=sys.stderr)
        return 2


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    # An empty variable means "not set": make passes all of them on.
    env = {name: os.environ.get(name) or None for name in ("PROFILE", "HOST", "HOSTS", "ORIGINS", "PORT", "MODEL")}
    parser = argparse.ArgumentParser(
        prog="splatcast",
        description="Live 3D Gaussian splats from a camera, in the browser.",
        epilog="With photos it starts no server but makes files of them: splatcast PHOTO … -o DIR ('splatcast -o --help').",
    )
    parser.add_argument("--profile", choices=sorted(CONFIGS), default=env["PROFILE"], help="default: gpu where it can run")
    parser.add_argument("--model", default=env["MODEL"], help="a Depth Anything 3 model, such as da3-small, on this profile")
    parser.add_argument("--host", default=env["HOST"], help="address to listen on; default: the config's")
    parser.add_argument("--hosts", default=env["HOSTS"], help="host names to answer to, with commas; *.NAME: all below it")
    parser.add_argument("--origins", default=env["ORIGINS"], help="other sites whose pages may use the server, with commas")
    parser.add_argument("--port", type=_port, default=env["PORT"], help="port to listen on; default: the config's")
    parser.add_argument("--config", type=Path, help="another serve config instead of the profile's")
    options = parser.parse_args(argv)
    if options.profile not in (None, *CONFIGS):
        parser.error(f"PROFILE: expected one of {', '.join(sorted(CONFIGS))}, got {options.profile!r}")
    return options


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


def _launch(options: argparse.Namespace) -> int:
    profile = options.profile or ("gpu" if _has_gpu() and find_spec("depth_anything_3") else "cpu")
    if _has_gpu() and profile == "cpu" and not options.profile:
        _say("this machine has a GPU: 'make install-da3' lets it predict real Gaussians")
    config = load_config(options.config or _shipped(CONFIGS[profile]))
    http = config["http_options"]
    http["host"] = options.host or http.get("host") or "127.0.0.1"
    http["port"] = options.port or http.get("port") or 8000
    if options.model:
        use_model(config["applications"][0], options.model)
    token = check_token()
    try:
        allow(config["applications"][0], http["host"], options.hosts, options.origins)
    except ValueError as error:
        raise LaunchError(str(error)) from None
    check_graph(config, profile)
    if profile == "gpu" and not _has_gpu():
        raise LaunchError("PROFILE=gpu, but this machine shows no NVIDIA GPU: install its driver, or use PROFILE=cpu")
    check_address(http["host"], http["port"])
    fetch(config)
    set_environment()
    # Replicas import the package from wherever this process found it.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

    if open_to_others := warning(http["host"], options.hosts, token):
        _say(open_to_others)
    _say(f"profile {profile}" + ("" if options.profile else " (PROFILE=cpu|gpu chooses)") + "; starting Ray …")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="splatcast-") as file:
        yaml.safe_dump(config, file)
        file.flush()
        hint = "; open it with #token= and your SPLATCAST_TOKEN" if token else ""
        url = page_url(http["host"], http["port"], config["applications"][0].get("route_prefix"))
        return _serve(Path(file.name), url, START_TIMEOUT_S[profile], hint)


def _shipped(name: str) -> Path:
    """A file of the checkout's root; a wheel has it in the package (``hatch_build.py``)."""
    return ROOT / name if (ROOT / name).is_file() else PACKAGE / "configs" / name


def load_config(path: Path) -> dict[str, Any]:
    """A serve config, with as much of its shape checked as this module reads.

    Returns:
        The config, with ``http_options`` a map and ``applications`` a list of maps that is not empty. What was left empty in it,
        in an application or in a deployment is left out: Serve knows a default for every key, and none for an empty one.

    Raises:
        LaunchError: It can't be read, or is no serve config.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LaunchError(f"can't read the config {path}: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or not config.get("applications"):
        raise LaunchError(f"{path} is no serve config: expected a map with 'applications'")
    try:
        config = _without_empty(config)
        config["http_options"] = dict(_map_in(config, "http_options"))
        applications = _maps_in(config, "applications", "'- name: splatcast' and so on")
        config["applications"] = [_application(each, f"applications.{i}.") for i, each in enumerate(applications)]
    except _ShapeError as error:
        raise LaunchError(f"{path}: {error}") from None
    return config


class _ShapeError(Exception):
    """A part of the config is no map, or no list of maps."""


def _application(values: dict[str, Any], where: str) -> dict[str, Any]:
    application = _without_empty(values)
    args = _map_in(application, "args", where)
    _map_in(_map_in(args, "engine", f"{where}args."), "params", f"{where}args.engine.")
    _map_in(args, "access", f"{where}args.")
    if "deployments" in application:
        entries = [_without_empty(entry) for entry in _maps_in(application, "deployments", "'- name: Ingress' and so on", where)]
        for i, entry in enumerate(entries):
            if "name" not in entry:
                raise _ShapeError(f"{where}deployments.{i}: expected a map with a 'name', got {', '.join(entry) or 'nothing'}")
            _map_in(entry, "ray_actor_options", f"{where}deployments.{i}.")
        application["deployments"] = entries
    return application


def _without_empty(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if value is not None}


def _map_in(section: dict[str, Any], name: str, where: str = "") -> dict[str, Any]:
    value = section.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _ShapeError(f"{where}{name}: expected a map, got {value!r:.40}")
    return value


def _maps_in(section: dict[str, Any], name: str, example: str, where: str = "") -> list[dict[str, Any]]:
    value = section.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _ShapeError(f"{where}{name}: expected a list of maps ({example})")
    return value


def use_model(application: dict[str, Any], model: str) -> None:
    """Put a Depth Anything 3 model in place of the config's engine; if that is ``da3`` too, its other parameters stay."""
    args = application.setdefault("args", {})
    engine = args.get("engine") or {}
    params = (engine.get("params") or {}) if engine.get("name") == "da3" else {}
    if model != params.get("model"):
        params = {name: value for name, value in params.items() if name not in ("weights", "revision", "kind")}
    args["engine"] = {**engine, "name": "da3", "params": {**params, "model": model}}
    for deployment in application.get("deployments") or []:
        if deployment["name"] == "GaussianInference" and "num_gpus" not in deployment.get("ray_actor_options", {}):
            # A network takes every core of a CPU: a second one would only take them from the first.
            deployment.pop("autoscaling_config", None)
            deployment["num_replicas"] = 1


def fetch(config: dict[str, Any]) -> None:
    """Download what the engine needs: here the progress can be seen, and it happens once for all replicas.

    Raises:
        LaunchError: It can't be had; the sentence says what to do.
    """
    from deployments.config import EngineArgs
    from deployments.models import fetch_engine
    from deployments.models.errors import ModelUnavailable

    engine = EngineArgs.model_validate((config["applications"][0].get("args") or {}).get("engine") or {})
    try:
        fetch_engine(engine.name, engine.params)
    except ModelUnavailable as error:
        raise LaunchError(str(error)) from None


def check_graph(config: dict[str, Any], profile: str) -> None:
    """Check before Ray starts what would otherwise fail late, or hang.

    Raises:
        LaunchError: ``args`` is refused, the engine can't run here, or sockets could take all of the Ingress.
    """
    from deployments.config import GraphArgs
    from deployments.models import check_engine
    from deployments.models.errors import ModelUnavailable

    application = config["applications"][0]
    try:
        args = GraphArgs.model_validate(application.get("args") or {})
        check_engine(args.engine.name, args.engine.params)
    except ValidationError as error:
        raise LaunchError(_sentence("args", error)) from None
    except (ValueError, ModelUnavailable) as error:
        hint = " PROFILE=cpu runs the embedded engine." if profile == "gpu" else ""
        raise LaunchError(f"{error}{hint}") from None
    for entry in application.get("deployments") or []:
        room = entry.get("max_ongoing_requests") if entry["name"] == "Ingress" else None
        if isinstance(room, int) and args.max_sessions >= room:
            raise LaunchError(
                f"args: max_sessions ({args.max_sessions}) must be below the Ingress's max_ongoing_requests ({room}): "
                "every session is one ongoing request for life, and pages and probes need room beside them"
            )


def check_token() -> str | None:
    """The access token that replicas will find in their environment, or None.

    Raises:
        LaunchError: It can't be used as one.
    """
    from deployments.http.access import token_from

    try:
        return token_from(os.environ)
    except ValueError as error:
        raise LaunchError(str(error)) from None


def _sentence(where: str, error: ValidationError) -> str:
    found = (".".join(map(str, (where, *detail["loc"]))) + f": {detail['msg']}" for detail in error.errors())
    return "; ".join(text.replace("Value error, ", "") for text in found)


def check_address(host: Any, port: Any) -> None:
    """Listen where Serve will, for a moment.

    Raises:
        LaunchError: It can't listen there; the sentence says why.
    """
    if not isinstance(host, str) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise LaunchError(f"http_options: expected an address as host and a port from 1 to 65535, got {host!r} and {port!r}")
    wrong_host = "127.0.0.1 is for this machine only, 0.0.0.0 for all that can reach it; choose with HOST="
    # As Serve does it: IPv6 for a literal, IPv4 for every name.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    except (socket.gaierror, UnicodeError):
        raise LaunchError(f"HOST={host} is no address and no name that is known here: {wrong_host}") from None
    other = f"choose another with PORT={port + 1 if port < 65535 else port - 1}"
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        advice = {
            errno.EADDRINUSE: f"stop what uses it, or {other}",
            errno.EACCES: "only root may listen on ports that low: choose another with PORT=8000",
            errno.EADDRNOTAVAIL: f"the address is not this machine's: {wrong_host}",
            errno.EAFNOSUPPORT: f"this machine has no IPv6: {wrong_host}",
        }.get(error.errno or 0, f"choose another with HOST= and PORT= ({error.strerror})")
        raise LaunchError(f"can't listen on {_authority(host, port)}: {advice}") from None


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def page_url(host: str, port: int, route_prefix: str | None = None) -> str:
    """Where a browser on this machine finds the page of a server that listens on ``host``; with a slash at its end."""
    prefix = (route_prefix or "/").rstrip("/")
    return f"http://{_authority({'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host), port)}{prefix}/"


def _has_gpu() -> bool:
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))


def set_environment() -> None:
    """Set what the Ray head must have in its environment, unless the user did: ``serve.env``, and a token.

    Ray's own ports are open to the network whatever HOST is: without the token nobody can join, or run code.
    """
    for name, value in read_environment_file(_shipped("serve.env")).items():
        os.environ.setdefault(name, value)
    if not any(map(os.environ.get, ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def read_environment_file(path: Path) -> dict[str, str]:
    """``NAME=value`` lines of a shell-style file; comments and blank lines are passed over."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _serve(config_path: Path, url: str, timeout_s: float, hint: str) -> int:
    # Its successors, two environment variables, are not read by Ray 2.60.
    warnings.filterwarnings("ignore", "The `metrics_interval_s` field", DeprecationWarning)
    import click
    import ray
    from ray.serve.schema import ServeDeploySchema
    from ray.serve.scripts import cli

    try:
        ServeDeploySchema.model_validate(yaml.safe_load(config_path.read_text()))
    except ValidationError as error:
        raise LaunchError(_sentence("config", error)) from None
    # We say ourselves what it starts, in fewer words; its errors go to stderr.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    asked = threading.Event()

    def end(*_: object) -> None:
        asked.set()
        raise KeyboardInterrupt

    watcher = _Watcher(url, timeout_s, hint)
    try:
        # "local": never somebody else's cluster, nor the stale address of one that was killed.
        ray.init(
            address="local",
            namespace="serve",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=OBJECT_STORE_BYTES,
            num_cpus=max(2, os.cpu_count() or 2),
            # To try a GPU config's scaling where there is none (with engine.params.device: cpu).
            num_gpus=int(os.environ["SPLATCAST_FAKE_GPUS"]) if os.environ.get("SPLATCAST_FAKE_GPUS") else None,
        )
        # Ctrl-C and kill are one thing to serve's loop. Set after ray.init, which has handlers of its own, and both: a shell's
        # background job inherits an ignored SIGINT.
        for ending in ENDINGS:
            signal.signal(ending, end)
        watcher.start()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                cli.main(["run", "--app-dir", str(ROOT), str(config_path)], standalone_mode=False)
        except SystemExit:  # How it ends, whether it was asked to or failed.
            if not asked.is_set():
                raise LaunchError("Serve ended by itself; the lines above say why") from None
    except (KeyboardInterrupt, SystemExit, click.Abort):  # At any other moment, or a second one.
        pass
    finally:
        for ending in ENDINGS:  # A second Ctrl-C, or a kill after it, must not leave half of it running.
            signal.signal(ending, signal.SIG_IGN)
        watcher.stopped.set()
        ray.shutdown()
    if watcher.failure:
        raise LaunchError(watcher.failure)
    _say("stopped")
    return 0


class _Watcher(threading.Thread):
    """Polls until a frame goes through the graph; says so, or why not."""

    def __init__(self, url: str, timeout_s: float, hint: str = "") -> None:
        super().__init__(name="watcher", daemon=True)
        self._url = url
        self._hint = hint
        # Not urlopen: a proxy that the environment names knows nothing about this machine's ports.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._deadline_s = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self.stopped = threading.Event()
        self.failure: str | None = None

    def run(self) -> None:
        """Watch until ready, failed or stopped."""
        told = ""
        while not self.stopped.wait(0.25):
            state, failure = _deployment_state()
            if failure or time.monotonic() > self._deadline_s:
                self.failure = (
                    failure
                    or f"not ready after {self._timeout_s:.0f} s ({state}); the logs are in /tmp/ray/session_latest/logs/serve"
                )
                os.kill(os.getpid(), signal.SIGINT)
                return
            if state != told:
                told = state
                _say(state)
            if self._ready():
                _say(f"metrics: {_metrics_url()}  (for Prometheus)")
                _say(f"ready: {self._url}  (Ctrl-C stops it{self._hint})")
                return

    def _ready(self) -> bool:
        try:
            with self._opener.open(self._url + "readyz", timeout=15) as response:
                return bool(response.status == 200)
        except Exception:  # Whatever a server that is half up answers, it is not ready.
            return False


def _metrics_url() -> str:
    """Where this node's metrics are; Ray chooses the port."""
    import ray

    return f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"


def _deployment_state() -> tuple[str, str | None]:
    """What is still starting, in words, and why the application failed if it did."""
    from ray import serve

    try:
        applications = serve.status().applications
    except Exception:  # No controller yet, or one that does not answer: that is what the watcher's deadline is for.
        return "starting Serve …", None
    for application in applications.values():
        if application.status.value == "DEPLOY_FAILED":
            causes = [d.message for d in application.deployments.values() if d.message and d.status.value != "HEALTHY"]
            return "failed", _last_line("\n".join(causes) or application.message)
        waiting = [name for name, d in application.deployments.items() if d.status.value not in ("HEALTHY", "RUNNING")]
        if waiting:
            return f"starting {', '.join(waiting)} …", None
    return "starting the graph …", None


def _last_line(message: str) -> str:
    """The sentence at the end of a stack trace."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "the application could not be deployed"


_began_s = time.monotonic()


def _say(text: str) -> None:
    # The terminal itself: sys.stdout is redirected, to keep out what serve prints.
    print(f"splatcast [{time.monotonic() - _began_s:4.1f} s] {text}", file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    sys.exit(main())
