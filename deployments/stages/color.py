"""Colours of a profile → sRGB, which is what everything after the decode stage takes pixels to be. By Pillow's littleCMS.

A profile comes from whoever sent the picture. One that littleCMS can't read, or that is for other pixels than the picture's, is as
if it were not there. One that hardly changes anything, as sRGB's own in its many versions, is found out once and then costs
nothing.
"""

import functools
import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from deployments.stages.icc import SPACES

U8 = NDArray[np.uint8]

_SAME: Final = 1
"""Colours that a profile moves by no more than this, of 255, are left as they are."""
_STEPS: Final = 9
_KEPT: Final = 16
"""Conversions kept. A process sees few profiles again and again: those of its users' phones."""


def needs_conversion(profile: bytes, mode: str) -> bool:
    """Whether pixels of a Pillow mode (``RGB``, ``L``, ``CMYK``) look different with this profile than taken for sRGB."""
    return conversion(profile, mode) is not None


def to_srgb(pixels: U8, profile: bytes, mode: str) -> U8:
    """The pixels' colours in sRGB, by the perceptual table of a profile that has tables, as browsers do.

    Args:
        pixels: Of a Pillow mode; CMYK with 0 for no ink. uint8 [H, W, 3], [H, W] or [H, W, 4].
        profile: An ICC profile.
        mode: ``RGB``, ``L`` or ``CMYK``.

    Returns:
        RGB [H, W, 3]; the pixels themselves if the profile is none for them or changes nothing.
    """
    transform = conversion(profile, mode)
    if transform is None:
        return pixels
    converted = ImageCms.applyTransform(_image(pixels, mode), transform)
    assert converted is not None, "it is not done in place"
    return np.array(converted)


@functools.lru_cache(_KEPT)
def conversion(profile: bytes, mode: str) -> Any:
    """littleCMS's transform to sRGB; None: leave the pixels as they are."""
    if SPACES.get(profile[16:20]) != mode:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
        samples = _samples(mode)
        converted: Any = ImageCms.applyTransform(_image(samples, mode), transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return transform
    as_it_is = samples if samples.ndim == 3 else np.repeat(samples[..., None], 3, axis=-1)
    moved = np.abs(np.asarray(converted).astype(int) - as_it_is)
    return transform if moved.max() > _SAME else None


_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _image(pixels: U8, mode: str) -> Image.Image:
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


def _samples(mode: str) -> U8:
    """Colours from all over the space, and all greys."""
    greys = np.arange(256, dtype=np.uint8)
    if mode == "L":
        return greys[None]
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    channels = 3 if mode == "RGB" else 4
    lattice = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), axis=-1).reshape(1, -1, channels)
    if mode == "CMYK":
        return np.ascontiguousarray(lattice)
    return np.concatenate([lattice, np.repeat(greys[None, :, None], 3, axis=-1)], axis=1)
