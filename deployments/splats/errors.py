"""What codecs raise: one class per kind of refusal, and the checks that several codecs need.

A kernel collects one bit, "something here can't be stored", with :func:`not_finite` and :func:`no_direction`, which vectorise.
Only if that bit is set does :func:`refuse_bad` look for the Gaussian to name.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.splats.gaussians import SH_COEFFICIENTS, Gaussians
from deployments.splats.kernel import inline

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]


class CodecError(ValueError):
    """Bytes or Gaussians that a codec refuses. ``str()`` says what was expected, what came, and where."""


class BadGaussians(CodecError):
    """Gaussians that no file can hold: a non-finite number, a negative scale, a quaternion of length 0.

    Attributes:
        field: Field of :class:`~deployments.splats.gaussians.Gaussians`.
        row: Index of the first Gaussian with such a value.
    """

    def __init__(self, field: str, row: int, expected: str, got: str) -> None:
        super().__init__(field, row, expected, got)
        self.field, self.row, self.expected, self.got = field, row, expected, got

    def __str__(self) -> str:
        return f"Gaussian {self.row}, {self.field}: expected {self.expected}, got {self.got}; prune such Gaussians first."


class BadBytes(CodecError):
    """Bytes that are not what the codec writes.

    Attributes:
        codec: Name of the codec.
        offset: Byte at which the expectation failed.
    """

    def __init__(self, codec: str, offset: int, expected: str, got: str) -> None:
        super().__init__(codec, offset, expected, got)
        self.codec, self.offset, self.expected, self.got = codec, offset, expected, got

    def __str__(self) -> str:
        return f"{self.codec}, byte {self.offset}: expected {self.expected}, got {self.got}."


class Truncated(BadBytes):
    """Fewer bytes than the header announces, or than a header needs. ``offset`` is where the bytes end."""


def as_bytes(codec: str, buffer: Buffer) -> NDArray[np.uint8]:
    """``buffer`` as uint8 [size] without a copy.

    Raises:
        BadBytes: If it is not contiguous bytes.
    """
    try:
        return np.frombuffer(buffer, np.uint8) if len(buffer) else np.zeros(0, np.uint8)
    except (ValueError, TypeError, BufferError) as error:
        raise BadBytes(codec, 0, "contiguous bytes", str(error)) from error


def check_size(codec: str, buffer: NDArray[np.uint8], expected: int, what: str) -> None:
    """Refuse a buffer that is not exactly ``expected`` bytes long; ``what`` describes these bytes.

    Raises:
        Truncated: If there are too few.
        BadBytes: If there are too many.
    """
    if len(buffer) < expected:
        raise Truncated(codec, len(buffer), f"{expected} bytes ({what})", f"{len(buffer)}")
    if len(buffer) > expected:
        raise BadBytes(codec, expected, f"the end after {expected} bytes ({what})", f"{len(buffer) - expected} bytes more")


MIN_QUAT_NORM = 1e-6
"""A quaternion shorter than this has no usable direction; Spark has the same limit for its axis."""


_EXPONENT = np.int32(0x7F800000)
_MIN_SQUARE, _MAX_SQUARE = np.float32(MIN_QUAT_NORM**2), np.float32(1 / MIN_QUAT_NORM**2)


@inline
def not_finite(value: np.float32) -> np.int32:
    """1 for NaN and infinities, else 0."""
    return np.int32((np.float32(value).view(np.int32) & _EXPONENT) == _EXPONENT)


@inline
def no_direction(square: np.float32) -> np.int32:
    """1 if a quaternion of this squared length can't be normalised (too short, too long, NaN), else 0."""
    return np.int32(np.int32(1) - np.int32(np.int32(square >= _MIN_SQUARE) & np.int32(square <= _MAX_SQUARE)))


def refuse_bad(gaussians: Gaussians, fields: tuple[str, ...]) -> None:
    """Find the first Gaussian that can't be stored. The slow half of the kernels' cheap check, run only if that fails.

    Args:
        gaussians: The frame.
        fields: Fields the codec stores.

    Raises:
        BadGaussians: Naming it. Returns if there is none (a scale of −0.0 fails only the cheap check).
    """
    number = "finite numbers"
    with np.errstate(all="ignore"):
        found: list[tuple[int, str, str, str]] = []
        for field in fields:
            array = getattr(gaussians, field).reshape(len(gaussians), -1)
            expected, bad = number, ~np.isfinite(array).all(axis=1)
            if not bad.any() and field == "scales":
                expected, bad = "scales of 0 or more", (array < 0).any(axis=1)
            if not bad.any() and field == "quats":
                expected, bad = "a quaternion of unit length", ~_has_direction(array)
            if bad.any():
                row = int(np.argmax(bad))
                found.append((row, field, expected, np.array2string(array[row], precision=6, separator=", ")))
    if found:
        row, field, expected, got = min(found, key=lambda item: item[0])
        raise BadGaussians(field, row, expected, got)


def _has_direction(quats: NDArray[np.float32]) -> NDArray[np.bool_]:
    square = np.square(quats).sum(axis=1, dtype=np.float32)
    result: NDArray[np.bool_] = (square >= _MIN_SQUARE) & (square <= _MAX_SQUARE)
    return result


def sample(sh_degree: int = 0, count: int = 3) -> Gaussians:
    """A few valid Gaussians, for :meth:`Codec.warm_up`."""
    k = SH_COEFFICIENTS[sh_degree]
    quats = np.tile(np.array([0.5, 0.5, 0.5, 0.5], np.float32), (count, 1))
    ones = np.ones((count, 3), np.float32)
    return Gaussians(ones, ones / np.float32(4), quats, np.full(count, 0.75, np.float32), np.zeros((count, k, 3), np.float32))
