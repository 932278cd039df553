"""The network itself: built without memory, filled straight from the file, and stripped of what only costs time.

The package's own modules do the computing. Three parts differ: the rotary embedding, where the package asks the device for a
maximum that could be known (54 waits a frame in giant); the embeddings of positions, which depend on a picture's size alone and are
kept; and the depth head's second branch, whose rays are unused.
``tests/da3/test_network.py`` compares the result with the original, bit by bit.
"""

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deployments.models.da3.weights import ARCHITECTURE, NOT_INSTALLED, Checkpoint
from deployments.models.errors import ModelUnavailable

# Set before the package is imported: otherwise it prints three lines a frame.
os.environ.setdefault("DA3_LOG_LEVEL", "ERROR")
try:
    with warnings.catch_warnings():
        # It scripts one function with torch.jit, which is deprecated in torch 2.13.
        warnings.simplefilter("ignore")
        from depth_anything_3.cfg import create_object, load_config
        from depth_anything_3.model.da3 import DepthAnything3Net, NestedDepthAnything3Net
        from depth_anything_3.model.dinov2.layers.rope import RotaryPositionEmbedding2D
        from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer
        from depth_anything_3.model.dpt import DPT
        from depth_anything_3.model.dualdpt import DualDPT
        from depth_anything_3.model.gsdpt import GSDPT
        from depth_anything_3.model.utils.head_utils import create_uv_grid, custom_interpolate, position_grid_to_embed
        from depth_anything_3.registry import MODEL_REGISTRY
except ImportError as missing:
    raise ModelUnavailable(NOT_INSTALLED.format(missing.name or "depth-anything-3")) from None

ROPE_POSITIONS = 128
"""Rows of the rotary embedding's table, more than the patches along a side: for pictures up to 1778 pixels."""

_MOST_KEPT = 400
"""Tables that a module keeps of what depends on the picture's size alone: 200 sizes in a transformer, of 3 MB each in giant. Others
are made anew in every frame: a captured graph reads what is kept, so nothing may be let go, and clients choose their sizes."""

_PREFIX = "model."


def _once(module: Any, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What ``make`` gives, kept with the module for the next frame."""
    kept: dict[tuple[Any, ...], Any] = module.__dict__.setdefault("_kept", {})
    if key in kept:
        return kept[key]
    made = make()
    if len(kept) < _MOST_KEPT:
        kept[key] = made
    return made


class _Rope(RotaryPositionEmbedding2D):  # type: ignore[misc]
    """The rotary embedding by a table that :class:`_Transformer` makes once."""

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        # Not positions but their cosines and signed sines, which the transformer hands on in their place. [B, N, 2 × head].
        cos, sin = positions[:, None].chunk(2, dim=-1)
        # Within each half (down, across), a quarter and its partner change places.
        swapped = tokens.reshape(*tokens.shape[:-1], 2, 2, -1).flip(-2).flatten(-3)
        turned: Tensor = tokens * cos + swapped * sin
        return turned

    def table(self, positions: Tensor, half: int, dtype: torch.dtype) -> Tensor:
        """Cosines and signed sines of positions (down, across). [1, 1, N, 2] → [1, 1, N, 8 × half ÷ 2]."""
        cos, sin = self._compute_frequency_components(half, ROPE_POSITIONS, positions.device, dtype)
        sign = torch.ones(4, half // 2, device=positions.device, dtype=dtype)
        sign[0::2] = -1  # (a, b) turns into (a·cos − b·sin, b·cos + a·sin).
        cosines, sines = (nn.functional.embedding(positions, values).flatten(-2) for values in (cos, sin))
        return torch.cat([cosines, sines * sign.flatten()], dim=-1)


class _Transformer(DinoVisionTransformer):  # type: ignore[misc]
    """The backbone with all that depends only on a picture's size made once for each.

    The package interpolates its table of positions anew in every frame. Torch's kernel for that has a thread for each patch, which
    goes through the channels one by one: on an H200 it takes 14 ms, as long as all the rest of giant.
    """

    def interpolate_pos_encoding(self, x: Tensor, w: int, h: int) -> Any:
        return _once(self, ("patches", w, h, x.dtype), lambda: super(_Transformer, self).interpolate_pos_encoding(x, w, h))

    def _prepare_rope(self, B: int, S: int, H: int, W: int, device: torch.device) -> tuple[Any, Any]:  # noqa: N803
        if self.rope is None:
            return None, None
        tables = _once(self, ("rope", H, W), lambda: self._rope_tables(H // self.patch_size, W // self.patch_size, device))
        here, same = (table.expand(B, S, -1, -1) for table in tables)
        return here, same

    def _rope_tables(self, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """For attention within a view, where places differ, and across views, where they are all the same."""
        grid = self.position_getter(1, rows, columns, device=device)[None]
        special = grid.new_zeros((1, 1, self.patch_start_idx, 2))
        here, same = (torch.cat([special, rows], dim=2) for rows in (grid + 1, torch.ones_like(grid)))
        half = self.embed_dim // self.num_heads // 2
        return self.rope.table(here, half, self.cls_token.dtype), self.rope.table(same, half, self.cls_token.dtype)


class _KeepsPositions:
    """A head whose embedding of positions is made once: half of the channels depend on the column alone, the others on the row."""

    def _add_pos_embed(self, x: Tensor, W: int, H: int, ratio: float = 0.1) -> Tensor:  # noqa: N803
        channels, rows, columns = x.shape[1:]

        def make() -> tuple[Tensor, Tensor]:
            grid = create_uv_grid(columns, rows, aspect_ratio=W / H, dtype=x.dtype, device=x.device)
            across, down = (position_grid_to_embed(part, channels) * ratio for part in (grid[:1], grid[:, :1]))
            return across.permute(2, 0, 1)[: channels // 2].contiguous(), down.permute(2, 0, 1)[channels // 2 :].contiguous()

        across, down = _once(self, (channels, rows, columns, W / H, x.dtype), make)
        # In place: what comes here is a convolution's or an interpolation's own result.
        x[:, : channels // 2] += across
        x[:, channels // 2 :] += down
        return x


class _MonoHead(_KeepsPositions, DPT):  # type: ignore[misc]
    """The head for depth and sky."""


class _GaussianHead(_KeepsPositions, GSDPT):  # type: ignore[misc]
    """The Gaussian head."""


class _DepthHead(_KeepsPositions, DualDPT):  # type: ignore[misc]
    """The depth head without its branch for rays, which the camera decoder makes superfluous. Same depth for half the fusion."""

    def _forward_impl(self, feats: list[Tensor], H: int, W: int, patch_start_idx: int) -> dict[str, Tensor]:  # noqa: N803
        batch, _, channels = feats[0].shape
        rows, columns = H // self.patch_size, W // self.patch_size
        pyramid = []
        for stage, take in enumerate(self.intermediate_layer_idx):
            x = self.norm(feats[take][:, patch_start_idx:]).permute(0, 2, 1).reshape(batch, channels, rows, columns)
            x = self.projects[stage](x)
            if self.pos_embed:
                x = self._add_pos_embed(x, W, H)
            pyramid.append(self.resize_layers[stage](x))
        s = self.scratch
        one, two, three, four = (
            layer(x) for layer, x in zip((s.layer1_rn, s.layer2_rn, s.layer3_rn, s.layer4_rn), pyramid, strict=True)
        )
        x = s.refinenet4(four, size=three.shape[2:])
        x = s.refinenet3(x, three, size=two.shape[2:])
        x = s.refinenet2(x, two, size=one.shape[2:])
        x = s.output_conv1(s.refinenet1(x, one))
        size = (rows * self.patch_size // self.down_ratio, columns * self.patch_size // self.down_ratio)
        x = custom_interpolate(x, size, mode="bilinear", align_corners=True)
        if self.pos_embed:
            x = self._add_pos_embed(x, W, H)
        x = s.output_conv2(x).permute(0, 2, 3, 1)
        depth = self._apply_activation_single(x[..., :-1], self.activation).squeeze(-1)
        confidence = self._apply_activation_single(x[..., -1], self.conf_activation)
        return {self.head_main: depth, f"{self.head_main}_conf": confidence}


_UNUSED_IN_HEAD = ("refinenet1_aux", "refinenet2_aux", "refinenet3_aux", "refinenet4_aux", "output_conv1_aux", "output_conv2_aux")


class _WithoutMemory(TorchFunctionMode):
    """Puts parameters on the meta device while modules are built: no memory and no random numbers for what the file will fill.

    ``torch.device("meta")`` would almost do, but the package reads numbers back (``linspace(…).item()``) and keeps buffers that
    no checkpoint has; those are made by other functions and stay real.
    """

    _MADE_BY = (torch.empty, torch.zeros, torch.randn)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self._MADE_BY:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


_FASTER: dict[Any, Any] = {DinoVisionTransformer: _Transformer, DPT: _MonoHead, GSDPT: _GaussianHead}


def build(checkpoint: Checkpoint) -> nn.Module:
    """The architecture of a checkpoint, its parameters on the meta device.

    Raises:
        ModelUnavailable: If the package does not know it, or its ``architecture.yaml`` describes no network.
    """
    if checkpoint.architecture is None and checkpoint.card.config not in MODEL_REGISTRY:
        raise ModelUnavailable(f"the installed depth-anything-3 has no {checkpoint.card.config!r}: install version 0.1.1")
    layout = str(checkpoint.architecture or MODEL_REGISTRY[checkpoint.card.config])
    try:
        with _WithoutMemory():
            net = create_object(load_config(layout))
    except (OSError, ImportError, AttributeError, KeyError, TypeError, AssertionError) as error:
        raise ModelUnavailable(f"{layout} describes no network of this package ({type(error).__name__}: {error})") from None
    if not isinstance(net, (DepthAnything3Net, NestedDepthAnything3Net)):
        raise ModelUnavailable(f"{ARCHITECTURE}: expected a DepthAnything3Net or a nested one, got {type(net).__name__}")
    network: nn.Module = net.eval()
    return network


def trim(net: nn.Module) -> nn.Module:
    """Replace or remove, in place, what only costs time and memory; see the module."""
    for module in net.modules():
        if isinstance(module, RotaryPositionEmbedding2D):
            module.__class__ = _Rope
        elif type(module) in _FASTER:
            module.__class__ = _FASTER[type(module)]
        # Without a camera decoder, only the rays say anything about the camera.
        elif isinstance(module, DepthAnything3Net) and type(module.head) is DualDPT and module.cam_dec is not None:
            module.head.__class__ = _DepthHead
            for name in _UNUSED_IN_HEAD:
                delattr(module.head.scratch, name)
    return net


def load(checkpoint: Checkpoint, device: torch.device, backbone_dtype: torch.dtype) -> nn.Module:
    """A trimmed network with its weights, ready for inference.

    Tensors go from the file to the device one at a time, and become the parameters themselves: memory never holds more than one
    tensor in addition to the network.

    Args:
        checkpoint: From :func:`~deployments.models.da3.weights.find`.
        device: Where it is to run.
        backbone_dtype: Of the transformers; heads are always float32.

    Raises:
        ModelUnavailable: If the file does not fit the architecture (the message names the tensors), or the device has no room.
    """
    net = build(checkpoint)
    whole = dict(net.state_dict())
    trim(net)
    wanted = net.state_dict()
    try:
        with safe_open(checkpoint.tensors, framework="pt", device=str(device)) as file, _memory_named(checkpoint, device):
            stored = {name.removeprefix(_PREFIX): name for name in file.keys()}  # noqa: SIM118 (not a dict)
            _check_fit(checkpoint, file, stored, wanted, whole)
            # Under no_grad and by assignment, so that no second set is ever allocated.
            tensors = {
                name: file.get_tensor(stored[name]).to(backbone_dtype if _in_backbone(name) else torch.float32) for name in wanted
            }
            net.load_state_dict(tensors, assign=True)
            del tensors
            net.to(device)  # The buffers that no checkpoint has.
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"{checkpoint.tensors} can't be read ({error}): it may be cut short; download it again") from None
    if device.type == "cuda":
        # The tensor cores' own order: without it every convolution turns its input around, and its output back. With it,
        # cudnn.benchmark gains 3 %, and takes up to 110 GB and seconds for each shape to try every algorithm (H200).
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.requires_grad_(False)


def _in_backbone(name: str) -> bool:
    """Whether a tensor is the transformer's; the camera decoder has a ``backbone`` too."""
    return name.removeprefix("da3.").removeprefix("da3_metric.").startswith("backbone.")


def _check_fit(
    checkpoint: Checkpoint, file: Any, stored: dict[str, str], wanted: dict[str, Tensor], whole: dict[str, Tensor]
) -> None:
    missing = [name for name in wanted if name not in stored]
    unexpected = [name for name in stored if name not in whole]
    shapes = {name: tuple(file.get_slice(stored[name]).get_shape()) for name in wanted if name in stored}
    misshapen = [f"{name} {shapes[name]} for {tuple(wanted[name].shape)}" for name in shapes if shapes[name] != wanted[name].shape]
    if missing or misshapen:
        parts = {"missing": missing, "of the wrong shape": misshapen, "unexpected": unexpected}
        said = "; ".join(f"{len(names)} {what} ({_few(names)})" for what, names in parts.items() if names)
        raise ModelUnavailable(
            f"{checkpoint.tensors} is not a checkpoint of {checkpoint.card.name}: tensors {said}; "
            "check engine.params.model and .weights"
        )
    if unexpected:
        # The rest of the file is fine.
        warnings.warn(f"{checkpoint.tensors}: {len(unexpected)} tensors are not used ({_few(unexpected)})", stacklevel=3)


def _few(names: list[str]) -> str:
    return ", ".join([*names[:3], "…"] if len(names) > 3 else names)


@contextmanager
def _memory_named(checkpoint: Checkpoint, device: torch.device) -> Iterator[None]:
    """Turn running out of memory into a sentence that says what to do."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(checkpoint, device) from error
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise _out_of_memory(checkpoint, device) from error


def _out_of_memory(checkpoint: Checkpoint, device: torch.device) -> ModelUnavailable:
    size_gb = checkpoint.tensors.stat().st_size / 1e9
    return ModelUnavailable(
        f"{device} has no room for {checkpoint.card.name} ({size_gb:.1f} GB of weights): free it, give the replica a larger "
        "num_gpus share, or choose a smaller engine.params.model"
    )
