"""What every request passes through on its way in, and every response on its way out."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.http.access import Access, without_token
from deployments.http.answers import refusal_of
from deployments.http.refusal_page import refusal_page, wants_page
from deployments.stream.errors import StreamError


class AccessGate:
    """Refuses HTTP requests that :class:`~deployments.http.access.Access` does not let in.

    Sockets pass, and refuse by a message: a browser can't read the answer to a handshake.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, and hand on."""
        if scope["type"] == "http":
            try:
                self._access.check(scope)
            except StreamError as error:
                answer = refusal_page(error) if wants_page(scope) else None
                await (answer or refusal_of(error))(scope, receive, send)
                return
            scope = without_token(scope)
        await self._app(scope, receive, send)


class PageHeaders:
    """Adds to every response the headers that tell a browser what the page may do, unless the response has its own."""

    # What the viewer was seen to need: Spark compiles WASM and starts its sort worker from a blob; a dropped file is a blob.
    _POLICY = (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
        "img-src 'self' blob:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors "
    )
    _HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"permissions-policy", b"camera=(self), xr-spatial-tracking=(self), microphone=(), geolocation=()"),
        # Other sites can't pull pictures or files from here into their pages, nor keep hold of a window that they opened.
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
    )

    def __init__(self, app: ASGIApp, ancestors: str) -> None:
        """Wrap an application.

        Args:
            app: What answers.
            ancestors: Who may show its pages in a frame, as the policy writes it.
        """
        self._app = app
        self._headers = ((b"content-security-policy", f"{self._POLICY}{ancestors}".encode()), *self._HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, with a ``send`` that adds the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", [])]
                own = {name for name, _ in headers}
                message = {**message, "headers": headers + [each for each in self._headers if each[0] not in own]}
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
