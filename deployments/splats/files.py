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
``glb``               opengl        glTF 2.0: points with colours, for anything that opens glTF
``points``            opencv        :mod:`deployments.splats.codecs.points`
``packed``            opencv        :mod:`deployments.splats.codecs.packed`
==========  ========  ============  ====================================================================================

The frames are those of :mod:`deployments.splats.coordinates`: each format's default is what its readers expect, and glTF knows no
other.
"""

import json
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
_FLOAT, _U8, _POINTS = 5126, 5121, 0  # glTF's numbers.


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
        layout: Of a ``ply``.
        frame: Of the file; None: the format's default.
        comments: What a ``ply`` says of itself, a line each.

    Raises:
        ValueError: If a name is unknown, or a layout or frame is asked of a format that has no choice.
    """

    format: str = "ply"
    layout: Layout = "standard"
    frame: Frame | None = None
    comments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {self.format!r:.40}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {self.layout!r:.40}")
        if self.frame is not None and self.frame not in FRAMES:
            raise ValueError(f"frame: expected one of {', '.join(FRAMES)}, got {self.frame!r:.40}")
        if self.layout != "standard" and self.format != "ply":
            raise ValueError(f"layout: a {self.format} file has one layout only; layouts are for ply")
        if self.format == "glb" and self.frame == "opencv":
            raise ValueError("frame: a glb file is opengl (y up) by its standard")

    @property
    def is_points(self) -> bool:
        """Whether centres and colours are all that it holds."""
        return self.format in ("points", "glb") or self.layout == "points"


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
    comments = options.comments
    frame = options.frame or FORMATS["ply"].frame
    axes = "x right, y down, z forward" if frame == "opencv" else "x right, y up, z back"
    comments = (f"frame: {frame} ({axes}), the camera is the origin", *comments)
    plain = PlyCodec(normals=options.layout == "inria").encode(g)
    rows = read_tables(plain)["vertex"].rows
    stored_names = rows.dtype.names or ()
    names: Sequence[str] = stored_names
    if options.layout == "inria":
        names = property_names(3, normals=True)
    elif options.layout == "points":
        names = names[:3]
    dtype = [(name, "<f4") for name in names]
    if options.layout in ("rgb", "points"):
        dtype += [(name, "u1") for name in _COLORS]
    out = np.zeros(len(g), np.dtype(dtype))
    for name in stored_names:
        stored = _in_degree_3(name, g.sh_degree) if options.layout == "inria" else name
        if stored in (out.dtype.names or ()):
            out[stored] = rows[name]
    if options.layout in ("rgb", "points"):
        for name, channel in zip(_COLORS, _rgb(g).T, strict=True):
            out[name] = channel
    return _joined(write_header(out.dtype, len(g), comments), out.view(np.uint8))


def _in_degree_3(name: str, degree: int) -> str:
    """Where a coefficient of a lower degree lies among the 15 of each channel."""
    if not name.startswith("f_rest_"):
        return name
    channel, index = divmod(int(name.removeprefix("f_rest_")), (degree + 1) ** 2 - 1)
    return f"f_rest_{15 * channel + index}"


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
    rest = np.ascontiguousarray(rows[:, 6:-8].reshape(len(g), 3, (g.sh_degree + 1) ** 2 - 1).transpose(0, 2, 1))
    columns = [np.ascontiguousarray(part) for part in (rows[:, :3], rows[:, -7:-4], rows[:, -4:], rows[:, -8], rows[:, 3:6])]
    with tempfile.TemporaryDirectory() as folder:  # gsply writes files only.
        path = Path(folder) / "frame.spz"
        gsply.write_spz(path, gsply.GSData(*columns, rest, _format=gsply.create_ply_format(g.sh_degree)))
        return np.frombuffer(bytearray(path.read_bytes()), np.uint8)


def _glb(g: Gaussians, options: FileOptions) -> U8:
    positions = np.ascontiguousarray(g.means, "<f4")
    rgba = np.full((len(g), 4), 255, np.uint8)
    rgba[:, :3] = _rgb(g)
    low, high = (positions.min(axis=0), positions.max(axis=0)) if len(g) else (np.zeros(3), np.zeros(3))
    about = {
        "asset": {"version": "2.0", "generator": "Splatcast", "extras": {"comments": list(options.comments)}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": _POINTS}]}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": _FLOAT,
                "count": len(g),
                "type": "VEC3",
                "min": low.tolist(),
                "max": high.tolist(),
            },
            {"bufferView": 1, "componentType": _U8, "normalized": True, "count": len(g), "type": "VEC4"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": positions.nbytes},
            {"buffer": 0, "byteOffset": positions.nbytes, "byteLength": rgba.nbytes},
        ],
        "buffers": [{"byteLength": positions.nbytes + rgba.nbytes}],
    }
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 4)
    size = positions.nbytes + rgba.nbytes
    header = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + size)
    json_chunk = struct.pack("<I4s", len(text), b"JSON") + text
    return _joined(header + json_chunk + struct.pack("<I4s", size, b"BIN\0"), positions.view(np.uint8), rgba)


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
