"""SuperSplat's compressed PLY, which this project reads and doesn't write.

Three elements; every 256 vertices have a row of ``chunk`` that says what the bits of theirs span:

===============================  ======  =========================================================================
element, property                type    meaning
===============================  ======  =========================================================================
chunk  ``min_x`` … ``max_z``     float   centres
chunk  ``min_scale_x`` …         float   ln of the standard deviations
chunk  ``min_r`` … ``max_b``     float   colours; files before SuperSplat 2.4 have none, theirs are 0 to 1
vertex ``packed_position``       uint    x, y, z between the chunk's ends: 11, 10 and 11 bits, x uppermost
vertex ``packed_scale``          uint    the same
vertex ``packed_rotation``       uint    2 bits say which of w, x, y, z is the largest, then the others in that order,
                                         10 bits each, from −√½ to √½
vertex ``packed_color``          uint    red, green, blue between the chunk's ends, and opacity: 8 bits each, red uppermost
sh     ``f_rest_0`` …            uchar   optional, a row a vertex, as in an ordinary file, from −4 to 4
===============================  ======  =========================================================================

Source: PlayCanvas's description (blog.playcanvas.com, Compressing Gaussian Splats) and files of its splat-transform and of gsply.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import logit, rgb_to_dc
from deployments.splats.codecs.ply_header import Table
from deployments.splats.errors import BadBytes
from deployments.splats.gaussians import FloatArray

CHUNK = 256
_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_CENTRES, _SCALES, _COLOURS = ("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")
_BITS_OF_THREE = ((21, 11), (11, 10), (0, 11))
_BITS_OF_FOUR = ((24, 8), (16, 8), (8, 8), (0, 8))


def is_compressed(tables: Mapping[str, Table]) -> bool:
    """Whether the vertices of a PLY are such words."""
    return "packed_position" in (tables["vertex"].rows.dtype.names or ())


def decompress(tables: Mapping[str, Table]) -> dict[str, FloatArray]:
    """The columns of an ordinary PLY of the same Gaussians, by name. float32 [N] each.

    Raises:
        BadBytes: If the chunks, the words or the harmonics are not those of the format.
    """
    vertex = tables["vertex"]
    position, rotation, scale, colour = (_column(vertex, name) for name in _PACKED)
    n = len(vertex.rows)
    if "chunk" not in tables or len(tables["chunk"].rows) * CHUNK < n:
        got = f"{len(tables['chunk'].rows)} of them" if "chunk" in tables else "none"
        raise BadBytes("ply", vertex.offset, f"a row 'chunk' for every {CHUNK} of {n} vertices", got)
    chunk, of = tables["chunk"], np.arange(n) // CHUNK
    columns = {}
    for name, stored, unit in zip(_CENTRES, _CENTRES, _units(position, _BITS_OF_THREE), strict=True):
        columns[name] = _between(chunk, stored, of, unit)
    for i, (stored, unit) in enumerate(zip(_SCALES, _units(scale, _BITS_OF_THREE), strict=True)):
        columns[f"scale_{i}"] = _between(chunk, stored, of, unit)
    *rgb, alpha = _units(colour, _BITS_OF_FOUR)
    has_colours = "min_r" in (chunk.rows.dtype.names or ())
    for i, (stored, unit) in enumerate(zip(_COLOURS, rgb, strict=True)):
        columns[f"f_dc_{i}"] = rgb_to_dc(_between(chunk, stored, of, unit) if has_colours else unit.astype(np.float32))
    columns["opacity"] = logit(alpha.astype(np.float32))
    columns |= {f"rot_{i}": part for i, part in enumerate(_quaternion(rotation))}
    return columns | _harmonics(tables, n)


def _column(table: Table, name: str) -> NDArray[np.uint32]:
    names = table.rows.dtype.names or ()
    if name not in names or table.rows.dtype[name].kind != "u":
        raise BadBytes("ply", table.offset, f"a property uint '{name}'", f"only {', '.join(names)[:200]}")
    return table.rows[name].astype(np.uint32)


def _units(words: NDArray[np.uint32], bits: tuple[tuple[int, int], ...]) -> list[NDArray[np.float64]]:
    """Parts of words as 0..1. ``bits``: shift and width of each."""
    return [(words >> np.uint32(shift) & np.uint32((1 << width) - 1)) / ((1 << width) - 1) for shift, width in bits]


def _between(chunk: Table, name: str, of: NDArray[np.intp], unit: NDArray[np.float64]) -> FloatArray:
    names = chunk.rows.dtype.names or ()
    missing = [end for end in (f"min_{name}", f"max_{name}") if end not in names]
    if missing:
        raise BadBytes("ply", chunk.offset, f"a property '{missing[0]}' of the chunks", f"only {', '.join(names)[:200]}")
    low, high = (chunk.rows[f"{end}_{name}"].astype(np.float64)[of] for end in ("min", "max"))
    with np.errstate(all="ignore"):  # What isn't finite is refused as such.
        return (low * (1 - unit) + high * unit).astype(np.float32)


def _quaternion(words: NDArray[np.uint32]) -> FloatArray:
    """w, x, y, z. float32 [4, N]."""
    n = len(words)
    parts = np.stack(_units(words, ((20, 10), (10, 10), (0, 10)))) * np.sqrt(2) - np.sqrt(0.5)
    largest = (words >> np.uint32(30)).astype(np.intp)
    quats = np.empty((4, n))
    for which in range(4):
        chosen = largest == which
        others = [i for i in range(4) if i != which]
        for i, part in zip(others, parts, strict=True):
            quats[i, chosen] = part[chosen]
        quats[which, chosen] = np.sqrt(np.maximum(0, 1 - np.square(parts[:, chosen]).sum(axis=0)))
    return quats.astype(np.float32)


def _harmonics(tables: Mapping[str, Table], n: int) -> dict[str, FloatArray]:
    if "sh" not in tables:
        return {}
    rows = tables["sh"].rows
    names = [name for name in rows.dtype.names or () if name.startswith("f_rest_")]
    if len(rows) != n or any(rows.dtype[name] != np.uint8 for name in names):
        raise BadBytes("ply", tables["sh"].offset, f"{n} rows 'sh' of uchar", f"{len(rows)} of {rows.dtype}"[:200])
    # The ends stand for themselves, every other byte for the middle of its step.
    table = np.arange(256) + 0.5
    table[[0, 255]] = 0, 256
    values = ((table / 256 - 0.5) * 8).astype(np.float32)
    return {name: values[rows[name]] for name in names}
