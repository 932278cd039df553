"""Depth Anything 3: our way from a picture to Gaussians, beside the package's own ``inference()`` and its PLY writer.

    python -m benchmarks.inference --model da3-small --resolution 504        # random weights of the real architecture
    python -m benchmarks.inference --model da3-giant --hub --device cuda     # the real ones, from the hub or its cache
    python -m benchmarks.inference --model micro                             # the real heads behind a tiny transformer

Same weights, same frames, in turn, medians of pairs; figures are milliseconds a frame. Without ``--hub`` or ``--weights`` the
weights are random: time does not depend on them. ``network`` is the time inside backbone, heads and camera decoder, the same
modules on both sides; ``outside`` is everything else: preprocessing, adapter, copies, and the export: a PLY of all Gaussians, or
points with colours for models that have none (the package's without its GLB file). On a GPU every mark waits for the device,
which costs a little: ``total`` is from runs of its own, without marks.

A CPU runs both in float32; on a GPU each runs in its own precision. The package has no batches: its frames go one by one.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import command, describe_machine, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.package import make_points, package_model, write_ply
from deployments.models.da3 import network as da3_network
from deployments.models.da3.model import DepthAnything3
from deployments.models.da3.registry import MODELS
from deployments.models.da3.weights import Checkpoint, find
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.codecs import CODECS
from tests.da3 import micro

WIDTH, HEIGHT = 640, 480
NETWORK = ("backbone", "head", "cam_dec", "gs_head")
"""Modules of a network that both sides run as they are."""
Pictures = list[NDArray[np.uint8]]


def frames(count: int) -> Pictures:
    """Pictures of a webcam's size: smooth colours with grain. uint8 [480, 640, 3] each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    made = []
    for i in range(count):
        waves = [np.sin((5 + c) * x + i) * np.cos((4 + c) * y - i) for c in range(3)]
        rgb = 0.5 + 0.4 * np.stack(waves, axis=-1) + rng.normal(0, 0.03, (HEIGHT, WIDTH, 3))
        made.append((np.clip(rgb, 0, 1) * 255).astype(np.uint8))
    return made


class Side(Protocol):
    """One way from pictures to a file's bytes, and the networks it runs."""

    networks: Sequence[torch.nn.Module]

    def run(self, pictures: Pictures) -> None:
        """All pictures, in a batch if there are batches."""


class Ours:
    """Our engine, and the PLY codec if there are Gaussians, else the points codec."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, args: argparse.Namespace) -> None:
        self._model = DepthAnything3(
            weights=str(checkpoint.tensors.parent),
            device=str(device),
            longest_px=args.resolution,
            compile=args.compile,
            threads=args.threads,
        )
        forward = self._model._forward
        self.networks = [net for net in (forward._main, forward._meter) if net is not None]

    def run(self, pictures: Pictures) -> None:
        """One batch."""
        for prediction in self._model.predict([DecodedCapture((picture,)) for picture in pictures]):
            if not isinstance(prediction, Prediction):
                raise RuntimeError(str(prediction))
            CODECS["ply" if prediction.kind == "native" else "points"].encode(prediction.as_gaussians())


class Theirs:
    """The package's ``DepthAnything3.inference``, and its PLY writer if there are Gaussians, else its point cloud."""

    def __init__(self, net: torch.nn.Module, device: torch.device, resolution: int, gaussians: bool, folder: Path) -> None:
        self._model = package_model(net, device, exact=device.type == "cpu")
        self._resolution, self._gaussians, self._path = resolution, gaussians, folder / "theirs.ply"
        whole = self._model.model
        self.networks = [whole.da3, whole.da3_metric] if hasattr(whole, "da3_metric") else [whole]

    def run(self, pictures: Pictures) -> None:
        """One picture after the other."""
        for picture in pictures:
            prediction = self._model.inference([picture], infer_gs=self._gaussians, process_res=self._resolution)
            if self._gaussians:
                write_ply(prediction, self._path)
            else:
                make_points(prediction)


class Clock:
    """Time with nothing left to do on the device, and the time spent in a network's modules."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.network_s = 0.0

    def now_s(self) -> float:
        """The time, once the device has nothing left to do."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def marking(self, networks: Sequence[torch.nn.Module]) -> Iterator[None]:
        """Add the time in the modules of :data:`NETWORK` to ``network_s`` for the length of the block."""
        modules = [getattr(net, name, None) for net in networks for name in NETWORK]
        hooks = []
        for module in filter(None, modules):
            hooks.append(module.register_forward_pre_hook(lambda *_: self._add(-self.now_s())))
            hooks.append(module.register_forward_hook(lambda *_: self._add(self.now_s())))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _add(self, seconds: float) -> None:
        self.network_s += seconds


def measure(side: Side, pictures: Pictures, device: torch.device) -> dict[str, float]:
    """Milliseconds a frame: ``total`` without marks; ``network`` and what is ``outside`` it with marks."""
    clock = Clock(device)
    began_s = clock.now_s()
    side.run(pictures)
    total_s = clock.now_s() - began_s
    with clock.marking(side.networks):
        began_s = clock.now_s()
        side.run(pictures)
        marked_s = clock.now_s() - began_s
    seconds = {"network": clock.network_s, "outside": marked_s - clock.network_s, "total": total_s}
    return {name: value * 1e3 / len(pictures) for name, value in seconds.items()}


def compare(sides: dict[str, Side], batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Both sides on the same frames, in turn: medians, and medians of the paired ratios of ours to theirs."""
    pictures = frames(batch)
    memory: dict[str, int] = {}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for side in sides.values():
        side.run(pictures)
    for _ in range(repeats):
        for name, side in sides.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            rounds[name].append(measure(side, pictures, device))
            if device.type == "cuda":
                memory[name] = torch.cuda.max_memory_allocated(device)
    pairs = list(zip(rounds["ours"], rounds["theirs"], strict=True))
    medians = {
        name: {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]} for name, rows in rounds.items()
    }
    ratios = {f"{key}_ratio": round(statistics.median(a[key] / b[key] for a, b in pairs), 4) for key in ("outside", "total")}
    return {"batch": batch, **medians, **ratios, "peak_device_bytes": memory}


def prepare(args: argparse.Namespace, folder: Path) -> tuple[Checkpoint, torch.nn.Module]:
    """A checkpoint, and the package's own network with the same weights."""
    if args.weights or args.hub:
        checkpoint = find("" if args.weights else args.model, args.weights)
    else:
        own = args.model == "micro"  # An architecture that the package does not list.
        config = "micro" if own else MODELS[args.model].config
        layout = micro.any_view() if own else micro.layout_of(config)
        checkpoint = find("", str(micro.save(micro.make_network(layout), folder / config, config, layout if own else None)))
    layout = checkpoint.architecture or da3_network.MODEL_REGISTRY[checkpoint.card.config]
    net = da3_network.create_object(da3_network.load_config(str(layout))).eval()
    from safetensors.torch import load_model

    whole = torch.nn.Module()
    whole.model = net
    load_model(whole, str(checkpoint.tensors), strict=False)
    return checkpoint, net.requires_grad_(False)


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    args, keys = report["args"], ("network", "outside", "total")
    about = f"{report['model']} on {report['device']} at {args['resolution']} px, {args['threads']} thread(s)"
    sizes = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in report["parameter_bytes"].items())
    columns = [(key, name) for key in keys for name in ("ours", "theirs")]
    head = ["ms a frame", *(f"{key}: {name}" for key, name in columns), "outside ratio", "total ratio"]
    rows = (
        [f"batch {row['batch']}", *(row[name][key] for key, name in columns), row["outside_ratio"], row["total_ratio"]]
        for row in report["rows"]
    )
    return f"{about}; {describe_machine(report)}\nparameters on the device: {sizes}\n\n{table(head, rows)}"


@command("inference")
def main(argv: list[str]) -> int:
    """Measure, print the table, write the report. Returns the exit status."""
    parser = new_parser("inference", __doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro", choices=["micro", *MODELS])
    parser.add_argument("--weights", default="", help="a folder with a checkpoint")
    parser.add_argument("--hub", action="store_true", help="the real weights, from the hub or its cache")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--resolution", type=int, default=504, help="longest side, pixels (%(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8], help="frames in a batch (1 2 4 8)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--compile", default="", help="backend of torch.compile for ours, such as inductor")
    args = parser.parse_args(argv)
    report = start_report("inference", 2, argv, args)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, net = prepare(args, Path(temporary))
        theirs = Theirs(net, device, args.resolution, checkpoint.card.gaussian_head, Path(temporary))
        sides: dict[str, Side] = {"ours": Ours(checkpoint, device, args), "theirs": theirs}
        report |= {
            "model": checkpoint.card.name,
            "device": str(device),
            "parameter_bytes": {
                name: sum(tensor.nbytes for net in side.networks for tensor in net.state_dict().values())
                for name, side in sides.items()
            },
            "rows": [compare(sides, batch, args.repeats, device) for batch in args.batches],
        }
    publish(report, describe(report), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
