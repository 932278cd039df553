"""Files that other tools open: formats, layouts and frames of ``/api/splat``.

==========  ========  ============  ====================================================================================
format      layout    default       what it is
                      frame
==========  ========  ============  ====================================================================================
``ply``     standard  opencv        the 3DGS file, as :mod:`deployments.splats.codecs.ply` writes it
``ply``     inria     opencv        the same with normals and all 45 ``f_rest`` (zeros where there are none): 62 columns in
                                    the order of the first implementation, for readers that insist on them
``ply``     rgb       opencv        the standard columns, then ``red green blue`` as uchar, for viewers of point clouds
``ply``     points    opencv        ``x y z`` float and ``red green blue`` uchar: a point cloud, nothing else
``splat``             opencv        32 bytes a splat: centre and standard deviations float32, RGBA and quaternion (w x y z,
                                    128 + 128·q) as bytes; the most visible first (antimatter15/splat)
``spz``               opengl        Niantic's compressed file, version 3, written by gsply
``glb``     standard  opengl        glTF 2.0 with ``KHR_gaussian_splatting`` (ratified by Khronos): splats for readers that know
                                    it, points with colours for all others
``glb``     points    opengl        glTF 2.0: points with colours, nothing else
``points``            opencv        :mod:`deployments.splats.codecs.points`
``packed``            opencv        :mod:`deployments.splats.codecs.packed`
==========  ========  ============  ====================================================================================

A ``ply``, ``spz`` or ``glb`` may have more harmonics than the Gaussians: ``sh_degree`` pads them with zeros, for readers that want
all of a degree.

The frames are those of :mod:`deployments.splats.coordinates`: each format's default is what its readers expect, and glTF knows no
other.
"""

import json
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gsply
import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import SH_C0
from deployments.splats.codecs import CODECS
from deployments.splats.codecs.ply import PlyCodec, property_names
from deployments.splats.codecs.ply_header import read_tables, write_header
from deployments.splats.coordinates import FRAMES, Frame, to_frame
from deployments.splats.gaussians import Gaussians

U8 = NDArray[np.uint8]
Layout = Literal["standard", "inria", "rgb", "points"]
LAYOUTS: tuple[Layout, ...] = ("standard", "inria", "rgb", "points")

_COLORS = ("red", "green", "blue")
_FLOAT, _U16, _POINTS, _ARRAY_BUFFER = 5126, 5123, 0, 34962  # glTF's numbers.
_KHR = "KHR_gaussian_splatting"
MAX_DEGREE = 3
"""Of the harmonics that other tools know; ours have 2 at the most."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files.

    Attributes:
        media_type, suffix: For HTTP and file names.
        frame: What its readers expect.
    """

    media_type: str
    suffix: str
    frame: Frame = "opencv"


FORMATS: dict[str, Format] = {
    "ply": Format("application/ply", ".ply"),
    "splat": Format("application/octet-stream", ".splat"),
    "spz": Format("application/octet-stream", ".spz", "opengl"),
    "glb": Format("model/gltf-binary", ".glb", "opengl"),
    "points": Format(CODECS["points"].media_type, CODECS["points"].suffix),
    "packed": Format(CODECS["packed"].media_type, CODECS["packed"].suffix),
}


@dataclass(frozen=True, slots=True)
class FileOptions:
    """The file that somebody asks for.

    Attributes:
        format: Key of :data:`FORMATS`.
        layout: Of a ``ply`` or a ``glb``.
        frame: Of the file; None: the format's default.
        comments: What a ``ply`` or a ``glb`` says of itself, a line each.
        sh_degree: Least degree of the file's harmonics, 0 to 3: what the Gaussians don't have is 0.

    Raises:
        ValueError: If a name is unknown, or a layout or frame is asked of a format that has no choice.
    """

    format: str = "ply"
    layout: Layout = "standard"
    frame: Frame | None = None
    comments: tuple[str, ...] = ()
    sh_degree: int = 0

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {self.format!r:.40}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {self.layout!r:.40}")
        if self.frame is not None and self.frame not in FRAMES:
            raise ValueError(f"frame: expected one of {', '.join(FRAMES)}, got {self.frame!r:.40}")
        if self.layout != "standard" and (self.format, self.layout) != ("glb", "points") and self.format != "ply":
            raise ValueError(f"layout: a {self.format} file has no layout {self.layout}; ply has them all, glb standard and points")
        if not isinstance(self.sh_degree, int) or not 0 <= self.sh_degree <= MAX_DEGREE:
            raise ValueError(f"sh_degree: expected a whole number from 0 to {MAX_DEGREE}, got {self.sh_degree!r:.40}")
        if self.format == "glb" and self.frame == "opencv":
            raise ValueError("frame: a glb file is opengl (y up) by its standard")

    @property
    def is_points(self) -> bool:
        """Whether centres and colours are all that it holds."""
        return self.format == "points" or self.layout == "points"


def encode_file(gaussians: Gaussians, options: FileOptions, encode: Mapping[str, Callable[[Gaussians], U8]]) -> U8:
    """The file.

    Args:
        gaussians: In the capture camera's OpenCV frame.
        options: What is wanted.
        encode: The codecs' encoders by name, with the settings of whoever asks; used for ``points`` and ``packed``.

    Returns:
        Its bytes. uint8 [size].

    Raises:
        BadGaussians: If a number is not finite, a scale is negative, or a quaternion has no direction.
    """
    g = to_frame(gaussians, options.frame or FORMATS[options.format].frame)
    return _ENCODERS[options.format](g, options) if options.format in _ENCODERS else encode[options.format](g)


def _ply(g: Gaussians, options: FileOptions) -> U8:
    frame = options.frame or FORMATS["ply"].frame
    axes = "x right, y down, z forward" if frame == "opencv" else "x right, y up, z back"
    comments = (f"frame: {frame} ({axes}), the camera is the origin", *options.comments)
    plain = PlyCodec(normals=options.layout == "inria").encode(g)
    rows = read_tables(plain)["vertex"].rows
    stored_names = rows.dtype.names or ()
    degree = MAX_DEGREE if options.layout == "inria" else max(g.sh_degree, options.sh_degree)
    names = property_names(degree, normals=options.layout == "inria")
    if options.layout == "points":
        names = names[:3]
    dtype = [(name, "<f4") for name in names]
    if options.layout in ("rgb", "points"):
        dtype += [(name, "u1") for name in _COLORS]
    out = np.zeros(len(g), np.dtype(dtype))
    for name in stored_names:
        stored = _padded(name, g.sh_degree, degree)
        if stored in (out.dtype.names or ()):
            out[stored] = rows[name]
    if options.layout in ("rgb", "points"):
        for name, channel in zip(_COLORS, _rgb(g).T, strict=True):
            out[name] = channel
    return _joined(write_header(out.dtype, len(g), comments), out.view(np.uint8))


def _padded(name: str, degree: int, padded: int) -> str:
    """Where a coefficient lies among those of a higher degree: each channel's lie together."""
    if not name.startswith("f_rest_"):
        return name
    channel, index = divmod(int(name.removeprefix("f_rest_")), (degree + 1) ** 2 - 1)
    return f"f_rest_{((padded + 1) ** 2 - 1) * channel + index}"


def _splat(g: Gaussians, options: FileOptions) -> U8:
    out = np.empty((len(g), 32), np.uint8)
    order = np.argsort(-g.opacities * g.scales.prod(axis=1, dtype=np.float64), kind="stable")
    floats = np.concatenate([g.means, g.scales], axis=1)[order]
    out[:, :24] = np.ascontiguousarray(floats, "<f4").view(np.uint8).reshape(len(g), 24)
    out[:, 24:27] = _rgb(g)[order]
    out[:, 27] = np.rint(g.opacities[order] * 255)
    quats = g.quats[order]
    quats = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    out[:, 28:] = np.clip(np.rint(quats * 128 + 128), 0, 255)
    return out.reshape(-1)


def _spz(g: Gaussians, options: FileOptions) -> U8:
    vertices = read_tables(PlyCodec().encode(g))["vertex"].rows
    rows = vertices.view("<f4").reshape(len(g), len(vertices.dtype.names or ()))
    degree = max(g.sh_degree, options.sh_degree)
    rest = np.zeros((len(g), (degree + 1) ** 2 - 1, 3), np.float32)
    rest[:, : g.sh.shape[1] - 1] = g.sh[:, 1:]
    columns = [np.ascontiguousarray(part) for part in (rows[:, :3], rows[:, -7:-4], rows[:, -4:], rows[:, -8], rows[:, 3:6])]
    with tempfile.TemporaryDirectory() as folder:  # gsply writes files only.
        path = Path(folder) / "frame.spz"
        gsply.write_spz(path, gsply.GSData(*columns, rest, _format=gsply.create_ply_format(degree)))
        return np.frombuffer(bytearray(path.read_bytes()), np.uint8)


def _glb(g: Gaussians, options: FileOptions) -> U8:
    # glTF's colours are linear. They are for readers that draw points, their alpha is the splat's.
    color = np.full((len(g), 4), 65535, "<u2")
    color[:, :3] = np.rint(_linear(_rgb(g)) * 65535)
    attributes: dict[str, NDArray[Any]] = {"POSITION": g.means.astype("<f4"), "COLOR_0": color}
    primitive: dict[str, Any] = {"mode": _POINTS}
    asset = {"version": "2.0", "generator": "Splatcast", "extras": {"comments": list(options.comments)}}
    if licences := [line.removeprefix("licence: ") for line in options.comments if line.startswith("licence: ")]:
        asset["copyright"] = licences[0]
    if options.layout == "standard":
        color[:, 3] = np.rint(np.clip(g.opacities, 0, 1) * 65535)
        attributes |= _splat_attributes(g, max(g.sh_degree, options.sh_degree))
        primitive["extensions"] = {_KHR: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}}
    primitive["attributes"] = {name: i for i, name in enumerate(attributes)}
    views: list[dict[str, Any]] = []
    for array in attributes.values():
        views.append({"buffer": 0, "byteOffset": _bytes_of(views), "byteLength": array.nbytes, "target": _ARRAY_BUFFER})
    size = _bytes_of(views)
    about: dict[str, Any] = {"asset": asset, "scene": 0, "scenes": [{}]}
    if len(g):  # Neither an accessor nor a buffer may be empty.
        about |= {"scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive]}]}
        about |= {"accessors": _accessors(attributes), "bufferViews": views, "buffers": [{"byteLength": size}]}
        if "extensions" in primitive:
            about["extensionsUsed"] = [_KHR]
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if len(g):
        chunks += struct.pack("<I4s", size, b"BIN\0")
    header = struct.pack("<4sII", b"glTF", 2, 12 + len(chunks) + size)
    return _joined(header + chunks, *(np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in attributes.values()))


def _bytes_of(views: list[dict[str, Any]]) -> int:
    return sum(view["byteLength"] for view in views)


def _accessors(attributes: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    accessors: list[dict[str, Any]] = []
    for i, (name, array) in enumerate(attributes.items()):
        accessor: dict[str, Any] = {"bufferView": i, "componentType": _FLOAT, "count": len(array)}
        accessor["type"] = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[array.shape[1]]
        if name == "COLOR_0":
            accessor |= {"componentType": _U16, "normalized": True}
        if name == "POSITION":
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        accessors.append(accessor)
    return accessors


def _splat_attributes(g: Gaussians, degree: int) -> dict[str, NDArray[Any]]:
    """The extension's attributes: standard deviations are linear, a quaternion is x y z w (Khronos, KHR_gaussian_splatting)."""
    quats = g.quats / np.linalg.norm(g.quats, axis=1, keepdims=True)
    attributes = {
        f"{_KHR}:ROTATION": quats[:, [1, 2, 3, 0]].astype("<f4"),
        f"{_KHR}:SCALE": g.scales.astype("<f4"),
        f"{_KHR}:OPACITY": np.clip(g.opacities, 0, 1).astype("<f4")[:, None],
    }
    coefficients = np.zeros((len(g), (degree + 1) ** 2, 3), "<f4")
    coefficients[:, : g.sh.shape[1]] = g.sh
    for band in range(degree + 1):
        for i in range(2 * band + 1):
            attributes[f"{_KHR}:SH_DEGREE_{band}_COEF_{i}"] = coefficients[:, band * band + i]
    return attributes


def _linear(srgb: U8) -> NDArray[np.float64]:
    """Linear values of sRGB bytes, 0..1 (IEC 61966-2-1)."""
    value = srgb / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _rgb(g: Gaussians) -> U8:
    """sRGB of degree 0. uint8 [N, 3]."""
    return np.rint(np.clip(0.5 + SH_C0 * g.sh[:, 0].astype(np.float64), 0, 1) * 255).astype(np.uint8)


def _joined(head: bytes, *parts: U8) -> U8:
    return np.concatenate([np.frombuffer(head, np.uint8), *(part.reshape(-1) for part in parts)])


_ENCODERS: dict[str, Callable[[Gaussians, FileOptions], U8]] = {
    "ply": _ply,
    "splat": _splat,
    "spz": _spz,
    "glb": _glb,
}
