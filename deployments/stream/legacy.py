"""The original protocol: a bare JPEG in, one msgpack map out, no handshake. Existing clients keep working.

So do those of its form for several cameras: a JSON text ``register_role`` makes a client a camera, which sends bare JPEGs and gets
nothing back but pings, or a viewer, which gets points of what the cameras show. They all share one room.

A model with a Gaussian head answers ``{"type": "gaussian_ply", "timestamp", "ply_data"}``; every other one answers
``{"type": "pointcloud", "timestamp", "num_points", "points", "colors"}``, points float32 xyz and colours uint8 rgb, row-major.
:mod:`deployments.splats.codecs.original` has the coordinate frames.
"""

import json
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Literal

import msgpack

from deployments.splats.codecs import original
from deployments.stream.errors import BadMessage
from deployments.stream.frames import PackedFrame
from deployments.stream.messages import Engine, Room
from deployments.stream.options import FrameOptions

_POINTS_HEADER_BYTES = 16
"""After this header, the ``points`` codec has exactly the two blocks of the original reply."""


ROOM = "original"
"""Of all clients that register a role: they can't name one."""
PING_S = 15.0
"""Between two pings to a camera."""
PING, PONG = '{"type": "ping"}', '{"type": "pong"}'
VIEWER = FrameOptions(codec=original.POINTS)
"""What a registered viewer sees frames as."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A client of the original protocol says what it is."""

    role: Literal["camera", "viewer"]


def read_text(text: str) -> Registration | Literal["ping", "pong"]:
    """What a text of the original protocol says.

    Raises:
        BadMessage: It is none.
    """
    try:
        message = json.loads(text) if len(text) < 1024 else None
    except (ValueError, RecursionError):
        message = None
    kind, role = (message.get("type"), message.get("role")) if isinstance(message, dict) else (None, None)
    if kind == "ping":
        return "ping"
    if kind == "pong":
        return "pong"
    if kind != "register_role":
        raise BadMessage(f"it is text; expected a binary msgpack map, an image, or a text such as {PING}")
    if role == "camera":
        return Registration("camera")
    if role == "viewer":
        return Registration("viewer")
    raise BadMessage(f"'register_role.role': expected 'camera' or 'viewer', got {role!r:.40}")


def camera_list(room: Room) -> str:
    """Who films, as a registered viewer is told at each change."""
    cameras = [{"client_id": camera.id, "buffer_size": 0} for camera in room.cameras if not camera.away]
    return json.dumps({"type": "camera_list", "cameras": cameras, "count": len(cameras)})


def room_reply(packed: PackedFrame) -> bytes:
    """What a registered viewer is sent of a camera's frame. ``timestamp`` is the server's clock, as ISO 8601."""
    now = datetime.now(timezone.utc).isoformat()
    return msgpack.packb({"type": "pointcloud", "timestamp": now, **_points(packed), "num_views": 1})  # type: ignore[no-any-return]


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
        body |= {"type": "pointcloud", **_points(packed)}
    return msgpack.packb(body)  # type: ignore[no-any-return]


def _points(packed: PackedFrame) -> dict[str, object]:
    data, colors_at = packed.data.data, _POINTS_HEADER_BYTES + 12 * packed.count
    return {"num_points": packed.count, "points": data[_POINTS_HEADER_BYTES:colors_at], "colors": data[colors_at:]}
