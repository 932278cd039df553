"""Checkpoints for the tests of this folder, and one thread: the networks are too small for more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.da3 import micro


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LAYOUTS: dict[str, Any] = {
    "micro": micro.any_view(),
    "micro-depth": micro.any_view(gaussians=False),
    "micro-mono": micro.one_view(),
    "micro-nested": micro.nested(),
}


@pytest.fixture(scope="session")
def networks() -> dict[str, torch.nn.Module]:
    """The package's own networks, untouched. Their views differ in pose."""
    return {name: micro.make_network(layout, turn=2.0) for name, layout in LAYOUTS.items()}


@pytest.fixture(scope="session")
def checkpoints(networks: dict[str, torch.nn.Module], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same as folders."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: micro.save(net, root / name, name, LAYOUTS[name]) for name, net in networks.items()}


def picture(width: int = 200, height: int = 150, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colours with detail: uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(width, height)
    waves = [np.sin((5 + i) * x + seed) * np.cos((4 + i) * y - seed) for i in range(3)]
    rgb = 0.5 + 0.4 * np.stack(waves, axis=-1) + rng.normal(0, 0.04, (height, width, 3))
    return (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
