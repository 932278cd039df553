"""The ``packed`` codec: SparkJS's own 16-byte words. Nothing to parse in the browser; the streaming default.

Little-endian, ``32 + 16 · count`` bytes. A header:

======  =======  =========================================================
offset  type     meaning
======  =======  =========================================================
0       4 bytes  ``SPPK``
4       u8       version, 1
5       3 bytes  0
8       u32      count
12      f32 × 2  colour of byte 0 and of byte 255 (``rgbMin``, ``rgbMax``)
20      f32 × 2  ln(scale) of byte 1 and of byte 255 (``lnScaleMin`` …)
28      f32      what is added to every z (``z_offset``): 0 unless all of the scene is far
======  =======  =========================================================

then four uint32 words a Gaussian, as SparkJS uploads them to the GPU:

====  ============================================================================
word  low bits … high bits
====  ============================================================================
w0    red, green, blue, opacity: u8 each
w1    x, y: f16 each (OpenCV camera frame, model units)
w2    z − z_offset: f16, octahedral u, v of the rotation axis: u8 each
w3    scale x, y, z: u8 each, rotation angle θ: u8
====  ============================================================================

- colour: round(255 · (0.5 + SH_C0 · DC − min) / (max − min)), clamped; opacity: round(255 · o)
- scale: 0 for scale 0, else 1 + round(254 · (ln s − min) / (max − min)), clamped to 1..255
- rotation, w made ≥ 0: θ = 2·acos(w) → round(255·θ/π); axis / (|x|+|y|+|z|) = p, folded to (1 − |p.yx|)·sign(p.xy) if z < 0,
  u, v = round(255·(p + 1)/2); the axis of no rotation is (1, 0, 0)

Every number is rounded to its nearest step. The arithmetic before that is off by at most 0.012 steps, to either side (more only
at a colour range much narrower than it is far from 0). SparkJS 2.2.0 rounds to the nearest too: in what it makes of our PLY of the
same Gaussians every number is within one step of ours, and of random ones 1 angle in 200 and fewer than 1 in 10,000 of the other
numbers differ. One exception: a centre beyond ±65504 is moved to it, where SparkJS stores an infinity. SparkJS takes four all-zero
words for "no splat here"; only a Gaussian that is black, fully transparent and of no size can become that, and nothing is lost.

A half keeps 11 bits, whatever its size: a wall 40 m away would lie in terraces of 31 mm, and no common scale would change
that. So a scene that has nothing near the camera is stored around its own depth: :func:`far_offset` finds z_offset, and SparkJS
draws the words in a mesh moved by it. Decoders of before refuse such a frame (their header ends with four zero bytes); every
other frame is the same as before to the bit.

Error: centre 2⁻¹¹ relative (f16; of z: of z − z_offset), colour and opacity 1/510, scale half a step of the range ((max − min)/508
in ln: 4.2 % at the default −12..9), rotation 0.6° in the mean and at most 2° (rotations drawn at random). Harmonics beyond DC are
dropped.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import SH_C0, rgb_to_dc
from deployments.splats.codecs.packed_words import decode_words, encode_words
from deployments.splats.errors import BadBytes, Buffer, Truncated, as_bytes, check_size, refuse_bad, sample
from deployments.splats.gaussians import FloatArray, Gaussians
from deployments.splats.kernel import for_kernel

MAGIC, VERSION = b"SPPK", 1
HEADER = struct.Struct("<4sB3xIfffff")
SPLAT_BYTES = 16

SPARK_LN_SCALE_RANGE = (-12.0, 9.0)
"""SparkJS's default: 6 µm to 8 km, in steps of 8.6 %."""

FAR = 8.0
"""Smallest offset: below, the steps of a half are 4 mm or less in a metric scene."""
MAX_OFFSET = 2.0**20
_SAMPLES = 1024
"""Depths that are looked at first."""
_BEYOND = 0.02
"""Share of the splats that may be farther: any offset makes their steps smaller. Those of nearer ones it would make larger."""
_DEEPEST = 0.5
"""Half of the depths' span by their middle, at the most, for an offset: it then makes every step half as large or less."""


@dataclass(frozen=True, slots=True)
class PackedCodec:
    """SparkJS's words behind a header. See the module for the layout.

    Attributes:
        ln_scale_range: ln(scale) of the smallest and the largest scale byte; scales beyond are clamped to it.
        rgb_range: Colour of byte 0 and of byte 255; colours beyond are clamped.
    """

    ln_scale_range: tuple[float, float] = SPARK_LN_SCALE_RANGE
    rgb_range: tuple[float, float] = (0.0, 1.0)
    name: str = "packed"
    media_type: str = "application/vnd.splatcast.packed"
    suffix: str = ".sppk"

    def __post_init__(self) -> None:
        ln_low, ln_high = self.ln_scale_range
        # Float32 holds e^±80, and logs near 80 to a hundredth of the steps of a range of 1.
        if not (ln_low >= -80 and ln_low + 1 <= ln_high <= 80):
            raise ValueError(f"ln_scale_range: expected −80 ≤ min ≤ max − 1, max ≤ 80, got {self.ln_scale_range}")
        low, high = self.rgb_range
        if not (low >= -100 and low + 0.01 <= high <= 100):
            raise ValueError(f"rgb_range: expected −100 ≤ min ≤ max − 0.01, max ≤ 100, got {self.rgb_range}")

    def encode(self, gaussians: Gaussians) -> NDArray[np.uint8]:
        """The frame in words. uint8 [32 + 16 · N].

        Raises:
            BadGaussians: A number is not finite, a scale is negative, or a quaternion has no direction.
        """
        g = gaussians
        n, z_offset = len(g), far_offset(g.means)
        out = np.empty(HEADER.size + SPLAT_BYTES * n, np.uint8)
        header = HEADER.pack(MAGIC, VERSION, n, *self.rgb_range, *self.ln_scale_range, z_offset)
        out[: HEADER.size] = np.frombuffer(header, np.uint8)
        rgb_min, rgb_max = self.rgb_range
        ln_min, ln_max = self.ln_scale_range
        rgb_steps, ln_steps = 255 / (rgb_max - rgb_min), 254 / (ln_max - ln_min)
        good = encode_words(
            for_kernel(g.means),
            for_kernel(g.scales),
            for_kernel(g.quats),
            for_kernel(g.opacities),
            for_kernel(g.sh),
            np.float32(SH_C0 * rgb_steps),
            np.float32((0.5 - rgb_min) * rgb_steps),
            np.float32(ln_steps),
            np.float32(1 - ln_min * ln_steps),
            np.float32(z_offset),
            out[HEADER.size :].view("<i4").reshape(n, 4),
        )
        if not good:
            refuse_bad(g, ("means", "scales", "quats", "opacities", "sh"))
        return out

    def decode(self, buffer: Buffer) -> Gaussians:
        """The Gaussians in a ``packed`` buffer, with the ranges its header states.

        Raises:
            BadBytes: Another magic or version, non-zero padding, ranges that are none, trailing bytes, or a centre that is
                not finite.
            Truncated: Fewer bytes than the header announces.
        """
        data = as_bytes(self.name, buffer)
        n, rgb_range, ln_scale_range, z_offset = _read_header(data)
        words = for_kernel(data[HEADER.size :].view("<u4").reshape(n, 4))
        steps = np.linspace(*ln_scale_range, 255)
        scale_of = np.concatenate([[0.0], np.exp(steps)]).astype(np.float32)
        rgb_of = np.linspace(*rgb_range, 256).astype(np.float32)
        means, scales, quats = (np.empty((n, width), np.float32) for width in (3, 3, 4))
        opacities, sh = np.empty(n, np.float32), np.empty((n, 1, 3), np.float32)
        if not decode_words(words, scale_of, rgb_to_dc(rgb_of), means, scales, quats, opacities, sh):
            row = int(np.argmax(~np.isfinite(means).all(axis=1)))
            raise BadBytes(self.name, HEADER.size + SPLAT_BYTES * row + 4, "a finite centre", str(means[row]))
        if z_offset:
            means[:, 2] += np.float32(z_offset)
        return Gaussians(means, scales, quats, opacities, sh)

    def warm_up(self) -> None:
        """Compile or load the kernels."""
        for degree in (0, 1, 2):
            self.decode(self.encode(sample(degree)))


def far_offset(means: FloatArray) -> float:
    """What to take off every z so that halves are fine where the scene is; 0 if something is near, or all is.

    With d the nearest and D the farthest depth, the offset 2·d·D/(d + D) makes the largest |z − offset|/z least,
    (D − d)/(D + d). It is rounded to eighths of its power of two,
    so that the splats of a still scene are rounded alike in every frame.

    Args:
        means: float32 [N, 3].
    """
    depths = means[:: max(1, len(means) // _SAMPLES), 2]
    # An offset is at most twice the nearest depth.
    if not (len(depths) and depths.min() > FAR / 2):
        return 0.0
    depths = np.sort(depths)
    far = float(depths[-1 - int(_BEYOND * len(depths))])
    # The samples alone say that most scenes are near.
    return _offset(float(means[:, 2].min()), far) if _offset(float(depths[0]), far) else 0.0


def _offset(near: float, far: float) -> float:
    # NaN fails the comparisons.
    if not (near > 0 and far - near <= _DEEPEST * (near + far)):
        return 0.0
    offset = 2 * near * far / (near + far)
    if not FAR <= offset <= MAX_OFFSET:
        return 0.0
    step = 2.0 ** (math.floor(math.log2(offset)) - 3)
    return math.floor(offset / step + 0.5) * step


def _read_header(data: NDArray[np.uint8]) -> tuple[int, tuple[float, float], tuple[float, float], float]:
    if len(data) < HEADER.size:
        raise Truncated("packed", len(data), f"a header of {HEADER.size} bytes", f"{len(data)}")
    magic, version, count, rgb_min, rgb_max, ln_min, ln_max, z_offset = HEADER.unpack(data[: HEADER.size].tobytes())
    if magic != MAGIC:
        raise BadBytes("packed", 0, f"the magic {MAGIC!r}", f"{magic!r}")
    if version != VERSION:
        raise BadBytes("packed", 4, f"version {VERSION}", f"{version}")
    if data[5:8].any():
        raise BadBytes("packed", 5, "three zero bytes", str(data[5:8].tolist()))
    # Written so that NaN fails; 80 keeps every scale within float32.
    if not (-100 <= rgb_min < rgb_max <= 100):
        raise BadBytes("packed", 12, "−100 ≤ rgb_min < rgb_max ≤ 100", f"{rgb_min} and {rgb_max}")
    if not (-80 <= ln_min < ln_max <= 80):
        raise BadBytes("packed", 20, "−80 ≤ ln_scale_min < ln_scale_max ≤ 80", f"{ln_min} and {ln_max}")
    if not (z_offset == 0 or FAR <= z_offset <= MAX_OFFSET):
        raise BadBytes("packed", 28, f"0, or an offset of {FAR:.0f} to {MAX_OFFSET:.0f}", f"{z_offset}")
    check_size("packed", data, HEADER.size + SPLAT_BYTES * count, f"the header and {count} splats")
    return count, (rgb_min, rgb_max), (ln_min, ln_max), z_offset
