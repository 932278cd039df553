"""``/healthz`` and ``/readyz``: whether this process answers, and whether a frame comes through the graph."""

import asyncio
import io
import logging
import time
from contextvars import copy_context

from PIL import Image
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from deployments.config import GraphArgs
from deployments.http.admitted import AdmittedPipeline
from deployments.pipeline import Overloaded
from deployments.stages.decode import FrameLimits
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, FrameRequest

logger = logging.getLogger("ray.serve.splatcast")

READY_FOR_S = 10.0
"""A frame that came through the graph this recently proves that it is ready."""
PROBE_TIMEOUT_S = 10.0


class Health:
    """Answers the probes of one ingress replica."""

    def __init__(self, pipeline: AdmittedPipeline, args: GraphArgs) -> None:
        self._pipeline = pipeline
        self._options = args.options
        self._probe = _probe_image(args.frames)
        self._probing: asyncio.Task[str | None] | None = None
        # Serve's request of whoever asks first is in the caller's: the probe of all would be cancelled when that one leaves.
        self._context = copy_context()

    async def healthz(self, request: Request) -> Response:
        """This process answers. Says nothing about the graph."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """A frame came through the whole graph lately, or does now."""
        if time.monotonic() - self._pipeline.last_frame_s <= READY_FOR_S:
            return PlainTextResponse("ready\n")
        if self._probing is None or self._probing.done():
            # One frame for everyone who asks at the same time: a probe must not be a load.
            self._probing = self._context.run(asyncio.ensure_future, self._why_not_ready())
        reason = await asyncio.shield(self._probing)
        return PlainTextResponse(f"not ready: {reason}\n", 503) if reason else PlainTextResponse("ready\n")

    async def _why_not_ready(self) -> str | None:
        """Send a frame through the graph; None when it came through."""
        try:
            capture = Capture((self._probe,), FrameRequest(self._options, frame_id="readyz/0"))
            outcome = await asyncio.wait_for(self._pipeline(capture), PROBE_TIMEOUT_S)
        except Overloaded:
            return None  # Full queues are served queues: taking this ingress out of rotation would make it worse.
        except (TimeoutError, asyncio.TimeoutError):
            return f"a frame did not come through the graph in {PROBE_TIMEOUT_S:g} s"
        except Exception:
            logger.exception("probe failed")
            return "the graph failed; the server's log has the details"
        return str(outcome) if isinstance(outcome, FrameError) else None


def _probe_image(limits: FrameLimits) -> bytes:
    """A small picture with structure, of a size that the limits allow: what /readyz sends through the graph."""
    size = (min(max(64, limits.min_px), limits.max_width), min(max(48, limits.min_px), limits.max_height))
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()
