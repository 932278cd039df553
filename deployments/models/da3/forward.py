"""One batch through the network, below the package's ``api``: no thread pool, no waiting in between, one copy of the result.

A batch is sessions × views × pixels; all its pictures have one size. It takes three steps: depth, from which the host works out
each session's scale and where its cameras stand; the Gaussian head, which keeps the device busy meanwhile; and the block that goes
to the host. On a GPU, a size that comes again is captured: a step is then one graph, where Python would issue a thousand
operations, each of which takes the host longer than the device.

What the steps compute is in ``steps.py``.
"""

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deployments.models.alignment import REFERENCE_SHAPE
from deployments.models.da3.adapter import block_size, sections
from deployments.models.da3.known import Known
from deployments.models.da3.resize import taps_of
from deployments.models.da3.steps import ASKED, COUNTS, Scene, Steps

logger = logging.getLogger("ray.serve.splatcast")

MAX_BATCHED_VIEWS = 8
"""The package's heads split more views than this into pieces, and then forget the other sessions."""

MOST_CAPTURED = 48
"""Shapes of batches whose graphs are kept, the latest used. Each holds its result (11 MB a frame at 504) and some MB of graph; what
lies in between is shared."""

USUAL_FOV_DEG = 60.0
"""Of a webcam, across the longer side."""

_CAMERA = 16  # numbers a view: fx, fy, cx, cy, and the 3 × 4 pose
_COARSE = REFERENCE_SHAPE[0] * REFERENCE_SHAPE[1]


@dataclass(frozen=True, slots=True)
class Result:
    """What the network says about one capture, on the host.

    Attributes:
        parts: Means [n, 3], scales [n, 3], quats [n, 4], opacities [n] and sh [n, K, 3]; or inverse depth [V, H, W] alone, 0 where
            there is none. float32.
        cameras: fx, fy, cx, cy of each view, pixels. float32 [V, 4].
        poses: First camera to each camera. float32 [V, 3, 4].
        pruned: Reason → Gaussians that are left out; None if there are all, in the grid's order.
    """

    parts: tuple[NDArray[np.float32], ...]
    cameras: NDArray[np.float32]
    poses: NDArray[np.float32]
    pruned: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a session's packer will prune by; see ``FrameOptions``."""

    min_opacity: float
    border: float
    max_splats: int


_NO_WISH = Wish(0.0, 0.0, 0)

Settle = Callable[[int, NDArray[np.float32], NDArray[np.float32]], tuple[float, NDArray[np.float32]]]
"""A session's place in the batch, its coarse log depth, float32 ``REFERENCE_SHAPE``, and its poses, float32 [V, 3, 4] → the factor
for all its lengths, and the poses after it: first camera to each."""


class Forward:
    """A network with its device.

    Args:
        net: From :func:`deployments.models.da3.network.load`.
        device: Where its weights are.
        metric: Whether to scale the depth of a network without a camera decoder to metres.
        capture: Whether to capture sizes that come again as CUDA graphs; only on a GPU.
    """

    def __init__(self, net: nn.Module, device: torch.device, metric: bool = False, capture: bool = True) -> None:
        self._steps = Steps(net, device, metric)
        self._device = device
        self._capture = capture and device.type == "cuda"
        # Of several GPUs, whatever thread this runs in must use this one.
        self._here: Callable[[], Any] = partial(torch.cuda.device, device) if device.type == "cuda" else nullcontext
        self._arrived: Any = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._batches: OrderedDict[tuple[Any, ...], _Batch] = OrderedDict()
        # One pool and one stream for all graphs, so that what lies between a batch's first step and its last is the same memory in
        # all of them: one batch is through before the next begins.
        self._pool = torch.cuda.graph_pool_handle() if self._capture else None
        self._stream: Any = torch.cuda.Stream(device) if self._capture else None  # type: ignore[no-untyped-call]

    @property
    def networks(self) -> list[Any]:
        """The network, or both of a nested one."""
        return [net for net in (self._steps.main, self._steps.meter) if net is not None]

    @property
    def follows_lens(self) -> bool:
        """Whether its lengths are in proportion to the focal length."""
        return self._steps.metric and not self.predicts_camera

    @property
    def predicts_camera(self) -> bool:
        """Whether the network finds the focal length itself."""
        return self._steps.predicts_camera

    @property
    def mark(self) -> Callable[[str], None]:
        """Called with a name after each part of a batch, for whoever measures: set it before the first batch."""
        return self._steps.mark

    @mark.setter
    def mark(self, mark: Callable[[str], None]) -> None:
        self._steps.mark = mark

    def compile(self, heads: bool, backend: str = "inductor") -> None:
        """Compile the transformers' blocks and, if asked, the heads with ``torch.compile``; the rest is a few operations.

        Blocks are compiled one at a time: all of a kind share their code, in which sizes are variables, so that there are four
        pieces to compile, not one for each of 16 shapes. Heads are compiled for each shape.
        """
        config = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, 4 * MOST_CAPTURED)
        config.suppress_errors = True  # What can't be compiled runs as it is, with a warning.
        for net in self.networks:
            blocks: Any = net.backbone.pretrained.blocks
            for block in blocks:
                block.forward = torch.compile(block.forward, backend=backend, dynamic=True)
            for head in filter(None, (net.head, net.gs_head) if heads else ()):
                head._forward_impl = torch.compile(head._forward_impl, backend=backend, dynamic=False)

    @torch.inference_mode()
    def run(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        k: int,
        settle: Settle | None = None,
        wishes: Sequence[Wish] | None = None,
        sizes: Sequence[tuple[int, int]] = (),
        known: Sequence[Known] = (),
        fovs_deg: Sequence[float] = (),
    ) -> list[Result]:
        """Run one batch.

        Args:
            pictures: uint8 [V, H, W, 3] of each session, all of one shape; sides are multiples of 14 unless ``sizes`` are given.
            k: Coefficients of Gaussians, or 0 for depth only.
            settle: Gives the factor for each session's lengths, and its poses; None: as they come. Called in the order of the
                sessions.
            wishes: Each session's, to leave out what its packer would; None: leave nothing out.
            sizes: Widths and heights to shrink the pictures to, one after the other, on the device.
            known: What is known of each session's cameras, of all with poses or of all without; empty: nothing. Known poses
                are told to the network; it is ``settle`` that makes them the result's.
            fovs_deg: Each session's field of view across the longer side, for a network that does not predict the camera where
                it is not known either; empty: :data:`USUAL_FOV_DEG`.

        Returns:
            A result for each session.
        """
        with self._here():
            return self._run(pictures, k, settle, wishes, tuple(sizes), known, fovs_deg)

    def _run(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        k: int,
        settle: Settle | None,
        wishes: Sequence[Wish] | None,
        sizes: tuple[tuple[int, int], ...],
        known: Sequence[Known],
        fovs_deg: Sequence[float],
    ) -> list[Result]:
        sessions, views = len(pictures), len(pictures[0])
        wishes = wishes if k and views == 1 else None
        width, height = sizes[-1] if sizes else (pictures[0].shape[2], pictures[0].shape[1])
        told = [one.numbers(width, height) for one in known]
        batch = self._batch((sessions, *pictures[0].shape[:3]), sizes, k, wishes is not None, told[0].shape[1] if told else 0)
        try:
            self.mark("begin")
            self._to_device(pictures, batch.pictures)
            if batch.known is not None:
                self._to_device(told, batch.known)
            elif not self.predicts_camera:
                self._to_device([_lens(fov) for fov in fovs_deg or [USUAL_FOV_DEG] * sessions], batch.lens)
            self.mark("copy in")
            batch.step(0)
            measured = self._to_host(batch.measured)
            if k:
                # The host works on the scale while the device works on this: it never runs dry.
                batch.step(1)
            self._wait()
            rows = measured.numpy()
            log_depth = rows[:, views * _CAMERA :][:, :_COARSE].reshape(sessions, *REFERENCE_SHAPE)
            cameras = rows[:, : views * _CAMERA].reshape(sessions, views, _CAMERA)
            poses = cameras[..., 4:].reshape(sessions, views, 3, 4)
            lenses = cameras[..., :4]
            if self.follows_lens:
                # Another lens makes other metres of the same depth at once: that is no flicker to hold still.
                log_depth = log_depth - np.log(lenses[:, 0, :2].mean(1) / max(width, height))[:, None, None]
            settled = [(1.0, poses[i]) if settle is None else settle(i, log_depth[i], poses[i]) for i in range(sessions)]
            if not k:
                return [batch.depth_result(row, lens, *done) for row, lens, done in zip(rows, lenses, settled, strict=True)]
            wished = wishes or [_NO_WISH] * sessions
            places = 12 * views if views > 1 else 0
            asked = [
                (factor, w.min_opacity, w.border, w.max_splats, *stand.ravel()[:places])
                for (factor, stand), w in zip(settled, wished, strict=True)
            ]
            self._to_device(asked, batch.asked)
            batch.step(2)
            out = self._to_host(batch.out)
            self.mark("copy out")
            self._wait()
            stands = [stand for _, stand in settled]
            return [batch.result(*found) for found in zip(out.numpy(), lenses, stands, wished, strict=True)]
        finally:
            batch.forget()

    def _batch(self, shape: tuple[int, ...], sizes: tuple[tuple[int, int], ...], k: int, prune: bool, known: int) -> "_Batch":
        """What runs batches of this shape: captured if it is not the first."""
        key = (shape, sizes, k, prune, known)
        batch = self._batches.pop(key, None)
        if batch is None:
            batch = _Batch(self._steps, shape, sizes, k, prune, known, self._device)
        elif self._capture and not batch.tried:
            batch.capture(self._pool, self._stream)
        if self._capture:
            self._batches[key] = batch
            while len(self._batches) > MOST_CAPTURED:
                self._batches.popitem(last=False)
        return batch

    def _to_device(self, rows: Iterable[Any], to: Tensor) -> None:
        """Rows of a batch, to the device: by way of pinned memory, which comes from a cache, nobody waits for the copy."""
        host = torch.empty(to.shape, dtype=to.dtype, pin_memory=True) if to.is_cuda else to
        for place, row in zip(host.numpy(), rows, strict=True):
            place[...] = row
        if host is not to:
            to.copy_(host, non_blocking=True)

    def _to_host(self, values: Tensor) -> Tensor:
        """The values, on the host after :meth:`_wait`."""
        if self._device.type != "cuda":
            return values
        # The memory returns to the cache when the last array on it is gone.
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        self._arrived.record()
        return host

    def _wait(self) -> None:
        """Wait for the last copy to the host."""
        if self._arrived is not None:
            self._arrived.synchronize()


def _lens(fov_deg: float) -> float:
    """Focal length over the picture's longer side."""
    return 0.5 / math.tan(math.radians(fov_deg) / 2)


class _Batch:
    """Batches of one shape: their steps, and what the steps read and write.

    Attributes:
        pictures: uint8 [B, V, H, W, 3].
        lens: Focal length over the longer side, where nothing is known and the network predicts no camera. float32 [B, 1].
        asked: ``ASKED`` for each session, and the poses of several views. float32 [B, 4 or 4 + 12 V].
        known: ``Known.numbers`` of each session; None: nothing is known. float32 [B, V, 4 or 13].
        measured: From the first step: cameras, coarse log depth, and inverse depth if no Gaussians are wanted. float32 [B, …].
        out: From the last: a block as in ``adapter.py``, and ``COUNTS``. float32 [B, …].
        tried: Whether capturing was tried, or can't succeed.
    """

    def __init__(
        self,
        steps: Steps,
        shape: tuple[int, ...],
        sizes: tuple[tuple[int, int], ...],
        k: int,
        prune: bool,
        known: int,
        device: torch.device,
    ) -> None:
        before = shape[3], shape[2]
        width, height = (before, *sizes)[-1]
        self._steps, self._shape, self._k, self._prune = steps, (*shape[:2], height, width), k, prune
        self._taps = taps_of((before, *sizes), device)
        self.pictures = torch.empty((*shape, 3), dtype=torch.uint8, device=device)
        self.asked = torch.empty((shape[0], ASKED + (12 * shape[1] if shape[1] > 1 else 0)), device=device)
        self.known = torch.empty((*shape[:2], known), device=device) if known else None
        self.lens = torch.empty((shape[0], 1), device=device)
        self.measured = self.out = self.asked
        # Gaussians of several views take the package's adapter, which reads values back: no graph can hold that.
        self.tried = k > 0 and shape[1] > 1
        self._scene: Scene | None = None
        self._said: tuple[Tensor, Tensor] | None = None
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def step(self, index: int) -> None:
        """Do one of the three steps, or two if there are no Gaussians to make."""
        if self._graphs:
            self._graphs[index].replay()
        else:
            (self._measure, self._say, self._make)[index]()

    def forget(self) -> None:
        """Let go of what lies between the steps."""
        self._scene = self._said = None
        if not self._graphs:
            self.measured = self.out = self.asked

    def capture(self, pool: Any, stream: Any) -> None:
        """Capture the steps as graphs; if that fails, they are done one operation after the other as before."""
        self.tried = True
        steps = range(3 if self._k else 1)
        graphs = []
        stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(stream):
                for index in steps:  # Whatever is set up at a stream's first use must not be set up in a graph.
                    self.step(index)
            for index in steps:
                graph = torch.cuda.CUDAGraph()
                # Of this thread alone: other threads may meanwhile return pinned memory.
                with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                    self.step(index)
                graphs.append(graph)
        except RuntimeError:
            logger.exception("a batch of %s can't be captured: it will take longer", "×".join(map(str, self._shape)))
        else:
            self._graphs = graphs
        torch.cuda.current_stream().wait_stream(stream)
        # What the steps hand on stays where it is until the next capture, and that is never between two steps.
        self._scene = self._said = None

    def result(self, row: NDArray[np.float32], lens: NDArray[np.float32], poses: NDArray[np.float32], wish: Wish) -> Result:
        """A session's Gaussians."""
        pixels = math.prod(self._shape[1:])
        parts, pruned = sections(row[:-COUNTS], pixels, self._k), None
        if self._prune:
            count, nothing, faint, rim = (int(number) for number in row[-COUNTS:])
            # As survivors() decides it.
            if wish.border > 0 and count <= wish.max_splats:
                parts, pruned = tuple(part[:count] for part in parts), {"edge": nothing, "opacity": faint, "border": rim}
        return Result(parts, lens, poses, pruned)

    def depth_result(
        self, measured: NDArray[np.float32], lens: NDArray[np.float32], factor: float, poses: NDArray[np.float32]
    ) -> Result:
        """A session's inverse depth."""
        inverse = measured[self._shape[1] * _CAMERA + _COARSE :].reshape(self._shape[1:])
        return Result((inverse * np.float32(1 / factor),), lens, poses)

    def _measure(self) -> None:
        scene = self._scene = self._steps.depth(self.pictures, self._taps, self._k > 0, self.lens, self.known)
        lens = torch.stack([scene.intrinsics[..., i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))], dim=-1)
        moved = scene.poses[..., :3, :].clone()
        moved[..., 3] *= scene.unit[:, None, None]
        lengths = scene.depth * scene.unit[:, None, None, None]
        coarse = nn.functional.adaptive_avg_pool2d(lengths[:, :1].clamp_min(1e-6).log(), REFERENCE_SHAPE)
        parts = [torch.cat([lens, moved.flatten(2)], dim=-1), coarse]
        if not self._k:
            # Made here, this needs no pass over the picture on the host.
            parts.append(torch.where((lengths > 0) & lengths.isfinite(), lengths.reciprocal(), 0))
        self.measured = torch.cat([part.flatten(1) for part in parts], dim=1)
        self._steps.mark("camera")

    def _say(self) -> None:
        assert self._scene is not None, "the first step comes first"
        self._said = self._steps.gaussians(self._scene)

    def _make(self) -> None:
        assert self._scene is not None and self._said is not None, "the second step comes first"
        sessions, views, height, width = self._shape
        self.out = torch.empty((sessions, block_size(views * height * width, self._k) + COUNTS), device=self.asked.device)
        self._steps.block(self._scene, self._said, self.asked, self._k, self._prune, self.out)
