"""The frame of a PLY file: written in our layout, read in anyone's.

A header is ASCII lines: ``ply``, ``format binary_little_endian 1.0`` (or ``binary_big_endian``, ``ascii``), and for each kind of
rows an ``element NAME COUNT`` and a ``property`` for each of its columns, then ``end_header``. Lines end with ``\\n``, or with
``\\r\\n`` in files that went through a text editor. The rows follow in that order: of a binary file packed, of a text file one a
line. A ``property list`` is a number and so many items, so that its rows differ in length. Source: G. Turk, The PLY Polygon File
Format, 1994.

Input is hostile until checked: sizes are compared with the bytes that are there before anything is allocated from them, and rows of
lists are walked only as far as there are bytes for them.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deployments.splats.errors import BadBytes, Truncated
from deployments.splats.kernel import for_kernel, kernel

MAX_HEADER_BYTES = 65536
"""Longest header read; SparkJS has the same limit."""
MAX_PROPERTIES = 1024

_END = re.compile(rb"\nend_header\r?\n")
_FORMATS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
"""Format → numpy's sign for the order of a number's bytes; none: it is text."""
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of an element, all of them within the file.

    Attributes:
        offset: Byte of the first one.
        rows: A field for each property; a view into the file unless that is text. Structured [count].
    """

    offset: int
    rows: NDArray[np.void]


@dataclass(slots=True)
class _Element:
    """What a header says of an element; ``start`` is where its line begins."""

    name: str
    count: int
    start: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    list_counts: list[str] = field(default_factory=list)
    """For each property the type of a list's length; empty: it is no list."""

    @property
    def has_lists(self) -> bool:
        return any(self.list_counts)

    def dtype(self, order: str) -> np.dtype[np.void]:
        return np.dtype([(name, (order or "<") + kind) for name, kind in self.fields])


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
    return ("\n".join(lines) + "\nend_header\n").encode("ascii")


def read_tables(data: NDArray[np.uint8]) -> dict[str, Table]:
    """Find the rows of a PLY file.

    Returns:
        The table of ``vertex``, and those of the other elements of a binary file that have no lists, as far as they are there.

    Raises:
        BadBytes: If it is not a PLY, or has a malformed line, a list among the vertices' properties, no vertices, or text that is
            no number. ``offset`` is that of the line.
        Truncated: If the file ends before the header or the vertices do.
    """
    header, body = _split(data)
    order, elements = _read_lines(header)
    if not any(element.name == "vertex" for element in elements):
        raise BadBytes("ply", 4, "an element 'vertex'", "none")
    if not order:
        return {"vertex": _read_text(data, body, elements)}
    tables: dict[str, Table] = {}
    at = body
    for element in elements:
        if element.has_lists:
            at = _after_lists(data, at, element, order)
        else:
            dtype = element.dtype(order)
            needed = at + element.count * dtype.itemsize
            if len(data) >= needed and dtype.itemsize:
                tables[element.name] = Table(at, data[at:needed].view(dtype))
            elif element.name == "vertex" and not dtype.itemsize:
                raise BadBytes("ply", element.start, "a property 'x'", "none")
            at = needed
        if at > len(data):
            if "vertex" in tables:
                break  # What follows the vertices may be anything.
            what = f"{at} bytes ({element.count} of element {element.name[:40]!r} end there, after a header of {body})"
            raise Truncated("ply", len(data), what, f"{len(data)}")
    return tables


def _split(data: NDArray[np.uint8]) -> tuple[bytes, int]:
    """The header's lines without the last, and where the rows begin."""
    head = data[:MAX_HEADER_BYTES].tobytes()
    if not re.match(rb"ply\r?\n", head):
        if b"ply\r\n".startswith(head) or b"ply\n".startswith(head):
            raise Truncated("ply", len(head), "the first line 'ply'", f"{len(head)} bytes")
        raise BadBytes("ply", 0, "the first line 'ply', ended by a line feed", repr(head[:16]))
    end = _END.search(head)
    if end is None:
        if len(data) >= MAX_HEADER_BYTES:
            raise BadBytes("ply", MAX_HEADER_BYTES, f"a line 'end_header' in the first {MAX_HEADER_BYTES} bytes", "none")
        raise Truncated("ply", len(data), "a line 'end_header'", "the end of the file")
    return head[: end.start() + 1], end.end()


def _read_lines(header: bytes) -> tuple[str, list[_Element]]:
    """The order of bytes, and the elements."""
    position = 0
    order: str | None = None
    elements: list[_Element] = []
    seen: set[str] = set()
    names: set[str] = set()
    for raw in header.split(b"\n")[:-1]:
        start, position = position, position + len(raw) + 1
        words = raw.decode("latin-1").split()
        if start == 0 or not words or words[0] in ("comment", "obj_info"):
            continue
        kinds = words[1:-1]
        if words[0] == "format":
            if len(words) != 3 or words[1] not in _FORMATS or words[2] != "1.0":
                raise BadBytes("ply", start, f"'format {' | '.join(_FORMATS)} 1.0'", repr(raw[:60]))
            order = _FORMATS[words[1]]
        elif words[0] == "element" and len(words) == 3:
            if words[1] in seen:
                raise BadBytes("ply", start, "each element once", repr(raw[:60]))
            seen.add(words[1])
            elements.append(_Element(words[1], _count(words[2], start), start))
            names = set()
        elif words[0] == "property" and elements and _are_kinds(kinds, is_vertex=elements[-1].name == "vertex"):
            if len(names) == MAX_PROPERTIES or words[-1] in names:
                raise BadBytes("ply", start, f"at most {MAX_PROPERTIES} properties, each name once", repr(raw[:60]))
            names.add(words[-1])
            elements[-1].fields.append((words[-1], _TYPES[kinds[-1]]))
            elements[-1].list_counts.append(_TYPES[kinds[1]] if len(kinds) == 3 else "")
        else:
            raise BadBytes("ply", start, "an element or a scalar property of a known type", repr(raw[:60]))
    if order is None:
        raise BadBytes("ply", 4, f"a line 'format {' | '.join(_FORMATS)} 1.0'", "none")
    return order, elements


def _are_kinds(kinds: list[str], is_vertex: bool) -> bool:
    """Whether it is a scalar's type or, elsewhere than in vertices, ``list``, a whole number's type and that of the items."""
    if len(kinds) == 3 and not is_vertex:
        return kinds[0] == "list" and _TYPES.get(kinds[1], "f")[0] != "f" and kinds[2] in _TYPES
    return len(kinds) == 1 and kinds[0] in _TYPES


def _count(text: str, start: int) -> int:
    # isdecimal alone would accept other scripts' digits; 18 digits fit into 64 bits.
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadBytes("ply", start, "a count of up to 18 digits", repr(text[:40]))
    return int(text)


def _read_text(data: NDArray[np.uint8], body: int, elements: list[_Element]) -> Table:
    """The vertices of a text file as float64."""
    index = next(i for i, element in enumerate(elements) if element.name == "vertex")
    before, vertex = sum(element.count for element in elements[:index]), elements[index]
    if not vertex.fields:
        raise BadBytes("ply", vertex.start, "a property 'x'", "none")
    # A row has a digit and a blank for each of its columns; without this, a count alone would claim memory.
    least = 2 * (before + vertex.count * len(vertex.fields)) - 1
    if least > len(data) - body:
        raise Truncated("ply", len(data), f"{body + least} bytes or more ({vertex.count} lines of vertices)", f"{len(data)}")
    dtype = np.dtype([(name, "<f8") for name, _ in vertex.fields])
    if not vertex.count:
        return Table(body, np.empty(0, dtype))
    lines = io.BytesIO(data[body:].tobytes())
    try:
        numbers = np.loadtxt(lines, np.float64, comments=None, skiprows=before, max_rows=vertex.count, ndmin=2, encoding="latin-1")
    except ValueError as error:
        raise BadBytes("ply", body, "lines of numbers", str(error)[:100]) from None
    if len(numbers) < vertex.count:
        raise Truncated("ply", len(data), f"{vertex.count} lines of vertices", f"{len(numbers)}")
    if numbers.shape[1] != len(vertex.fields):
        raise BadBytes("ply", body, f"{len(vertex.fields)} numbers a line", f"{numbers.shape[1]}")
    return Table(body, np.ascontiguousarray(numbers).view(dtype)[:, 0])


def _after_lists(data: NDArray[np.uint8], at: int, element: _Element, order: str) -> int:
    """Where an element with lists ends; beyond the end of the data if it isn't whole."""
    counts = [np.dtype(kind).itemsize if kind else 0 for kind in element.list_counts]
    sizes = [np.dtype(kind).itemsize for _, kind in element.fields]
    layout = for_kernel(np.array([counts, sizes], np.int64))
    return int(_walk(for_kernel(data), at, element.count, layout, order == ">"))


@kernel
def _walk(data: NDArray[np.uint8], at: int, rows: int, layout: NDArray[np.int64], big_endian: bool) -> int:
    size = data.size
    for _ in range(rows):
        for column in range(layout.shape[1]):
            width = layout[0, column]
            items = np.int64(1)
            if width > 0:
                if at + width > size:
                    return size + 1
                items = np.int64(0)
                for i in range(width):
                    # A negative length comes out as a huge one, which no file has bytes for.
                    items = items << 8 | np.int64(data[at + (i if big_endian else width - 1 - i)])
                at += int(width)
            at += int(items * layout[1, column])
            if at > size:
                return size + 1
    return at
