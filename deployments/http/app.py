"""The ASGI application of an ingress replica: its routes, and what they are wired to. Starlette; no Ray.

Everything it needs of the graph comes through the :class:`~deployments.pipeline.Pipeline` it is given.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from deployments.config import GraphArgs
from deployments.http.access import Access, Places, frame_ancestors
from deployments.http.admitted import AdmittedPipeline
from deployments.http.answers import refusal, refusal_of
from deployments.http.health import Health
from deployments.http.middleware import AccessGate, PageHeaders
from deployments.http.pages import STATIC_FOLDER, PageRedirects, ViewerFiles
from deployments.http.photo import Photos
from deployments.http.photo_hints import wrong_way
from deployments.http.room_links import RelayClient, RoomLinks
from deployments.http.socket import endpoint
from deployments.http.status import GraphState, Status
from deployments.pipeline import Pipeline
from deployments.scene.clip import RECORDING_PATH, sample_clip
from deployments.stream import messages
from deployments.stream.admission import Admission
from deployments.stream.counts import Counts
from deployments.stream.errors import NotReady, StreamError
from deployments.stream.rooms import Rooms
from deployments.stream.session import Session
from deployments.stream.session_settings import SessionSettings

logger = logging.getLogger("ray.serve.splatcast")

DESCRIBE_TIMEOUT_S = 10.0


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
    relay: RelayClient | None = None,
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
        relay: Leads to the rooms of the other ingress replicas; None: there are none.
    """
    counts, admission = counts or Counts(time.monotonic), admission or Admission(args.admission)
    api = _Api(pipeline, args, counts, admission, graph, replica, relay)
    access = Access(args.access, token)
    places = Places(args.max_sessions, args.access.max_sessions_per_address, "sessions")
    viewer = ViewerFiles(static_folder)
    health = Health(api.pipeline, args)
    photos = Photos(api.pipeline, args, api.describe)
    routes = [
        WebSocketRoute("/ws", endpoint(api.open_session, api.pipeline, counts, api.sessions, access, places)),
        Route("/", viewer.page("index.html")),
        Route("/selftest", viewer.page("selftest.html")),
        Route("/status", viewer.page("status.html")),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
        Route("/api/info", api.info),
        Route("/api/status", api.status),
        Route("/api/sample", api.sample),
        Route("/api/splat", photos.splat, methods=["POST"]),
        Route("/api/splat", wrong_way, methods=["GET", "PUT", "PATCH", "DELETE"]),
        Route("/api/splat/{rest:path}", wrong_way, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        Route("/api/picture", photos.picture, methods=["POST"]),
        # Among the files that need no token: it is to be seen before anything is asked.
        Route(f"/static/{RECORDING_PATH.name}", viewer.beside(RECORDING_PATH)),
        Mount("/static", viewer),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, StreamError: _not_served, Exception: _failed})
    app.router.redirect_slashes = False  # To absolute addresses, of which this server knows its own half only.
    # Outside Starlette's own error handling, so that errors have the headers too.
    return PageHeaders(PageRedirects(AccessGate(app, access)), frame_ancestors(args.access))


class _Api:
    """What the routes share: the sessions, the counts, and the description of the engine."""

    def __init__(
        self,
        pipeline: Pipeline,
        args: GraphArgs,
        counts: Counts,
        admission: Admission,
        graph: Callable[[], Awaitable[GraphState]],
        replica: str,
        relay: RelayClient | None,
    ) -> None:
        self.pipeline = AdmittedPipeline(pipeline, admission, args.batch.max_size)
        self._rooms = Rooms(args.rooms, time.time() - time.monotonic(), counts)
        RoomLinks(self._rooms, self.pipeline, relay, replica)
        self.sessions: set[Session] = set()
        self._counts = counts
        self._args = args
        self._version = version("splatcast")
        self._status = Status(counts, admission, self.sessions, self._rooms, args, self._version, replica, self.describe, graph)
        self._engine: messages.Engine | None = None
        self._sample: asyncio.Task[bytes] | None = None

    async def open_session(self) -> Session:
        args = self._args
        settings = SessionSettings(
            version=self._version,
            engine=await self.describe(),
            defaults=args.options,
            option_limits=args.option_limits,
            limits=args.session,
            quality=args.quality,
            max_frame_bytes=args.frames.max_frame_bytes,
            max_frame_pixels=args.frames.max_pixels,
        )
        return Session(uuid4().hex[:12], settings, time.monotonic(), self._counts, self._rooms)

    async def describe(self) -> messages.Engine:
        """What the model is; asked of the graph once.

        Raises:
            NotReady: If no replica answers yet.
        """
        if self._engine is None:
            try:
                self._engine = await asyncio.wait_for(self.pipeline.describe(), DESCRIBE_TIMEOUT_S)
            except Exception as error:
                logger.warning("the model does not say what it is: %s: %.300s", type(error).__name__, error)
                raise NotReady from None
        return self._engine

    async def info(self, request: Request) -> Response:
        """What runs here and what it takes."""
        engine = await self.describe()
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
                "photos": asdict(self._args.photos),
            }
        )

    async def status(self, request: Request) -> Response:
        """How well the stream is doing; what ``/status`` shows."""
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


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(f"http_{error.status_code}", error.detail, error.status_code, error.headers)


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, StreamError)
    return refusal_of(error)


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises it again for the log; the client learns that it happened and nothing about where.
    return refusal("internal", "The server met an unexpected error; its log has the details.", 500)
