"""The original protocol: a bare JPEG in, one msgpack map out, no handshake. Existing clients keep working.

A model with a Gaussian head answers ``{"type": "gaussian_ply", "timestamp", "ply_data"}``; every other one answers
``{"type": "pointcloud", "timestamp", "num_points", "points", "colors"}``, points float32 xyz and colours uint8 rgb, row-major.
:mod:`deployments.splats.codecs.original` has the coordinate frames.
"""

import time
from dataclasses import replace

import msgpack

from deployments.splats.codecs import original
from deployments.stream.frames import PackedFrame
from deployments.stream.messages import Engine
from deployments.stream.options import FrameOptions

_POINTS_HEADER_BYTES = 16
"""After this header, the ``points`` codec has exactly the two blocks of the original reply."""


def options(defaults: FrameOptions, engine: Engine) -> FrameOptions:
    """The options for a client of the original protocol, which can't ask for any."""
    if "native" in engine.kinds:
        return replace(defaults, representation="splats", codec=original.PLY)
    return replace(defaults, representation="points", codec=original.POINTS)


def reply(packed: PackedFrame) -> bytes:
    """The reply to one frame. ``timestamp`` is the server's clock, seconds since the epoch."""
    body: dict[str, object] = {"timestamp": time.time()}
    if packed.codec == original.PLY:
        body |= {"type": "gaussian_ply", "ply_data": packed.data.data}
    else:
        data, colors_at = packed.data.data, _POINTS_HEADER_BYTES + 12 * packed.count
        points, colors = data[_POINTS_HEADER_BYTES:colors_at], data[colors_at:]
        body |= {"type": "pointcloud", "num_points": packed.count, "points": points, "colors": colors}
    return msgpack.packb(body)  # type: ignore[no-any-return]
