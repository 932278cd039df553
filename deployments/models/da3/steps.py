"""What is computed on the device, in three steps: depth and cameras, the Gaussian head, and the block that goes to the host.

Nothing here waits for the device or reads from it: each step can be captured as a graph.

Two things that the package decides over a whole batch are decided for each session here, so that they do not depend on who shares
the batch: the nested model's scale to metres, and the depth given to the sky.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from depth_anything_3.model.da3 import NestedDepthAnything3Net
from depth_anything_3.model.utils.transform import pose_encoding_to_extri_intri
from torch import Tensor, nn

from deployments.models.da3.adapter import adapt_one_view, adapt_views, is_plain, keep_first, survivors
from deployments.models.da3.known import LENS
from deployments.models.da3.picture import MEAN, STD
from deployments.models.da3.resize import Taps, shrink

COUNTS = 4
"""Numbers behind a block: Gaussians kept, invisible, too faint, too near the border."""

ASKED = 4
"""Numbers that the third step is told of each session: the factor of all lengths, min_opacity, border, max_splats. With several
views, their poses follow."""

_SKY = 0.3  # a pixel of at least this much sky is sky
_ENOUGH_PX = 10
_FARTHEST_SKY_M = 200.0
_CANONICAL_FOCAL_PX = 300.0  # the metric network's depth is metres at this focal length


@dataclass(frozen=True, slots=True)
class Scene:
    """What the first step leaves on the device: pictures, features and depth [B, V, …], and the factor [B] of all lengths."""

    images: Tensor
    features: Any
    depth: Tensor
    intrinsics: Tensor
    poses: Tensor
    unit: Tensor


class Steps:
    """A network's three steps.

    Args:
        net: From :func:`deployments.models.da3.network.load`.
        device: Where its weights are.
        metric: Whether to scale the depth of a network without a camera decoder to metres.

    Attributes:
        main: The network, of a nested one the one for any views.
        meter: Of a nested one, the one for metres.
        metric: As it was given.
        mark: Called with a name after each part of a step.
    """

    def __init__(self, net: nn.Module, device: torch.device, metric: bool) -> None:
        nested = isinstance(net, NestedDepthAnything3Net)
        self.main: Any = net.da3 if nested else net
        self.meter: Any = net.da3_metric if nested else None
        self.mark: Callable[[str], None] = lambda name: None
        self._device, self.metric = device, metric
        self._mean, self._std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))

    @property
    def predicts_camera(self) -> bool:
        """Whether the network finds the focal length itself."""
        return self.main.cam_dec is not None

    def depth(
        self, pictures: Tensor, taps: Sequence[tuple[Taps, Taps]], want_features: bool, lens: Tensor, known: Tensor | None = None
    ) -> Scene:
        """The first step.

        Args:
            pictures: On the device. uint8 [B, V, H, W, 3].
            taps: How to shrink them.
            want_features: Whether the second step follows.
            lens: Each session's focal length over the picture's longer side, for networks that do not predict the camera. float32
                [B, 1].
            known: ``Known.numbers`` of each session, which go before ``lens`` and before what the network predicts; None: nothing
                is known.
        """
        images = pictures.to(torch.float32)
        for across, down in taps:
            images = shrink(images, across, down)
        batch, views, height, width = images.shape[:4]
        # Normalised as in the package, bit for bit.
        images = images.permute(0, 1, 4, 2, 3).contiguous().div_(255).sub_(self._mean).div_(self._std)
        self.mark("resize")
        told = known[..., LENS:] if known is not None and known.shape[-1] > LENS else None
        features, depth, output = self._branch(self.main, images, told)
        unit = torch.ones(batch, device=self._device)
        poses = torch.eye(4, device=self._device).repeat(batch, views, 1, 1)
        if "intrinsics" in output:
            intrinsics = output.intrinsics if known is None else _matrices(known)
            if views > 1:
                # The first camera's frame is the world; its own pose stays the identity to the last bit.
                poses[:, 1:, :3] = _relative(output.extrinsics)
        else:
            if known is None:
                focal = lens * max(height, width)
                # Filled in on the device: a tensor made from a list would wait for its copy.
                intrinsics = torch.zeros((batch, views, 3, 3), device=self._device)
                for i, value in ((0, width / 2), (1, height / 2)):
                    intrinsics[..., i, i] = focal
                    intrinsics[..., i, 2] = value
                intrinsics[..., 2, 2] = 1.0
            else:
                intrinsics = _matrices(known)
            if "sky" in output:
                depth = _far_sky(depth, output.sky < _SKY)
            if self.metric:
                unit = (intrinsics[:, 0, 0, 0] + intrinsics[:, 0, 1, 1]) / (2 * _CANONICAL_FOCAL_PX)
        if self.meter is not None:
            _, metres, measured = self._branch(self.meter, images)
            focal_px = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
            unit, ground = _metres_per_unit(
                depth, output.depth_conf, metres * focal_px[..., None, None] / _CANONICAL_FOCAL_PX, measured.sky
            )
            if not want_features:
                depth = _far_sky(depth, ground, _FARTHEST_SKY_M / unit)
        self.mark("network")
        return Scene(images, features if want_features else None, depth, intrinsics, poses, unit)

    def _branch(self, net: Any, images: Tensor, told: Tensor | None = None) -> tuple[Any, Tensor, Any]:
        height, width = images.shape[-2:]
        dtype = next(net.backbone.parameters()).dtype
        token = None
        if told is not None:
            # The package's camera encoder, of which the first lines are on the host: they would wait for the device.
            enc = net.cam_enc
            token = enc.trunk_norm(enc.trunk(enc.token_norm(enc.pose_branch(told)))).to(dtype)
        features, _ = net.backbone(images.to(dtype), cam_token=token, export_feat_layers=[])
        features = [tuple(part.float() for part in stage) for stage in features]
        output = net._process_depth_head(features, height, width)
        if net.cam_dec is not None:
            # Camera to world; the package inverts it with a function of TorchScript, which optimises itself while it runs.
            output.extrinsics, output.intrinsics = pose_encoding_to_extri_intri(net.cam_dec(features[-1][1]), (height, width))
        return features, output.depth, output

    def gaussians(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """The second step: channels of ``adapter.py`` and opacities. [B, V, H, W, C], [B, V, H, W]."""
        height, width = scene.depth.shape[-2:]
        said = self.main.gs_head(feats=scene.features, H=height, W=width, patch_start_idx=0, images=scene.images)
        self.mark("Gaussian head")
        return said.raw_gs, said.raw_gs_conf

    def block(self, scene: Scene, said: tuple[Tensor, Tensor], asked: Tensor, k: int, prune: bool, out: Tensor) -> None:
        """The third step: Gaussians as in ``adapter.py``, and counts of what was pruned. float32 [B, size + 4]."""
        raw, opacity = said
        views, height, width = scene.depth.shape[1:]
        unit, adapter = scene.unit * asked[:, 0], self.main.gs_adapter
        wanted = out[:, :-COUNTS]
        block = torch.empty_like(wanted) if prune else wanted
        if views == 1 and is_plain(adapter):
            adapt_one_view(adapter, scene.depth[:, 0], raw[:, 0], opacity[:, 0], scene.intrinsics[:, 0], unit, k, block)
        else:
            # Where the host says that the cameras stand, in the network's unit.
            poses = scene.poses.clone()
            poses[:, :, :3] = asked[:, ASKED:].view(-1, views, 3, 4)
            poses[:, :, :3, 3] /= unit[:, None, None]
            adapt_views(adapter, scene.depth, raw, opacity, scene.intrinsics, poses, unit, k, block)
        self.mark("adapter")
        if prune:
            kept, out[:, -COUNTS:] = survivors(block, height, width, k, asked[:, 1:ASKED])
            keep_first(block, height * width, k, kept, wanted)
            self.mark("prune")


def _matrices(known: Tensor) -> Tensor:
    """Intrinsics as the package has them. [B, V, 4 or more] → [B, V, 3, 3]."""
    matrices = torch.zeros((*known.shape[:2], 3, 3), device=known.device)
    for place, (i, j) in enumerate(((0, 0), (1, 1), (0, 2), (1, 2))):
        matrices[..., i, j] = known[..., place]
    matrices[..., 2, 2] = 1.0
    return matrices


def _relative(poses: Tensor) -> Tensor:
    """Poses of all views but the first, camera to world [B, V, 3, 4] → from the first camera to each. [B, V − 1, 3, 4]."""
    turn, place = poses[..., :3], poses[..., 3:]
    back = turn[:, 1:].mT
    return torch.cat([back @ turn[:, :1], back @ (place[:, :1] - place[:, 1:])], dim=-1)


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
