"""The package's own way from pictures to Gaussians, to compare with: ``DepthAnything3.inference`` and its PLY writer, unchanged.

Its api imports far more than inference needs. What is not installed gets an empty stand-in; only of ``torchvision.transforms``
three functions are really used, and those are here, with torchvision's formulas.
"""

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_IMPORTED_ONLY = (
    "moviepy",
    "moviepy.editor",
    "matplotlib",
    "pycolmap",
    "trimesh",
    "imageio",
    "torchvision",
    "torchvision.transforms",
)


class _ToTensor:
    def __call__(self, image: Any) -> Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class _Normalize:
    def __init__(self, mean: list[float], std: list[float]) -> None:
        self._mean, self._std = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std))

    def __call__(self, image: Tensor) -> Tensor:
        return image.clone().sub_(self._mean).div_(self._std)


class _CenterCrop:
    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def __call__(self, image: Tensor) -> Tensor:
        (height, width), (h, w) = image.shape[-2:], self._size
        top, left = round((height - h) / 2.0), round((width - w) / 2.0)
        return image[..., top : top + h, left : left + w]


def package_api() -> Any:
    """``depth_anything_3.api``, with stand-ins for what is missing."""
    # Ours first: it imports the package quietly.
    from deployments.models.da3 import network as da3_network

    del da3_network
    stand_ins = []
    for name in _IMPORTED_ONLY:
        try:
            __import__(name)
        except ImportError:
            module = types.ModuleType(name)
            module.__path__ = []
            sys.modules[name] = module
            stand_ins.append(name)
    if "torchvision.transforms" in stand_ins:
        sys.modules["torchvision.transforms"].__dict__.update(ToTensor=_ToTensor, Normalize=_Normalize, CenterCrop=_CenterCrop)
        sys.modules["torchvision"].__dict__.update(transforms=sys.modules["torchvision.transforms"])
    if "moviepy" in stand_ins:
        sys.modules["moviepy"].__dict__.update(editor=sys.modules["moviepy.editor"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import depth_anything_3.api as api
    finally:
        for name in stand_ins:
            # Nobody else is to take a stand-in for the real thing.
            del sys.modules[name]
    return api


def package_model(net: torch.nn.Module, device: torch.device, exact: bool) -> Any:
    """The package's ``DepthAnything3`` around a network.

    Args:
        net: As the package builds it.
        device: Where to run.
        exact: In float32 instead of the package's automatic half precision, which on a CPU is float16.
    """
    api = package_api()
    model = api.DepthAnything3.__new__(api.DepthAnything3)
    torch.nn.Module.__init__(model)
    model.model = net.to(device)
    model.input_processor, model.output_processor, model.device = api.InputProcessor(), api.OutputProcessor(), device
    if exact:
        model.forward = torch.inference_mode()(lambda *arguments: net(*arguments))
    return model.eval()


def write_ply(prediction: Any, path: Path) -> None:
    """As ``export_to_gs_ply`` does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from depth_anything_3.utils.gsply_helpers import save_gaussian_ply

    depth = torch.from_numpy(prediction.depth).unsqueeze(-1).to(prediction.gaussians.means)
    save_gaussian_ply(
        gaussians=prediction.gaussians, save_path=str(path), ctx_depth=depth, shift_and_scale=False, save_sh_dc_only=True,
        gs_views_interval=1, inv_opacity=True, prune_by_depth_percent=0.9, prune_border_gs=True, match_3dgs_mcmc_dev=False,
    )  # fmt: skip


def make_points(prediction: Any) -> Any:
    """Points and colours as ``export_to_glb`` makes them, without its file: that needs trimesh."""
    from depth_anything_3.utils.export import glb

    n, height, width = prediction.depth.shape
    if prediction.intrinsics is None:
        # Networks that do not estimate the camera: any will do for the time it takes.
        lens = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], np.float32)
        prediction.intrinsics, prediction.extrinsics = np.tile(lens, (n, 1, 1)), np.tile(np.eye(3, 4, dtype=np.float32), (n, 1, 1))
    limit = 0.0 if prediction.conf is None else glb.get_conf_thresh(prediction, None, 1.05, 40.0, 90.0)
    points = glb._depths_to_world_points_with_colors(
        prediction.depth, prediction.intrinsics, prediction.extrinsics, prediction.processed_images, prediction.conf, limit
    )
    return glb._filter_and_downsample(*points, 1_000_000)
