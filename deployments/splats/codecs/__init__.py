"""What a codec is, and the table of all codecs.

A new codec is one file with a class that implements :class:`Codec`, and one line in :data:`CODECS`.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.ply import PlyCodec
from deployments.splats.codecs.points import PointsCodec
from deployments.splats.errors import BadBytes, BadGaussians, Buffer, CodecError, Truncated
from deployments.splats.gaussians import Gaussians

__all__ = ["CODECS", "BadBytes", "BadGaussians", "Codec", "CodecError", "Truncated"]


class Codec(Protocol):
    """Gaussians → bytes and back.

    Attributes:
        name: Key in :data:`CODECS`, and the name on the wire.
        media_type: For the HTTP ``Content-Type``.
        suffix: For file names, with the dot.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def media_type(self) -> str: ...  # noqa: D102
    @property
    def suffix(self) -> str: ...  # noqa: D102

    def encode(self, gaussians: Gaussians) -> NDArray[np.uint8]:
        """The Gaussians as a file or message body. A new, contiguous array, uint8 [size].

        Raises:
            BadGaussians: Naming the first Gaussian that can't be stored, and the field.
        """
        ...

    def decode(self, buffer: Buffer) -> Gaussians:
        """The Gaussians in ``buffer``, as exact as the format (its module says how exact).

        Raises:
            BadBytes: If it is not this format, or holds values that no Gaussian can have.
            Truncated: If there are too few bytes.
        """
        ...

    def warm_up(self) -> None:
        """Compile or load every kernel of the codec, so that no user's first frame waits for it."""
        ...


_ALL: tuple[Codec, ...] = (
    PackedCodec(),
    PointsCodec(),
    PlyCodec(),
)

CODECS: dict[str, Codec] = {codec.name: codec for codec in _ALL}
"""Name → codec with its default options."""
