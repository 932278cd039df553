"""The HTTP side: the viewer's pages, health, info, photo to splat, and the WebSocket's address. Starlette; no Ray.

Everything it needs of the graph comes through the :class:`~deployments.pipeline.Pipeline` it is given.
"""

import asyncio
import io
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from deployments.config import GraphArgs
from deployments.http.access import Access, Places
from deployments.http.admitted import AdmittedPipeline
from deployments.http.answers import refusal, refusal_of
from deployments.http.middleware import AccessGate, PageHeaders
from deployments.http.socket import endpoint
from deployments.http.status import GraphState, Status
from deployments.pipeline import Overloaded, Pipeline
from deployments.scene.clip import sample_clip
from deployments.splats.codecs import CODECS
from deployments.stages.decode import FrameLimits
from deployments.stream import messages
from deployments.stream.admission import Admission
from deployments.stream.counts import Counts
from deployments.stream.errors import (
    BadMessage,
    FrameEmpty,
    FrameError,
    FrameTooLarge,
    NotReady,
    StreamError,
)
from deployments.stream.frames import Capture, FrameRequest
from deployments.stream.session import Session, SessionSettings

logger = logging.getLogger("ray.serve.splatcast")

STATIC_FOLDER = Path(__file__).parent / "static"
READY_FOR_S = 10.0
"""A frame that went through the graph this recently proves that it is ready."""
PROBE_TIMEOUT_S = 10.0
DESCRIBE_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 30.0
"""A picture of 4 MiB over 1 Mbit/s. Slower than that is a client that holds a place on purpose."""
MAX_UPLOADS = 16
"""Pictures read at a time; each holds one of the ingress's ongoing requests, and the sockets need theirs."""
MAX_UPLOADS_PER_ADDRESS = 8
"""So that one client can't hold them all."""


async def _no_graph() -> GraphState:
    return GraphState("RUNNING")


def create_app(
    pipeline: Pipeline,
    args: GraphArgs,
    static_folder: Path = STATIC_FOLDER,
    counts: Counts | None = None,
    admission: Admission | None = None,
    token: str | None = None,
    graph: Callable[[], Awaitable[GraphState]] = _no_graph,
    replica: str = "",
) -> ASGIApp:
    """The ASGI application of one ingress replica.

    Args:
        pipeline: The graph.
        args: Its arguments: defaults and limits of the sessions.
        static_folder: Where the build put the viewer.
        counts: Counts what happens; None: nobody else looks at it.
        admission: Lets frames into the graph; None: likewise.
        token: What clients must know; None: nothing.
        graph: Asks how the deployments are, for ``/status``.
        replica: This replica's name.
    """
    counts, admission = counts or Counts(time.monotonic), admission or Admission(args.admission)
    api = _Api(pipeline, args, counts, admission, static_folder, graph, replica)
    access = Access(args.access, token)
    places = Places(args.max_sessions, args.access.max_sessions_per_address, "sessions")
    routes = [
        WebSocketRoute("/ws", endpoint(api.open_session, api.pipeline, counts, api.sessions, access, places)),
        Route("/", api.page("index.html")),
        Route("/selftest", api.page("selftest.html")),
        Route("/status", api.page("status.html")),
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
        Route("/api/info", api.info),
        Route("/api/status", api.status),
        Route("/api/sample", api.sample),
        Route("/api/splat", api.splat, methods=["POST"]),
        Mount("/static", StaticFiles(directory=static_folder, check_dir=False)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, StreamError: _not_served, Exception: _failed})
    # Outside of Starlette's own error handling, so that errors have the headers too.
    return PageHeaders(AccessGate(app, access))


class _Api:
    def __init__(
        self,
        pipeline: Pipeline,
        args: GraphArgs,
        counts: Counts,
        admission: Admission,
        static_folder: Path,
        graph: Callable[[], Awaitable[GraphState]],
        replica: str,
    ) -> None:
        self.pipeline = AdmittedPipeline(pipeline, admission, args.batch.max_size)
        self.sessions: set[Session] = set()
        self._counts = counts
        self._args = args
        self._static_folder = static_folder
        self._version = version("splatcast")
        self._status = Status(counts, admission, self.sessions, args, self._version, replica, self._describe, graph)
        self._engine: messages.Engine | None = None
        self._sample: asyncio.Task[bytes] | None = None
        self._uploads = Places(MAX_UPLOADS, MAX_UPLOADS_PER_ADDRESS, "uploads")
        self._probe = _probe_image(args.frames)
        self._probing: asyncio.Task[str | None] | None = None

    async def open_session(self) -> Session:
        args = self._args
        settings = SessionSettings(
            version=self._version,
            engine=await self._describe(),
            defaults=args.options,
            option_limits=args.option_limits,
            limits=args.session,
            quality=args.quality,
            max_frame_bytes=args.frames.max_frame_bytes,
            max_frame_pixels=args.frames.max_pixels,
        )
        return Session(uuid4().hex[:12], settings, time.monotonic(), self._counts)

    async def _describe(self) -> messages.Engine:
        if self._engine is None:
            try:
                self._engine = await asyncio.wait_for(self.pipeline.describe(), DESCRIBE_TIMEOUT_S)
            except Exception as error:
                logger.warning("the model does not say what it is: %s: %.300s", type(error).__name__, error)
                raise NotReady from None
        return self._engine

    def page(self, name: str) -> Any:
        """A handler for one of the viewer's pages."""

        async def serve_page(request: Request) -> Response:
            path = self._static_folder / name
            if not path.is_file():
                text = f"The viewer has not been built: {name} is missing. Run 'make web' (or 'pip install .') and start again.\n"
                return PlainTextResponse(text, 503)
            return FileResponse(path, headers={"cache-control": "no-cache"})

        return serve_page

    async def healthz(self, request: Request) -> Response:
        """This process answers. Says nothing of the graph."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """A frame went through the whole graph lately, or goes through it now."""
        if time.monotonic() - self.pipeline.last_frame_s <= READY_FOR_S:
            return PlainTextResponse("ready\n")
        if self._probing is None or self._probing.done():
            # One frame for all who ask at the same time: a probe must not be a load.
            self._probing = asyncio.ensure_future(self._why_not_ready())
        reason = await asyncio.shield(self._probing)
        return PlainTextResponse(f"not ready: {reason}\n", 503) if reason else PlainTextResponse("ready\n")

    async def _why_not_ready(self) -> str | None:
        """Send a frame through the graph; None when it came through."""
        try:
            capture = Capture((self._probe,), FrameRequest(self._args.options, frame_id="readyz/0"))
            outcome = await asyncio.wait_for(self.pipeline(capture), PROBE_TIMEOUT_S)
        except Overloaded:
            return None  # Full queues are served queues: taking this ingress out of rotation would make it worse.
        except (TimeoutError, asyncio.TimeoutError):
            return f"a frame did not come through the graph in {PROBE_TIMEOUT_S:g} s"
        except Exception:
            logger.exception("probe failed")
            return "the graph failed; the server's log has the details"
        return str(outcome) if isinstance(outcome, FrameError) else None

    async def info(self, request: Request) -> Response:
        """What runs here and what it takes."""
        engine = await self._describe()
        session, choice, frames = self._args.session, self._args.option_limits, self._args.frames
        return JSONResponse(
            {
                "name": "splatcast",
                "version": self._version,
                "protocol": messages.PROTOCOL,
                "engine": asdict(engine),
                "representations": list(dict.fromkeys("points" if kind == "points" else "splats" for kind in engine.kinds)),
                "codecs": list(choice.codecs),
                "options": asdict(self._args.options),
                "limits": {**asdict(session), **asdict(choice), **asdict(frames), "max_sessions": self._args.max_sessions},
            }
        )

    async def status(self, request: Request) -> Response:
        """How well the stream is; what ``/status`` shows."""
        report = await self._status.report()
        if report is None:
            raise HTTPException(503, "The status could not be collected; the server's log has the details.")
        return JSONResponse(report, headers={"cache-control": "no-store"})

    async def sample(self, request: Request) -> Response:
        """The clip for people without a camera: a msgpack map of ``fps``, ``width``, ``height`` and JPEG ``frames``."""
        if self._sample is None or (self._sample.done() and self._sample.exception()):
            self._sample = asyncio.ensure_future(asyncio.to_thread(sample_clip))
        body = await asyncio.shield(self._sample)
        return Response(body, media_type="application/msgpack", headers={"cache-control": "max-age=3600"})

    async def splat(self, request: Request) -> Response:
        """One picture in, one splat file out. Query: ``format``, and any option of a stream by its name."""
        query = dict(request.query_params)
        name = query.pop("format", "ply")
        if "codec" in query:
            raise HTTPException(400, "codec: a file's codec is its format; use 'format'")
        limits = self._args.option_limits
        if name not in limits.codecs:
            raise HTTPException(400, f"format: expected one of {', '.join(limits.codecs)}, got {name!r:.40}")
        options = replace(self._args.options, codec=name, representation="points" if name == "points" else "splats")
        try:
            options = limits.apply(options, {key: _number(value) for key, value in query.items()})
        except BadMessage as error:
            raise HTTPException(400, error.reason) from None
        engine = await self._describe()
        with self._uploads.take(request.scope):
            try:
                with anyio.fail_after(BODY_TIMEOUT_S):
                    body = await self._body(request)
                outcome = await self.pipeline(Capture((body,), FrameRequest(options, frame_id=f"photo-{uuid4().hex[:12]}/0")))
            except TimeoutError:
                raise HTTPException(408, f"The picture did not arrive within {BODY_TIMEOUT_S:g} s.") from None
            except Overloaded:
                raise HTTPException(503, "The server is busy: try again in a moment.", {"retry-after": "1"}) from None
        if isinstance(outcome, FrameError):
            raise outcome
        codec = CODECS[name]
        headers = {
            "content-disposition": f'attachment; filename="splatcast-{time.strftime("%Y%m%d-%H%M%S")}{codec.suffix}"',
            "x-splatcast-label": engine.label,
            "x-splatcast-licence": engine.licence,
            "x-splatcast-kind": outcome.kind,
            "x-splatcast-count": str(outcome.count),
        }
        return Response(outcome.data.tobytes(), media_type=codec.media_type, headers=headers)

    async def _body(self, request: Request) -> bytes:
        """The request's body, read no further than the limit.

        Raises:
            FrameTooLarge: If there is more.
            FrameEmpty: If there is nothing.
        """
        limit, body = self._args.frames.max_frame_bytes, bytearray()
        declared = request.headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit() and len(declared) < 20):
            raise HTTPException(400, f"content-length: expected a whole number, got {declared!r:.40}")
        if int(declared) > limit:
            raise FrameTooLarge(int(declared), limit)
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise FrameTooLarge(len(body), limit)
        if not body:
            raise FrameEmpty
        return bytes(body)


def _number(value: str) -> str | int | float:
    """A query's value as the option's type; what is no number stays text and is checked as text."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(f"http_{error.status_code}", error.detail, error.status_code, error.headers)


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, StreamError)
    return refusal_of(error)


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises it again for the log; the client learns that it happened and nothing of where.
    return refusal("internal", "The server met an unexpected error; its log has the details.", 500)


def _probe_image(limits: FrameLimits) -> bytes:
    """A small picture with structure, of a size that the limits take: what /readyz sends through the graph."""
    size = (min(max(64, limits.min_px), limits.max_width), min(max(48, limits.min_px), limits.max_height))
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()
