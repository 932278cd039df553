"""What Serve's HTTP servers must be told, because Serve itself has no option for it.

``serve.env`` names :func:`configure_proxy` as ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``; Serve calls it wherever it is about to
build a uvicorn server: in every Python proxy, and behind HAProxy (``serve.cluster.env``) in every ingress replica. It does three
things:

- permessage-deflate off: uvicorn negotiates it with every browser and deflates on the event loop, 50 to 1600 ms a reply. HAProxy
  itself compresses nothing.
- delivery receipts: the application's ``send`` returns at once, while uvicorn's waits for the socket. Behind a Python proxy an
  actor call is between the two; behind HAProxy they are in one process, but in two threads with a queue between them. Either way,
  without word from uvicorn's side, replies to a client that stops reading would pile up in the replica. And a socket that is cut is
  told to the application instead of being raised in Serve's proxy.
- request ids: Serve writes a client's ``X-Request-ID`` as it is into every log line of its request, even if it is 60 kB long.
"""

import functools
import os
import re
from typing import Any

import uvicorn.config
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.http.receipts import DeliveryReceipts

CALLBACK_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
CALLBACK_VALUE = "deployments.ops.proxy:configure_proxy"

MAX_MESSAGE_BYTES = 16 * 2**20
"""Largest WebSocket message taken before the connection is closed with 1009. Frames have a smaller limit of their own."""

REQUEST_ID_HEADER = b"x-request-id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
"""A UUID, a trace id, a load balancer's own id: nothing that a log would have to quote."""


def configure_proxy() -> list[Middleware]:
    """Set uvicorn's WebSocket defaults in this process.

    Returns:
        The middlewares that Serve is to wrap around its proxy.
    """
    original = uvicorn.config.Config.__init__
    if not hasattr(original, "__wrapped__"):

        @functools.wraps(original)
        def configured(self: uvicorn.config.Config, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("ws_per_message_deflate", False)
            kwargs.setdefault("ws_max_size", MAX_MESSAGE_BYTES)
            original(self, *args, **kwargs)

        uvicorn.config.Config.__init__ = configured  # type: ignore[method-assign]
    return [Middleware(DeliveryReceipts), Middleware(RequestIds)]


def missing_environment() -> str | None:
    """A sentence for the log when this process's environment lacks the callback, else None."""
    if os.environ.get(CALLBACK_VARIABLE) == CALLBACK_VALUE:
        return None
    return (
        f"{CALLBACK_VARIABLE} is not set for the Ray head: browsers will negotiate permessage-deflate (50 to 1600 ms a frame) and "
        f"replies to clients that don't read are not bounded. Stop Ray, run 'export {CALLBACK_VARIABLE}={CALLBACK_VALUE}' "
        "(or 'set -a; . ./serve.env; set +a'), and start it again."
    )


class RequestIds:
    """Lets a client's request id pass if it is short and plain. Serve makes one for any request that has none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the header off if it is not; leave everything else alone."""
        if scope["type"] in ("http", "websocket"):
            headers = [(k, v) for k, v in scope["headers"] if k.lower() != REQUEST_ID_HEADER or _REQUEST_ID.fullmatch(v)]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)
