"""The longer replies, from what a session knows: the welcome, and those that carry splats. Pure."""

from collections.abc import Mapping
from dataclasses import asdict

from deployments.stream import messages
from deployments.stream.frame_queue import Result
from deployments.stream.frames import PackedFrame
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.seat import Shown
from deployments.stream.session_settings import SessionSettings

_STAGES = ("decode", "infer", "pack")


def welcome(session_id: str, settings: SessionSettings, options: FrameOptions, choice: OptionLimits) -> bytes:
    """The message.

    Args:
        session_id: The session's name.
        settings: What it has in common with the others.
        options: What it starts with.
        choice: What its client may choose.
    """
    limits = settings.limits
    return messages.encode(
        messages.Welcome(
            protocol=messages.PROTOCOL,
            version=settings.version,
            session=session_id,
            engine=settings.engine,
            options=asdict(options),
            limits=messages.Limits(
                max_frame_bytes=settings.max_frame_bytes,
                max_frame_pixels=settings.max_frame_pixels,
                max_views=limits.max_views,
                max_in_flight=limits.max_in_flight,
                max_unacked=limits.max_unacked,
                max_splats=choice.max_splats,
                max_inference_px=choice.max_inference_px,
                codecs=list(choice.codecs),
                idle_timeout_s=limits.idle_timeout_s,
            ),
        )
    )


def own_timings(result: Result, send_ms: float, now_s: float) -> dict[str, float]:
    """Where the time of a client's own frame went: stage → milliseconds."""
    frame, packed, ready_s = result
    stages = _of_stages(packed)
    # Everything that is not work: waiting for a credit, the graph's queues and hops.
    queue_ms = max(0.0, (ready_s - frame.arrived_s) * 1e3 - frame.receive_ms - sum(stages.values()))
    total_ms = (now_s - frame.arrived_s) * 1e3
    return {"receive": frame.receive_ms, "queue": queue_ms, **stages, "send": send_ms, "total": total_ms}


def room_timings(shown: Shown, send_ms: float, now_s: float) -> dict[str, float]:
    """The same of another camera's frame."""
    total_ms = max(0.0, (now_s - shown.captured_s) * 1e3)
    return {**_of_stages(shown.frame.packed), "relay": shown.relay_ms, "send": send_ms, "total": total_ms}


def until_packed(timings_ms: Mapping[str, float]) -> dict[str, float]:
    """Of :func:`own_timings`, what a frame passes once, however many see it."""
    return {name: timings_ms[name] for name in ("receive", "queue", *_STAGES)}


def after_packed(timings_ms: Mapping[str, float]) -> dict[str, float]:
    """Of :func:`room_timings`, what it passes on its way to each viewer."""
    return {name: timings_ms[name] for name in ("relay", "send", "total")}


def splats(
    seq: int,
    captured_ms: float,
    packed: PackedFrame,
    label: str,
    timings_ms: Mapping[str, float],
    dropped: dict[str, int],
    quality: messages.QualityState,
    source: str = "",
) -> bytes:
    """The message; for the parameters see :class:`~deployments.stream.messages.Splats`."""
    return messages.encode(
        messages.Splats(
            seq=seq,
            captured_ms=captured_ms,
            codec=packed.codec,
            kind=packed.kind,
            label=packed.request.label or label,
            count=packed.count,
            camera=packed.camera,
            pruned=packed.pruned,
            timings_ms=rounded(timings_ms),
            dropped=dropped,
            quality=quality,
            data=packed.data.data,  # type: ignore[arg-type]  # a view, so that we make no copy for msgpack
            source=source,
            intrinsics=packed.intrinsics,
        )
    )


def rounded(timings_ms: Mapping[str, float]) -> dict[str, float]:
    """To microseconds: more digits are noise, and bytes."""
    return {name: round(ms, 3) for name, ms in timings_ms.items()}


def _of_stages(packed: PackedFrame) -> dict[str, float]:
    return {name: packed.request.timings.get(name, 0.0) for name in _STAGES}
