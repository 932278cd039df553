"""One batch through the network, below the package's ``api``: no thread pool, and no waiting for the device before the result.

A batch is sessions × views × pixels; all its pictures have one size. Everything that the host needs comes in one copy.

Two things that the package decides over a whole batch are decided for each session here, so that they do not depend on who shares
the batch: the nested model's scale to metres, and the depth given to the sky.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from depth_anything_3.model.da3 import NestedDepthAnything3Net
from depth_anything_3.utils.geometry import affine_inverse, as_homogeneous
from numpy.typing import NDArray
from torch import Tensor, nn

from deployments.models.alignment import REFERENCE_SHAPE
from deployments.models.da3.adapter import adapt_one_view, adapt_views, block_size, gather, is_plain, survivors
from deployments.models.da3.picture import MEAN, STD

MAX_BATCHED_VIEWS = 8
"""The package's heads split more views than this into pieces, and then forget the other sessions."""

_SKY = 0.3  # a pixel of at least this much sky is sky
_ENOUGH_PX = 10
_FARTHEST_SKY_M = 200.0
_CANONICAL_FOCAL_PX = 300.0  # the metric network's depth is metres at this focal length
_CAMERA = 16  # numbers a view: fx, fy, cx, cy, and the 3 × 4 pose


@dataclass(frozen=True, slots=True)
class Result:
    """What the network says about one capture, on the host.

    Attributes:
        block: Gaussians as in ``adapter.py``, or the depth of every pixel. float32 [size].
        cameras: fx, fy, cx, cy of each view, pixels. float32 [V, 4].
        poses: First camera to each camera. float32 [V, 3, 4].
        log_depth: Coarse log depth of the first view. float32 ``REFERENCE_SHAPE``.
        pruned: Reason → Gaussians that were not copied; None if all were.
    """

    block: NDArray[np.float32]
    cameras: NDArray[np.float32]
    poses: NDArray[np.float32]
    log_depth: NDArray[np.float32]
    pruned: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a session's packer will prune by, see ``FrameOptions``; and whether it needs Gaussians on their grid."""

    min_opacity: float
    border: float
    max_splats: int
    needs_grid: bool = False


class Forward:
    """A network with its device.

    Args:
        net: From :func:`deployments.models.da3.network.load`.
        device: Where its weights are.
        fov_deg: Field of view across the longer side, for networks that do not predict the camera.
        metric: Whether to scale the depth of a network without a camera decoder to metres.
    """

    def __init__(self, net: nn.Module, device: torch.device, fov_deg: float = 60.0, metric: bool = False) -> None:
        self._nested = isinstance(net, NestedDepthAnything3Net)
        self._main: Any = net.da3 if self._nested else net
        self._meter: Any = net.da3_metric if self._nested else None
        self._device, self._tan_half, self._metric = device, math.tan(math.radians(fov_deg) / 2), metric
        self._mean, self._std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))

    def compile(self, backend: str) -> None:
        """Compile backbone and heads with ``torch.compile``; the rest is a few operations."""
        for net in filter(None, (self._main, self._meter)):
            for name in ("backbone", "head", "gs_head"):
                if (part := getattr(net, name, None)) is not None:
                    part.forward = torch.compile(part.forward, backend=backend, dynamic=False)

    @torch.inference_mode()
    def run(self, pictures: NDArray[np.uint8], k: int, wishes: Sequence[Wish] | None = None) -> list[Result]:
        """Run one batch.

        Args:
            pictures: uint8 [B, V, H, W, 3], sides multiples of 14.
            k: Coefficients of Gaussians, or 0 for depth only.
            wishes: Each session's, to copy only what its packer would keep; None: copy all.

        Returns:
            A result for each of B.
        """
        batch, views, height, width = pictures.shape[:4]
        pixels = height * width
        depth, features, images, intrinsics, extrinsics, unit = self._depth(pictures, want_features=k > 0)
        # The first camera's frame is the world; its own pose is the identity to the last bit.
        poses = extrinsics @ affine_inverse(extrinsics[:, :1])
        poses[:, 0] = torch.eye(4, device=self._device)
        head = block_size(views * pixels, k) if k else views * pixels
        tail = views * _CAMERA + REFERENCE_SHAPE[0] * REFERENCE_SHAPE[1]
        out = torch.empty((batch, head + tail), device=self._device)
        if k:
            self._gaussians(features, images, depth, intrinsics, poses, unit, k, out[:, :head])
        else:
            torch.mul(depth.flatten(1), unit[:, None], out=out[:, :head])
        lens = torch.stack([intrinsics[..., i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))], dim=-1)
        moved = poses[..., :3, :].clone()
        moved[..., 3] *= unit[:, None, None]
        out[:, head : head + views * _CAMERA] = torch.cat([lens, moved.flatten(2)], dim=-1).flatten(1)
        coarse = nn.functional.adaptive_avg_pool2d(
            (depth[:, :1] * unit[:, None, None, None]).clamp_min(1e-6).log(), REFERENCE_SHAPE
        )
        out[:, head + views * _CAMERA :] = coarse.flatten(1)
        rows: Any = list(out)
        pruned: list[dict[str, int] | None] = [None] * batch
        if k and views == 1 and wishes:
            rows, pruned = _prune(out, head, height, width, k, wishes)
        host = self._to_host(torch.cat(rows)).numpy()
        results = []
        for row, counts in zip(np.split(host, np.cumsum([len(row) for row in rows])[:-1]), pruned, strict=True):
            block, rest = row[:-tail], row[-tail:]
            cameras = rest[: views * _CAMERA].reshape(views, _CAMERA)
            log_depth = rest[views * _CAMERA :].reshape(REFERENCE_SHAPE)
            results.append(Result(block, cameras[:, :4], cameras[:, 4:].reshape(views, 3, 4), log_depth, counts))
        return results

    def _depth(self, pictures: NDArray[np.uint8], want_features: bool) -> tuple[Tensor, Any, Tensor, Tensor, Tensor, Tensor]:
        """Depth [B, V, H, W], features, images, intrinsics, extrinsics, and the factor [B] that scales all lengths."""
        batch, views, height, width = pictures.shape[:4]
        images = self._to_device(pictures)
        features, depth, output = self._branch(self._main, images)
        unit = torch.ones(batch, device=self._device)
        if "extrinsics" in output:
            intrinsics, extrinsics = output.intrinsics, as_homogeneous(output.extrinsics)
        else:
            focal = max(height, width) / 2 / self._tan_half
            lens = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], device=self._device)
            intrinsics = lens.expand(batch, views, 3, 3)
            extrinsics = torch.eye(4, device=self._device).expand(batch, views, 4, 4)
            if "sky" in output:
                depth = _far_sky(depth, output.sky < _SKY)
            if self._metric:
                unit = unit * (focal / _CANONICAL_FOCAL_PX)
        if self._meter is not None:
            _, metres, measured = self._branch(self._meter, images)
            focal_px = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
            unit, ground = _metres_per_unit(
                depth, output.depth_conf, metres * focal_px[..., None, None] / _CANONICAL_FOCAL_PX, measured.sky
            )
            if not want_features:
                depth = _far_sky(depth, ground, _FARTHEST_SKY_M / unit)
        return depth, features if want_features else None, images, intrinsics, extrinsics, unit

    def _branch(self, net: Any, images: Tensor) -> tuple[Any, Tensor, Any]:
        height, width = images.shape[-2:]
        dtype = next(net.backbone.parameters()).dtype
        features, _ = net.backbone(images.to(dtype), cam_token=None, export_feat_layers=[])
        features = [tuple(part.float() for part in stage) for stage in features]
        output = net._process_depth_head(features, height, width)
        output = net._process_camera_estimation(features, height, width, output)
        return features, output.depth, output

    def _gaussians(
        self, features: Any, images: Tensor, depth: Tensor, intrinsics: Tensor, poses: Tensor, unit: Tensor, k: int, out: Tensor
    ) -> None:
        net = self._main
        height, width = images.shape[-2:]
        said = net.gs_head(feats=features, H=height, W=width, patch_start_idx=0, images=images)
        raw, opacity = said.raw_gs, said.raw_gs_conf
        if depth.shape[1] == 1 and is_plain(net.gs_adapter):
            adapt_one_view(net.gs_adapter, depth[:, 0], raw[:, 0], opacity[:, 0], intrinsics[:, 0], unit, k, out)
        else:
            adapt_views(net.gs_adapter, depth, raw, opacity, intrinsics, poses, unit, k, out)

    def _to_device(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Normalised pictures, float32 [B, V, 3, H, W]; copied as bytes, then normalised as in the package, bit for bit."""
        images = torch.from_numpy(pictures)
        if self._device.type == "cuda":
            images = images.pin_memory().to(self._device, non_blocking=True)
        images = images.permute(0, 1, 4, 2, 3).to(torch.float32, memory_format=torch.contiguous_format)
        return images.div_(255).sub_(self._mean).div_(self._std)

    def _to_host(self, out: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return out
        # Pinned memory comes from a cache, and returns to it when the last array on it is gone.
        host = torch.empty(out.shape, pin_memory=True)
        host.copy_(out, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return host


def _prune(
    out: Tensor, head: int, height: int, width: int, k: int, wishes: Sequence[Wish]
) -> tuple[list[Tensor], list[dict[str, int] | None]]:
    """Rows of a batch without the Gaussians that nobody will see. Waits for the device once, to know how many there are.

    A session over its budget keeps all of them, as the packer thins on the whole grid. So does one without a border: off the grid,
    the packer would count what lies outside the picture as border. And so does one whose codec is ``planes``.
    """
    asked = torch.tensor([[wish.min_opacity, wish.border] for wish in wishes], device=out.device)
    kept, counts = survivors(out[:, :head], height, width, k, asked)
    rows: list[Tensor] = []
    pruned: list[dict[str, int] | None] = []
    for row, keep, (count, nothing, faint, rim), wish in zip(out, kept, counts.tolist(), wishes, strict=True):
        if wish.border > 0 and count <= wish.max_splats and not wish.needs_grid:
            rows.append(torch.cat([gather(row[:head], height * width, k, keep.nonzero()[:, 0]), row[head:]]))
            pruned.append({"edge": nothing, "opacity": faint, "border": rim})
        else:
            rows.append(row)
            pruned.append(None)
    return rows, pruned


def _metres_per_unit(depth: Tensor, confidence: Tensor, metres: Tensor, sky: Tensor) -> tuple[Tensor, Tensor]:
    """Metres per unit of depth, by least squares over the more confident half of what is not sky; and what is not sky.

    The package's ``_apply_depth_alignment`` without its assertion: a picture of nothing but sky is measured as a whole.

    Args:
        depth, confidence: Of the main network. float32 [B, V, H, W].
        metres: Of the metric network. float32 [B, V, H, W].
        sky: Of the metric network. float32 [B, V, H, W].

    Returns:
        float32 [B], bool [B, V, H, W].
    """
    ground = sky < _SKY
    ground = ground | (ground.flatten(1).sum(1) <= _ENOUGH_PX)[:, None, None, None]
    typical = _quantile(confidence, ground, 0.5)
    chosen = (confidence >= typical[:, None, None, None]) & ground & (metres > 1e-2) & (depth > 1e-3)
    ours, theirs = depth.where(chosen, 0).flatten(1), metres.where(chosen, 0).flatten(1)
    unit = (ours * theirs).sum(1) / (ours * ours).sum(1).clamp_min(1e-12)
    # With nothing to measure by, a frame in the network's own unit is better than none.
    return unit.where(unit > 0, 1.0), ground


def _far_sky(depth: Tensor, ground: Tensor, farthest: Tensor | None = None) -> Tensor:
    """Depth with the sky just behind the farthest ground (its 99th percentile). [B, V, H, W]."""
    limit = _quantile(depth, ground, 0.99)
    if farthest is not None:
        limit = torch.minimum(limit, farthest)
    count = ground.flatten(1).sum(1)
    mixed = (count > _ENOUGH_PX) & (ground[0].numel() - count > _ENOUGH_PX)
    return torch.where(ground | ~mixed[:, None, None, None], depth, limit[:, None, None, None])


def _quantile(values: Tensor, chosen: Tensor, q: float) -> Tensor:
    """The quantile of each session's chosen values; NaN if none is chosen. [B]."""
    return torch.nanquantile(values.where(chosen, torch.nan).flatten(1), q, dim=1)
