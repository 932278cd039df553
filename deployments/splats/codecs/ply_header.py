"""The text at the start of a PLY file: written in our layout, read in anyone's.

A header is ASCII lines that end with ``\\n``: ``ply``, ``format binary_little_endian 1.0``, ``element vertex N``, a ``property``
line for each column, and exactly ``end_header\\n``. (G. Turk, The PLY Polygon File Format, 1994.) Input is hostile until checked:
sizes are compared with the bytes that are there before anything is allocated from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.errors import BadBytes, Truncated

MAX_HEADER_BYTES = 65536
"""Longest header read; SparkJS has the same limit."""
MAX_PROPERTIES = 1024

_END = b"end_header\n"
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}


@dataclass(frozen=True, slots=True)
class VertexTable:
    """Where a PLY keeps its vertices.

    Attributes:
        offset: First byte of the first vertex.
        count: Vertices, all of them within the file.
        dtype: One vertex: a packed structure with a field for each property.
    """

    offset: int
    count: int
    dtype: np.dtype[np.void]


def write_header(vertex: np.dtype[np.void], count: int, comments: Sequence[str] = ()) -> bytes:
    """The header of ``count`` vertices.

    Args:
        vertex: One vertex: float32 and uint8 fields.
        count: How many there are.
        comments: Lines about the file; what is not printable ASCII is replaced.
    """
    lines = ["ply", "format binary_little_endian 1.0"]
    lines += ["comment " + "".join(c if " " <= c <= "~" else "?" for c in comment) for comment in comments]
    lines += [f"element vertex {count}"]
    lines += [f"property {'uchar' if vertex[name] == np.uint8 else 'float'} {name}" for name in vertex.names or ()]
    return ("\n".join(lines) + "\n").encode("ascii") + _END


def read_header(data: NDArray[np.uint8]) -> VertexTable:
    """Find the vertices of a PLY file.

    Raises:
        BadBytes: If it is not a PLY, not binary little-endian, or has a malformed line, a list property in or before the
            vertices, or no vertices. ``offset`` is that of the line.
        Truncated: If the file ends before the header or the vertices do.
    """
    head = data[:MAX_HEADER_BYTES].tobytes()
    if not head.startswith(b"ply\n"):
        if b"ply\n".startswith(head):
            raise Truncated("ply", len(head), "the first line 'ply'", f"{len(head)} bytes")
        raise BadBytes("ply", 0, "the first line 'ply' and a bare newline", repr(head[:16]))
    end = head.find(b"\n" + _END)
    if end < 0:
        if len(data) >= MAX_HEADER_BYTES:
            raise BadBytes(
                "ply", MAX_HEADER_BYTES, f"'end_header' and a bare newline in the first {MAX_HEADER_BYTES} bytes", "none"
            )
        raise Truncated("ply", len(data), "'end_header' and a bare newline", "the end of the file")
    end += 1
    table = _read_lines(head[:end], end + len(_END))
    needed = table.offset + table.count * table.dtype.itemsize
    if len(data) < needed:
        what = f"{needed} bytes ({table.count} vertices of {table.dtype.itemsize} bytes after a header of {end + len(_END)})"
        raise Truncated("ply", len(data), what, f"{len(data)}")
    return table


def _read_lines(header: bytes, body: int) -> VertexTable:
    position = 0
    format_seen = False
    element, count, skipped = "", 0, 0
    fields: list[tuple[str, str]] = []
    for raw in header.split(b"\n")[:-1]:
        start, position = position, position + len(raw) + 1
        words = raw.decode("latin-1").split()
        if start == 0 or not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            if words[1:] != ["binary_little_endian", "1.0"]:
                raise BadBytes("ply", start, "'format binary_little_endian 1.0'", repr(raw[:60]))
            format_seen = True
        elif words[0] == "element" and len(words) == 3:
            if element == "vertex":
                break  # what follows the vertices is not ours
            skipped += count * _stride(fields)
            element, count, fields = words[1], _count(words[2], start), []
        elif words[0] == "property" and element and len(words) == 3 and words[1] in _TYPES:
            if len(fields) == MAX_PROPERTIES or words[2] in dict(fields):
                raise BadBytes("ply", start, f"at most {MAX_PROPERTIES} properties, each name once", repr(raw[:60]))
            fields.append((words[2], _TYPES[words[1]]))
        else:
            raise BadBytes("ply", start, "an element or a scalar property of a known type", repr(raw[:60]))
    if not format_seen:
        raise BadBytes("ply", 4, "a line 'format binary_little_endian 1.0'", "none")
    if element != "vertex":
        raise BadBytes("ply", 4, "an element 'vertex'", "none")
    return VertexTable(body + skipped, count, np.dtype(fields))


def _stride(fields: list[tuple[str, str]]) -> int:
    return np.dtype(fields).itemsize if fields else 0


def _count(text: str, start: int) -> int:
    # isdecimal alone would accept other scripts' digits; 18 digits fit into 64 bits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadBytes("ply", start, "a count of up to 18 digits", repr(text[:40]))
    return int(text)
