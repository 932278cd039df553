"""Delivery receipts: word from the proxy about whether a client's socket took a message, for the application behind it.

The middleware runs where uvicorn does (:mod:`deployments.ops.proxy` puts it there); :mod:`deployments.http.socket` waits for what
it says.
"""

import asyncio
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RECEIPT_HEADER = b"x-splatcast-receipt"
"""Names the token of a connection's receipts; set by the proxy, and removed from what a client sends."""
_LOST: Message = {"type": "websocket.disconnect", "code": 1006, "reason": ""}


class DeliveryReceipts:
    """Tells the application, as a text message that only the proxy can know, that the socket took its message.

    When the socket takes none because it is gone, the application is told that the client left, and nothing is raised: Serve's
    proxy is a generator that an exception from ``send`` would tear down, a traceback for every socket that is cut.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap a WebSocket's ``receive`` and ``send``; leave everything else alone."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        token = secrets.token_hex(16)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != RECEIPT_HEADER]
        receipt: Message = {"type": "websocket.receive", "text": token}
        coming: asyncio.Queue[Message | Exception] = asyncio.Queue()
        taken = asyncio.Event()
        listening: asyncio.Task[None] | None = None
        lost = False

        async def send_and_tell(message: Message) -> None:
            nonlocal lost
            if lost:
                return
            try:
                await send(message)
            except Exception:
                # OSError, as ASGI has it, or RuntimeError where uvicorn itself closed: a message too large, a ping without an
                # answer. What an application gets wrong, Starlette has told it before.
                lost = True
                coming.put_nowait(_LOST)
                return
            if message["type"] == "websocket.send":
                coming.put_nowait(receipt)

        async def listen() -> None:
            # One message of the client at a time: what the application does not take yet holds up the client, and no memory.
            while True:
                try:
                    coming.put_nowait(await receive())
                except Exception as error:
                    coming.put_nowait(error)
                await taken.wait()
                taken.clear()

        async def receive_either() -> Message:
            nonlocal listening
            # A task for the whole connection: to wait for two things at a time costs two tasks for each message.
            listening = listening or asyncio.ensure_future(listen())
            message = await coming.get()
            if message is not receipt and message is not _LOST:
                taken.set()
            if isinstance(message, Exception):
                raise message
            return message

        try:
            await self._app({**scope, "headers": [*headers, (RECEIPT_HEADER, token.encode())]}, receive_either, send_and_tell)
        finally:
            if listening:
                listening.cancel()
