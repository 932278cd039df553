"""``POST /api/splat``: one picture in, one splat file out. The picture is the body, or the one file of a form.

``POST /api/picture``: the picture itself, as a browser shows it, for types that not every browser reads.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
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
from deployments.pipeline import Overloaded
from deployments.splats.files import FORMATS, FileOptions
from deployments.stages.pictures import encode_picture
from deployments.stream.errors import FrameEmpty, FrameError, FrameTooLarge, ImageBroken, UnsupportedImage
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
        """Answer one request. Query: ``format``, ``layout``, ``frame``, and any option of a stream by its name."""
        engine = await self._describe()
        options, file = self._options(request, engine)
        frame = await self._through(self._pipeline, request, options, file)
        return _file(frame, file.format, engine)

    async def picture(self, request: Request) -> Response:
        """Answer with the picture, upright and in sRGB: a JPEG, or a PNG if some of it is transparent."""
        options = replace(self._args.options, inference_px=PICTURE_PX, fov_deg=0.0)
        decoded = await self._through(self._pipeline.decode, request, options, FileOptions())
        alpha = decoded.alphas[0] if decoded.alphas else None
        data, media_type = await asyncio.to_thread(encode_picture, decoded.views[0], alpha, PICTURE_PX)
        return Response(data, media_type=media_type, headers={"x-splatcast-fov-deg": f"{decoded.fov_deg:.3f}"})

    async def _through(
        self,
        stages: Callable[[Capture], Awaitable[Outcome | FrameError]],
        request: Request,
        options: FrameOptions,
        file: FileOptions,
    ) -> Outcome:
        """What the graph, or its first stage, makes of the picture in a request."""
        with self._places.take(request.scope):
            try:
                with anyio.fail_after(BODY_TIMEOUT_S):
                    body = await self._picture(request)
                frame = FrameRequest(options, frame_id=f"photo-{uuid4().hex[:12]}/0", file=file)
                outcome = await stages(Capture((body,), frame))
            except TimeoutError:
                raise HTTPException(408, f"The picture did not arrive within {BODY_TIMEOUT_S:g} s.") from None
            except Overloaded:
                raise HTTPException(503, "The server is busy: try again in a moment.", {"retry-after": "1"}) from None
        if isinstance(outcome, FrameError):
            if hint := _how_to_send(outcome, body, request):
                raise HTTPException(415, hint)
            raise outcome
        return outcome

    def _options(self, request: Request, engine: Engine) -> tuple[FrameOptions, FileOptions]:
        try:
            return photo_options(dict(request.query_params), self._args.options, self._args.option_limits, origin_comments(engine))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None

    async def _picture(self, request: Request) -> bytes:
        """The picture in a request, read no further than the limit.

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
            picture = await _only_file(request, body) if is_form else b"".join([chunk async for chunk in body])
        if not picture:
            raise FrameEmpty
        return picture

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


async def _only_file(request: Request, body: AsyncGenerator[bytes, None]) -> bytes:
    """The one file of a form; its other fields are passed over.

    Raises:
        HTTPException: If there is none, or more than one, or the form is broken.
    """
    try:
        form = await MultiPartParser(request.headers, body, max_files=8, max_fields=64, max_part_size=FORM_BYTES).parse()
    except MultiPartException as error:
        raise HTTPException(400, f"The form can't be read: {error.message}") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    try:
        if len(files) != 1:
            raise HTTPException(400, f"The form holds {len(files)} files: expected one picture (send a request for each).")
        return await files[0].read()
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


def _how_to_send(error: FrameError, body: bytes, request: Request) -> str:
    """For people whose program changed the picture on its way: the command that does not. Empty if it is not that."""
    url = f"{request.url.scheme}://{request.url.netloc}{request.url.path}"
    command = f"curl --data-binary @photo.jpg '{url}' -OJ"
    if isinstance(error, UnsupportedImage):
        if body.startswith(b"data:"):
            return f"The body is a data URL, which is text: decode it, or send the file: {command}"
        if _BASE64.fullmatch(body[:4096]):
            return f"The body looks like base64, which is text: decode it, or send the file: {command}"
    as_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if isinstance(error, ImageBroken) and as_form and len(body) > 1000 and not re.search(rb"[\r\n]", body):
        return f"The picture has no line feed in it, as if it were sent with curl's -d, which removes them: {command}"
    return ""


_BASE64 = re.compile(rb"[A-Za-z0-9+/=\r\n]{64,}")


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
