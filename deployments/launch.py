"""``make run``: start a local Ray, serve the graph on it, say where it is, and leave nothing behind.

It is ``serve run`` with what a newcomer needs around it: the environment file, a profile, clear errors, progress, one line with
the address, and a clean end on Ctrl-C.
"""

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
CONFIGS = {"cpu": "serve_config.cpu.yaml", "gpu": "serve_config.yaml"}
START_TIMEOUT_S = {"cpu": 120.0, "gpu": 900.0}
"""The GPU profile loads gigabytes and may compile kernels."""
OBJECT_STORE_BYTES = 512 * 2**20
"""Frames live for milliseconds: a few dozen of 10 MB are the most that is alive at a time. Ray's default takes 30 % of memory."""


class LaunchError(Exception):
    """Why it can't start, in one sentence for the person at the terminal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the ``splatcast`` command. Returns the exit status."""
    options = _parse(argv)
    try:
        return _launch(options)
    except LaunchError as error:
        print(f"splatcast: {error}", file=sys.stderr)
        return 2


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    # An empty variable means "not set": make passes all of them on.
    env = {name: os.environ.get(name) or None for name in ("PROFILE", "HOST", "PORT", "MODEL")}
    parser = argparse.ArgumentParser(prog="splatcast", description="Live 3D Gaussian splats from a camera, in the browser.")
    parser.add_argument(
        "--profile",
        choices=sorted(CONFIGS),
        default=env["PROFILE"],
        help="default: gpu where a GPU and Depth Anything 3 are, else cpu",
    )
    parser.add_argument("--model", default=env["MODEL"], help="a Depth Anything 3 model, such as da3-small, on this profile")
    parser.add_argument("--host", default=env["HOST"], help="address to listen on; default: the config's")
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
    config = _load_config(options.config or ROOT / CONFIGS[profile])
    http = config.setdefault("http_options", {})
    http["host"] = options.host or http.get("host", "127.0.0.1")
    http["port"] = options.port or http.get("port", 8000)
    if options.model:
        _use_model(config["applications"][0], options.model)
    _check(config, profile)
    for name, value in read_environment_file(ROOT / "serve.env").items():
        os.environ.setdefault(name, value)
    # Replicas import the package from wherever this process found it.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

    _say(f"profile {profile}" + ("" if options.profile else " (PROFILE=cpu|gpu chooses)") + "; starting Ray …")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="splatcast-") as file:
        yaml.safe_dump(config, file)
        file.flush()
        return _serve(Path(file.name), http["host"], http["port"], START_TIMEOUT_S[profile])


def _load_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise LaunchError(f"can't read the config {path}: {error}") from None
    if not isinstance(config, dict) or not config.get("applications"):
        raise LaunchError(f"{path} is no serve config: expected a map with 'applications'")
    return config


def _use_model(application: dict[str, Any], model: str) -> None:
    """Put a Depth Anything 3 model in the place of the profile's engine."""
    args = application.setdefault("args", {})
    engine = args.get("engine") or {}
    params = engine.get("params", {}) if engine.get("name") == "da3" else {}
    args["engine"] = {**engine, "name": "da3", "params": {**params, "model": model}}
    for deployment in application.get("deployments", []):
        if deployment["name"] == "GaussianInference" and "num_gpus" not in deployment.get("ray_actor_options", {}):
            # A network takes every core of a CPU: a second one would only take them from the first.
            deployment.pop("autoscaling_config", None)
            deployment["num_replicas"] = 1


def _check(config: dict[str, Any], profile: str) -> None:
    """Everything that would otherwise fail late, or hang, checked before Ray starts."""
    from deployments.config import GraphArgs
    from deployments.models import check_engine, fetch_engine
    from deployments.models.errors import ModelUnavailable

    host, port = config["http_options"]["host"], config["http_options"]["port"]
    try:
        args = GraphArgs.model_validate(config["applications"][0].get("args") or {})
        check_engine(args.engine.name, args.engine.params)
    except (ValueError, ModelUnavailable) as error:
        hint = " PROFILE=cpu runs the embedded engine." if profile == "gpu" else ""
        raise LaunchError(f"{error}{hint}") from None
    if profile == "gpu" and not _has_gpu():
        raise LaunchError("PROFILE=gpu, but this machine shows no NVIDIA GPU: install its driver, or use PROFILE=cpu")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LaunchError(
                f"can't listen on {host}:{port} ({error.strerror}): stop what uses it, or choose another with PORT={port + 1}"
            ) from None
    try:
        # Here its progress can be seen, and it is once for all replicas.
        fetch_engine(args.engine.name, args.engine.params)
    except ModelUnavailable as error:
        raise LaunchError(str(error)) from None


def _has_gpu() -> bool:
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))


def read_environment_file(path: Path) -> dict[str, str]:
    """``NAME=value`` lines of a shell-style file; comments and blank lines are passed over."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _serve(config_path: Path, host: str, port: int, timeout_s: float) -> int:
    # The push interval that Ray warns of is set in serve.env, where its check does not look.
    warnings.filterwarnings("ignore", "`look_back_period_s`", FutureWarning)
    import ray
    from ray.serve.scripts import cli

    watcher = _Watcher(host, port, timeout_s)
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
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.default_int_handler)
        watcher.start()
        cli.main(["run", "--app-dir", str(ROOT), str(config_path)], standalone_mode=False)
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second Ctrl-C must not leave half of it running.
        watcher.stopped.set()
        ray.shutdown()
    if watcher.failure:
        raise LaunchError(watcher.failure)
    _say("stopped")
    return 0


class _Watcher(threading.Thread):
    """Polls until a frame goes through the graph; says so, or why not."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        super().__init__(name="watcher", daemon=True)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        self._url = f"http://{shown}:{port}/"
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
                _say(f"ready: {self._url}  (Ctrl-C stops it)")
                return

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._url + "readyz", timeout=15) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _deployment_state() -> tuple[str, str | None]:
    """What is still starting, in words, and why the application failed if it did."""
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        applications = serve.status().applications
    except RayServeException:
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
    print(f"splatcast [{time.monotonic() - _began_s:4.1f} s] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
