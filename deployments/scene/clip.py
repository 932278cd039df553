"""The project's one procedural scene: a person in a colourful room, with exact depth. Clip, test subject, ground truth.

Deterministic and periodic: ``render_scene(t)`` equals ``render_scene(t + PERIOD_S)``, so that a clip loops without a jump.
Frame: the camera's OpenCV frame (x right, y down, z forward), metres.

``python -m deployments.scene.clip OUT.mjpeg --seconds 4`` writes a file for Chromium's ``--use-file-for-fake-video-capture``
(``.mjpeg`` or ``.y4m``), or a single picture (``.png``, ``.jpg``).
"""

import argparse
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import msgpack
import numpy as np
from numpy.typing import NDArray

from deployments.scene.person import BLINK, BODY, BODY_YAW, FRONT, HEAD, POSE_SIZE, draw_person
from deployments.scene.room import draw_room
from deployments.splats.camera import Camera

PERIOD_S = 4.0
"""The scene repeats after this many seconds."""

HORIZONTAL_FOV_DEG = 60.0

SAMPLE_PATH = Path(__file__).parent / "sample.msgpack"
"""Where :mod:`deployments.ops.prepare` leaves the sample clip."""
RECORDING_PATH = SAMPLE_PATH.with_suffix(".splatcast")
"""And the same, run through the graph, as :mod:`deployments.ops.sample` records it."""
_SAMPLE_FPS, _SAMPLE_WIDTH, _SAMPLE_HEIGHT = 15, 640, 480


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """One picture of the scene.

    Attributes:
        rgb: sRGB. uint8 [H, W, 3].
        depth: z-depth at the pixel centres, metres. float32 [H, W].
        camera: Intrinsics.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the scene.

    Attributes:
        x_m, y_m, z_m: How far they are from the clip's person, metres.
        delay_s: How far they are in the clip's motion.
    """

    x_m: float = 0.0
    y_m: float = 0.0
    z_m: float = 0.0
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cast:
    """Who and what is in the scene.

    Attributes:
        people: In any order; who is farther away is drawn first.
        crowded: Whether a table with things on it stands before the camera.
    """

    people: tuple[Person, ...] = (Person(),)
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Eye:
    """Where the scene is seen from: an orbit about a point straight ahead of the camera, as a viewer's.

    Attributes:
        yaw_deg: To the right, as seen from above: positive shows more of the left side of things.
        pitch_deg: Upwards: positive looks down on things.
        pivot_m: The point's distance, metres.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    pivot_m: float = 1.0

    def pose(self) -> NDArray[np.float32]:
        """Rotation and translation from the camera's frame to the eye's. float32 [3, 4]."""
        (cy, sy), (cp, sp) = ((math.cos(a), math.sin(a)) for a in map(math.radians, (self.yaw_deg, self.pitch_deg)))
        turn = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pivot = np.array([0, 0, self.pivot_m])
        return np.hstack([turn, (pivot - turn @ pivot)[:, None]]).astype(np.float32)


def scene_camera(width: int, height: int) -> Camera:
    """The scene's camera: 60° across the longer side, principal point in the middle."""
    focal_px = max(width, height) / 2 / math.tan(math.radians(HORIZONTAL_FOV_DEG / 2))
    return Camera(width, height, focal_px, focal_px, width / 2, height / 2)


def render_scene(t_s: float, width: int = 640, height: int = 480, cast: Cast | None = None, eye: Eye | None = None) -> SceneFrame:
    """The scene at one moment.

    Args:
        t_s: Seconds since the clip's start; any value, as the scene is periodic.
        width, height: Size of the picture, pixels.
        cast: Who and what is in it; None: one person, as in the clip.
        eye: Where it is seen from; None: from the camera's own place.

    Returns:
        Picture, exact z-depth and intrinsics. The same arguments give the same bits.
    """
    cast, camera, place = cast or Cast(), scene_camera(width, height), _place(eye)
    room_rgb, room_depth = _room(width, height, cast.crowded, tuple(place))
    rgb, depth = room_rgb.copy(), room_depth.copy()
    for person in sorted(cast.people, key=lambda person: -person.z_m):
        pose = _pose(t_s + person.delay_s)
        pose[[HEAD, BODY]] += person.x_m
        pose[[HEAD + 1, BODY + 1]] += person.y_m
        pose[[HEAD + 2, BODY + 2]] += person.z_m
        draw_person(rgb, depth, pose, place, camera.fx, camera.fy, camera.cx, camera.cy)
    return SceneFrame(_display(rgb), depth, camera)


def encode_clip(
    seconds: float = PERIOD_S, fps: float = 10.0, width: int = 640, height: int = 480, quality: int = 85
) -> list[bytes]:
    """The scene as JPEGs, one for each frame; it loops if ``seconds`` is a multiple of ``PERIOD_S``.

    Args:
        seconds, fps: Length and frame rate.
        width, height: Size of the pictures, pixels.
        quality: JPEG quality, 1..100.
    """

    def encode(index: int) -> bytes:
        bgr = render_scene(index / fps, width, height).rgb[..., ::-1]
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()

    render_scene(0.0, width, height)  # compile and draw the room once, before the threads start
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(encode, range(round(seconds * fps))))


def write_fake_camera(path: Path, seconds: float = PERIOD_S, fps: int = 20, width: int = 640, height: int = 480) -> None:
    """Write a file that Chromium plays as a webcam, for ever: ``.mjpeg`` (JPEGs end to end) or ``.y4m`` (raw 4:2:0).

    Raises:
        ValueError: If the suffix is neither, or a y4m picture has an odd side.
    """
    if path.suffix == ".mjpeg":
        path.write_bytes(b"".join(encode_clip(seconds, fps, width, height, quality=90)))
    elif path.suffix == ".y4m":
        if width % 2 or height % 2:
            raise ValueError(f"y4m: expected even sides, got {width}×{height}")
        with path.open("wb") as file:
            # OpenCV's I420 is BT.601 with the narrow range, which y4m readers assume.
            file.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
            for index in range(round(seconds * fps)):
                rgb = render_scene(index / fps, width, height).rgb
                file.write(b"FRAME\n" + cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes())
    else:
        raise ValueError(f"fake camera: expected a .mjpeg or .y4m file, got {path.name}")


def _pose(t_s: float) -> NDArray[np.float64]:
    """Where head and body are: slow turns, nods and sways, each with a whole number of cycles in a period."""
    w = 2 * math.pi * t_s / PERIOD_S
    yaw = 0.30 * math.sin(w) + 0.06 * math.sin(2 * w + 0.8)
    pitch = 0.02 + 0.07 * math.sin(2 * w + 1.0)
    roll = 0.05 * math.sin(w + 2.0)
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    turn_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    rotation = turn_y @ turn_x @ turn_z
    body = np.array([0.02 + 0.018 * math.sin(w + 0.5), -0.055 + 0.006 * math.sin(2 * w), 0.80 + 0.012 * math.sin(w + 1.2)])
    # The head turns about the top of the neck, below and behind its origin.
    pivot = np.array([0.0, 0.06, 0.025])
    head = body + pivot - rotation @ pivot + np.array([0.012 * math.sin(w + 0.2), 0.0, 0.0])
    pose = np.zeros(POSE_SIZE)
    pose[:9] = rotation.T.ravel()
    pose[HEAD : HEAD + 3], pose[BODY : BODY + 3] = head, body
    pose[BODY_YAW : BODY_YAW + 2] = math.cos(0.35 * yaw), math.sin(0.35 * yaw)
    phase = (t_s / PERIOD_S) % 1.0
    pose[BLINK] = 1.0 if 0.40 < phase < 0.425 or 0.90 < phase < 0.925 else 0.0
    return pose


def _display(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light to sRGB through a soft shoulder, so that lamp and window don't clip. uint8 [H, W, 3]."""
    x = np.maximum(linear, 0.0)
    mapped = x * (1.0 + x * 0.12) / (1.0 + x * 0.42)
    table = _srgb_table()
    return table[np.minimum(mapped * 4095.0 + 0.5, 4095.0).astype(np.uint16)]


@lru_cache(maxsize=1)
def _srgb_table() -> NDArray[np.uint8]:
    v = np.arange(4096) / 4095
    s = np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)
    return (s * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=4)
def _room(width: int, height: int, crowded: bool, eye: tuple[float, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    camera = scene_camera(width, height)
    return draw_room(width, height, np.array(eye), camera.fx, camera.fy, camera.cx, camera.cy, crowded=crowded)


def _place(eye: Eye | None) -> NDArray[np.float64]:
    """The eye as the kernels read it. float64 [12]."""
    if eye is None:
        return FRONT
    pose = eye.pose().astype(np.float64)
    back = pose[:, :3].T
    return np.concatenate([back.ravel(), -back @ pose[:, 3]])


def sample_clip() -> bytes:
    """The clip for people without a camera: a msgpack map of ``fps``, ``width``, ``height`` and JPEG ``frames``.

    Read from :data:`SAMPLE_PATH`, or rendered if that file is missing.
    """
    if SAMPLE_PATH.is_file():
        return SAMPLE_PATH.read_bytes()
    frames = encode_clip(PERIOD_S, _SAMPLE_FPS, _SAMPLE_WIDTH, _SAMPLE_HEIGHT)
    clip = {"fps": _SAMPLE_FPS, "width": _SAMPLE_WIDTH, "height": _SAMPLE_HEIGHT, "frames": frames}
    return msgpack.packb(clip)  # type: ignore[no-any-return]


def main(argv: list[str] | None = None) -> None:
    """Write the scene to a file."""
    parser = argparse.ArgumentParser(prog="python -m deployments.scene.clip", description=main.__doc__)
    parser.add_argument("out", type=Path, help="a .mjpeg or .y4m fake camera, or one .png or .jpg picture")
    parser.add_argument("--seconds", type=float, default=PERIOD_S, help="length of a clip, or the moment of a picture")
    parser.add_argument("--fps", type=int, default=20)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    args = parser.parse_args(argv)
    if args.out.suffix in (".png", ".jpg"):
        cv2.imwrite(str(args.out), render_scene(args.seconds, args.width, args.height).rgb[..., ::-1])
    else:
        write_fake_camera(args.out, args.seconds, args.fps, args.width, args.height)


if __name__ == "__main__":
    main()
