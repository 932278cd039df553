"""Depth Anything 3 (Lin et al. 2025, arXiv:2511.10647): Gaussians where the model has the head for them, depth everywhere.

This file is the engine: what it takes, how a batch is formed, what comes out. The network is in ``da3_network``, the way through
it in ``da3_forward``, its Gaussians in ``da3_adapter``, its weights in ``da3_weights``, its models in ``da3_registry``.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deployments.models.alignment import Reference, align
from deployments.models.da3 import network as da3_network
from deployments.models.da3.adapter import block_size, sections
from deployments.models.da3.forward import MAX_BATCHED_VIEWS, Forward, Result, Wish
from deployments.models.da3.picture import PATCH_PX, prepare
from deployments.models.da3.registry import Kind, default_kind
from deployments.models.da3.weights import find
from deployments.models.errors import ModelUnavailable
from deployments.models.views import layered_depth
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats import lifting
from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.codecs import planes_heads
from deployments.splats.gaussians import SH_COEFFICIENTS, Gaussians
from deployments.splats.layers import LayeredDepth
from deployments.stream.errors import FrameError, InferenceFailed, WrongViewCount
from deployments.stream.frames import FrameRequest, SplatKind
from deployments.stream.messages import Engine

logger = logging.getLogger("ray.serve.splatcast")

USUAL_SIZES = ((640, 480), (1280, 720), (480, 640), (720, 1280))
"""Webcams and phones: every one is run before the replica is ready."""

_PROVEN_FOR_S = 30.0
"""A frame that went through is as good as a probe for this long."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One capture on its way: its place in the batch, pictures uint8 [V, H, W, 3], kind, and coefficients (0: depth alone)."""

    index: int
    capture: DecodedCapture
    pictures: NDArray[np.uint8]
    kind: SplatKind
    k: int


class DepthAnything3:
    """The engine.

    Args:
        model: A name of ``da3_registry.MODELS``; empty: what ``weights`` holds, or da3-small.
        weights: A folder with a checkpoint; empty: from the hub.
        revision: Revision on the hub instead of the registry's.
        kind: What a client gets that asks for nothing; ``native`` fails for a model without the head.
        device: ``cuda``, ``cuda:N``, ``cpu``; ``auto``: a GPU if there is one.
        backbone: ``bfloat16`` or ``float32``; ``auto``: bfloat16 on a GPU. Heads are float32 always.
        longest_px: Longest side of the picture for the network where the client asks for none; 0: 504 on a GPU, 280 on a CPU.
        calm: Hold each session's scale still; see :mod:`deployments.models.alignment`.
        compile: Backend for ``torch.compile``, such as ``inductor``; empty: none. Minutes at the start, for each size.
        fov_deg: Field of view across the longer side of the camera, for metric-large and mono-large, which do not estimate it. The
            metres of metric-large are in proportion to it.
        threads: Of a CPU; 0: as many as this process may use.
        prune_on_device: Copy only what the packer would keep, unless its codec needs the whole grid; None: on a GPU.
        warm_up_batch: Largest batch that is run at the start on a GPU, where every size is tuned for.

    Raises:
        ModelUnavailable: If packages, weights or the device are missing; one sentence that says what to do.
        ValueError: If a parameter is out of its range.
    """

    def __init__(
        self,
        *,
        model: str = "",
        weights: str = "",
        revision: str = "",
        kind: Kind = "auto",
        device: str = "auto",
        backbone: Literal["auto", "bfloat16", "float32"] = "auto",
        longest_px: int = 0,
        calm: bool = True,
        compile: str = "",
        fov_deg: float = 60.0,
        threads: int = 0,
        warm_up_batch: int = 4,
        prune_on_device: bool | None = None,
    ) -> None:
        if longest_px and not PATCH_PX <= longest_px < PATCH_PX * da3_network.ROPE_POSITIONS:
            raise ValueError(f"da3: longest_px: expected 0, or {PATCH_PX} to 1778, got {longest_px}")
        if not 1.0 <= fov_deg <= 170.0:
            raise ValueError(f"da3: fov_deg: expected 1 to 170, got {fov_deg}")
        dtypes = {"auto": None, "bfloat16": torch.bfloat16, "float32": torch.float32}
        if backbone not in dtypes:
            raise ValueError(f"da3: backbone: expected one of {', '.join(dtypes)}, got {backbone!r}")
        checkpoint = find(model, weights, revision)
        self._card = checkpoint.card
        self._kind = default_kind(self._card, kind)
        chosen = _device(device)
        on_gpu = chosen.type == "cuda"
        if not on_gpu:
            # Ray gives a replica as many as its num_cpus says, which is a scheduler's share.
            torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        dtype = dtypes[backbone] or (torch.bfloat16 if on_gpu else torch.float32)
        began_s = time.perf_counter()
        net = da3_network.load(checkpoint, chosen, dtype)
        logger.info("%s is on %s after %.1f s", self._card.name, chosen, time.perf_counter() - began_s)
        self._forward = Forward(net, chosen, fov_deg, metric=self._card.metric)
        if compile:
            self._forward.compile(compile)
        self._longest_px = longest_px or (504 if on_gpu else 280)
        self._batches = range(1, max(1, warm_up_batch) + 1) if on_gpu else range(1, 2)
        self._prune_on_device = on_gpu if prune_on_device is None else prune_on_device
        self._calm = calm
        self._lock = threading.Lock()
        self._proven_s = float("-inf")

    @property
    def info(self) -> Engine:
        """What it is."""
        return self._card.engine(self._kind)

    def warm_up(self) -> None:
        """Every usual size, on a GPU in every batch: kernels are chosen and compiled before the first frame."""
        lifting.warm_up()
        k = 1 if self._kind == "native" else 0
        sizes = USUAL_SIZES if len(self._batches) > 1 else USUAL_SIZES[:1]
        for width, height in sizes:
            picture = prepare(np.zeros((height, width, 3), np.uint8), self._longest_px)
            for batch in self._batches:
                self._run(np.broadcast_to(picture, (batch, 1, *picture.shape)).copy(), k)

    def check_health(self) -> None:
        """A real forward, unless a frame went through lately.

        Raises:
            RuntimeError: If the device or the network does not work; the replica is then replaced.
        """
        if time.monotonic() - self._proven_s > _PROVEN_FOR_S:
            self._run(np.zeros((1, 1, 4 * PATCH_PX, 4 * PATCH_PX, 3), np.uint8), 1 if self._kind == "native" else 0)

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        """Gaussians for each capture: those of one shape go through the network together, the others after them."""
        results: list[Prediction | FrameError] = [InferenceFailed("it was lost in the batch")] * len(captures)
        groups: dict[tuple[object, ...], list[_Job]] = {}
        for index, capture in enumerate(captures):
            try:
                job = self._prepare(index, capture)
            except FrameError as error:
                results[index] = error
                continue
            except (ValueError, ArithmeticError, cv2.error):
                results[index] = InferenceFailed("its picture can't be resized")
                continue
            alone = index if len(job.pictures) > MAX_BATCHED_VIEWS else -1
            groups.setdefault((job.pictures.shape, job.k, alone), []).append(job)
        for jobs in groups.values():
            for job, outcome in zip(jobs, self._together_or_alone(jobs), strict=True):
                results[job.index] = outcome if isinstance(outcome, FrameError) else self._finish(job, outcome)
        return results

    def _prepare(self, index: int, capture: DecodedCapture) -> _Job:
        options = capture.request.options
        if len(capture.views) > 1 and not self._card.several_views:
            raise WrongViewCount(len(capture.views), 1)
        longest_px = max(options.inference_px, PATCH_PX) if options.inference_px else self._longest_px
        pictures = [prepare(view, longest_px) for view in capture.views]
        # Views of different shapes are cut to what they share, around their centres, as the package does.
        height, width = (min(picture.shape[axis] for picture in pictures) for axis in (0, 1))
        cut = np.stack([_centre(picture, height, width) for picture in pictures])
        kind = self._kind
        if options.representation != "auto":
            splats: SplatKind = "native" if self._card.gaussian_head else "lifted"
            kind = "points" if options.representation == "points" else splats
        return _Job(index, capture, cut, kind, SH_COEFFICIENTS[options.sh_degree] if kind == "native" else 0)

    def _together_or_alone(self, jobs: list[_Job]) -> list[Result | FrameError]:
        """One forward for all; if it fails, one for each, so that who made it fail fails alone."""
        try:
            wishes = [_wish(job.capture.request, job.kind) for job in jobs]
            return [*self._run(np.stack([job.pictures for job in jobs]), jobs[0].k, wishes if self._prune_on_device else None)]
        except Exception as error:
            # Whatever it is: a bad capture costs itself, and a broken device shows at the next health check.
            logger.exception("a forward of %d captures failed", len(jobs))
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            if len(jobs) == 1:
                self._proven_s = float("-inf")
                # The log has the rest; a client has no use for it.
                return [InferenceFailed("the network failed; the server's log says why")]
        return [outcome for job in jobs for outcome in self._together_or_alone([job])]

    def _run(self, pictures: NDArray[np.uint8], k: int, wishes: Sequence[Wish] | None = None) -> list[Result]:
        with self._lock:
            results = self._forward.run(pictures, k, wishes)
        self._proven_s = time.monotonic()
        return results

    def _finish(self, job: _Job, result: Result) -> Prediction:
        """A result in our convention, at the session's scale."""
        views, height, width = job.pictures.shape[:3]
        state, factor = job.capture.request.state, 1.0
        if self._calm:
            factor, reference = align(Reference.from_bytes(state), result.log_depth)
            state = reference.to_bytes() if reference else b""
        cameras = [Camera(width, height, *(float(number) for number in lens)) for lens in result.cameras]
        poses = result.poses * np.array([1, 1, 1, factor], np.float32)
        posed: tuple[PosedCamera, ...] = ()
        scene: Gaussians | LayeredDepth
        if job.kind == "native":
            n = result.block.size // block_size(1, job.k)
            # Means and scales lie one after the other: every length there is.
            np.multiply(result.block[: 6 * n], np.float32(factor), out=result.block[: 6 * n])
            posed = tuple(
                PosedCamera(camera, pose if i else None) for i, (camera, pose) in enumerate(zip(cameras, poses, strict=True))
            )
            scene = Gaussians(*sections(result.block, n, job.k), grid=(views, height, width) if result.pruned is None else None)
        else:
            depth = result.block.reshape(views, height, width) * np.float32(factor)
            scene = layered_depth(depth, job.pictures, cameras, poses, float(factor))
        return Prediction(scene, job.kind, cameras[0], state, result.pruned or {}, posed)


def _wish(request: FrameRequest, kind: SplatKind) -> Wish:
    options = request.options
    needs_grid = request.codec_for(kind, holds_depth=False) == planes_heads.NAME
    return Wish(options.min_opacity, options.border, options.max_splats, needs_grid)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ModelUnavailable(
            f"device: {name} is asked for, but torch {torch.__version__} sees no GPU: check nvidia-smi and that torch is a CUDA "
            "build, give the replica num_gpus, or set engine.params.device to cpu"
        )
    try:
        return torch.device(name)
    except RuntimeError:
        raise ValueError(f"da3: device: expected auto, cpu, cuda or cuda:N, got {name!r}") from None


def _centre(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]
