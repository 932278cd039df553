"""HOST, HOSTS and ORIGINS of ``make run``: what they come to in the config, and what it warns of."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.config import GraphArgs
from deployments.http.access import Access
from deployments.ops import launch
from deployments.ops.launch import LaunchError
from deployments.ops.reach import allow, warning
from deployments.stream.errors import ForbiddenHost, ForbiddenOrigin
from tests.unit.test_access import scope

ROOT = Path(__file__).parents[2]


def laptop(hosts: str | None = None, origins: str | None = None) -> Access:
    """The rules of ``make run`` with these variables."""
    application = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())["applications"][0]
    allow(application, "127.0.0.1", hosts, origins)
    return Access(GraphArgs.model_validate(application["args"]).access)


@pytest.mark.parametrize(
    ("args", "host", "hosts"),
    [
        ({"access": {"hosts": []}}, "my-box", ["my-box"]),
        ({"access": {"hosts": ["cam.example"]}}, "my-box", ["cam.example", "my-box"]),
        ({"access": {"hosts": []}}, "::1", []),
        ({"access": {"hosts": "*"}}, "my-box", "*"),
        ({"access": None}, "my-box", None),
        (None, "my-box", None),
    ],
)
def test_the_name_it_listens_on_is_one_it_may_be_asked_for_by(args: Any, host: str, hosts: Any) -> None:
    application = {"args": args}
    allow(application, host, None, None)
    access = (application["args"] or {}).get("access") or {}
    assert access.get("hosts") == hosts
    if access:
        GraphArgs.model_validate(application["args"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cam.example", ["cam.example"]),
        (" a.example , B.example,", ["a.example", "b.example"]),
        ("https://abc.ngrok-free.app/", ["abc.ngrok-free.app"]),
        ("cam.example:8443", ["cam.example"]),
        ("*.ngrok-free.app", ["*.ngrok-free.app"]),
    ],
)
def test_hosts_are_names_as_people_write_them(text: str, names: list[str]) -> None:
    for args in (None, {"access": {"hosts": "*"}}, {"access": {"hosts": []}}):
        application: dict[str, Any] = {"args": args}
        allow(application, "::1", text, None)
        assert application["args"]["access"]["hosts"] == names
        GraphArgs.model_validate(application["args"])


@pytest.mark.parametrize(
    ("hosts", "origins", "words"),
    [
        ("a b", None, "HOSTS: expected names"),
        ("cam.example/path", None, "HOSTS: expected names"),
        ("x;reboot", None, "HOSTS: expected names"),
        ("*.", None, "HOSTS: expected names"),
        (None, "cam.example", "ORIGINS: expected sites"),
        (None, "https://cam.example/path", "ORIGINS: expected sites"),
    ],
)
def test_a_wrong_name_is_said_with_its_variable(hosts: str | None, origins: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        allow({}, "127.0.0.1", hosts, origins)


def test_all_names_of_a_top_level_domain_are_refused_before_ray_starts() -> None:
    application: dict[str, Any] = {"args": {}}
    allow(application, "127.0.0.1", "*.app", None)
    with pytest.raises(LaunchError, match=r"hosts: expected names"):
        launch.check_graph({"applications": [application]}, "cpu")


def test_variables_and_arguments_reach_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTS", "a.example")
    monkeypatch.setenv("ORIGINS", "https://b.example")
    assert (launch._parse([]).hosts, launch._parse([]).origins) == ("a.example", "https://b.example")
    assert launch._parse(["--hosts", "c.example"]).hosts == "c.example"


# --- What that lets in, as each tool's requests look ---


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://abc.ngrok-free.app", "abc.ngrok-free.app"),  # Host as the browser sent it: ngrok, cloudflared, tailscale.
        ("https://abc.ngrok-free.app", "localhost:8000"),  # Host rewritten: Codespaces, VS Code, nginx without proxy_set_header.
        ("https://abc.ngrok-free.app", "127.0.0.1:8000"),
        ("http://localhost:8000", "localhost:8000"),  # Host and Origin rewritten: Codespaces.
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),  # Without the tunnel.
    ],
)
def test_one_name_is_enough_behind_a_tunnel(origin: str, host: str) -> None:
    access = laptop("abc.ngrok-free.app")
    for path in ("/", "/static/viewer.js", "/ws", "/api/info"):
        access.check(scope(path, ("host", host), ("origin", origin)))


@pytest.mark.parametrize(
    "origin", ["https://evil.ngrok-free.app", "https://abc.ngrok-free.app:8443", "https://abc.ngrok-free.app.evil.example", "null"]
)
@pytest.mark.parametrize("host", ["abc.ngrok-free.app", "localhost:8000"])
@pytest.mark.parametrize("hosts", ["abc.ngrok-free.app", "*.ngrok-free.app"])
def test_it_lets_in_no_other_site(origin: str, host: str, hosts: str) -> None:
    with pytest.raises(ForbiddenOrigin):
        laptop(hosts).check(scope("/ws", ("host", host), ("origin", origin)))


def test_a_star_is_every_name_below_and_no_other() -> None:
    access = laptop("*.ngrok-free.app")
    for host in ("abc.ngrok-free.app", "A.B.NGROK-FREE.APP:443"):
        access.check(scope("/ws", ("host", host), ("origin", f"https://{host}")))
    for host in ("ngrok-free.app", "evilngrok-free.app", "abc.ngrok-free.app.evil.example"):
        with pytest.raises(ForbiddenHost):
            access.check(scope("/", ("host", host)))


def test_another_site_is_let_in_beside_the_servers_own_pages() -> None:
    access = laptop(None, "https://page.example/")
    for origin in ("https://page.example", "http://127.0.0.1:8000"):
        access.check(scope("/ws", ("host", "127.0.0.1:8000"), ("origin", origin)))
    with pytest.raises(ForbiddenOrigin):
        access.check(scope("/ws", ("host", "127.0.0.1:8000"), ("origin", "https://evil.example")))


def test_any_name_and_any_site_can_be_asked_for() -> None:
    laptop("*", "*").check(scope("/ws", ("host", "any.example"), ("origin", "https://other.example")))


# --- Warnings ---


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_server_for_this_machine_only_needs_no_warning(host: str) -> None:
    assert warning(host, None, None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "my-box", "localhost.example"])
def test_a_server_for_others_without_a_token_is_one_line_of_warning(host: str) -> None:
    said = warning(host, None, None)
    assert said and "\n" not in said and host in said and "SPLATCAST_TOKEN=" in said
    assert warning(host, None, "0123456789abcdef") is None


def test_a_tunnel_without_a_token_is_one_line_of_warning() -> None:
    said = warning("127.0.0.1", "abc.ngrok-free.app", None)
    assert said and "anyone who knows that address" in said
    assert "HOSTS=abc.ngrok-free.app SPLATCAST_TOKEN=$(openssl rand -hex 32) make run" in said
    assert warning("127.0.0.1", "abc.ngrok-free.app", "0123456789abcdef") is None
