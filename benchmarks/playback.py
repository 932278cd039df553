"""The procedural clip through decode, predict and pack in one process: each frame's age after each stage, and the highest rate."""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.command import BenchmarkError
from benchmarks.figures import percentiles
from deployments.models.base import SplatModel
from deployments.scene.clip import PERIOD_S, encode_clip
from deployments.splats.codecs import CODECS
from deployments.stages.decode import FrameLimits, decode_capture
from deployments.stages.local import LocalPipeline
from deployments.stages.pack import Packer, PackSettings
from deployments.stages.predict import predict_batch
from deployments.stream.frames import Capture, FrameRequest
from deployments.stream.options import FrameOptions

STAGES = ("decode", "infer", "pack")
AHEAD = 8
"""Frames that are being decoded or packed while another is predicted."""


def play(model: SplatModel, seconds: float, fps: float = 30.0) -> dict[str, Any]:
    """Play the clip twice: in real time, and as fast as the stages go when they overlap."""
    clip = encode_clip(PERIOD_S, fps, 640, 480)
    LocalPipeline(model).warm_up()
    count = round(seconds * fps)
    return {"live": _live(model, clip, count, fps), "frames": count, "overlapping_frames_per_s": _overlapping(model, clip, count)}


def _live(model: SplatModel, clip: list[bytes], count: int, fps: float) -> dict[str, Any]:
    """One session whose camera gives a frame every 1/fps seconds, and whose older frames are dropped when a newer one is there."""
    pipeline = LocalPipeline(model)
    ages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    spent: dict[str, list[float]] = {stage: [] for stage in STAGES}
    state, size, splats, dropped = b"", 0, 0, 0
    began_s = time.perf_counter()
    for index in range(count):
        due_s = began_s + index / fps
        now_s = time.perf_counter()
        if now_s > due_s + 1 / fps:
            dropped += 1
            continue
        time.sleep(max(0.0, due_s - now_s))
        packed = pipeline.run(_capture(clip, index, state))
        if isinstance(packed, Exception):
            raise BenchmarkError(f"a frame failed: {packed}")
        state, size, splats = packed.request.state, len(packed.data), packed.count
        age_ms = (time.perf_counter() - due_s) * 1e3
        for stage in reversed(STAGES):
            ages[stage].append(age_ms)
            spent[stage].append(packed.request.timings[stage])
            age_ms -= packed.request.timings[stage]
    return {
        "fps": fps,
        "shown": len(ages["pack"]),
        "dropped": dropped,
        "bytes": size,
        "splats": splats,
        "age_ms": {stage: percentiles(found) for stage, found in ages.items()},
        "ms": {stage: percentiles(found) for stage, found in spent.items()},
    }


def _overlapping(model: SplatModel, clip: list[bytes], count: int) -> float:
    """Frames a second, one frame in a batch: two threads decode, one predicts, four pack."""
    limits, packer = FrameLimits(), Packer(PackSettings())
    with ThreadPoolExecutor(2) as decoding, ThreadPoolExecutor(4) as packing:
        decoded: deque[Any] = deque(decoding.submit(decode_capture, _capture(clip, i), limits) for i in range(AHEAD))
        packed: deque[Any] = deque()
        began_s = time.perf_counter()
        for index in range(count):
            ready = decoded.popleft().result()
            decoded.append(decoding.submit(decode_capture, _capture(clip, index + AHEAD), limits))
            (predicted,) = predict_batch(model, [ready])
            packed.append(packing.submit(packer.pack, predicted))
            if len(packed) > AHEAD:
                packed.popleft().result()
        for last in packed:
            last.result()
        return round(count / (time.perf_counter() - began_s), 1)


def _capture(clip: list[bytes], index: int, state: bytes = b"") -> Capture:
    return Capture((clip[index % len(clip)],), FrameRequest(FrameOptions(), tuple(CODECS), state))
