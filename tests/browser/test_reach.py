"""Behind an nginx, and under a name that the server does not know: what people read, and that it is true."""

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from deployments.photos.command import main as splatcast
from tests.browser.axe import findings
from tests.browser.conftest import AppServer, Viewer
from tests.pictures import jpeg
from tests.server import free_port

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Serve = Callable[..., AppServer]
Launch = Callable[..., Browser]
GONE = "WebSocket"
UPGRADE = ["proxy_http_version 1.1;", "proxy_set_header Upgrade $http_upgrade;", 'proxy_set_header Connection "upgrade";']
HOST = ["proxy_set_header Host $http_host;"]
NEEDS_NGINX = pytest.mark.skipif(
    not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()), reason="nginx is not installed: apt-get install nginx-light"
)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts an nginx in front of a port, with its defaults and the given lines beside ``proxy_pass``. Gives its address."""
    running = []

    def start(port: int, *lines: str) -> str:
        own, folder = free_port(), tmp_path / f"nginx{len(running)}"
        folder.mkdir()
        beside = " ".join(lines)
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"server {{ listen 127.0.0.1:{own}; location / {{ proxy_pass http://127.0.0.1:{port}; {beside} }} }} }}\n"
        )
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        running.append(subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL))
        deadline_s = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{own}/healthz", timeout=5).close()
                return f"http://127.0.0.1:{own}"
            except urllib.error.HTTPError as error:
                error.close()
                return f"http://127.0.0.1:{own}"
            except OSError:
                assert running[-1].poll() is None and time.monotonic() < deadline_s, (folder / "errors").read_text()
                time.sleep(0.05)

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


@NEEDS_NGINX
def test_an_nginx_with_its_defaults_is_named_with_the_lines_that_it_lacks(
    open_viewer: OpenViewer, synthetic: AppServer, nginx: Callable[..., str]
):
    viewer = open_viewer(f"{nginx(synthetic.port)}/", expected=GONE)
    words = viewer.problem("no_websocket")
    assert "calls itself nginx" in words
    for line in UPGRADE + HOST:
        assert line in words
    assert findings(viewer.page) == []


@NEEDS_NGINX
def test_with_these_lines_it_connects(open_viewer: OpenViewer, synthetic: AppServer, nginx: Callable[..., str]):
    url = nginx(synthetic.port, *UPGRADE, *HOST)
    viewer = open_viewer(f"{url}/?source=sample&autostart=1&max_splats=500&width=160&fps=5")
    viewer.wait_shown(2)
    assert viewer.get("state.problems") == []


@NEEDS_NGINX
def test_without_the_line_for_the_host_the_card_says_so(open_viewer: OpenViewer, synthetic: AppServer, nginx: Callable[..., str]):
    viewer = open_viewer(f"{nginx(synthetic.port, *UPGRADE)}/")
    words = viewer.problem("forbidden_origin")
    assert "pass the Host header on" in words and "ORIGINS=http://127.0.0.1:" in words


@NEEDS_NGINX
def test_an_nginx_whose_server_is_away_is_told_from_one_that_is_not_there(
    open_viewer: OpenViewer, serve: Serve, nginx: Callable[..., str]
):
    server = serve()
    viewer = open_viewer(f"{nginx(server.port, *UPGRADE, *HOST)}/", expected=GONE)
    viewer.wait("splatcast.state.connection === 'open'")
    server.kill()
    assert "nginx answers with 502" in viewer.problem("proxy_answers")
    server.start()
    viewer.wait("splatcast.state.connection === 'open' && splatcast.state.problems.length === 0")


@NEEDS_NGINX
def test_a_photo_that_nginx_does_not_take_is_said_with_the_line_that_it_lacks(
    synthetic: AppServer, nginx: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photo = tmp_path / "large.jpg"
    photo.write_bytes(jpeg() + bytes(3_000_000))  # What follows a picture's end is nobody's.
    small = nginx(synthetic.port)
    assert splatcast([str(photo), "-o", str(tmp_path / "out"), "--url", small]) == 1
    assert "client_max_body_size 64m;" in capsys.readouterr().err
    large = nginx(synthetic.port, "client_max_body_size 64m;")
    assert splatcast([str(photo), "-o", str(tmp_path / "out"), "--url", large]) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_name_that_the_server_does_not_know_is_a_page_with_the_line_to_type(
    open_viewer: OpenViewer, launch: Launch, serve: Serve, scheme: str
):
    server = serve("--hosts", "")
    browser = launch("--host-resolver-rules=MAP cam.test 127.0.0.1")
    # The browser itself notes the 403, and that a page over plain http gets no header of isolation.
    viewer = open_viewer("about:blank", within=browser, expected="")
    viewer.page.emulate_media(color_scheme=scheme)
    viewer.page.goto(f"http://cam.test:{server.port}/")
    assert viewer.page.inner_text("pre") == "HOSTS=cam.test make run"
    assert viewer.page.title() == "Splatcast: 403"
    assert findings(viewer.page) == []
    background = viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(251, 251, 250)", "dark": "rgb(16, 18, 22)"}[scheme], "its style is let in by its own policy"
    assert [text for text in viewer.complaints if "Content Security Policy" in text] == []


def test_the_name_in_hosts_leads_to_the_viewer(open_viewer: OpenViewer, launch: Launch, serve: Serve):
    server = serve("--hosts", "cam.test")
    browser = launch("--host-resolver-rules=MAP cam.test 127.0.0.1")
    viewer = open_viewer(f"http://cam.test:{server.port}/", within=browser, expected="Cross-Origin-Opener-Policy")
    viewer.wait("splatcast.state.connection === 'open'")
