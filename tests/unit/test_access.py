"""Who may use the server: hosts, origins, tokens and places, hostile spellings among them."""

import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from deployments.config import GraphArgs
from deployments.http.access import (
    Access,
    AccessSettings,
    Places,
    address_of,
    chosen_subprotocol,
    frame_ancestors,
    parse_authority,
    token_from,
    without_token,
)
from deployments.stream.errors import ForbiddenHost, ForbiddenOrigin, ServerFull, TooManyFromAddress, Unauthorized

TOKEN = "a-Good.token_of~19x"


def scope(path: str = "/ws", *headers: tuple[str, str], query: str = "", **more: Any) -> dict[str, Any]:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "method": "GET", "path": path, "headers": raw, "query_string": query.encode(), **more}


def settings(**values: Any) -> AccessSettings:
    """As the YAML gives them."""
    return GraphArgs.model_validate({"access": values}).access


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("Example.COM", ("example.com", 80)),
        ("example.com.", ("example.com", 80)),
        ("example.com:8000", ("example.com", 8000)),
        ("example.com:", ("example.com", 80)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:8000", ("::1", 8000)),
        ("[0:0:0:0:0:0:0:1]", ("::1", 80)),
        ("[FE80::1]", ("fe80::1", 80)),
        ("xn--bcher-kva.example", ("xn--bcher-kva.example", 80)),
        ("", None),
        (".", None),
        ("user@example.com", None),
        ("example.com:65536", None),
        ("example.com:+80", None),
        ("example.com:８０", None),
        ("example.com:80:80", None),
        ("example.com/path", None),
        ("example.com evil.com", None),
        ("example.com\n", None),
        ("example.com\x00", None),
        ("bücher.example", None),
        ("::1", None),
        ("[::1", None),
        ("[example.com]", None),
        ("[::1%25eth0]", None),
        ("example.com, evil.com", None),
    ],
)
def test_an_authority_has_one_spelling_or_none(text: str, parsed: tuple[str, int] | None) -> None:
    assert parse_authority(text, 80) == parsed


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://example.com", "example.com"),
        ("http://example.com", "example.com:80"),
        ("http://example.com:80", "example.com"),
        ("https://example.com", "example.com"),  # Behind a proxy that ends TLS.
        ("https://example.com", "example.com:443"),
        ("HTTPS://Example.COM", "example.com."),
        ("http://[::1]:8000", "[0:0::1]:8000"),
    ],
)
def test_the_servers_own_pages_may_use_it(origin: str, host: str) -> None:
    Access(settings()).check(scope("/ws", ("host", host), ("origin", origin)))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "example.com"),
        ("http://example.com:8001", "example.com:8000"),
        ("http://example.com", "example.com:443"),
        ("https://example.com:8443", "example.com"),
        ("http://example.com.evil.example", "example.com"),
        ("http://evil.example:example.com", "example.com"),
        ("http://example.com@evil.example", "example.com"),
        ("http://evil.example@example.com", "example.com"),
        ("http://example.com/", "example.com"),
        ("http://example.com http://evil.example", "example.com"),
        ("chrome-extension://example.com", "example.com"),
        ("file://", "example.com"),
        ("null", "null"),
        ("", "example.com"),
        ("example.com", "example.com"),
        ("http://ex\xe4mple.com", "ex\xe4mple.com"),
        ("http://127.0.0.1:8000", "[::1]:8000"),
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/api/splat", "/api/info", "/api/status", "/whatever/comes"])
def test_pages_of_other_sites_may_not(origin: str, host: str, path: str) -> None:
    with pytest.raises(ForbiddenOrigin) as refused:
        Access(settings()).check(scope(path, ("host", host), ("origin", origin)))
    assert str(refused.value).isascii(), "an error echoes nothing that a terminal or a log could trip over"


def test_a_request_with_two_origins_or_two_hosts_is_no_browsers() -> None:
    own = ("origin", "http://a.example")
    for headers in ((own, own, ("host", "a.example")), (own, ("host", "a.example"), ("host", "a.example")), (own,)):
        with pytest.raises(ForbiddenOrigin):
            Access(settings()).check(scope("/ws", *headers))


def test_programs_that_send_no_origin_are_the_tokens_concern() -> None:
    Access(settings()).check(scope("/ws", ("host", "example.com")))


def test_a_list_of_origins_is_the_whole_list() -> None:
    access = Access(settings(origins=["https://Cam.example", "http://[::1]:9000"]))
    for origin in ("https://cam.example", "https://cam.example:443", "http://[::1]:9000"):
        access.check(scope("/ws", ("host", "10.0.0.1"), ("origin", origin)))
    for origin in ("http://cam.example", "https://cam.example:8443", "http://10.0.0.1", "null"):
        with pytest.raises(ForbiddenOrigin):
            access.check(scope("/ws", ("host", "10.0.0.1"), ("origin", origin)))


def test_any_origin_is_any_origin() -> None:
    Access(settings(origins="*")).check(scope("/ws", ("host", "10.0.0.1"), ("origin", "null")))


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "192.168.1.5", "[::1]:8000", "localhost:8000", "LOCALHOST.", "My-Box:8000"])
def test_addresses_localhost_and_listed_names_are_the_servers_own(host: str) -> None:
    for path in ("/", "/ws", "/static/viewer.js"):
        Access(settings(hosts=["my-box"])).check(scope(path, ("host", host)))


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "my-box.", "127.1", "0x7f000001", "user@localhost", "", "a b"]
)
@pytest.mark.parametrize("path", ["/", "/selftest", "/static/viewer.js", "/ws", "/api/info"])
def test_a_name_that_was_made_to_point_here_gets_nothing(host: str, path: str) -> None:
    with pytest.raises(ForbiddenHost) as refused:
        Access(settings(hosts=[])).check(scope(path, ("host", host), ("origin", f"http://{host}")))
    assert "access.hosts" in str(refused.value)


def test_no_host_and_two_hosts_are_no_name_of_ours() -> None:
    for headers in ((), (("host", "localhost"), ("host", "localhost"))):
        with pytest.raises(ForbiddenHost):
            Access(settings(hosts=[])).check(scope("/", *headers))


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_may_ask_under_any_name(path: str) -> None:
    Access(settings(hosts=[]), TOKEN).check(scope(path, ("host", "pod.svc"), ("origin", "null")))


@pytest.mark.parametrize(
    "carried",
    [
        {"headers": [("authorization", f"Bearer {TOKEN}")]},
        {"headers": [("Authorization", f"bearer   {TOKEN}")]},
        {"query": f"format=ply&token={TOKEN}"},
        {"subprotocols": ["splatcast", f"splatcast.token.{TOKEN}"]},
        {"headers": [("authorization", "Basic eA=="), ("authorization", f"Bearer {TOKEN}")]},
        {"headers": [("authorization", "Bearer wrong")], "query": f"token={TOKEN}"},
    ],
)
def test_the_token_is_taken_where_a_client_can_put_it(carried: dict[str, Any]) -> None:
    Access(settings(), TOKEN).check(scope("/ws", *carried.pop("headers", []), **carried))


@pytest.mark.parametrize(
    "carried",
    [
        {},
        {"headers": [("authorization", "Bearer ")]},
        {"headers": [("authorization", TOKEN)]},
        {"headers": [("authorization", f"Basic {TOKEN}")]},
        {"headers": [("authorization", f"Bearer {TOKEN}x")]},
        {"headers": [("authorization", f"Bearer {TOKEN[:-1]}")]},
        {"headers": [("authorization", f"Bearer {TOKEN.upper()}")]},
        {"headers": [("authorization", "Bearer \xff\xfe")]},
        {"headers": [("cookie", f"token={TOKEN}")]},
        {"query": "token="},
        {"query": "token=%ff%00%e2%82%ac"},
        {"query": f"Token={TOKEN}"},
        {"subprotocols": [TOKEN]},
        {"subprotocols": ["splatcast.token."]},
        {"subprotocols": ["splatcast.token.\u20ac"]},
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/api/info", "/api/splat", "/api/status", "/status/", "//api/info", "/static", "/new"])
def test_without_it_nothing_but_pages_and_probes_is_served(carried: dict[str, Any], path: str) -> None:
    carried = dict(carried)
    with pytest.raises(Unauthorized) as refused:
        Access(settings(), TOKEN).check(scope(path, *carried.pop("headers", []), **carried))
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("path", ["/", "/selftest", "/status", "/static/viewer.js", "/healthz", "/readyz"])
def test_the_page_that_asks_for_the_token_needs_none(path: str) -> None:
    Access(settings(), TOKEN).check(scope(path))


def test_what_the_application_is_mounted_under_does_not_count() -> None:
    access = Access(settings(), TOKEN)
    access.check(scope("/cam/static/viewer.js", root_path="/cam"))
    for path in ("/cam/api/info", "/camera/static/viewer.js"):
        with pytest.raises(Unauthorized):
            access.check(scope(path, root_path="/cam"))


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("short", "5 characters"),
        ("x" * 15, "15 characters"),
        ("secret with spaces", "others"),
        ("schlüssel-schlüssel", "others"),
        ("x" * 20 + "\n", "others"),
    ],
)
def test_a_token_that_is_weak_or_could_not_travel_is_refused_without_showing_it(token: str, words: str) -> None:
    with pytest.raises(ValueError, match="SPLATCAST_TOKEN") as refused:
        token_from({"SPLATCAST_TOKEN": token})
    assert words in str(refused.value) and token not in str(refused.value)


def test_no_token_or_an_empty_one_is_none() -> None:
    assert token_from({}) is None and token_from({"SPLATCAST_TOKEN": ""}) is None
    assert token_from({"SPLATCAST_TOKEN": TOKEN}) == TOKEN


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        (f"token={TOKEN}", ""),
        (f"format=ply&token={TOKEN}&max_splats=5&token=again", "format=ply&max_splats=5"),
        ("%74oken=0123456789abcdef&name=%C3%BC+x", "name=%C3%BC+x"),
        ("a=token&b=%zz&c", "a=token&b=%zz&c"),
        ("format=ply", "format=ply"),
    ],
)
def test_the_token_is_taken_out_of_the_query_before_anybody_can_write_it_down(query: str, rest: str) -> None:
    assert without_token(scope(query=query))["query_string"] == rest.encode()


def test_the_token_is_never_the_subprotocol_of_the_answer() -> None:
    token = f"splatcast.token.{TOKEN}"
    assert chosen_subprotocol({"subprotocols": [token, "splatcast"]}) == "splatcast"
    assert chosen_subprotocol({"subprotocols": [token]}) is None and chosen_subprotocol({}) is None


@pytest.mark.parametrize(
    ("access", "words"),
    [
        ({"origins": ["cam.example"]}, ["origins", "https://host", "cam.example"]),
        ({"origins": ["https://cam.example/page"]}, ["origins", "/page"]),
        ({"origins": ["*"]}, ["origins", "'*'"]),
        ({"origins": "https://cam.example"}, ["origins"]),
        ({"embed": ["cam.example"]}, ["embed", "https://host", "cam.example"]),
        ({"embed": ["https://cam.example; script-src *"]}, ["embed"]),
        ({"embed": ["https://cam.example https://evil.example"]}, ["embed"]),
        ({"hosts": ["cam.example:8000"]}, ["hosts", "without a port"]),
        ({"hosts": ["https://cam.example"]}, ["hosts", "names"]),
        ({"max_sessions_per_address": 0}, ["max_sessions_per_address", "1 or more"]),
        ({"tokens": []}, ["tokens", "unknown", "origins"]),
    ],
)
def test_settings_that_make_no_sense_are_named(access: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**access)
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize(
    ("embed", "ancestors"),
    [
        ([], "'self'"),
        (["https://Cam.example", "http://[::1]:9000"], "'self' https://cam.example:443 http://[::1]:9000"),
        ("*", "*"),
    ],
)
def test_only_the_named_sites_may_frame_the_viewer(embed: Any, ancestors: str) -> None:
    assert frame_ancestors(settings(embed=embed)) == ancestors


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
def test_an_address_is_what_one_client_can_not_choose_freely(one: str, other: str, same: bool) -> None:
    assert (address_of({"client": (one, 1)}) == address_of({"client": (other, 2)})) == same


def test_a_client_without_an_address_counts_as_one() -> None:
    assert address_of({}) == address_of({"client": None}) == ""
    assert address_of({"client": ("/run/socket", 0)}) == "/run/socket"


def test_places_are_counted_for_all_and_for_each_and_come_back() -> None:
    places = Places(3, 2, "sessions")
    a, b = {"client": ("10.0.0.1", 1)}, {"client": ("10.0.0.2", 1)}
    with places.take(a), places.take(a):
        with pytest.raises(TooManyFromAddress, match="limit of 2 sessions"), places.take(a):
            pytest.fail("a third one")
        with places.take(b):
            with pytest.raises(ServerFull, match="limit of 3 sessions"), places.take(b):
                pytest.fail("a fourth one")
            with pytest.raises(TooManyFromAddress), places.take(a):
                pytest.fail("who has too many is told so, full or not")
    with pytest.raises(KeyError), places.take(a):
        raise KeyError
    assert not places._taken, "an address that left leaves nothing behind"


@pytest.mark.parametrize(
    "error", [ServerFull(1, "uploads"), TooManyFromAddress(1), ForbiddenOrigin("x"), ForbiddenHost("y"), Unauthorized()]
)
def test_the_refusals_survive_pickling_and_have_codes(error: Any) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.code, again.close_code) == (str(error), error.code, error.close_code)
