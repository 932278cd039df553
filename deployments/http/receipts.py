"""Delivery receipts: word from the proxy that a client's socket took a message, for the application behind it.

The middleware runs where uvicorn does (:mod:`deployments.ops.proxy` puts it there); :mod:`deployments.http.socket` waits for what
it says.
"""

import asyncio
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RECEIPT_HEADER = b"x-splatcast-receipt"
"""Names the token of a connection's receipts; set by the proxy, and removed from what a client sends."""


class DeliveryReceipts:
    """Tells the application, as a text message only it can know, that the socket took a message of its."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap a WebSocket's ``receive`` and ``send``; leave everything else alone."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        token = secrets.token_hex(16)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != RECEIPT_HEADER]
        receipts: asyncio.Queue[Message] = asyncio.Queue()
        from_client: asyncio.Task[Message] | None = None

        async def send_and_tell(message: Message) -> None:
            await send(message)
            if message["type"] == "websocket.send":
                receipts.put_nowait({"type": "websocket.receive", "text": token})

        async def receive_either() -> Message:
            nonlocal from_client
            # Kept across calls: a cancelled receive() could lose a client's message.
            from_client = from_client or asyncio.ensure_future(receive())
            receipt = asyncio.ensure_future(receipts.get())
            try:
                await asyncio.wait({from_client, receipt}, return_when=asyncio.FIRST_COMPLETED)
                if receipt.done():
                    return receipt.result()
                done, from_client = from_client, None
                return done.result()
            finally:
                receipt.cancel()

        try:
            await self._app({**scope, "headers": [*headers, (RECEIPT_HEADER, token.encode())]}, receive_either, send_and_tell)
        finally:
            if from_client:
                from_client.cancel()
