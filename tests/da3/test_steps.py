"""What a GPU must not do is seen on a CPU as well: read a value back, and so wait, between picture and result."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from deployments.models.da3 import network as da3_network
from deployments.models.da3.forward import Forward, Wish
from deployments.models.da3.known import Known
from deployments.models.da3.picture import prepare
from deployments.models.da3.weights import find
from tests.da3.conftest import picture

CPU = torch.device("cpu")


class ReadBackError(AssertionError):
    """An operation whose result's size or value the host must know."""


class NothingReadBack(TorchDispatchMode):
    """Refuses operations that wait for a GPU, or that copy a value from the host's ordinary memory to it."""

    READS = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.masked_select, torch.ops.aten.unique_dim)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        by_mask = packet is torch.ops.aten.index and any(i is not None and i.dtype is torch.bool for i in args[1])
        made_from_a_list = packet is torch.ops.aten.lift_fresh and args[0].dim() > 0
        if packet in self.READS or by_mask or made_from_a_list:
            raise ReadBackError(f"{func} between the picture and the result")
        return func(*args, **(kwargs or {}))


def forward_of(checkpoints: Any, name: str) -> Forward:
    return Forward(da3_network.load(find("", str(checkpoints[name])), CPU, torch.float32), CPU)


def pictures(count: int, views: int) -> Any:
    return np.stack([[prepare(picture(seed=10 * i + v), 140) for v in range(views)] for i in range(count)])


@pytest.mark.parametrize(
    ("name", "k", "views"),
    [
        ("micro", 1, 1), ("micro", 9, 1), ("micro", 0, 1), ("micro", 0, 2), ("micro-depth", 0, 1), ("micro-mono", 0, 1),
        ("micro-nested", 1, 1), ("micro-nested", 0, 1),
    ],
)  # fmt: skip
def test_nothing_is_read_back_on_the_way(checkpoints: Any, name: str, k: int, views: int) -> None:
    forward = forward_of(checkpoints, name)
    asked = {"k": k, "settle": lambda index, log_depth, poses: (1.1, poses), "wishes": [Wish(0.01, 0.03, 100_000)] * 2}
    forward.run(pictures(2, views), **asked)  # The tables that are kept are made here.
    with NothingReadBack():
        forward.run(pictures(2, views), **asked)


@pytest.mark.parametrize("posed", [False, True])
def test_nothing_is_read_back_of_cameras_that_are_known(checkpoints: Any, posed: bool) -> None:
    forward = forward_of(checkpoints, "micro")
    lens = np.tile(np.array([130, 131, 70, 56], np.float32), (2, 1))
    moved = np.tile(np.eye(3, 4, dtype=np.float32), (2, 1, 1))
    moved[1, 0, 3] = -0.3
    asked = {"k": 0, "known": [Known(lens, moved if posed else None)] * 2}
    forward.run(pictures(2, 2), **asked)
    with NothingReadBack():
        forward.run(pictures(2, 2), **asked)


def test_the_test_sees_what_is_read_back() -> None:
    values = torch.arange(3.0)
    for read in (lambda: values.sum().item(), lambda: values[values > 1], lambda: values.nonzero(), lambda: torch.tensor([1.0])):
        with NothingReadBack(), pytest.raises(ReadBackError):
            read()


def test_the_scale_is_asked_for_once_a_session_and_scales_every_length(checkpoints: Any) -> None:
    forward = forward_of(checkpoints, "micro")
    seen = []

    def settle(index: int, log_depth: Any, poses: Any) -> tuple[float, Any]:
        seen.append((index, log_depth.shape, poses.shape))
        return 2.0**index, poses

    plain, scaled = forward.run(pictures(2, 1), 1), forward.run(pictures(2, 1), 1, settle)
    assert seen == [(0, (12, 16), (1, 3, 4)), (1, (12, 16), (1, 3, 4))]
    for factor, a, b in zip((1, 2), plain, scaled, strict=True):
        for name, x, y in zip(("means", "scales", "quats", "opacities", "sh"), a.parts, b.parts, strict=True):
            np.testing.assert_array_equal(y, x * factor if name in ("means", "scales") else x)
    (near,), (far,) = forward.run(pictures(1, 1), 0), forward.run(pictures(1, 1), 0, lambda _, __, poses: (4.0, poses))
    np.testing.assert_array_equal(far.parts[0], near.parts[0] / 4)
