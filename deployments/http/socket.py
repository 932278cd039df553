"""The WebSocket shell: moves messages between a socket, a :class:`~deployments.stream.session.Session` and the pipeline.

It decides nothing. Three loops a connection: read, write, and a slow clock; a task for every capture in the graph.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import copy_context
from typing import Any

import anyio
from anyio.abc import TaskGroup
from starlette.websockets import WebSocket, WebSocketState

from deployments.http.access import Access, Places, chosen_subprotocol
from deployments.http.admitted import AdmittedPipeline
from deployments.http.receipts import RECEIPT_HEADER
from deployments.pipeline import Overloaded
from deployments.stream import messages
from deployments.stream.counts import Counts
from deployments.stream.errors import FrameError, GraphFailed, StreamError
from deployments.stream.frames import Capture
from deployments.stream.logs import Seldom, frame_fields
from deployments.stream.session import Session

logger = logging.getLogger("ray.serve.splatcast")

REPORT_PERIOD_S = 5.0
REFUSAL_TIMEOUT_S = 5.0
"""A refused client that does not take the reason in that time is left without."""
MAX_REFUSALS = 64
"""Refused clients that are told why at the same time; the others get a bare HTTP 403, which costs nearly nothing."""
_MAX_CLOSE_REASON_BYTES = 123
"""RFC 6455: a control frame has 125 bytes, two of them the code."""


class _SocketGoneError(Exception):
    """The client left, or the proxy that held its socket died."""


@contextlib.contextmanager
def _gone_if_it_raises() -> Iterator[None]:
    # WebSocketDisconnect, RuntimeError, OSError, and under Serve whatever its proxy's death looks like: to us all one thing.
    try:
        yield
    except Exception as error:
        raise _SocketGoneError from error


class SessionSocket:
    """Runs one session on one accepted WebSocket until either side ends it."""

    def __init__(self, websocket: WebSocket, session: Session, pipeline: AdmittedPipeline) -> None:
        self._websocket = websocket
        self._session = session
        self._pipeline = pipeline
        self._wake = asyncio.Event()
        session.wake = self._pump  # What it says may be that there is a frame to be computed.
        self._receipt = asyncio.Event()
        self._receipt_token = websocket.headers.get(RECEIPT_HEADER.decode())
        self._told: set[str] = set()
        self._left: dict[str, Any] = {"ended_by": "a lost connection"}
        self._tasks: TaskGroup
        # Serve's request of this socket is in it. Admission may call _start from another session's task: a frame that began in
        # there would be cancelled as a child of that session's request when its client leaves, and take this session along.
        self._context = copy_context()

    async def run(self) -> None:
        """Serve until the client leaves or the session closes. Never raises for what a client does."""
        try:
            async with anyio.create_task_group() as self._tasks:
                for loop in (self._read, self._write, self._tick):
                    self._tasks.start_soon(self._run_loop, loop)
        finally:
            # What its room tells it on leaving must not put it back in the line: nothing of it could start any more.
            self._session.wake = lambda: None
            self._pipeline.admission.withdraw(self._start)
            self._session.ended(time.monotonic())
            if error := self._session.closing:
                self._left = {"ended_by": "us", "close_code": error.close_code, "reason": error.code}
            summary = self._session.reports.summary(time.monotonic())
            logger.info("session ended", extra=self._session.named({**summary, **self._left}))

    async def _run_loop(self, loop: Callable[[], Awaitable[None]]) -> None:
        """One of the three loops; whichever ends first ends the session."""
        try:
            await loop()
        except _SocketGoneError:
            pass
        except Exception:
            # The one place where a defect of ours ends up: this session is closed, the others go on.
            logger.exception("session failed", extra={"session": self._session.session_id})
            self._session.failed()
            await self._say_goodbye()
        finally:
            self._tasks.cancel_scope.cancel()

    async def _read(self) -> None:
        began = False
        while True:
            with _gone_if_it_raises():
                message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                self._left = {"ended_by": "the client", "close_code": message.get("code"), "reason": message.get("reason") or ""}
                return
            binary: bytes | None = message.get("bytes")
            data: bytes | str = message["text"] if binary is None else binary
            if self._receipt_token and data == self._receipt_token:
                self._receipt.set()
                continue
            self._session.received(data, time.monotonic())
            self._session.read(time.monotonic())
            if not began:
                began = True
                logger.info("session began", extra=self._session.named({}))
            self._pump()

    async def _write(self) -> None:
        while True:
            message = self._session.next_message(time.monotonic())
            if message is None:
                if self._session.closing:
                    await close(self._websocket, self._session.closing)
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            self._receipt.clear()
            await self._send(message)
            if self._receipt_token:
                await self._receipt.wait()
            self._session.delivered(time.monotonic())
            self._pump()

    async def _tick(self) -> None:
        was_closing = False
        while True:
            await asyncio.sleep(REPORT_PERIOD_S)
            if was_closing:
                return  # It had a whole period to take the goodbye; the socket is cut when run() ends.
            was_closing = self._session.closing is not None
            now_s = time.monotonic()
            self._session.check_idle(now_s)
            self._wake.set()
            report = self._session.named(self._session.reports.report(now_s))
            self._told.clear()
            if report["frames_in"] or report["splats_out"]:  # Hundreds of idle sessions would fill the log with zeros.
                logger.info("session", extra=report)

    def _pump(self) -> None:
        """Stand in line for the frame the session has credit for, and let the writer look again."""
        frame = self._session.ready_frame(time.monotonic())
        if frame is not None:
            self._pipeline.admission.ask(self._start, frame)
        self._wake.set()

    def _start(self) -> bool:
        """There is a place in the graph: for the frame that is the session's newest now."""
        job = self._session.next_capture(time.monotonic())
        if job:
            self._context.run(lambda: self._tasks.start_soon(self._compute, *job))
        return job is not None

    async def _compute(self, ticket: int, capture: Capture) -> None:
        try:
            outcome = await self._pipeline.run(capture)
        except Overloaded:
            outcome = None
        except Exception:
            logger.exception("frame failed", extra=frame_fields(capture.request.frame_id))
            outcome = GraphFailed()
        if isinstance(outcome, FrameError) and outcome.code not in self._told:
            # One line for each code and period: a client can send bad frames faster than a log can grow.
            self._told.add(outcome.code)
            about = {**frame_fields(capture.request.frame_id), "code": outcome.code, "reason": str(outcome)}
            logger.info("frame refused", extra=about)
        self._session.finished(ticket, outcome, time.monotonic())
        self._pump()

    async def _send(self, message: bytes | str) -> None:
        with _gone_if_it_raises():
            if isinstance(message, str):
                await self._websocket.send_text(message)
            else:
                await self._websocket.send_bytes(message)

    async def _say_goodbye(self) -> None:
        # The writer may have died in the middle of anything: one try, and no waiting for a client that doesn't read.
        with contextlib.suppress(Exception):
            message = self._session.next_message(time.monotonic())
            if message is not None:
                await asyncio.wait_for(self._send(message), 1.0)
        if self._session.closing:
            await close(self._websocket, self._session.closing)


async def close(websocket: WebSocket, error: StreamError) -> None:
    """Close with the error's code and as much of its sentence as a close frame holds."""
    reason = str(error).encode()[:_MAX_CLOSE_REASON_BYTES].decode(errors="ignore")
    if websocket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(_SocketGoneError), _gone_if_it_raises():
            await websocket.close(error.close_code or 1011, reason)


async def refuse(websocket: WebSocket, error: StreamError) -> None:
    """Accept, say why not, close: a refused handshake would show the browser a bare 1006."""
    with anyio.move_on_after(REFUSAL_TIMEOUT_S), contextlib.suppress(_SocketGoneError), _gone_if_it_raises():
        await websocket.accept(chosen_subprotocol(websocket.scope))
        await websocket.send_bytes(messages.encode(messages.Error(error.code, str(error), fatal=True)))
        await close(websocket, error)


def endpoint(
    open_session: Callable[[], Coroutine[Any, Any, Session]],
    pipeline: AdmittedPipeline,
    counts: Counts,
    sessions: set[Session],
    access: Access,
    places: Places,
) -> Callable[[WebSocket], Coroutine[Any, Any, None]]:
    """The handler of ``/ws``.

    Args:
        open_session: Makes the state machine of a new session; may raise a StreamError.
        pipeline: Where captures go.
        counts: Counts sessions that begin, end or are refused.
        sessions: Has those that are open, while they are.
        access: Who may open a session.
        places: Where sessions are counted; the one that finds none is refused with 1013.
    """
    refusing = 0
    refusals = Seldom(REPORT_PERIOD_S)

    async def serve_socket(websocket: WebSocket) -> None:
        nonlocal refusing
        try:
            access.check(websocket.scope)
            # What is refused holds no place: nobody is kept out by those who may not come in.
            with places.take(websocket.scope):
                await serve_session(websocket)
        except StreamError as error:
            counts.session_refused(error.code)
            if count := refusals.count():
                logger.info("session refused", extra={"code": error.code, "close_code": error.close_code, "refused": count})
            if refusing >= MAX_REFUSALS:
                with contextlib.suppress(_SocketGoneError), _gone_if_it_raises():
                    await websocket.close()
                return
            refusing += 1
            try:
                await refuse(websocket, error)
            finally:
                refusing -= 1

    async def serve_session(websocket: WebSocket) -> None:
        session: Session | None = None
        counts.session_opened()
        try:
            session = await open_session()
            sessions.add(session)
            with _gone_if_it_raises():
                await websocket.accept(chosen_subprotocol(websocket.scope))
            await SessionSocket(websocket, session, pipeline).run()
        except _SocketGoneError:
            pass  # It left before it was let in.
        finally:
            if session:
                sessions.discard(session)
            counts.session_closed()

    return serve_socket
