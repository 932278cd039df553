"""What a codec is, and the table of all codecs.

A new codec is one file with a class of the :class:`Codec` shape, and one line in :data:`CODECS`.
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
        suffix: Of a file, with the dot.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def media_type(self) -> str: ...  # noqa: D102
    @property
    def suffix(self) -> str: ...  # noqa: D102

    def encode(self, gaussians: Gaussians) -> NDArray[np.uint8]:
        """The Gaussians as a file or message body. Fresh, contiguous, uint8 [size].

        Raises:
            BadGaussians: Naming the first Gaussian and the field that cannot be stored.
        """
        ...

    def decode(self, buffer: Buffer) -> Gaussians:
        """The Gaussians in ``buffer``, as exact as the format is (its module says how exact).

        Raises:
            BadBytes: Not this format, or values no Gaussian can have.
            Truncated: Too few bytes.
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
