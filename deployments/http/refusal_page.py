"""The 403 of a person: a page that says what to type, and what that costs. It loads nothing, as nothing would be served."""

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse, Response

from deployments.http.access import Scope
from deployments.http.answers import NOT_KEPT
from deployments.stream.errors import ForbiddenHost, ForbiddenOrigin, StreamError

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --ink: #1b1d21; --quiet: #555b66; --edge: #d9dbe0; --box: #f0f1f3; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #101216; --ink: #eceef2; --quiet: #a9b0bd; --edge: #333944; --box: #1a1e25; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 12vh 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1rem; margin: 2rem 0 .25rem; }
p { margin: .5rem 0; }
.quiet { color: var(--quiet); }
pre { margin: .5rem 0; padding: .8rem 1rem; border: 1px solid var(--edge); border-radius: .5rem; background: var(--box); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: .95rem/1.5 ui-monospace, monospace; user-select: all; }
strong { overflow-wrap: anywhere; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {**NOT_KEPT, "content-security-policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'"}
_COST = (
    "From then on, whoever reaches that address can use this server. To let in only those who know a token, first run "
    "<code>export SPLATCAST_TOKEN=$(openssl rand -hex 32); echo $SPLATCAST_TOKEN</code> in the same terminal, and send them the "
    "address with <code>#token=</code> and what it printed."
)


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks for something to be read by a person."""
    accepted = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept")
    return scope["method"] in ("GET", "HEAD") and b"text/html" in accepted.lower()


def refusal_page(error: StreamError) -> Response | None:
    """The page for a refusal that whoever runs the server can lift; None for any other.

    What came with the request is on it only as escaped text, and in a line to type only if it is a name or a site.
    """
    if isinstance(error, ForbiddenHost):
        title = f"This server does not answer to the name <strong>{_shown(error.got)}</strong>"
        what = "A server on a laptop answers only to names that it was told, so that no site can make its own name point here."
        close = "You did not set this name up, and nobody you trust sent it to you? Then close this page."
    elif isinstance(error, ForbiddenOrigin):
        title = f"Pages from <strong>{_shown(error.got)}</strong> may not use this server"
        what = "A server answers only to its own pages and to sites that it was told, so that no other site can use it through you."
        close = "You do not know that site? Then close this page."
    else:
        return None
    way = "<p>Add the name to <code>access.hosts</code> in its config.</p>"
    if error.line:
        way = (
            f"<p>Stop it with Ctrl-C, and start it with</p><pre>{escape(error.line)}</pre>"
            "<p class=quiet>and what else you had in front of <code>make run</code>; several are separated by commas. "
            "A config of your own has them in <code>access</code>.</p>"
        )
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>Splatcast: 403</title><style>{_STYLE}</style><main><h1>{title}</h1><p>{what}</p>"
        f"<h2>If it is yours</h2>{way}<h2>What that costs</h2><p>{_COST}</p><h2>If it is not</h2><p>{close}</p></main>",
        403,
        _HEADERS,
    )


def _shown(text: str) -> str:
    return escape(ascii(text[:80])[1:-1]) or "(none)"
