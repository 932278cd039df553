"""What somebody may ask of a photo's file, by the names that ``/api/splat`` and the command have for it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deployments.splats.codecs import CODECS
from deployments.splats.files import FileOptions
from deployments.splats.gaussians import SH_COEFFICIENTS
from deployments.stream.errors import BadMessage
from deployments.stream.frames import Intrinsics
from deployments.stream.messages import Engine
from deployments.stream.options import FrameOptions, OptionLimits

METRES = "unit: metres"
GUESSED = "unit: the model's own, as the focal length was guessed"
"""What a file says of the unit of a model that measures in metres."""

FILE_NAMES = ("format", "layout", "frame")
"""Those that are about the file; the others are :class:`~deployments.stream.options.FrameOptions`' own."""


def photo_options(
    wishes: Mapping[str, str], defaults: FrameOptions, limits: OptionLimits, comments: tuple[str, ...] = ()
) -> tuple[FrameOptions, FileOptions]:
    """Read them.

    Args:
        wishes: Name → value, as text.
        defaults: What is not wished for.
        limits: What may be wished for.
        comments: What the file says of itself; see :func:`origin_comments`.

    Raises:
        ValueError: A name is unknown, or a value is out of its range; the sentence says what was expected.
    """
    if "codec" in wishes:
        raise ValueError("codec: a file's codec is its format; use 'format'")
    if (name := wishes.get("format", "ply")) in CODECS and name not in limits.codecs:
        raise ValueError(f"format: this server does not offer {name}")
    about_file: dict[str, Any] = {name: value for name, value in wishes.items() if name in FILE_NAMES}
    changes: dict[str, Any] = {name: _number(value) for name, value in wishes.items() if name not in FILE_NAMES}
    if "sh_degree" in changes:
        about_file["sh_degree"] = changes["sh_degree"]
    file = FileOptions(**about_file, comments=comments)
    options = replace(defaults, representation="points" if file.is_points else "splats")
    if "sh_degree" in changes:
        changes["sh_degree"] = min(file.sh_degree, max(SH_COEFFICIENTS))  # What is beyond the model's is padded in the file.
    try:
        return limits.apply(options, changes), file
    except BadMessage as error:
        raise ValueError(error.reason) from None


def origin_comments(engine: Engine) -> tuple[str, ...]:
    """What a file says of where it comes from: the unit, and the engine with its licence."""
    unit = METRES if engine.metric else "unit: the model's own"
    licence = f"licence: {engine.licence} {engine.licence_note}".rstrip()
    return unit, f"engine: {engine.name} ({engine.label})", licence


def honest_comments(comments: tuple[str, ...], intrinsics: Intrinsics) -> tuple[str, ...]:
    """What a file says of itself, without metres if nobody knows the focal length that they go by."""
    if intrinsics != "guessed":
        return comments
    return tuple(GUESSED if line == METRES else line for line in comments)


def _number(value: str) -> str | int | float:
    """A value as the option's type; what is no number stays text and is checked as text."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
