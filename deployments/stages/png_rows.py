"""The pixels of a PNG, row by row, made smaller on the way: what is held is a band of rows and the small picture.

W3C, PNG third edition: rows of packed samples, each after a byte that names its filter, in one zlib stream over the IDAT chunks.
Every colour type and depth, with a palette's or a key's transparency. Interlaced pictures, whose first rows come last, are Pillow's
to decode, and are only checked here.

Invariant: the stream holds exactly the bytes that the header declares, or the picture is refused: no more are ever inflated.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deployments.splats.kernel import kernel
from deployments.stream.errors import ImageBroken

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

_INFLATED_AT_ONCE: Final = 1 << 18
_BAND_BYTES: Final = 1 << 22
"""Of the rows that are worked on together, or one cell's height of them if that is more."""

CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type → samples a pixel: grey, RGB, palette, grey and alpha, RGBA."""
DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def inflate(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The content of a zlib stream, in pieces.

    Args:
        chunks: The stream.
        size: Bytes that it has to hold.

    Raises:
        ImageBroken: If it is corrupt, or holds fewer bytes or more.
    """
    # One byte more than allowed: by then the stream must have ended and its checksum been compared.
    left, inflater = size + 1, zlib.decompressobj()
    try:
        for packed in itertools.chain(chunks, (b"",)):
            while left > 0 and not inflater.eof:
                piece = inflater.decompress(packed, min(left, _INFLATED_AT_ONCE))
                left -= len(piece)
                if left > 0:
                    yield piece
                packed = inflater.unconsumed_tail
                if not packed and not piece:
                    break
    except zlib.error:
        raise ImageBroken("the pixels of the PNG are corrupt") from None
    if left != 1 or not inflater.eof:
        more_or_fewer = "fewer" if left > 1 else "more"
        raise ImageBroken(f"the PNG holds {more_or_fewer} pixels than its header declares, or is truncated")


def check_pixels(data: bytes) -> None:
    """Inflate a PNG's pixels once and keep nothing: are there exactly as many bytes as its header declares?

    If the pixels end early, Pillow silently shows black rows; and this bounds what an IDAT bomb may unfold to.

    Args:
        data: As for :func:`decode_rows`, or interlaced; the caller has checked its size.

    Raises:
        ImageBroken: If there are fewer or more pixels than declared, or they are corrupt.
    """
    width, height, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if bits not in DEPTHS.get(color, ()) or interlaced > 1:
        raise ImageBroken("the PNG's header makes no sense")
    size = 0
    for first, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = len(range(first, width, across)), len(range(top, height, down))
        size += rows * (1 + (columns * CHANNELS[color] * bits + 7) // 8) if columns else 0
    for _ in inflate(_idat(data), size):
        pass


_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column, first row, step across, step down."""


def decode_rows(data: bytes, factor: int) -> tuple[U8, U8 | None]:
    """The picture, each pixel the mean of ``factor`` × ``factor`` of the file's; colours are weighed by their opacity.

    Args:
        data: A PNG of nothing but IHDR, PLTE, tRNS, IDAT and IEND, as ``read_picture`` leaves it; not interlaced.
        factor: 1 or more. At the right and the lower edge a mean is of fewer pixels if it does not divide the size.

    Returns:
        RGB, black where nothing is opaque; and the opacity, None if the file has none. uint8 [H, W, 3], [H, W].

    Raises:
        ImageBroken: If the header makes no sense, or the pixels are corrupt, too few or too many.
    """
    width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
    if bits not in DEPTHS.get(color, ()):
        raise ImageBroken("the PNG's header makes no sense")
    palette, key, transparent = _colors(data, bits, color)
    channels = CHANNELS[color]
    stride = (width * channels * bits + 7) // 8
    rows = max(1, _BAND_BYTES // (stride + 1) // factor) * factor
    buffer = np.empty(min(rows, height) * (stride + 1), np.uint8)
    columns = -(-width // factor)
    rgba = np.empty((-(-height // factor), columns, 4), np.uint8)
    before = np.zeros(stride, np.uint8)
    held, done = 0, 0
    for piece in inflate(_idat(data), height * (stride + 1)):
        source = np.frombuffer(piece, np.uint8)
        while len(source):
            band = min(rows, height - done)
            part = min(len(source), band * (stride + 1) - held)
            buffer[held : held + part] = source[:part]
            held, source = held + part, source[part:]
            if held == band * (stride + 1):
                lines = buffer[:held].reshape(band, stride + 1)
                if not _unfilter(lines, before, max(1, channels * bits // 8)):
                    raise ImageBroken("the pixels of the PNG are corrupt")
                sums = np.zeros((-(-band // factor), columns, 4), np.uint64)
                _add(lines, width, bits, color, palette, key, factor, sums)
                first = done // factor
                _divide(sums, width, band, factor, rgba[first : first + len(sums)])
                held, done = 0, done + band
    return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]) if transparent else None


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    lines, sums = np.zeros((1, 4), np.uint8), np.zeros((1, 1, 4), np.uint64)
    _unfilter(lines, np.zeros(3, np.uint8), 3)
    _add(lines, 1, 8, 2, np.zeros((256, 4), np.uint8), np.zeros(3, np.int64), 1, sums)
    _divide(sums, 1, 1, 1, np.zeros((1, 1, 4), np.uint8))


def _idat(data: bytes) -> Iterator[bytes]:
    return (body for kind, body in _chunks(data) if kind == b"IDAT")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _colors(data: bytes, bits: int, color: int) -> tuple[U8, NDArray[np.int64], bool]:
    """The palette, RGBA [256, 4], opaque black where the file has none; the samples that are transparent, −1: none; and whether any
    pixel may be."""
    palette, key = np.zeros((256, 4), np.uint8), np.full(3, -1, np.int64)
    palette[:, 3] = 255
    transparent = color in (4, 6)
    for kind, body in _chunks(data):
        if kind == b"PLTE":
            entries = np.frombuffer(body[: len(body) // 3 * 3][:768], np.uint8).reshape(-1, 3)
            palette[: len(entries), :3] = entries
        elif kind == b"tRNS" and color == 3:
            alphas = np.frombuffer(body[:256], np.uint8)
            palette[: len(alphas), 3] = alphas
            transparent = bool((alphas < 255).any())
        elif kind == b"tRNS" and len(body) >= 2 * CHANNELS[color] and color in (0, 2):
            samples = struct.unpack_from(f">{CHANNELS[color]}H", body)
            key[: len(samples)] = [sample & ((1 << bits) - 1) for sample in samples]
            transparent = True
    return palette, key, transparent


@kernel
def _unfilter(lines: U8, before: U8, step: int) -> bool:
    """Undo the filters of a band of rows, in place, and keep its last one in ``before``; false if a filter is unknown."""
    rows, end = lines.shape
    for y in range(rows):
        kind = lines[y, 0]
        for x in range(1, end):
            left = np.int64(lines[y, x - step]) if x > step else np.int64(0)
            up = np.int64(lines[y - 1, x]) if y else np.int64(before[x - 1])
            if kind == 0:
                break
            if kind == 1:
                add = left
            elif kind == 2:
                add = up
            elif kind == 3:
                add = (left + up) >> 1
            elif kind == 4:
                corner = np.int64(0)
                if x > step:
                    corner = np.int64(lines[y - 1, x - step]) if y else np.int64(before[x - 1 - step])
                to_left, to_up = abs(up - corner), abs(left - corner)
                to_corner = abs(left + up - 2 * corner)
                if to_left <= to_up and to_left <= to_corner:
                    add = left
                elif to_up <= to_corner:
                    add = up
                else:
                    add = corner
            else:
                return False
            lines[y, x] = np.uint8((lines[y, x] + add) & 255)
    for x in range(1, end):
        before[x - 1] = lines[rows - 1, x]
    return True


@kernel
def _add(lines: U8, width: int, bits: int, color: int, palette: U8, key: NDArray[np.int64], factor: int, sums: U64) -> None:
    """Add each pixel of a band to its cell: r·a, g·a, b·a and a. Of 16 bits the upper eight count."""
    rows = lines.shape[0]
    channels = 3 if color == 2 else 4 if color == 6 else 2 if color == 4 else 1
    wide = bits == 16
    full = (1 << min(bits, 8)) - 1
    for y in range(rows):
        for x in range(width):
            r = g = b = 0
            a = 255
            if bits < 8:
                place = x * bits
                r = (lines[y, 1 + (place >> 3)] >> (8 - bits - (place & 7))) & full
                if color == 3:
                    a, g, b = palette[r, 3], palette[r, 1], palette[r, 2]
                    r = palette[r, 0]
                else:
                    if r == key[0]:
                        a = 0
                    r = g = b = r * 255 // full
            else:
                at = 1 + x * channels * (2 if wide else 1)
                size = 2 if wide else 1
                r = lines[y, at]
                if color == 3:
                    a, g, b = palette[r, 3], palette[r, 1], palette[r, 2]
                    r = palette[r, 0]
                elif color == 0 or color == 4:
                    g = b = r
                    if color == 4:
                        a = lines[y, at + size]
                    elif key[0] >= 0 and (r * 256 + lines[y, at + 1] if wide else r) == key[0]:
                        a = 0
                else:
                    g, b = lines[y, at + size], lines[y, at + 2 * size]
                    if color == 6:
                        a = lines[y, at + 3 * size]
                    elif key[0] >= 0:
                        if wide:
                            same = r * 256 + lines[y, at + 1] == key[0]
                            same = same and g * 256 + lines[y, at + 3] == key[1] and b * 256 + lines[y, at + 5] == key[2]
                        else:
                            same = r == key[0] and g == key[1] and b == key[2]
                        if same:
                            a = 0
            cell = sums[y // factor, x // factor]
            cell[0] += np.uint64(r * a)
            cell[1] += np.uint64(g * a)
            cell[2] += np.uint64(b * a)
            cell[3] += np.uint64(a)


@kernel
def _divide(sums: U64, width: int, height: int, factor: int, rgba: U8) -> None:
    """Means of the cells of a band of ``height`` rows."""
    rows, columns = sums.shape[:2]
    for i in range(rows):
        down = min(factor, height - i * factor)
        for j in range(columns):
            pixels = np.uint64(down * min(factor, width - j * factor))
            opaque = sums[i, j, 3]
            rgba[i, j, 3] = np.uint8((opaque + pixels // np.uint64(2)) // pixels)
            for k in range(3):
                rgba[i, j, k] = np.uint8((sums[i, j, k] + opaque // np.uint64(2)) // opaque) if opaque else np.uint8(0)
