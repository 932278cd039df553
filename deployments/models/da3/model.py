"""Depth Anything 3 (Lin et al. 2025, arXiv:2511.10647): Gaussians where the model has the head for them, depth everywhere.

This file is the engine: what it takes, how a batch is formed, what comes out. The network is in ``network.py``, the way through it
in ``forward.py``, its Gaussians in ``adapter.py``, its weights in ``weights.py``, its models in ``registry.py``.
"""

import logging
import os
import shutil
import sysconfig
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deployments.models.da3 import network as da3_network
from deployments.models.da3.forward import MAX_BATCHED_VIEWS, USUAL_FOV_DEG, Forward, Result, Settle, Wish
from deployments.models.da3.known import Known
from deployments.models.da3.picture import PATCH_PX, prepare
from deployments.models.da3.registry import Kind, default_kind
from deployments.models.da3.resize import device_steps
from deployments.models.da3.settled import Settled
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
from deployments.stream.frames import FrameRequest, Intrinsics, SplatKind
from deployments.stream.messages import Engine
from deployments.stream.options import FOV_DEG

logger = logging.getLogger("ray.serve.splatcast")

USUAL_SIZES = ((640, 480), (1280, 720), (480, 640), (720, 1280))
"""Webcams and phones: every one is run before the replica is ready."""

_PROVEN_FOR_S = 30.0
"""A frame that went through is as good as a probe for this long."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One capture on its way.

    Attributes:
        index: Its place in the batch.
        pictures: As they go to the device. uint8 [V, H, W, 3].
        sizes: What the device shrinks them to, width and height; the last is the network's.
        kind: Of its splats.
        k: Coefficients; 0: depth alone.
        known: What is known of its cameras, for the network's size.
    """

    index: int
    capture: DecodedCapture
    pictures: NDArray[np.uint8]
    sizes: tuple[tuple[int, int], ...]
    kind: SplatKind
    k: int
    known: Known | None = None


class DepthAnything3:
    """The engine.

    Args:
        model: A name of ``registry.MODELS``; empty: what ``weights`` holds, or da3-small.
        weights: A folder with a checkpoint; empty: from the hub.
        revision: Revision on the hub instead of the registry's.
        kind: What a client gets that asks for nothing; ``native`` fails for a model without the head.
        device: ``cuda``, ``cuda:N``, ``cpu``; ``auto``: a GPU if there is one.
        backbone: ``bfloat16`` or ``float32``; ``auto``: bfloat16 on a GPU. Heads are float32 always.
        longest_px: Longest side of the picture for the network where the client asks for none; 0: 504 on a GPU, 280 on a CPU.
        calm: Hold each session's scale, what does not move, and the poses of its cameras still; see
            :mod:`deployments.models.alignment`, ``calm`` and ``rig``.
        compile: ``none``; ``blocks``: the transformer's, with Triton, 20 s at the start; ``all``: the heads, too, 20 s more for
            each size and batch; ``auto``: blocks on a GPU, if there is the C compiler that Triton needs.
        fov_deg: Field of view across the longer side of the camera, for metric-large and mono-large, which do not estimate it,
            where neither the client nor the picture's EXIF says it; 0: unknown, and 60 is the guess. The metres of metric-large are
            in proportion to it.
        threads: Of a CPU; 0: as many as this process may use.
        prune_on_device: Copy only what the packer would keep, unless its codec or what is behind edges needs the whole grid; None:
            on a GPU.
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
        compile: Literal["auto", "none", "blocks", "all"] = "auto",
        fov_deg: float = 0.0,
        threads: int = 0,
        warm_up_batch: int = 4,
        prune_on_device: bool | None = None,
    ) -> None:
        if longest_px and not PATCH_PX <= longest_px < PATCH_PX * da3_network.ROPE_POSITIONS:
            raise ValueError(f"da3: longest_px: expected 0, or {PATCH_PX} to 1778, got {longest_px}")
        if fov_deg and not FOV_DEG[0] <= fov_deg <= FOV_DEG[1]:
            raise ValueError(f"da3: fov_deg: expected 0, or 1 to 170, got {fov_deg}")
        dtypes = {"auto": None, "bfloat16": torch.bfloat16, "float32": torch.float32}
        if backbone not in dtypes:
            raise ValueError(f"da3: backbone: expected one of {', '.join(dtypes)}, got {backbone!r}")
        if compile not in ("auto", "none", "blocks", "all"):
            raise ValueError(f"da3: compile: expected auto, none, blocks or all, got {compile!r}")
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
        self._forward = Forward(net, chosen, metric=self._card.metric)
        self._fov_deg = fov_deg
        if compile in ("blocks", "all") or (compile == "auto" and on_gpu and _can_compile()):
            self._forward.compile(heads=compile == "all")
        self._longest_px = longest_px or (504 if on_gpu else 280)
        self._warm_up_batch, self._on_gpu = max(1, warm_up_batch), on_gpu
        self._shrink_on_device = on_gpu
        self._prune_on_device = on_gpu if prune_on_device is None else prune_on_device
        self._calm = calm
        self._lock = threading.Lock()
        self._proven_s = float("-inf")

    @property
    def info(self) -> Engine:
        """What it is."""
        return self._card.engine(self._kind)

    def warm_up(self) -> None:
        """Every usual size, on a GPU in every batch: kernels are chosen, compiled and captured before the first frame."""
        lifting.warm_up()
        sizes = USUAL_SIZES if self._on_gpu else USUAL_SIZES[:1]
        for width, height in sizes:
            capture = DecodedCapture((np.zeros((height, width, 3), np.uint8),))
            for batch in range(1, self._warm_up_batch + 1 if self._on_gpu else 2):
                for _ in range(2 if self._on_gpu else 1):
                    if error := next((o for o in self.predict([capture] * batch) if isinstance(o, FrameError)), None):
                        raise error

    def check_health(self) -> None:
        """A real forward, unless a frame went through lately.

        Raises:
            RuntimeError: If the device or the network does not work; the replica is then replaced.
        """
        if time.monotonic() - self._proven_s > _PROVEN_FOR_S:
            self._run([np.zeros((1, 4 * PATCH_PX, 4 * PATCH_PX, 3), np.uint8)], 1 if self._kind == "native" else 0)

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
            told = job.known and (job.known.poses is not None)
            groups.setdefault((job.pictures.shape, job.sizes, job.k, told, alone), []).append(job)
        for jobs in groups.values():
            for job, outcome in zip(jobs, self._together_or_alone(jobs), strict=True):
                results[job.index] = outcome if isinstance(outcome, FrameError) else self._finish(job, *outcome)
        return results

    def _prepare(self, index: int, capture: DecodedCapture) -> _Job:
        options = capture.request.options
        if len(capture.views) > 1 and not self._card.several_views:
            raise WrongViewCount(len(capture.views), 1)
        longest_px = max(options.inference_px, PATCH_PX) if options.inference_px else self._longest_px
        kind = self._kind
        if options.representation != "auto":
            splats: SplatKind = "native" if self._card.gaussian_head else "lifted"
            kind = "points" if options.representation == "points" else splats
        k = SH_COEFFICIENTS[options.sh_degree] if kind == "native" else 0
        if self._shrink_on_device and k and len(capture.views) == 1:
            # Nobody here looks at the pixels: they may go as they are.
            (view,) = capture.views
            sizes = device_steps(view.shape[1], view.shape[0], longest_px)
            if sizes is not None:
                return _Job(index, capture, view[None], sizes, kind, k, _known(capture, [sizes[-1]], *sizes[-1]))
        pictures = [prepare(view, longest_px) for view in capture.views]
        # Views of different shapes are cut to what they share, around their centres, as the package does.
        height, width = (min(picture.shape[axis] for picture in pictures) for axis in (0, 1))
        cut = np.stack([_centre(picture, height, width) for picture in pictures])
        known = _known(capture, [(picture.shape[1], picture.shape[0]) for picture in pictures], width, height)
        return _Job(index, capture, cut, (), kind, k, known)

    def _together_or_alone(self, jobs: list[_Job]) -> list[tuple[Result, Settled] | FrameError]:
        """One forward for all; if it fails, one for each, so that who made it fail fails alone."""
        try:
            wishes = [_wish(job.capture.request, job.kind) for job in jobs]
            settled = [Settled(job.capture.request, job.pictures[0], job.known, self._calm) for job in jobs]
            results = self._run(
                [job.pictures for job in jobs],
                jobs[0].k,
                lambda index, log_depth, poses: settled[index].settle(log_depth, poses),
                wishes if self._prune_on_device else None,
                jobs[0].sizes,
                [job.known for job in jobs if job.known],
                [job.capture.fov_deg or self._fov_deg or USUAL_FOV_DEG for job in jobs],
            )
            return [*zip(results, settled, strict=True)]
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

    def _run(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        k: int,
        settle: Settle | None = None,
        wishes: Sequence[Wish] | None = None,
        sizes: Sequence[tuple[int, int]] = (),
        known: Sequence[Known] = (),
        fovs_deg: Sequence[float] = (),
    ) -> list[Result]:
        with self._lock:
            results = self._forward.run(pictures, k, settle, wishes, sizes, known, fovs_deg)
        self._proven_s = time.monotonic()
        return results

    def _finish(self, job: _Job, result: Result, settled: Settled) -> Prediction:
        """A result in our convention."""
        views, height, width = job.pictures.shape[:3]
        if job.sizes:
            width, height = job.sizes[-1]
        cameras = [Camera(width, height, *(float(number) for number in lens)) for lens in result.cameras]
        posed: tuple[PosedCamera, ...] = ()
        scene: Gaussians | LayeredDepth
        if job.kind == "native":
            means, scales, quats, opacities, sh = result.parts
            posed = tuple(
                PosedCamera(camera, pose if i else None) for i, (camera, pose) in enumerate(zip(cameras, result.poses, strict=True))
            )
            scene = Gaussians(means, scales, quats, opacities, sh, grid=(views, height, width) if result.pruned is None else None)
        else:
            lens = cameras[0].fx + cameras[0].fy if self._forward.follows_lens else 1.0
            inverse = settled.hold_still(result.parts[0], lens)
            scene = layered_depth(inverse, job.pictures, cameras, result.poses, settled.factor)
        known = self._lens(job.capture)
        return Prediction(scene, job.kind, cameras[0], settled.state, result.pruned or {}, posed, intrinsics=known)

    def _lens(self, capture: DecodedCapture) -> Intrinsics:
        """Where the focal length is from."""
        if self._forward.predicts_camera and not capture.cameras:
            return "predicted"
        return "given" if not capture.fov_deg and self._fov_deg else capture.intrinsics


def _wish(request: FrameRequest, kind: SplatKind) -> Wish:
    options = request.options
    # Without a border to cut, all Gaussians stay, in the order of their pixels: what ``planes`` needs, and who looks past edges.
    is_planar = request.file is None and request.codec_for(kind, holds_depth=False) == planes_heads.NAME
    needs_grid = is_planar or options.behind_deg > 0
    return Wish(options.min_opacity, 0.0 if needs_grid else options.border, options.max_splats)


def _known(capture: DecodedCapture, sizes: Sequence[tuple[int, int]], width: int, height: int) -> Known | None:
    """What a capture's cameras are in the network's picture: each view resized, then cut to one size around its centre."""
    if not capture.cameras:
        return None
    lens = []
    for camera, (across, down) in zip(capture.cameras, sizes, strict=True):
        c = lifting.scale_camera(camera, across, down)
        lens.append((c.fx, c.fy, c.cx - (across - width) // 2, c.cy - (down - height) // 2))
    return Known(np.array(lens, np.float32), capture.poses if len(lens) > 1 else None)


def _can_compile() -> bool:
    """Whether there is Triton, and what it builds its launchers with: a C compiler and Python's own headers."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    return find_spec("triton") is not None and bool(compiler) and headers.is_file()


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
