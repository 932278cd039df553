"""What a client may choose for its stream, at any time. The server's config sets the defaults and the limits."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from deployments.splats.codecs.depth import MAX_STEP, MIN_STEP
from deployments.stream.errors import BadMessage, NoCommonCodec

Representation = Literal["auto", "splats", "points"]
Colors = Literal["jpeg", "own"]

REPRESENTATIONS: tuple[Representation, ...] = ("auto", "splats", "points")
COLORS: tuple[Colors, ...] = ("jpeg", "own")
FOV_DEG = (1.0, 170.0)
"""Of lenses that a pinhole camera can stand for."""


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """Options that travel through the graph with every frame.

    Attributes:
        codec: Name of the codec of the reply, or ``auto``: ``depth`` where the model predicts depth, ``planes`` where it predicts
            Gaussians, if the client decodes it; else ``points`` for points and ``packed`` for splats.
        colors: Where the colours of a ``depth`` reply come from: ``jpeg``: the picture travels with it as the camera coded it;
            ``own``: the client has the pictures that it sent.
        representation: ``splats`` (native or lifted Gaussians), ``points``, or ``auto``: the model's default.
        depth_step: What ``depth`` and ``planes`` round inverse depth to, as a share of its median: half as fine takes a quarter
            fewer bytes. The qualities of the other planes of ``planes`` go by it.
        max_splats: Splat budget of a frame.
        min_opacity: Gaussians fainter than this are pruned, 0..1.
        border: Fraction of the picture cut on each side, 0..0.45.
        depth_percentile: Gaussians farther than this percentile of the frame's depths are pruned, 1..100 (100: none).
        calm: How much a model that predicts depth holds still what does not move, and how slowly the relief's mask and faces ease,
            0..1; 0: every frame stands alone.
        behind_deg: How far to the side surfaces go on behind nearer ones' edges, degrees, 0..30; 0: not at all. For depth, and
            for Gaussians that a model predicts of one view.
        inference_px: Longest side of the picture the model works on, pixels; 0 leaves it to the model.
        fov_deg: Field of view of the camera across the picture's longer side, degrees, for models that do not find it themselves;
            0: what the picture's EXIF says, else the model's usual one.
        sh_degree: Spherical-harmonics degree, 0..2, for models that have them.
        adapt: Whether the server may lower ``max_splats`` and ``inference_px``, and raise ``depth_step``, to keep the stream's age
            down.
        min_splats: How far it may lower ``max_splats``.
        min_inference_px: How far it may lower ``inference_px``.
        start_splats: With ``adapt``, the budget of the first frames, which grows to ``max_splats`` as fast as link and client show
            that they can; 0: all of it at once.
    """

    codec: str = "auto"
    colors: Colors = "jpeg"
    representation: Representation = "auto"
    depth_step: float = 1 / 768
    max_splats: int = 200_000
    min_opacity: float = 0.1
    border: float = 0.03
    depth_percentile: float = 100.0
    calm: float = 1.0
    behind_deg: float = 15.0
    inference_px: int = 0
    fov_deg: float = 0.0
    sh_degree: int = 0
    adapt: bool = True
    min_splats: int = 10_000
    min_inference_px: int = 196
    start_splats: int = 0


@dataclass(frozen=True, slots=True)
class OptionLimits:
    """The server's bounds on :class:`FrameOptions`.

    Attributes:
        codecs: Codec names offered, in the server's order of preference.
        max_splats: Largest splat budget a client may ask for.
        max_inference_px: Largest ``inference_px`` a client may ask for.
    """

    codecs: tuple[str, ...] = ("depth", "planes", "packed", "points", "ply")
    max_splats: int = 200_000
    max_inference_px: int = 1008

    def for_codecs(self, decoded: Sequence[str]) -> "OptionLimits":
        """The same limits, for a client that decodes these codecs.

        Raises:
            NoCommonCodec: If it decodes none of those on offer.
        """
        common = tuple(codec for codec in self.codecs if codec in decoded)
        if not common:
            raise NoCommonCodec(tuple(decoded), self.codecs)
        return replace(self, codecs=common)

    def starting_from(self, defaults: FrameOptions) -> FrameOptions:
        """The server's defaults; if their codec is not on offer, with the best one that is."""
        names = self._codec_names()
        return defaults if defaults.codec in names else replace(defaults, codec=names[0])

    def apply(self, options: FrameOptions, changes: dict[str, Any]) -> FrameOptions:
        """``options`` with ``changes`` from a client, checked.

        Raises:
            BadMessage: Naming the key, what was expected and what came.
        """
        known = {f.name for f in fields(FrameOptions)}
        for name, value in changes.items():
            if name not in known:
                raise BadMessage(f"option {name!r:.60} is unknown; the options are {', '.join(sorted(known))}")
            self._check(name, value)
        return replace(options, **changes)

    def _check(self, name: str, value: Any) -> None:
        if name == "codec":
            names = self._codec_names()
            ok, expected = value in names, f"one of {', '.join(names)}"
        elif name == "representation":
            ok, expected = value in REPRESENTATIONS, f"one of {', '.join(REPRESENTATIONS)}"
        elif name == "colors":
            ok, expected = value in COLORS, f"one of {', '.join(COLORS)}"
        elif name == "adapt":
            ok, expected = isinstance(value, bool), "true or false"
        elif name == "fov_deg":
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            ok = number and (value == 0 or FOV_DEG[0] <= value <= FOV_DEG[1])
            expected = f"0, or a number from {FOV_DEG[0]:g} to {FOV_DEG[1]:g}"
        else:
            low, high, whole = {
                "depth_step": (MIN_STEP, MAX_STEP, False),
                "max_splats": (1, self.max_splats, True),
                "min_opacity": (0.0, 1.0, False),
                "border": (0.0, 0.45, False),
                "depth_percentile": (1.0, 100.0, False),
                "calm": (0.0, 1.0, False),
                "behind_deg": (0.0, 30.0, False),
                "inference_px": (0, self.max_inference_px, True),
                "sh_degree": (0, 2, True),
                "min_splats": (1, self.max_splats, True),
                "min_inference_px": (1, self.max_inference_px, True),
                "start_splats": (0, self.max_splats, True),
            }[name]
            number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            # NaN fails both comparisons, so it is refused here too.
            ok = number and low <= value <= high
            expected = f"{'a whole number' if whole else 'a number'} from {low} to {high}"
        if not ok:
            raise BadMessage(f"option {name!r}: expected {expected}, got {value!r:.80}")

    def _codec_names(self) -> tuple[str, ...]:
        # "auto" chooses between these two, so the client must decode both.
        return ("auto", *self.codecs) if {"packed", "points"} <= set(self.codecs) else self.codecs
