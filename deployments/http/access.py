"""Who may use the server: decisions about what a request says of itself. No I/O, no web framework.

Three questions, in this order, each answered by an error or by silence:

- Host: is the server asked for by one of its own names? Otherwise an attacker may have made their site's name point here (DNS
  rebinding), and their pages would pass for the server's own.
- Origin: is the page that asks allowed to? Programs send no Origin; the token is what guards against them.
- Token: is it the server's?

Whatever is not named in :data:`PROBES` and :data:`PAGES` must pass all three: a new route is guarded until somebody says otherwise.
"""

import hmac
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl, urlencode

from deployments.config import ANY_BELOW, AccessSettings
from deployments.stream.errors import ForbiddenHost, ForbiddenOrigin, ServerFull, TooManyFromAddress, Unauthorized
from deployments.stream.origins import DEFAULT_PORTS, host_name, is_address, parse_authority, parse_origin

TOKEN_VARIABLE = "SPLATCAST_TOKEN"
SUBPROTOCOL = "splatcast"
"""What the server answers a client that offers it. A browser accepts no other answer, and has no other way to send a token."""
TOKEN_SUBPROTOCOL = f"{SUBPROTOCOL}.token."
PROBES = ("/healthz", "/readyz")
"""Asked by machines, under whatever name they have for the server; the answers say nothing worth a secret."""
PAGES = ("/", "/selftest", "/status")
"""The same for everyone; what they show comes from the API, with the token that the page finds in its own address."""
STATIC = "/static/"
_MIN_TOKEN = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
"""Characters that a URL, a header and a subprotocol carry as they are."""

Scope = Mapping[str, Any]
"""What ASGI says of a request."""


def token_from(environment: Mapping[str, str]) -> str | None:
    """The server's token, from ``SPLATCAST_TOKEN``; None where it is unset or empty.

    Raises:
        ValueError: It is too short, or could not travel in every place that it must; its text is not in the sentence.
    """
    token = environment.get(TOKEN_VARIABLE) or None
    if token is not None and (len(token) < _MIN_TOKEN or not _TOKEN.fullmatch(token)):
        raise ValueError(
            f"{TOKEN_VARIABLE}: expected at least {_MIN_TOKEN} characters of A-Z a-z 0-9 . _ ~ -, got {len(token)} characters"
            f"{'' if _TOKEN.fullmatch(token) else ', others among them'}; 'openssl rand -hex 32' makes a good one"
        )
    return token


class Access:
    """Decides about requests by their ASGI scope."""

    def __init__(self, settings: AccessSettings, token: str | None = None) -> None:
        """Take the rules.

        Args:
            settings: Checked ones.
            token: The server's, or None: anyone who reaches it may use it.
        """
        self._token = token.encode() if token is not None else None
        self._origins = None if settings.origins == "*" else {parse_origin(origin) for origin in settings.origins}
        self._answers_to_any = settings.hosts == "*"
        listed = () if settings.hosts == "*" else settings.hosts
        self._names = {host_name(host) for host in listed if not host.startswith(ANY_BELOW)}
        self._suffixes = tuple(host_name(host[1:]) for host in listed if host.startswith(ANY_BELOW))

    def check(self, scope: Scope) -> None:
        """Return if the request may be served.

        Raises:
            ForbiddenHost, ForbiddenOrigin, Unauthorized: Why not.
        """
        path = path_in_app(scope)
        if path in PROBES:
            return
        self._check_host(scope)
        if path in PAGES or path.startswith(STATIC):
            return
        self._check_origin(scope)
        self._check_token(scope)

    def _check_host(self, scope: Scope) -> None:
        if self._answers_to_any:
            return
        got = _headers(scope, b"host")
        host = parse_authority(got[0], 0) if len(got) == 1 else None
        if host is None or not self._answers_to(host[0]):
            raise ForbiddenHost(", ".join(got))

    def _answers_to(self, name: str) -> bool:
        return name in self._names or name == "localhost" or is_address(name) or name.endswith(self._suffixes)

    def _check_origin(self, scope: Scope) -> None:
        got = _headers(scope, b"origin")
        if not got or self._origins is None:
            return
        origin = parse_origin(got[0]) if len(got) == 1 else None
        if origin is None or not (origin in self._origins or self._is_own(origin, _headers(scope, b"host"))):
            raise ForbiddenOrigin(", ".join(got))

    def _is_own(self, origin: tuple[str, str, int], hosts: list[str]) -> bool:
        if self._origins and self._answers_to_any:
            return False  # Nothing but the list tells the server's own names from one that was made to point here.
        scheme, host, port = origin
        # A name of its own, whatever a tunnel makes of the Host header. Not one below a "*.": those may be other people's.
        if host in self._names and port == DEFAULT_PORTS[scheme]:
            return True
        # The schemes may differ: behind a proxy that ends TLS the page is https and the request is not.
        return len(hosts) == 1 and parse_authority(hosts[0], DEFAULT_PORTS[scheme]) == (host, port)

    def _check_token(self, scope: Scope) -> None:
        if self._token is None:
            return
        if not any(hmac.compare_digest(self._token, token.encode("latin-1", "replace")) for token in presented_tokens(scope)):
            raise Unauthorized


def frame_ancestors(settings: AccessSettings) -> str:
    """Who may show the viewer in a frame, as the ``frame-ancestors`` of a content security policy writes it."""
    if settings.embed == "*":
        return "*"
    sites = (parse_origin(site) for site in settings.embed)
    return " ".join(
        ["'self'", *(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for scheme, host, port in filter(None, sites))]
    )


def presented_tokens(scope: Scope) -> list[str]:
    """Every token that a request carries: in its header, its query and its subprotocols."""
    schemes = (header.partition(" ") for header in _headers(scope, b"authorization"))
    tokens = [token.strip() for scheme, _, token in schemes if scheme.lower() == "bearer"]
    tokens += [value for name, value in _query(scope) if name == "token"]
    offered = (protocol for protocol in scope.get("subprotocols") or () if protocol.startswith(TOKEN_SUBPROTOCOL))
    return tokens + [protocol.removeprefix(TOKEN_SUBPROTOCOL) for protocol in offered]


def without_token(scope: Scope) -> dict[str, Any]:
    """The scope without a token in its query: nothing further in can then write it anywhere."""
    query = _query(scope)
    rest = [(name, value) for name, value in query if name != "token"]
    if len(rest) == len(query):
        return dict(scope)
    return {**scope, "query_string": urlencode(rest, encoding="latin-1").encode()}


def chosen_subprotocol(scope: Scope) -> str | None:
    """What to answer to the subprotocols that a client offers."""
    return SUBPROTOCOL if SUBPROTOCOL in (scope.get("subprotocols") or ()) else None


class Places:
    """Counts what runs now: all of it, and for each client address."""

    def __init__(self, limit: int, limit_per_address: int, what: str) -> None:
        """Start with none.

        Args:
            limit: At most, all together.
            limit_per_address: At most for one address.
            what: Their name, plural, in the refusals.
        """
        self._limit, self._limit_per_address, self._what = limit, limit_per_address, what
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, scope: Scope) -> Iterator[None]:
        """Hold one place until the end of the block.

        Raises:
            ServerFull, TooManyFromAddress: There is none, and then nothing is held.
        """
        address = address_of(scope)
        if self._taken[address] >= self._limit_per_address:
            raise TooManyFromAddress(self._limit_per_address, self._what)
        if self._taken.total() >= self._limit:
            raise ServerFull(self._limit, self._what)
        self._taken[address] += 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]  # Else every address there ever was would stay.


def address_of(scope: Scope) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 network of /64, which is what one customer is given to choose from."""
    host: str = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host  # A Unix socket, or none.
    address = getattr(address, "ipv4_mapped", None) or address
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


def path_in_app(scope: Scope) -> str:
    """The path as Starlette's router sees it: without the prefix that the application is mounted under."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else path


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl((scope.get("query_string") or b"").decode("latin-1"), keep_blank_values=True, encoding="latin-1")
