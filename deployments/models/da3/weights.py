"""Where a checkpoint is: a local folder, or the hub's cache, filled once. No torch here.

    python -m deployments.models.da3.weights da3-giant        # download ahead of time, into the cache that HF_HOME names

A checkpoint is a folder with ``config.json`` (``{"model_name": …}``) and ``model.safetensors``, as on the hub. A folder may bring
its own architecture as ``architecture.yaml``, in the package's config language, for networks that the package does not list.
Such a file names Python classes to construct, so it is refused unless they are the package's: a folder of weights must not be a
program. The operator may allow more modules by listing their prefixes in ``SPLATCAST_DA3_MODULES``, separated by spaces.
"""

import errno
import json
import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from deployments.models.da3.registry import MODELS, ModelCard, default_kind, model_card
from deployments.models.errors import ModelUnavailable

_MODULES, _LAYOUTS = ("depth_anything_3.model.",), ("depth_anything_3.configs.",)
MODULES_VARIABLE = "SPLATCAST_DA3_MODULES"
CONFIG, TENSORS, ARCHITECTURE = "config.json", "model.safetensors", "architecture.yaml"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        card: The model's card.
        tensors: The safetensors file.
        architecture: Its own architecture, or None for the package's ``card.config``.
    """

    card: ModelCard
    tensors: Path
    architecture: Path | None = None


def card_of(model: str, weights: str, revision: str = "") -> ModelCard:
    """The card of the model that the config asks for, without loading or downloading anything.

    Args:
        model: A name from the registry; empty to take what the folder says.
        weights: A folder with a checkpoint; empty for the hub.
        revision: A revision instead of the card's.

    Raises:
        ValueError: If the model is unknown.
        ModelUnavailable: If the folder is not a checkpoint, or not of ``model``.
    """
    if not weights:
        return model_card(model or "da3-small", revision)
    folder = Path(weights)
    config = _read_config(folder)
    known = [card for card in MODELS.values() if card.config == config]
    own = folder / ARCHITECTURE
    if own.is_file():
        card = _card_of_architecture(own, config)
    elif known:
        (card,) = known
    elif model:
        # Fine-tuned weights may call themselves anything: the tensors will show whether they fit.
        card = model_card(model)
    else:
        raise ModelUnavailable(
            f"{folder / CONFIG} names model {config!r}: expected one of {', '.join(c.config for c in MODELS.values())}, "
            f"an {ARCHITECTURE} beside it, or engine.params.model"
        )
    if model and model != card.name:
        raise ModelUnavailable(f"{folder} holds {card.name}; the config asks for {model}: change engine.params.model or .weights")
    return card


def find(model: str, weights: str, revision: str = "") -> Checkpoint:
    """The checkpoint on this machine, downloaded from the hub first if it is not in the cache. Shows progress on stderr.

    The cache is the hub's own (``HF_HOME``): put it on a volume that replicas share, and only the first one downloads.
    With ``HF_HUB_OFFLINE=1`` the network is not used at all.

    Raises:
        ValueError: If the model is unknown.
        ModelUnavailable: Saying what is missing and what to do.
    """
    card = card_of(model, weights, revision)
    folder = Path(weights) if weights else _download(card)
    tensors, own = folder / TENSORS, folder / ARCHITECTURE
    if not tensors.is_file():
        raise ModelUnavailable(f"{tensors} is missing: a checkpoint is a folder with {CONFIG} and {TENSORS}")
    # An architecture is accepted only from a folder that the operator chose, never from the network.
    return Checkpoint(card, tensors, own if weights and own.is_file() else None)


def _read_config(folder: Path) -> str:
    path = folder / CONFIG
    if not folder.is_dir():
        raise ModelUnavailable(f"{folder} is not a folder: engine.params.weights must name a folder with {CONFIG} and {TENSORS}")
    try:
        name = json.loads(path.read_text())["model_name"]
    except FileNotFoundError:
        raise ModelUnavailable(f"{path} is missing: a checkpoint is a folder with {CONFIG} and {TENSORS}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelUnavailable(f'{path}: expected {{"model_name": …}}, as on the hub') from None
    return str(name)


def _card_of_architecture(path: Path, name: str) -> ModelCard:
    try:
        layout = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ModelUnavailable(f"{path} can't be read: {error}") from None
    _check_layout(layout, path)
    main = layout.get("anyview", layout) if isinstance(layout, dict) else {}
    return ModelCard(
        name=name,
        config=name,
        hub_id="",
        revision="",
        parameters_m=0,
        licence="LicenseRef-unknown",
        gaussian_head=bool(main.get("gs_head")),
        metric="metric" in layout,
        several_views=bool(main.get("cam_dec")),
    )


def _check_layout(part: Any, path: Path) -> None:
    """Refuse a config that could run anything but the package's networks.

    The config language can: ``__object__`` imports and calls whatever it names, and ``${eval:…}`` is Python. Weights are passed
    around, and a folder of them must not be a program.

    Raises:
        ModelUnavailable: Naming the entry.
    """
    if isinstance(part, dict):
        for key, allowed in (("__object__", (*_MODULES, *os.environ.get(MODULES_VARIABLE, "").split())), ("__inherit__", _LAYOUTS)):
            named = part.get(key, [])
            for name in named if isinstance(named, list) else [named.get("path") if isinstance(named, dict) else named]:
                if not (isinstance(name, str) and name.startswith(allowed)):
                    raise ModelUnavailable(
                        f"{path}: {key}: expected names that begin with {' or '.join(allowed)}, got {name!r:.80}"
                    )
        part = [*part, *part.values()]
    if isinstance(part, list):
        for entry in part:
            _check_layout(entry, path)
    elif isinstance(part, str) and "${" in part:
        raise ModelUnavailable(f"{path}: expected plain values, got {part!r:.80}, which would be evaluated")


def _download(card: ModelCard) -> Path:
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise ModelUnavailable(NOT_INSTALLED.format("huggingface-hub")) from None
    names = [CONFIG, TENSORS]
    try:
        cached = snapshot_download(card.hub_id, revision=card.revision, allow_patterns=names, local_files_only=True)
        if all(Path(cached, name).is_file() for name in names):
            return Path(cached)
    except LocalEntryNotFoundError:
        pass
    where = f"{card.hub_id} at revision {card.revision}"
    elsewhere = "or name a folder that has it in engine.params.weights"
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable(
            f"{where} is not in the cache {constants.HF_HUB_CACHE} and HF_HUB_OFFLINE is set: unset it, {elsewhere}"
        )
    size_gb = card.parameters_m * 4 / 1e3
    print(f"Downloading {card.name} ({size_gb:.1f} GB) into {constants.HF_HUB_CACHE} …", file=sys.stderr, flush=True)
    try:
        return Path(snapshot_download(card.hub_id, revision=card.revision, allow_patterns=names))
    except (RevisionNotFoundError, GatedRepoError, RepositoryNotFoundError) as error:
        reason = f"the hub does not give {where} ({type(error).__name__}): check engine.params.revision, {elsewhere}"
    except OSError as error:
        # A full disk and every network failure are OSErrors.
        if error.errno == errno.ENOSPC:
            reason = f"no space for {size_gb:.1f} GB in {constants.HF_HUB_CACHE}: free some, or set HF_HOME to a larger disk"
        else:
            reason = f"{where} can't be downloaded ({type(error).__name__}): connect this machine once, {elsewhere}"
    raise ModelUnavailable(reason)


NOT_INSTALLED = "the package {} is not installed: run 'make install-da3', or pip install '.[da3]' (7.5 GB instead of 1.1 GB)"


_PACKAGES = ("torch", "depth_anything_3", "safetensors", "huggingface_hub", "einops", "omegaconf", "addict", "e3nn")


def check(params: dict[str, Any]) -> None:
    """Check all of ``engine.params`` that can be checked without torch, so that mistakes fail before a replica starts.

    Raises:
        ValueError: If a package is not installed, the model is unknown, or it can't produce the kind asked for.
        ModelUnavailable: If the folder named is not a checkpoint.
    """
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise ValueError(NOT_INSTALLED.format(package.replace("_", "-")))
    card = card_of(str(params.get("model", "")), str(params.get("weights", "")))
    default_kind(card, str(params.get("kind", "auto")))


def main() -> int:
    """Download the checkpoints named on the command line. Returns the exit status."""
    try:
        for name in sys.argv[1:] or ["da3-small"]:
            print(find(name, "").tensors.parent)
    except (ModelUnavailable, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
