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
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deployments.ops.progress import Watcher, say
from deployments.ops.reach import allow, warning
from deployments.ops.serve_config import check_keys, check_scale, load_config, sentence, use_model

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
        say("this machine has a GPU: 'make install-da3' lets it predict real Gaussians")
    path = options.config or _shipped(CONFIGS[profile])
    try:
        config = load_config(path)
    except ValueError as error:
        raise LaunchError(str(error)) from None
    set_environment()  # Before the first import of Ray.
    try:
        check_keys(config)
    except ValueError as error:
        raise LaunchError(f"{path}: {error}") from None
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
    # Its successors, two environment variables, are not read by Ray 2.60.
    warnings.filterwarnings("ignore", "The `metrics_interval_s` field", DeprecationWarning)
    try:
        check_scale(config)
    except ValueError as error:
        raise LaunchError(f"{path}: {error}") from None
    fetch(config)
    # Replicas import the package from wherever this process found it.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

    if open_to_others := warning(http["host"], options.hosts, token):
        say(open_to_others)
    say(f"profile {profile}" + ("" if options.profile else " (PROFILE=cpu|gpu chooses)") + "; starting Ray …")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="splatcast-") as file:
        yaml.safe_dump(config, file)
        file.flush()
        hint = "; open it with #token= and your SPLATCAST_TOKEN" if token else ""
        url = page_url(http["host"], http["port"], config["applications"][0].get("route_prefix"))
        return _serve(Path(file.name), url, START_TIMEOUT_S[profile], hint)


def _shipped(name: str) -> Path:
    """A file of the checkout's root; a wheel has it in the package (``hatch_build.py``)."""
    return ROOT / name if (ROOT / name).is_file() else PACKAGE / "configs" / name


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
        raise LaunchError(sentence("args", error)) from None
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
    import click
    import ray
    from ray.serve.scripts import cli

    # We say ourselves what it starts, in fewer words; its errors go to stderr.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    asked = threading.Event()

    def end(*_: object) -> None:
        asked.set()
        raise KeyboardInterrupt

    watcher = Watcher(url, timeout_s, hint)
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
    say("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
