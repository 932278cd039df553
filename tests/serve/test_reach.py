"""``HOSTS=… make run`` as it is typed, and ``splatcast --url`` against the whole graph while a replica of it dies."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.conftest import SYNTHETIC
from tests.server import ROOT, Server
from tests.unit.test_photo_command import files, folder, until

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def tunnelled() -> Iterator[Server]:
    """A server that was told the names of its tunnels, and nothing else."""
    engine = {"name": "synthetic", "params": {"splats": 2000, "latency_ms": 60}}
    hosts = {"HOSTS": "https://cam.example/, *.tunnel.example", "ORIGINS": "https://page.example"}
    server = Server({**SYNTHETIC, "engine": engine, "access": {"hosts": []}}, environment=hosts)
    yield server
    server.stop()


def ask(server: Server, **headers: str) -> tuple[int, str, str]:
    """Status, kind and body of the answer to a request for ``/api/info``."""
    request = urllib.request.Request(f"{server.url}/api/info", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


def test_the_server_answers_to_the_names_in_hosts(tunnelled: Server) -> None:
    for host, origin in (
        ("cam.example", "https://cam.example"),
        ("127.0.0.1", "https://cam.example"),
        ("a.tunnel.example", "https://a.tunnel.example"),
        ("127.0.0.1", "https://page.example"),
    ):
        assert ask(tunnelled, Host=host, Origin=origin)[0] == 200, (host, origin)
    status, kind, body = ask(tunnelled, Host="evil.example")
    assert (status, json.loads(body)["code"]) == (403, "forbidden_host") and kind == "application/json"
    status, kind, body = ask(tunnelled, Host="evil.example", Accept="text/html")
    assert status == 403 and kind.startswith("text/html") and "HOSTS=evil.example make run" in body
    assert ask(tunnelled, Host="a.tunnel.example", Origin="https://b.tunnel.example")[0] == 403
    assert "anyone who knows that address can use the server" in tunnelled.said()


def test_photos_outlive_a_replica_that_dies(tunnelled: Server, tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "in", *(f"{number}.jpg" for number in range(120))), tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.photos", str(photos), "-o", str(out), "--url", tunnelled.url],
        cwd=ROOT, env={**os.environ, "SPLATCAST_TOKEN": ""}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: len(files(out)) >= 10 if out.is_dir() else False)
    (replica, *_) = tunnelled.replicas("GaussianInference")
    replica.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert len(files(out)) == 120 and len({(out / name).stat().st_size for name in files(out)}) == 1
