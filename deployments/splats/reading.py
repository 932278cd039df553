"""Frames of any codec back into what they show, for whoever has only their bytes. The caller decodes the pictures inside."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deployments.splats.codecs import CODECS, depth_heads, planes_heads
from deployments.splats.codecs.depth import CodedDepth, decode_depth, layers_of, lift_decoded
from deployments.splats.codecs.planes import ReadJpeg, decode_planes
from deployments.splats.errors import Buffer
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import LayeredDepth, resize_picture, upright

U8 = NDArray[np.uint8]


def read_frame(codec: str, data: Buffer, read_jpeg: ReadJpeg, picture: U8 | Sequence[U8] | None = None) -> Gaussians:
    """The Gaussians of a frame.

    Args:
        codec: Its codec.
        data: Its bytes.
        read_jpeg: Decodes the pictures inside.
        picture: For a ``depth`` frame without its own: the picture that was sent, or one a view, upright, of any size, sRGB.
            uint8 [H, W, 3] each.

    Returns:
        Gaussians in the capture camera's OpenCV frame.

    Raises:
        CodecError: The data are not what the codec writes.
        ValueError: The frame has no colours, and ``picture`` is missing.
    """
    if codec == planes_heads.NAME:
        return decode_planes(data, read_jpeg)
    if codec != depth_heads.NAME:
        return CODECS[codec].decode(data)
    coded = decode_depth(data)
    gaussians, _ = lift_decoded(coded, _pictures(coded, read_jpeg, picture), lambda jpeg: read_jpeg(jpeg, 3))
    return gaussians


def read_layers(data: Buffer, read_jpeg: ReadJpeg, picture: U8 | Sequence[U8] | None = None) -> tuple[CodedDepth, LayeredDepth]:
    """A ``depth`` frame's own statements, and its layers; parameters and errors are those of :func:`read_frame`."""
    coded = decode_depth(data)
    return coded, layers_of(coded, _pictures(coded, read_jpeg, picture), lambda jpeg: read_jpeg(jpeg, 3))


def _pictures(coded: CodedDepth, read_jpeg: ReadJpeg, picture: U8 | Sequence[U8] | None) -> list[U8]:
    """Each view's picture on its grid."""
    sent = [picture] if isinstance(picture, np.ndarray) else picture or ()
    found = []
    for index, view in enumerate(coded.views):
        if view.picture is not None:
            shown = upright(read_jpeg(view.picture.data, 3), view.picture.orientation)
        elif index < len(sent):
            shown = sent[index]
        else:
            raise ValueError("picture: expected the picture that was sent, as the reply has no colours of its own")
        found.append(resize_picture(shown, view.camera.width, view.camera.height))
    return found
