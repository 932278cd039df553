"""Who comes: the kinds of clients that a crowd is mixed from."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of client.

    Attributes:
        text: What it does, in a sentence.
        sends: Whether it sends frames.
        is_original: Whether it speaks the original protocol.
        breaks_every: One picture in so many is broken; 0: none.
        link: Its connection: direct; ``narrow``; one that ``stops`` after the first reply; one that ``vanishes`` at the end, when
            it goes silent both ways and neither side is told.
        options: Stream options it asks for.
    """

    text: str
    sends: bool = True
    is_original: bool = False
    breaks_every: int = 0
    link: Literal["direct", "narrow", "stops", "vanishes"] = "direct"
    options: Mapping[str, Any] = field(default_factory=dict)


SLOW_MBIT = 8.0
"""What the narrow link carries toward its client, million bits a second."""

KINDS = {
    "viewer": Kind("acknowledges as the browser does, once a reply is on its 60 Hz screen"),
    "points": Kind("a viewer that asks for points", options={"representation": "points", "codec": "points"}),
    "slow": Kind(f"a viewer behind a link of {SLOW_MBIT:g} Mbit/s", link="narrow"),
    "deaf": Kind("keeps sending, and reads nothing after its first reply; the server may end it", link="stops"),
    # Replies of that protocol carry no number: only with one frame on the way is it known which one they answer.
    "original": Kind("bare JPEGs and no hello: the original protocol, one frame on the way", is_original=True),
    "broken": Kind("a viewer every fifth of whose pictures is cut off", breaks_every=5),
    "vanishing": Kind("a viewer that is gone at the end without a word, like a laptop whose lid is closed", link="vanishes"),
    "idle": Kind("only looks on: a ping every 10 s", sends=False),
}


def parse_mix(text: str) -> dict[str, int]:
    """``viewer:4,slow:1`` → how many of each kind, in that order.

    Raises:
        ArgumentTypeError: It says what was expected.
    """
    mix: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.strip().partition(":")
        if name not in KINDS or name in mix or not count.isdecimal() or not 1 <= int(count) <= 1000:
            raise argparse.ArgumentTypeError(
                f"expected KIND:COUNT, separated by commas, each kind once ({', '.join(KINDS)}) and 1 to 1000 of it; got {part!r}"
            )
        mix[name] = int(count)
    return mix
