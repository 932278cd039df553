"""PLY files as other programs write them: the 48 Gaussians of ``edges.ply``, in every way that a reader has to expect.

plyfile writes them; what it can't is put in by hand. ``others.compressed.ply`` is not written here: splat-transform wrote it from
:func:`ordinary` (``splat-transform ordinary.ply others.compressed.ply``).
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement

from deployments.splats.codecs.ply import PlyCodec
from deployments.splats.gaussians import Gaussians
from tests.vectors.cases import edges

COMPRESSED = "others.compressed.ply"
_F32 = np.float32


def ordinary() -> Gaussians:
    """300 Gaussians of degree 1: two chunks, the second one not full."""
    rng = np.random.default_rng(7)
    n = 300
    quats = rng.normal(size=(n, 4))
    arrays = (
        rng.normal([0, 0, 3], [1, 1, 0.5], (n, 3)),
        np.exp(rng.uniform(-8, 0, (n, 3))),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        rng.uniform(0.01, 0.99, n),
        rng.normal(0, 0.5, (n, 4, 3)),
    )
    return Gaussians(*(array.astype(_F32) for array in arrays))


def _table(types: dict[str, str], extra: dict[str, str], seed: int) -> NDArray[np.void]:
    """The columns of ``edges.ply`` in another order, with others between."""
    ours = PlyData.read(io.BytesIO(PlyCodec().encode(edges()).tobytes()))["vertex"].data
    names = [*ours.dtype.names, *extra]
    rng = np.random.default_rng(seed)
    rng.shuffle(names)
    table = np.zeros(len(ours), [(name, extra.get(name) or types.get(name, "f4")) for name in names])
    for name in names:
        table[name] = rng.integers(0, 200, len(ours)) if name in extra else ours[name]
    return table


def _faces(count: int) -> PlyElement:
    """Lists of three to five indices."""
    rows = np.empty(count, [("vertex_indices", "O"), ("flags", "u1")])
    for i in range(count):
        rows[i] = (np.arange(3 + i % 3, dtype="i4"), i)
    return PlyElement.describe(rows, "face", val_types={"vertex_indices": "i4"}, len_types={"vertex_indices": "u1"})


def _written(elements: list[PlyElement], **how: Any) -> bytes:
    out = io.BytesIO()
    PlyData(elements, comments=["element vertex 3 is only a comment"], obj_info=["num_cols 3"], **how).write(out)
    return out.getvalue()


def doubles() -> bytes:
    """Two elements before, one of lists; doubles and bytes among the properties; lists after."""
    table = _table({"x": "f8", "opacity": "f8", "rot_2": "f8"}, {"label": "u1", "nx": "f4", "ny": "f4", "nz": "f4"}, 1)
    camera = PlyElement.describe(np.zeros(2, [("a", "i2"), ("b", "u4")]), "camera")
    faces = _faces(7)
    after = PlyElement.describe(np.array([(np.arange(4, dtype="i4"),)], [("strip", "O")]), "tristrips", val_types={"strip": "i4"})
    return _written([camera, faces, PlyElement.describe(table, "vertex"), after], byte_order="<")


def big_endian() -> bytes:
    """The other order of bytes, and lists before."""
    table = _table({"z": "f8"}, {"confidence": "u2"}, 2)
    return _written([_faces(5), PlyElement.describe(table, "vertex")], byte_order=">")


def text() -> bytes:
    """Numbers as text, faces before and after, lines that end as on Windows."""
    table = _table({}, {"label": "u1"}, 3)
    faces = _faces(3)
    rows = PlyElement.describe(np.zeros(1, [("a", "i2")]), "camera")
    return _written([faces, PlyElement.describe(table, "vertex"), rows], text=True).replace(b"\n", b"\r\n")


def carriage_returns() -> bytes:
    """Ours, after an editor that ends lines as on Windows; scalar types by their newer names; 45 harmonics."""
    names = [f"f_rest_{i}" for i in range(45)]
    table = _table({}, dict.fromkeys(names, "f4"), 4)
    data = _written([PlyElement.describe(table, "vertex")], byte_order="<")
    head, body = data.split(b"end_header\n", 1)
    return (head + b"end_header\n").replace(b"property float ", b"property float32 ").replace(b"\n", b"\r\n") + body


FOREIGN: dict[str, Callable[[], bytes]] = {
    "others.doubles.ply": doubles,
    "others.big-endian.ply": big_endian,
    "others.text.ply": text,
    "others.carriage-returns.ply": carriage_returns,
}
"""File → what writes it. All hold :func:`~tests.vectors.cases.edges`."""
