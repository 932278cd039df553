"""From the Gaussian head's raw channels to Gaussians, on the device, in one flat block that is copied out at once.

A pixel's channels, in order (``GaussianAdapter`` of depth-anything-3 0.1.1)::

    0–1   offset of the ray, pixels (x, y)
    2–4   scales: (min + (max − min)·sigmoid) · depth · 0.1·(1/fx + 1/fy)
    5–8   rotation in the camera's frame, xyzw, not normalised
    9–35  spherical harmonics, 9 for each of r, g, b; degree 1 weighs 0.025, degree 2 weighs 0.00625
    36    offset of the depth
    –     opacity is a probability, in a separate channel

The mean lies at ``depth + offset`` along the *unit* ray through the pixel's centre plus offset.

A block, float32, for n Gaussians with K coefficients: means 3n · scales 3n · quats 4n · opacities n · sh 3Kn, each row-major.

One view needs none of the package's rotations: in its own camera's frame the pose is the identity. Several views go through the
package's adapter, expressed in the first camera's frame, except for the rotations: the package mixes up wxyz and xyzw when it
multiplies quaternions, which is right only for an identity pose.
"""

from typing import Any

import torch
from depth_anything_3.model.utils.transform import mat_to_quat
from torch import Tensor

SH_CHANNELS = 9


def block_size(n: int, k: int) -> int:
    """Numbers in a block of n Gaussians with k coefficients for each colour channel."""
    return (11 + 3 * k) * n


def sections(block: Any, n: int, k: int) -> tuple[Any, Any, Any, Any, Any]:
    """Means, scales, quats, opacities and sh of blocks, as views into them.

    Args:
        block: Tensor or array [..., block_size(n, k)].
        n: Gaussians.
        k: Coefficients.

    Returns:
        [..., n, 3], [..., n, 3], [..., n, 4], [..., n], [..., n, k, 3].
    """
    lead = tuple(block.shape[:-1])
    return (
        block[..., : 3 * n].reshape(*lead, n, 3),
        block[..., 3 * n : 6 * n].reshape(*lead, n, 3),
        block[..., 6 * n : 10 * n].reshape(*lead, n, 4),
        block[..., 10 * n : 11 * n],
        block[..., 11 * n :].reshape(*lead, n, k, 3),
    )


def is_plain(adapter: Any) -> bool:
    """Whether an adapter has the channels of this module's docstring; others go through the package's own code."""
    return bool(adapter.pred_offset_depth and adapter.pred_offset_xy and not adapter.pred_color and adapter.d_sh == SH_CHANNELS)


def adapt_one_view(
    adapter: Any, depth: Tensor, raw: Tensor, opacity: Tensor, intrinsics: Tensor, unit: Tensor, k: int, out: Tensor
) -> None:
    """Gaussians of single views in their own camera's frame.

    Args:
        adapter: The network's, for its constants.
        depth: float32 [B, H, W].
        raw: Channels as above. float32 [B, H, W, 37].
        opacity: float32 [B, H, W].
        intrinsics: Pixels. float32 [B, 3, 3].
        unit: Factor from units of depth to units of the result. float32 [B].
        k: Coefficients wanted.
        out: Blocks to fill. float32 [B, block_size(H·W, k)].
    """
    height, width = depth.shape[-2:]
    n = height * width
    means, scales, quats, opacities, sh = sections(out, n, k)
    raw = raw.flatten(1, 2)
    fx, fy, cx, cy = (intrinsics[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    columns = torch.arange(width, device=depth.device, dtype=torch.float32).add_(0.5).repeat(height)
    rows = torch.arange(height, device=depth.device, dtype=torch.float32).add_(0.5).repeat_interleave(width)
    distance = (depth.flatten(1) + raw[..., 36]) * unit[:, None]
    x, y = (columns + raw[..., 0] - cx) / fx, (rows + raw[..., 1] - cy) / fy
    z = distance * torch.rsqrt(x * x + y * y + 1)
    means[..., 0], means[..., 1], means[..., 2] = x * z, y * z, z
    low, high = adapter.gaussian_scale_min, adapter.gaussian_scale_max
    pixel = distance * (0.1 / fx + 0.1 / fy)
    torch.mul(torch.sigmoid(raw[..., 2:5]).mul_(high - low).add_(low), pixel[..., None], out=scales)
    turn = raw[..., 5:9]
    length = turn.norm(dim=-1, keepdim=True).add_(1e-8)
    torch.div(turn[..., :3], length, out=quats[..., 1:])
    torch.div(turn[..., 3:], length, out=quats[..., :1])
    opacities.copy_(opacity.flatten(1))
    coefficients = raw[..., 9:36].reshape(*raw.shape[:-1], 3, SH_CHANNELS)[..., :k]
    torch.mul(coefficients.transpose(-1, -2), adapter.sh_mask[:k, None], out=sh)


def adapt_views(
    adapter: Any,
    depth: Tensor,
    raw: Tensor,
    opacity: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    unit: Tensor,
    k: int,
    out: Tensor,
) -> None:
    """Gaussians of several views of one scene, in the first camera's frame.

    Args:
        depth, raw, opacity, intrinsics: As for one view, with the views as a second dimension: [B, V, …].
        adapter, unit, k: As for one view.
        poses: World to camera, the world being the first camera's frame. float32 [B, V, 4, 4].
        out: Blocks to fill. float32 [B, block_size(V·H·W, k)].
    """
    views, height, width = depth.shape[1:]
    means, scales, quats, opacities, sh = sections(out, views * height * width, k)
    got = adapter(
        extrinsics=poses, intrinsics=intrinsics, depths=depth, opacities=opacity, raw_gaussians=raw, image_shape=(height, width)
    )
    torch.mul(got.means, unit[:, None, None], out=means)
    torch.mul(got.scales, unit[:, None, None], out=scales)
    opacities.copy_(got.opacities)
    sh.copy_(got.harmonics.transpose(-1, -2)[..., :k, :])
    start = 2 if adapter.pred_offset_xy else 0
    turn = raw[..., start + 3 : start + 7]
    turn = (turn / (turn.norm(dim=-1, keepdim=True) + 1e-8)).flatten(2, 3)
    camera = mat_to_quat(poses[..., :3, :3].mT)[:, :, None]
    quats.copy_(_product(camera, turn).flatten(1, 2))


def survivors(out: Tensor, height: int, width: int, k: int, wishes: Tensor) -> tuple[Tensor, Tensor]:
    """Which Gaussians of single views the packer would keep, by the same float32 comparisons as ``splats.pruning``.

    A session over its budget keeps all of them, as the packer thins on the whole grid. So does one without a border: off the grid,
    the packer would count what lies outside the picture as border.

    Args:
        out: Blocks. float32 [B, block_size(H·W, k)].
        height, width: Size of the grid.
        k: Coefficients.
        wishes: ``min_opacity``, ``border`` and ``max_splats`` of each session. float32 [B, 3].

    Returns:
        Which are kept, bool [B, H·W]; and how many would be kept, are invisible, too faint and too near the border, whether or not
        the session keeps all. int64 [B, 4].
    """
    opacities = sections(out, height * width, k)[3]
    faintest, border, budget = wishes[:, :1], wishes[:, 1:2], wishes[:, 2:]
    rows, columns = (torch.arange(size, device=out.device).add(0.5) for size in (height, width))
    above, beside = ((place < border * size) | (place > (1 - border) * size) for place, size in ((rows, height), (columns, width)))
    # The packer's order of reasons: each Gaussian is counted once.
    reason = (above[:, :, None] | beside[:, None]).flatten(1) * 3
    reason = torch.where(opacities < faintest, 2, reason)
    reason = torch.where(opacities == 0, 1, reason)
    counts = (reason[:, None] == torch.arange(4, device=out.device)[:, None]).sum(-1)
    return (reason == 0) | (border <= 0) | (counts[:, :1] > budget), counts


def keep_first(block: Tensor, n: int, k: int, kept: Tensor, out: Tensor) -> None:
    """Blocks with the kept Gaussians before the others, both in their order: nobody has to wait to know how many there are.

    Args:
        block: float32 [B, block_size(n, k)].
        n, k: Gaussians and coefficients.
        kept: Which are to come first. bool [B, n].
        out: To fill. float32 [B, block_size(n, k)].
    """
    before = kept.cumsum(1)
    last = before[:, -1:] + torch.arange(n, device=kept.device)
    place = torch.where(kept, before - 1, last - before)
    for part, to in zip(sections(block, n, k), sections(out, n, k), strict=True):
        to.scatter_(1, place.view(*place.shape, *[1] * (part.ndim - 2)).expand_as(part), part)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of xyzw quaternions, as wxyz: first turned by b, then by a. [..., 4]."""
    ax, ay, az, aw = a.unbind(-1)
    bx, by, bz, bw = b.unbind(-1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        dim=-1,
    )
