"""Checkpoints made from a seed: micro networks with the real heads, and the real architectures with random weights.

Random weights would give a camera with a focal length of 10⁸ pixels; so the camera decoder's output weights are zeroed and its
biases say a camera: no translation, no rotation (or one that depends on the view), a field of view of 1.0 × 0.8.
"""

import copy
import json
import os
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_model
from torch import nn

from deployments.models.da3.network import MODEL_REGISTRY, create_object, load_config
from deployments.models.da3.weights import ARCHITECTURE, CONFIG, MODULES_VARIABLE, TENSORS

# Of this process and of every server that it starts: their checkpoints name the transformer beside this file.
os.environ.setdefault(MODULES_VARIABLE, "tests.da3.")


def _object(path: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"__object__": {"path": path, "name": name, "args": "as_params"}, **arguments}


_MODEL = "depth_anything_3.model"
_HEAD = {"features": 16, "out_channels": [8, 16, 16, 16]}


def any_view(gaussians: bool = True) -> dict[str, Any]:
    """Depth, cameras and, if asked, Gaussians."""
    return _object(
        f"{_MODEL}.da3", "DepthAnything3Net",
        net=_object("tests.da3.micro_vit", "MicroDinoV2", out_layers=[0, 1, 2, 3], alt_start=2, rope_start=2),
        head=_object(f"{_MODEL}.dualdpt", "DualDPT", dim_in=96, output_dim=2, **_HEAD),
        cam_enc=_object(f"{_MODEL}.cam_enc", "CameraEnc", dim_out=48, num_heads=4, trunk_depth=1),
        cam_dec=_object(f"{_MODEL}.cam_dec", "CameraDec", dim_in=96),
        **({
            "gs_head": _object(f"{_MODEL}.gsdpt", "GSDPT", dim_in=96, output_dim=38, **_HEAD),
            "gs_adapter": _object(
                f"{_MODEL}.gs_adapter", "GaussianAdapter", sh_degree=2, pred_color=False, pred_offset_depth=True,
                pred_offset_xy=True, gaussian_scale_min=1e-5, gaussian_scale_max=30.0,
            ),
        } if gaussians else {}),
    )  # fmt: skip


def one_view() -> dict[str, Any]:
    """Depth and sky, no camera: the shape of metric-large and mono-large."""
    return _object(
        f"{_MODEL}.da3", "DepthAnything3Net",
        net=_object("tests.da3.micro_vit", "MicroDinoV2", out_layers=[0, 1, 2, 3], cat_token=False),
        head=_object(f"{_MODEL}.dpt", "DPT", dim_in=48, output_dim=1, **_HEAD),
    )  # fmt: skip


def nested() -> dict[str, Any]:
    """Both, as in nested-giant-large."""
    return {
        "__object__": {"path": f"{_MODEL}.da3", "name": "NestedDepthAnything3Net", "args": "as_params"},
        "anyview": any_view(),
        "metric": one_view(),
    }


def layout_of(config: str) -> dict[str, Any]:
    """The package's own layout of one of its models."""
    return load_config(MODEL_REGISTRY[config])  # type: ignore[no-any-return]


def make_network(layout: Any, seed: int = 0, turn: float = 0.0, device: str = "cpu") -> nn.Module:
    """The package's own network with random weights and a sensible camera.

    Args:
        layout: In the package's config language.
        seed: Of the weights.
        turn: How much the views' poses differ from each other: 0 leaves all at the origin.
        device: Where its weights are drawn; giant's take a CPU a minute and more.
    """
    torch.manual_seed(seed)
    with torch.device(device):
        net: nn.Module = create_object(copy.deepcopy(layout)).eval()
    for module in net.modules():
        if type(module).__name__ == "CameraDec":
            with torch.no_grad():
                for layer in (module.fc_t, module.fc_qvec, module.fc_fov[0]):
                    layer.weight.mul_(turn if layer is not module.fc_fov[0] else 0.0)
                module.fc_t.bias.copy_(torch.tensor([0.05, -0.02, 0.1]) if turn else torch.zeros(3))
                module.fc_qvec.bias.copy_(torch.tensor([0.1, -0.2, 0.05, 0.9]) if turn else torch.tensor([0.0, 0, 0, 1]))
                module.fc_fov[0].bias.copy_(torch.tensor([0.8, 1.0]))
    return net.requires_grad_(False)


def save(net: nn.Module, folder: Path, config: str, layout: Any = None) -> Path:
    """A checkpoint as on the hub; with ``layout`` it brings its architecture along."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"model_name": config}))
    whole = nn.Module()
    whole.model = net
    # As the hub's mixin does it: of tensors that share memory only one is written.
    save_model(whole, str(folder / TENSORS))
    if layout is not None:
        (folder / ARCHITECTURE).write_text(yaml.safe_dump(layout))
    return folder
