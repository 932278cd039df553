"""The sample as a recording: what the viewer shows, moving, before anything is asked of a camera or of the graph.

The procedural scene goes through the stages and a session, as a camera's pictures would. It is small, as it comes with the first
visit: a loop of four seconds in less than 400 kB.
"""

import asyncio
import io
import itertools
from dataclasses import dataclass, replace

from deployments.config import GraphArgs
from deployments.pipeline import Pipeline
from deployments.scene.clip import PERIOD_S, encode_clip
from deployments.splats.codecs import depth_heads
from deployments.stream import messages
from deployments.stream.recording import RecordingWriter, SessionRecorder
from deployments.stream.session import Session
from deployments.stream.session_settings import SessionSettings


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is recorded.

    Attributes:
        fps: A whole number of frames makes a period of the scene.
        width, height: Of a picture, pixels.
        quality: Of its JPEG, 1..100.
        step: Of the depth; coarser than a stream's where nobody sees it.
    """

    fps: float = 7
    width: int = 272
    height: int = 204
    quality: int = 60
    step: float = 1 / 256


FIRST_VISIT = Pictures()


def record_sample(pipeline: Pipeline, version: str, pictures: Pictures = FIRST_VISIT) -> bytes:
    """One period of the scene as a ``.splatcast`` file.

    Args:
        pipeline: What makes its splats.
        version: The server's release, which the recording says made it.
        pictures: Their rate, size and quality.

    Raises:
        RuntimeError: The pipeline refused a picture.
    """
    return asyncio.run(_record(pipeline, version, pictures))


async def _record(pipeline: Pipeline, version: str, wanted: Pictures) -> bytes:
    args = GraphArgs()
    settings = SessionSettings(
        version=version,
        engine=await pipeline.describe(),
        defaults=replace(args.options, codec=depth_heads.NAME, colors="own", depth_step=wanted.step, adapt=False),
        option_limits=args.option_limits,
        limits=args.session,
        quality=args.quality,
        max_frame_bytes=args.frames.max_frame_bytes,
        max_frame_pixels=args.frames.max_pixels,
    )
    session = Session("sample", settings, now_s=0.0)
    session.received(messages.encode(messages.Hello(messages.PROTOCOL, [depth_heads.NAME, "packed", "points"], "sample")), 0.0)
    file = io.BytesIO()
    recorder = SessionRecorder(RecordingWriter(file))
    _hear(session, recorder, 0.0)
    pictures = encode_clip(PERIOD_S, wanted.fps, wanted.width, wanted.height, wanted.quality)
    # The first round is not kept: the engine follows the person over time, and the loop begins where it ends.
    for seq, picture in enumerate(itertools.chain(pictures, pictures)):
        now_s = seq / wanted.fps
        is_kept = seq >= len(pictures)
        if is_kept:
            recorder.sent(seq, [picture])
        session.received(messages.encode(messages.Frame(seq, [picture], now_s * 1e3)), now_s)
        job = session.next_capture(now_s)
        if job is None:
            raise RuntimeError("The session did not take the sample's picture")
        session.finished(job[0], await pipeline(job[1]), now_s)
        _hear(session, recorder if is_kept else None, now_s)
        session.received(messages.encode(messages.Ack(seq, 1.0, 1.0, 1.0, 1.0)), now_s)
    if recorder.frames != len(pictures):
        raise RuntimeError(f"Expected {len(pictures)} frames of the sample, got {recorder.frames}")
    return file.getvalue()


def _hear(session: Session, recorder: SessionRecorder | None, now_s: float) -> None:
    while (data := session.next_message(now_s)) is not None:
        session.delivered(now_s)
        message = messages.decode_server(bytes(data)) if isinstance(data, bytes) else None
        if isinstance(message, messages.Error):
            raise RuntimeError(f"The session refused the sample: {message.message}")
        if recorder and isinstance(data, bytes) and message is not None:
            recorder.received(data, message)
