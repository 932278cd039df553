"""The frames the golden files hold, shared by the tests and by :mod:`tests.vectors.make`."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.codecs import Codec
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.ply import PlyCodec
from deployments.splats.codecs.points import PointsCodec
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.stream.messages import Dropped, Engine, Limits, QualityState, Splats, Welcome, encode
from deployments.stream.recording import Entry, RecordingWriter
from tests.vectors.native import native_frame

FOLDER = Path(__file__).parent
F32 = np.float32
FINER_LN_SCALES = (-9.0, 2.0)
"""A range like the stream's: 0.12 mm to 7.4 units, in steps of 4.4 %."""


def edges() -> Gaussians:
    """48 Gaussians: the ends of every range first, then ordinary ones."""
    rng = np.random.default_rng(20260)
    n = 48
    means = rng.normal([0, 0, 2], [1, 1, 0.5], (n, 3))
    scales = np.exp(rng.normal(-5, 1, (n, 3)))
    quats = rng.normal(size=(n, 4))
    opacities = rng.uniform(0.02, 0.98, n)
    dc = rng.normal(0, 0.8, (n, 1, 3))
    # Centres: the ends of f16, its smallest numbers, a tie between two of them.
    means[:6] = [
        [65504, -65504, 60000],
        [0, -0.0, 1e-9],
        [6e-8, -6e-5, 6.2e-5],
        [1.00048828125, 1.00146484375, -1],
        [5, 7, 9],
        [0, 0, 0],
    ]
    scales[6:12] = [[0, 0, 0], [1e-9, 1e-5, 6.2e-6], [8000, 9000, 1e6], [0, 0.5, 1], [1e-38, 1e-40, 1e30], [1, 1, 1]]
    opacities[12:18] = [0, 1, 1e-9, 1 - 2.0**-24, 0.5, 0.5 / 255]
    dc[18:22, 0] = [[-9, 9, 0], [1.7724539, -1.7724539, 1e-7], [2, -2, 40], [0.00695, -0.00695, 0.0208]]
    r = 0.5**0.5
    quats[22:38] = [
        *([1, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, -1], [r, r, 0, 0], [r, 0, -r, 0]),
        *([0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5], [1, 1e-4, 0, 0], [1, -1e-7, 1e-7, -1e-7], [0, 1, 1, 0], [0, 1, -1, 0]),
        *([0, -0.0, 0, 1], [-0.3, 0.1, -0.9, -1e-8]),
    ]
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    return Gaussians(means.astype(F32), scales.astype(F32), quats.astype(F32), opacities.astype(F32), dc.astype(F32))


def harmonics() -> Gaussians:
    """3 Gaussians of degree 2 whose coefficients name themselves: 100·Gaussian + 10·coefficient + channel."""
    i, k, c = np.meshgrid(np.arange(3), np.arange(9), np.arange(3), indexing="ij")
    ones = np.ones((3, 3), F32)
    quats = np.tile(np.array([0.5, -0.5, 0.5, 0.5], F32), (3, 1))
    return Gaussians(ones, ones / F32(8), quats, np.full(3, 0.5, F32), (100 * i + 10 * k + c).astype(F32))


def far_wall() -> Gaussians:
    """48 Gaussians on the plane z = 40 + x / 2, all of them far, at places that no half holds."""
    column, line = np.meshgrid(np.arange(8), np.arange(6))
    x = -4.03 + 1.17 * column.ravel()
    means = np.stack([x, -2.51 + 1.013 * line.ravel(), 40 + x / 2], axis=1).astype(F32)
    ordinary = edges().take(np.arange(38, 48).repeat(5)[:48])
    return Gaussians(means, ordinary.scales, ordinary.quats, ordinary.opacities, ordinary.sh)


GOLDEN: dict[str, tuple[Codec, Gaussians]] = {
    "edges.ply": (PlyCodec(), edges()),
    "edges.packed": (PackedCodec(), edges()),
    "edges.stream.packed": (PackedCodec(ln_scale_range=FINER_LN_SCALES), edges()),
    "edges.points": (PointsCodec(), edges()),
    "far.ply": (PlyCodec(), far_wall()),
    "far.packed": (PackedCodec(), far_wall()),
    "harmonics.ply": (PlyCodec(), harmonics()),
    "harmonics.normals.opengl.ply": (PlyCodec(normals=True, frame="opengl"), harmonics()),
}
"""File → the codec that writes it, and what it holds."""

SESSION = "session.splatcast"
MADE_BY_SPARK = "edges.packed"
"""SparkJS wrote the words of this one; our encoder's are within one step of them."""


def layered_frame() -> LayeredDepth:
    """Two views; the first has holes, a fade, and a wall behind with colours of its own. No sines."""
    views = []
    for index, (width, height) in enumerate(((24, 18), (20, 15))):
        u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        inverse = 0.4 + u / 200 + v / 100
        inverse[(u - width / 3) ** 2 + (v - height / 2) ** 2 < (width / 5) ** 2] += 0.5
        rgb = np.stack([u * 9 % 256, v * 13 % 256, (u * v) % 256], axis=-1).astype(np.uint8)
        camera = Camera(width, height, 1.1 * width, 1.15 * width, width / 2 - 0.7, height / 2 + 0.3)
        if index:
            # A turn about two axes whose numbers are short: 3-4-5 triangles.
            pose = np.array([[0.8, 0, 0.6, 0.2], [0, 1, 0, -0.1], [-0.6, 0, 0.8, 0.05]], F32)
            views.append(DepthView(camera, (DepthLayer(inverse.astype(F32)),), rgb, pose))
            continue
        inverse[2:5, 15:20] = 0
        opacity = np.clip(40 * np.abs(u - 12), 0, 255).astype(np.uint8)
        wall = np.where((u < 16) & (v > 4), 0.2, 0)[::2, ::2].astype(F32)
        layers = (DepthLayer(inverse.astype(F32), None, opacity), DepthLayer(wall, 255 - rgb[::2, ::2]))
        views.append(DepthView(camera, layers, rgb))
    return LayeredDepth(tuple(views), 1.25)


def scene_frame() -> LayeredDepth:
    """A ball before a slope, with blurred edges and noise, as a depth network sees it."""
    width, height = 64, 48
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    off = (u - 30) ** 2 + (v - 24) ** 2
    inverse = np.where(off < 196, 0.8 + np.sqrt(np.maximum(196 - off, 0)) / 40, 0.3 + v / 300)
    inverse[20:40, 44:58] = 0.45 + u[20:40, 44:58] / 90
    blurred = (inverse + np.roll(inverse, 1, axis=1) + np.roll(inverse, 1, axis=0) + np.roll(inverse, (1, 1), axis=(0, 1))) / 4
    noise = np.random.default_rng(11).integers(-100, 101, (height, width)) / 100_000
    rgb = np.stack([u * 3 % 256, v * 5 % 256, (u + v) * 2 % 256], axis=-1).astype(np.uint8)
    camera = Camera(width, height, 55.0, 55.0, 32.0, 24.0)
    return LayeredDepth((DepthView(camera, (DepthLayer((blurred + noise).astype(F32)),), rgb),))


def far_frame() -> LayeredDepth:
    """A slanted wall 35 to 46 m away, and nothing nearer."""
    width, height = 32, 24
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inverse = 1 / 40 + (u - 16) / 8000 + (v - 12) / 16000
    rgb = np.stack([u * 7 % 256, v * 9 % 256, (u + v) * 4 % 256], axis=-1).astype(np.uint8)
    camera = Camera(width, height, 28.0, 28.0, 16.0, 12.0)
    return LayeredDepth((DepthView(camera, (DepthLayer(inverse.astype(F32)),), rgb),))


LAYERED: dict[str, tuple[LayeredDepth, dict[str, Any]]] = {
    "layers.depth": (layered_frame(), {"step": 1 / 256, "border": 0.03, "min_opacity": 0.3}),
    "scene.depth": (scene_frame(), {"step": 1 / 512, "border": 0.05, "depth_percentile": 95.0}),
    "far.depth": (far_frame(), {"step": 1 / 4096, "border": 0.03}),
    "dots.depth": (layered_frame(), {"step": 1 / 64, "kind": "points"}),
}
"""File → the frame it holds, and how it is coded."""


NATIVE: dict[str, tuple[Gaussians, list[PosedCamera], float]] = {
    "native.splp": (*native_frame(40, 30, seed=1), 1 / 768),
    "views.splp": (*native_frame(24, 18, views=2, seed=2), 1 / 64),
}
"""File → the frame it holds, its cameras, and the ``depth_step`` it is coded at; what has opacity 0 is not in it."""


def layered_pictures(frame: LayeredDepth) -> list[NDArray[np.uint8]]:
    """What a viewer draws on the grids of the views."""
    return [view.picture for view in frame.views]


def golden(name: str) -> NDArray[np.uint8]:
    """The bytes of a golden file."""
    return np.fromfile(FOLDER / name, np.uint8)


def session_entries() -> list[Entry]:
    """A recording: a welcome, depth with the picture that was sent, a notice that players skip, and packed words."""
    from_scene = golden("scene.depth").tobytes()
    engine = Engine("stub", "stub", "Golden vectors", "Apache-2.0", ["lifted"], around_deg=15.0)
    limits = Limits(1 << 20, 1 << 20, 1, 2, 2, 100_000, 504, ["depth", "packed"], 60.0)
    quality = QualityState(100_000, 0, 1.0, 1.0, "", "")

    def reply(seq: int, codec: str, count: int, data: bytes) -> Splats:
        camera = Camera(64, 48, 55.0, 55.0, 32.0, 24.0)
        return Splats(seq, 1e6 + 100 * seq, codec, "lifted", engine.label, count, camera, {}, {"infer": 1.5}, {}, quality, data)

    packed = (FOLDER / "edges.packed").read_bytes()
    return [
        Entry(0.0, encode(Welcome(1, "0.1.0", "golden", engine, {"max_splats": 100_000}, limits))),
        Entry(0.0, encode(reply(1, "depth", 3072, from_scene)), scene_jpeg()),
        Entry(40.0, encode(Dropped("superseded", "A newer frame came first.", 1, [2]))),
        Entry(100.5, encode(reply(3, "packed", 48, packed))),
    ]


def scene_jpeg() -> bytes:
    """The picture of the scene as its camera sent it."""
    (picture,) = layered_pictures(scene_frame())
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=90)  # type: ignore[no-any-return]


def session_file() -> bytes:
    """``session.splatcast``."""
    file = io.BytesIO()
    writer = RecordingWriter(file, 1_700_000_000_000.0)
    for entry in session_entries():
        writer.write(entry)
    return file.getvalue()
