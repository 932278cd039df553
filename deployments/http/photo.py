"""``POST /api/splat``: one picture in, one splat file out. The picture is the body, or the one file of a form.

``POST /api/picture``: the picture itself, as a browser shows it, for types that not every browser reads.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import anyio
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from deployments.config import GraphArgs
from deployments.http.access import Places
from deployments.http.admitted import AdmittedPipeline
from deployments.http.photo_hints import forgotten_at, how_to_send
from deployments.pipeline import Overloaded
from deployments.splats.files import FORMATS, FileOptions
from deployments.stages.image_files import names_of
from deployments.stages.pictures import encode_picture
from deployments.stream.errors import FrameEmpty, FrameError, FrameTooLarge
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.messages import Engine
from deployments.stream.options import FrameOptions
from deployments.stream.photo_options import origin_comments, photo_options

BODY_TIMEOUT_S = 120.0
"""A photo of 15 MB over 1 Mbit/s. A client slower than that holds its place on purpose."""
DRAIN_S, DRAIN_BYTES = 10.0, 256 * 1024 * 1024
"""What is read of a body that is refused, and thrown away: most clients look for an answer only when all is sent, and take a socket
that closes before for a broken one."""
MAX_UPLOADS = 16
"""Pictures read at a time; each holds one of the ingress's ongoing requests, and the sockets need theirs."""
MAX_UPLOADS_PER_ADDRESS = 8
"""So that one client can't hold them all."""
FORM_BYTES = 64 * 1024
"""Of a form's other parts, all together."""
MAX_FIELDS, MAX_FIELD_CHARACTERS = 64, 256
"""Of a form's text fields: twice as many as there are parameters, each longer than any value."""
PICTURE_PX = 1920
"""Longer side of a picture for the viewer, which never sends a larger one."""
MAX_HELD_BYTES = 256 * 1024 * 1024
"""Of all pictures that are being read."""

Outcome = TypeVar("Outcome")


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
        self._held_bytes = 0

    async def splat(self, request: Request) -> Response:
        """Answer one request. Query: ``format``, ``layout``, ``frame``, and any option of a stream by its name.

        A form may have them as its text fields instead.
        """
        engine = await self._describe()
        query = dict(request.query_params)
        self._wishes(query, engine)  # Those of the query are refused before the picture is read.

        def wishes(fields: Mapping[str, str]) -> tuple[FrameOptions, FileOptions]:
            for name in fields:
                if name in query:
                    raise HTTPException(400, f"{name!r:.60} is in the address and in the form: expected it once")
            return self._wishes({**query, **fields}, engine)

        frame, file = await self._through(self._pipeline, request, wishes)
        return _file(frame, file.format, engine)

    async def picture(self, request: Request) -> Response:
        """Answer with the picture, upright and in sRGB: a JPEG, or a PNG if some of it is transparent."""
        options = replace(self._args.options, inference_px=PICTURE_PX, fov_deg=0.0)
        decoded, _ = await self._through(self._pipeline.decode, request, lambda _: (options, FileOptions()))
        alpha = decoded.alphas[0] if decoded.alphas else None
        data, media_type = await asyncio.to_thread(encode_picture, decoded.views[0], alpha, PICTURE_PX)
        return Response(data, media_type=media_type, headers={"x-splatcast-fov-deg": f"{decoded.fov_deg:.3f}"})

    async def _through(
        self,
        stages: Callable[[Capture], Awaitable[Outcome | FrameError]],
        request: Request,
        wishes: Callable[[Mapping[str, str]], tuple[FrameOptions, FileOptions]],
    ) -> tuple[Outcome, FileOptions]:
        """What the graph, or its first stage, makes of the picture in a request, and the file that its form's fields wish for."""
        with self._places.take(request.scope):
            try:
                with anyio.fail_after(BODY_TIMEOUT_S):
                    body, fields = await self._picture(request)
                options, file = wishes(fields)
                frame = FrameRequest(options, frame_id=f"photo-{uuid4().hex[:12]}/0", file=file)
                outcome = await stages(Capture((body,), frame))
            except TimeoutError:
                raise HTTPException(408, f"The picture did not arrive within {BODY_TIMEOUT_S:g} s.") from None
            except Overloaded:
                raise HTTPException(503, "The server is busy: try again in a moment.", {"retry-after": "1"}) from None
        if isinstance(outcome, FrameError):
            if hint := how_to_send(outcome, body, request):
                raise HTTPException(415, hint)
            raise outcome
        return outcome, file

    def _wishes(self, wishes: Mapping[str, str], engine: Engine) -> tuple[FrameOptions, FileOptions]:
        try:
            return photo_options(wishes, self._args.options, self._args.option_limits, origin_comments(engine))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None

    async def _picture(self, request: Request) -> tuple[bytes, dict[str, str]]:
        """The picture in a request, read no further than the limit, and the form's text fields if it is one.

        Raises:
            FrameTooLarge: If there is more.
            FrameEmpty: If there is nothing.
            HTTPException: If it is broken off, its declared length is no number, the form holds no file or several, or other
                uploads fill the memory that there is for them.
        """
        limit = self._args.photos.max_frame_bytes
        declared = request.headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit() and len(declared) < 20):
            raise HTTPException(400, f"content-length: expected a whole number, got {declared!r:.40}")
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        body = self._bounded(request, int(declared), limit + (FORM_BYTES if is_form else 0))
        async with aclosing(body):  # So that what it holds is given back at once, also if a form breaks off reading.
            picture, fields = await _read_form(request, body) if is_form else (b"".join([chunk async for chunk in body]), {})
        if not picture:
            raise FrameEmpty(names_of(self._args.photos.formats))
        return picture, fields

    async def _bounded(self, request: Request, declared: int, limit: int) -> AsyncGenerator[bytes, None]:
        """The request's body, piece by piece, while it keeps to the limits; what is beyond them is drained."""
        got = 0
        try:
            if declared > limit:
                raise FrameTooLarge(declared, limit)
            async for chunk in _chunks(request):
                got += len(chunk)
                self._held_bytes += len(chunk)
                if got > limit:
                    raise FrameTooLarge(got, limit)
                if self._held_bytes > MAX_HELD_BYTES:
                    raise HTTPException(503, "Other uploads fill the memory for them: try again in a moment.", {"retry-after": "1"})
                yield chunk
        except (FrameTooLarge, HTTPException):
            await _drain(request)
            raise
        finally:
            self._held_bytes -= got


async def _read_form(request: Request, body: AsyncGenerator[bytes, None]) -> tuple[bytes, dict[str, str]]:
    """The one file of a form, and its text fields.

    Raises:
        HTTPException: If there is none, or more than one, a field is too long or comes twice, or the form is broken.
    """
    try:
        parser = MultiPartParser(request.headers, body, max_files=8, max_fields=MAX_FIELDS, max_part_size=FORM_BYTES)
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"The form can't be read: {error.message}") from None
    try:
        fields: dict[str, str] = {}
        for name, text in form.multi_items():
            if isinstance(text, UploadFile):
                continue
            if name in fields or len(text) > MAX_FIELD_CHARACTERS:
                raise HTTPException(400, f"{name!r:.60}: expected one field of at most {MAX_FIELD_CHARACTERS} characters")
            fields[name] = text
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1:
            hint = forgotten_at(fields) if not files else ""
            way = hint or "expected one picture (send a request for each)."
            raise HTTPException(400, f"The form holds {len(files)} files: {way}")
        return await files[0].read(), fields
    finally:
        await form.close()


async def _drain(request: Request) -> None:
    """Read on for a while, unless the client waits to be told to send."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return
    with anyio.move_on_after(DRAIN_S), suppress(HTTPException, RuntimeError):
        left = DRAIN_BYTES
        async for chunk in _chunks(request):
            left -= len(chunk)
            if left < 0:
                return


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except Exception:
        # ClientDisconnect, OSError, and under Serve whatever the cancelled call to its proxy looks like: to us all one thing.
        raise HTTPException(400, "The upload was broken off.") from None


def _file(frame: PackedFrame, name: str, engine: Engine) -> Response:
    form = FORMATS[name]
    headers = {
        "content-disposition": f'attachment; filename="splatcast-{time.strftime("%Y%m%d-%H%M%S")}{form.suffix}"',
        "x-splatcast-label": frame.request.label or engine.label,
        "x-splatcast-licence": engine.licence,
        "x-splatcast-kind": frame.kind,
        "x-splatcast-count": str(frame.count),
        "x-splatcast-intrinsics": frame.intrinsics,
    }
    return Response(frame.data.tobytes(), media_type=form.media_type, headers=headers)
