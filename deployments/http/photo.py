"""``POST /api/splat``: one picture in, one splat file out."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deployments.config import GraphArgs
from deployments.http.access import Places
from deployments.http.admitted import AdmittedPipeline
from deployments.pipeline import Overloaded
from deployments.splats.codecs import CODECS
from deployments.stream.errors import BadMessage, FrameEmpty, FrameError, FrameTooLarge
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.messages import Engine
from deployments.stream.options import FrameOptions

BODY_TIMEOUT_S = 30.0
"""A picture of 4 MiB over 1 Mbit/s. A client slower than that holds its place on purpose."""
MAX_UPLOADS = 16
"""Pictures read at a time; each holds one of the ingress's ongoing requests, and the sockets need theirs."""
MAX_UPLOADS_PER_ADDRESS = 8
"""So that one client can't hold them all."""


class Photos:
    """Turns uploaded pictures into files, a bounded number at a time."""

    def __init__(self, pipeline: AdmittedPipeline, args: GraphArgs, describe: Callable[[], Awaitable[Engine]]) -> None:
        """Wire it up.

        Args:
            pipeline: Where the pictures go.
            args: Defaults and limits of the options, limits of the picture.
            describe: What the model is, for the headers; may raise a StreamError.
        """
        self._pipeline = pipeline
        self._args = args
        self._describe = describe
        self._places = Places(MAX_UPLOADS, MAX_UPLOADS_PER_ADDRESS, "uploads")

    async def splat(self, request: Request) -> Response:
        """Answer one request. Query: ``format``, and any option of a stream by its name."""
        options = self._options(request)
        engine = await self._describe()
        with self._places.take(request.scope):
            try:
                with anyio.fail_after(BODY_TIMEOUT_S):
                    body = await self._body(request)
                outcome = await self._pipeline(Capture((body,), FrameRequest(options, frame_id=f"photo-{uuid4().hex[:12]}/0")))
            except TimeoutError:
                raise HTTPException(408, f"The picture did not arrive within {BODY_TIMEOUT_S:g} s.") from None
            except Overloaded:
                raise HTTPException(503, "The server is busy: try again in a moment.", {"retry-after": "1"}) from None
        if isinstance(outcome, FrameError):
            raise outcome
        return _file(outcome, options.codec, engine)

    def _options(self, request: Request) -> FrameOptions:
        query = dict(request.query_params)
        name = query.pop("format", "ply")
        if "codec" in query:
            raise HTTPException(400, "codec: a file's codec is its format; use 'format'")
        limits = self._args.option_limits
        formats = [codec for codec in limits.codecs if codec in CODECS]
        if name not in formats:
            raise HTTPException(400, f"format: expected one of {', '.join(formats)}, got {name!r:.40}")
        options = replace(self._args.options, codec=name, representation="points" if name == "points" else "splats")
        try:
            return limits.apply(options, {key: _number(value) for key, value in query.items()})
        except BadMessage as error:
            raise HTTPException(400, error.reason) from None

    async def _body(self, request: Request) -> bytes:
        """The request's body, read no further than the limit.

        Raises:
            FrameTooLarge: If there is more.
            FrameEmpty: If there is nothing.
            HTTPException: If it is broken off, or its declared length is no number.
        """
        limit, body = self._args.frames.max_frame_bytes, bytearray()
        declared = request.headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit() and len(declared) < 20):
            raise HTTPException(400, f"content-length: expected a whole number, got {declared!r:.40}")
        if int(declared) > limit:
            raise FrameTooLarge(int(declared), limit)
        async for chunk in _chunks(request):
            body += chunk
            if len(body) > limit:
                raise FrameTooLarge(len(body), limit)
        if not body:
            raise FrameEmpty
        return bytes(body)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except Exception:
        # ClientDisconnect, OSError, and under Serve whatever the cancelled call to its proxy looks like: to us all one thing.
        raise HTTPException(400, "The upload was broken off.") from None


def _file(frame: PackedFrame, name: str, engine: Engine) -> Response:
    codec = CODECS[name]
    headers = {
        "content-disposition": f'attachment; filename="splatcast-{time.strftime("%Y%m%d-%H%M%S")}{codec.suffix}"',
        "x-splatcast-label": engine.label,
        "x-splatcast-licence": engine.licence,
        "x-splatcast-kind": frame.kind,
        "x-splatcast-count": str(frame.count),
    }
    return Response(frame.data.tobytes(), media_type=codec.media_type, headers=headers)


def _number(value: str) -> str | int | float:
    """A query's value as the option's type; what is no number stays text and is checked as text."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
