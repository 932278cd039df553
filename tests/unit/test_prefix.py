"""The application under a route prefix, as Serve mounts it: ``root_path`` in the scope, and at the start of ``path``."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.stream import messages
from deployments.stream.messages import Hello, Welcome
from tests.pictures import jpeg
from tests.stub_server import StubPipeline

TOKEN = "0123456789abcdef-secret"
PUBLIC = Path(__file__).parents[2] / "web" / "public"


@pytest.fixture(params=["", "/splat", "/a/b"])
def prefix(request: pytest.FixtureRequest) -> str:
    prefix: str = request.param
    return prefix


@pytest.fixture(params=[None, TOKEN])
def token(request: pytest.FixtureRequest) -> str | None:
    token: str | None = request.param
    return token


@pytest.fixture
def client(prefix: str, token: str | None, tmp_path: Path) -> Iterator[TestClient]:
    for name in ("index.html", "status.html", "selftest.html", "viewer.js"):
        (tmp_path / name).write_text(name)
    app = create_app(StubPipeline(), GraphArgs.model_validate({"access": {"hosts": ["testserver"]}}), tmp_path, token=token)
    with TestClient(app, root_path=prefix, follow_redirects=False) as client:
        yield client


def test_pages_and_probes_are_there_for_everyone(client: TestClient, prefix: str) -> None:
    for path, text in {"/": "index.html", "/status": "status.html", "/static/viewer.js": "viewer.js", "/healthz": "ok\n"}.items():
        answer = client.get(prefix + path)
        assert (answer.status_code, answer.text) == (200, text)


def test_the_api_and_the_socket_ask_for_the_token(client: TestClient, prefix: str, token: str | None) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    for path in ("/api/info", "/api/status", "/api/sample"):
        assert client.get(prefix + path, headers=headers).status_code == 200
        assert client.get(prefix + path).status_code == (401 if token else 200)
    assert client.post(prefix + "/api/splat", content=jpeg(), headers=headers).status_code == 200
    with client.websocket_connect(prefix + "/ws", headers=headers) as socket:
        socket.send_bytes(messages.encode(Hello(1, ["packed", "points"])))
        assert isinstance(messages.decode_server(socket.receive_bytes()), Welcome)


@pytest.mark.parametrize("query", ["", "?source=sample&view=1,2", f"?token={TOKEN}&axes", "?a=%2F%0d%0aset-cookie:x"])
@pytest.mark.parametrize("prefix", ["/splat", "/a/b"], indirect=True)
def test_the_prefix_without_a_slash_leads_to_the_page_with_its_query(client: TestClient, prefix: str, query: str) -> None:
    answer = client.get(prefix + query)
    assert answer.status_code == 307
    # Relative: behind a proxy that ends TLS or has a prefix of its own, the server's idea of its address is not the browser's.
    assert answer.headers["location"] == f"./{prefix.rpartition('/')[2]}/{query}"
    assert answer.headers["cache-control"] == "no-store" and "set-cookie" not in answer.headers
    assert "content-security-policy" in answer.headers
    page = client.get(prefix + query, follow_redirects=True)
    assert (page.status_code, page.text, page.url.path) == (200, "index.html", f"{prefix}/")


@pytest.mark.parametrize("page", ["status", "selftest"])
def test_a_page_with_a_slash_too_many_leads_to_the_page(client: TestClient, prefix: str, page: str) -> None:
    answer = client.get(f"{prefix}/{page}/?axes")
    assert (answer.status_code, answer.headers["location"]) == (307, f"../{page}?axes")
    found = client.get(f"{prefix}/{page}/", follow_redirects=True)
    assert (found.status_code, found.text, found.url.path) == (200, f"{page}.html", f"{prefix}/{page}")


def test_no_answer_names_the_servers_own_address(client: TestClient, prefix: str, token: str | None) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    for path in ("/api/info/", "/static", "/healthz/", "/nothing", "/x//evil.example/", "/status//", "/selftest/x/"):
        answer = client.get(prefix + path, headers=headers)
        assert answer.status_code == 404, path
        assert "location" not in answer.headers


def test_only_a_question_for_a_page_is_led_to_it(client: TestClient, prefix: str, token: str | None) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    for path in (prefix or "/", f"{prefix}/status/"):
        assert client.post(path, headers=headers).status_code in (404, 405)


@pytest.mark.parametrize("page", sorted(PUBLIC.glob("*.html")), ids=lambda path: path.name)
def test_the_pages_refer_to_nothing_by_an_absolute_path(page: Path) -> None:
    found = re.findall(r"""(?:href|src|action)\s*=\s*["']([^"']+)""", page.read_text())
    assert found and [reference for reference in found if reference.startswith("/") or ":" in reference] == []
