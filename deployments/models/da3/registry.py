"""The Depth Anything 3 models: names, weights, licences, and what each can produce. No torch here: the launcher reads it too.

Sources: the model cards of Depth Anything 3 (Lin et al. 2025, arXiv:2511.10647) and the configs in the package
depth-anything-3 0.1.1. Of large, giant and nested only the 1.1 weights are listed: a training bug affected the first ones.
"""

from dataclasses import dataclass, replace
from typing import Literal

from deployments.stream.frames import SplatKind
from deployments.stream.messages import Engine

Kind = Literal["auto", "native", "lifted", "points"]

AROUND_DEG = {"depth": 15.0, "native": 10.0}
"""How far to the side frames look right. Depth: as far as surfaces go on behind edges by default. Native Gaussians go on as far,
but what real weights predict away from the camera's own view nobody here has measured, and it is told to be poor."""

NON_COMMERCIAL = "CC BY-NC 4.0: these weights are not for commercial use."


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model.

    Attributes:
        name: Its name in our config.
        config: Its name in the package, as in the checkpoint's ``config.json``.
        hub_id: Repository on the Hugging Face hub; empty for weights that exist only in a local folder.
        revision: Commit of ``hub_id``.
        parameters_m: Parameters, millions.
        licence: SPDX identifier of the weights' licence.
        gaussian_head: Whether it predicts Gaussians.
        metric: Whether its units are metres.
        several_views: Whether it relates several views of one moment to each other.
    """

    name: str
    config: str
    hub_id: str
    revision: str
    parameters_m: int
    licence: str
    gaussian_head: bool = False
    metric: bool = False
    several_views: bool = True

    @property
    def kinds(self) -> tuple[SplatKind, ...]:
        """What it can produce, its default first."""
        return ("native", "points") if self.gaussian_head else ("points", "lifted")

    def engine(self, kind: Kind = "auto") -> Engine:
        """What the page, ``/api/info`` and every reply say about it.

        Args:
            kind: What a client gets if it asks for nothing; ``auto``: the model's default.
        """
        first = default_kind(self, kind)
        return Engine(
            engine="da3",
            name=self.name,
            label=f"Depth Anything 3 {self.name.removeprefix('da3-').replace('-', ' ')}",
            licence=self.licence,
            kinds=[first, *(other for other in self.kinds if other != first)],
            licence_note=NON_COMMERCIAL if self.licence == "CC-BY-NC-4.0" else "",
            metric=self.metric,
            joins_views=self.several_views,
            around_deg=AROUND_DEG["native" if first == "native" else "depth"],
        )


_APACHE, _NC = "Apache-2.0", "CC-BY-NC-4.0"
_HUB = "depth-anything/"

MODELS = {
    card.name: card
    for card in (
        ModelCard(
            "da3-small", "da3-small", _HUB + "DA3-SMALL", "e08cab65ca0ec38e7826075418411ab90cab4da3", 34, _APACHE,
        ),
        ModelCard(
            "da3-base", "da3-base", _HUB + "DA3-BASE", "f4a6c9b3c95e41c82048423d3493a81ec3fa810e", 135, _APACHE,
        ),
        ModelCard(
            "da3-large", "da3-large", _HUB + "DA3-LARGE-1.1", "0e109ae307c5982f319a67cf6f9f99ccdc0ec97c", 411, _NC,
        ),
        ModelCard(
            "da3-giant", "da3-giant", _HUB + "DA3-GIANT-1.1", "72ee9f89ce4e50d704e9d55ee9c646ec8dc25a19", 1356, _NC,
            gaussian_head=True,
        ),
        ModelCard(
            "da3-nested-giant-large", "da3nested-giant-large", _HUB + "DA3NESTED-GIANT-LARGE-1.1",
            "b2359bdf726fb44ef62acca04d629dcf158053e7", 1690, _NC, gaussian_head=True, metric=True,
        ),
        ModelCard(
            "da3-metric-large", "da3metric-large", _HUB + "DA3METRIC-LARGE",
            "4010e39f3634a45bc60553321fb49fb760bd594e", 334, _APACHE,
            metric=True, several_views=False,
        ),
        ModelCard(
            "da3-mono-large", "da3mono-large", _HUB + "DA3MONO-LARGE", "f465978e618db8cc79c83b8bbf24964857db1875", 334, _APACHE,
            several_views=False,
        ),
    )
}  # fmt: skip
"""Name → card."""


def model_card(name: str, revision: str = "") -> ModelCard:
    """The card of a model.

    Args:
        name: A key of :data:`MODELS`.
        revision: A revision instead of the card's.

    Raises:
        ValueError: If there is no such model; the message names the valid ones.
    """
    if name not in MODELS:
        raise ValueError(f"da3: model {name!r} is unknown; valid are {', '.join(MODELS)}")
    return replace(MODELS[name], revision=revision) if revision else MODELS[name]


def default_kind(card: ModelCard, kind: str = "auto") -> SplatKind:
    """The kind that a client gets if it asks for nothing.

    Raises:
        ValueError: If the model can't produce ``kind``; for native Gaussians the message names the models that can.
    """
    if kind == "auto":
        return card.kinds[0]
    for possible in card.kinds:
        if kind == possible:
            return possible
    if kind == "native":
        able = ", ".join(c.name for c in MODELS.values() if c.gaussian_head)
        raise ValueError(f"da3: {card.name} predicts no Gaussians: choose one of {able}, or kind: points or lifted")
    raise ValueError(f"da3: kind: for {card.name} expected auto, {' or '.join(card.kinds)}; got {kind!r}")
