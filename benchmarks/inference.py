"""Depth Anything 3: our way from a picture to Gaussians, beside the package's own ``inference()`` and its PLY writer.

    python -m benchmarks.inference --model da3-small --resolution 504        # random weights of the real architecture
    python -m benchmarks.inference --model da3-giant --hub --device cuda     # the real ones, from the hub or its cache
    python -m benchmarks.inference --model micro                             # the real heads behind a tiny transformer

Same weights, same frames, in turn, medians of pairs; figures are milliseconds a frame. Without ``--hub`` or ``--weights`` the
weights are random: time does not depend on them. ``network`` is the time inside backbone, heads and camera decoder, the same
modules on both sides; ``outside`` is everything else: preprocessing, adapter, copies, and the export: a PLY of Gaussians (ours from
``splats/ply.py``, of all of them), or points with colours for models without them (the package's without its GLB file).
On a GPU every mark waits for the device, which costs a little: ``total`` is of runs of its own, without marks.

A CPU runs both in float32; on a GPU each runs in its own precision. The package has no batches: its frames go one by one.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from benchmarks.machine import provenance
from benchmarks.package import make_points, package_model, write_ply
from deployments.models.da3 import network as da3_network
from deployments.models.da3.model import DepthAnything3
from deployments.models.da3.registry import MODELS
from deployments.models.da3.weights import Checkpoint, find
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.codecs import CODECS
from tests.da3 import micro

SCHEMA = "splatcast.inference/1"
WIDTH, HEIGHT = 640, 480
NETWORK = ("backbone", "head", "cam_dec", "gs_head")


def frames(count: int) -> list[NDArray[np.uint8]]:
    """Pictures of a webcam's size: smooth colours with grain. uint8 [480, 640, 3] each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    made = []
    for i in range(count):
        waves = [np.sin((5 + c) * x + i) * np.cos((4 + c) * y - i) for c in range(3)]
        rgb = 0.5 + 0.4 * np.stack(waves, axis=-1) + rng.normal(0, 0.03, (HEIGHT, WIDTH, 3))
        made.append((np.clip(rgb, 0, 1) * 255).astype(np.uint8))
    return made


class Clock:
    """Adds up time by stage, waiting for the device at both ends."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}

    def now(self) -> float:
        """Time, seconds, with nothing left to do on the device."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def timing(self, *calls: tuple[Any, str, str]) -> Iterator[None]:
        """Time every call of ``owner.name`` as ``stage``, for each of ``(owner, name, stage)``; modules by hooks."""
        undo: list[Callable[[], None]] = []
        for owner, name, stage in calls:
            target = getattr(owner, name, None)
            if isinstance(target, torch.nn.Module):
                undo += self._hook(target, stage)
            elif target is not None:
                setattr(owner, name, self._timed(target, stage))
                undo.append(lambda owner=owner, name=name: delattr(owner, name))  # type: ignore[misc]
        try:
            yield
        finally:
            for step in undo:
                step()

    def _hook(self, module: torch.nn.Module, stage: str) -> list[Callable[[], None]]:
        began = 0.0

        def enter(*_: Any) -> None:
            nonlocal began
            began = self.now()

        def leave(*_: Any) -> None:
            self._add(stage, self.now() - began)

        return [module.register_forward_pre_hook(enter).remove, module.register_forward_hook(leave).remove]

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = self.now()
            result = function(*args, **kwargs)
            self._add(stage, self.now() - began)
            return result

        return timed

    def _add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def branches(net: Any) -> list[Any]:
    """The networks inside a nested one, or the network."""
    return [net.da3, net.da3_metric] if hasattr(net, "da3_metric") else [net]


class Ours:
    """Our engine, and the PLY codec where there are Gaussians, the points codec elsewhere."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, resolution: int, compile_backend: str, threads: int) -> None:
        weights = str(checkpoint.tensors.parent)
        self.model = DepthAnything3(
            weights=weights, device=str(device), longest_px=resolution, compile=compile_backend, threads=threads
        )
        self.device = device
        self._parts = [net for net in (self.model._forward._main, self.model._forward._meter) if net is not None]

    def parameter_bytes(self) -> int:
        """Of everything on the device."""
        return sum(tensor.nbytes for net in self._parts for tensor in net.state_dict().values())

    def run(self, pictures: list[NDArray[np.uint8]]) -> None:
        """One batch."""
        predictions = self.model.predict([DecodedCapture((picture,)) for picture in pictures])
        for prediction in predictions:
            if not isinstance(prediction, Prediction):
                raise RuntimeError(str(prediction))
            self._write(prediction)

    def _write(self, prediction: Prediction) -> None:
        CODECS["ply" if prediction.kind == "native" else "points"].encode(prediction.gaussians)

    def calls(self) -> list[tuple[Any, str, str]]:
        """What to time."""
        forward = self.model._forward
        outside = [(self.model, "_prepare", "preprocessing"), (self, "_write", "export"), (self.model, "_finish", "finish")]
        copies = [(forward, "_to_device", "copies"), (forward, "_to_host", "copies")]
        return [*outside, *copies, *((net, name, "network") for net in self._parts for name in NETWORK)]


class Theirs:
    """The package's ``DepthAnything3.inference``, and its PLY writer where there are Gaussians, its point cloud elsewhere."""

    def __init__(self, net: torch.nn.Module, device: torch.device, resolution: int, gaussians: bool, folder: Path) -> None:
        self.model = package_model(net, device, exact=device.type == "cpu")
        self._resolution, self._gaussians, self._path = resolution, gaussians, folder / "theirs.ply"
        self.device = device

    def run(self, pictures: list[NDArray[np.uint8]]) -> None:
        """One picture after the other."""
        for picture in pictures:
            prediction = self.model.inference([picture], infer_gs=self._gaussians, process_res=self._resolution)
            self._write(prediction)

    def _write(self, prediction: Any) -> None:
        if self._gaussians:
            write_ply(prediction, self._path)
        else:
            make_points(prediction)

    def calls(self) -> list[tuple[Any, str, str]]:
        """What to time."""
        parts = branches(self.model.model)
        outside = [
            (self.model, "_preprocess_inputs", "preprocessing"), (self, "_write", "export"), (parts[0], "gs_adapter", "adapter"),
            (self.model, "_convert_to_prediction", "copies"), (self.model, "_add_processed_images", "finish"),
        ]  # fmt: skip
        return [*outside, *((net, name, "network") for net in parts for name in NETWORK)]


def measure(path: Any, pictures: list[NDArray[np.uint8]]) -> dict[str, float]:
    """Milliseconds a frame: ``total`` without marks, then each stage; ``outside`` is all but the network."""
    clock = Clock(path.device)
    began = clock.now()
    path.run(pictures)
    total = clock.now() - began
    with clock.timing(*path.calls()):
        began = clock.now()
        path.run(pictures)
        marked = clock.now() - began
    stages = {"total": total, **clock.seconds, "outside": marked - clock.seconds["network"]}
    # Of ours the adapter is a few operations in the middle of the forward: it is what nothing else accounts for.
    stages["rest" if "adapter" in stages else "adapter"] = marked - sum(clock.seconds.values())
    return {stage: seconds * 1e3 / len(pictures) for stage, seconds in stages.items()}


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Stage by stage."""
    return {stage: round(statistics.median(row[stage] for row in rows), 3) for stage in rows[0]}


def compare(ours: Ours, theirs: Theirs, batch: int, repeats: int) -> dict[str, Any]:
    """Both on the same frames, in turn."""
    pictures = frames(batch)
    pairs = []
    memory = {}
    for path in (ours, theirs):
        path.run(pictures)
    for _ in range(repeats):
        pair = []
        for name, path in (("ours", ours), ("theirs", theirs)):
            if path.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(path.device)
            pair.append(measure(path, pictures))
            if path.device.type == "cuda":
                memory[name] = torch.cuda.max_memory_allocated(path.device)
        pairs.append(pair)
    ratio = statistics.median(a["outside"] / b["outside"] for a, b in pairs)
    return {
        "batch": batch,
        "ours": medians([pair[0] for pair in pairs]),
        "theirs": medians([pair[1] for pair in pairs]),
        "outside_ratio": round(ratio, 4),
        "total_ratio": round(statistics.median(a["total"] / b["total"] for a, b in pairs), 4),
        "network_share": round(statistics.median(a["network"] / (a["network"] + a["outside"]) for a, _ in pairs), 4),
        "peak_device_bytes": memory,
    }


def prepare(options: argparse.Namespace, folder: Path) -> tuple[Checkpoint, torch.nn.Module]:
    """A checkpoint, and the package's own network with the same weights."""
    if options.weights or options.hub:
        checkpoint = find("" if options.weights else options.model, options.weights)
    elif options.model == "micro":
        layout = micro.any_view()
        micro.save(micro.make_network(layout), folder / "micro", "micro", layout)
        checkpoint = find("", str(folder / "micro"))
    else:
        config = MODELS[options.model].config
        micro.save(micro.make_network(micro.layout_of(config)), folder / config, config)
        checkpoint = find("", str(folder / config))
    layout = checkpoint.architecture or da3_network.MODEL_REGISTRY[checkpoint.card.config]
    net = da3_network.create_object(da3_network.load_config(str(layout))).eval()
    from safetensors.torch import load_model

    whole = torch.nn.Module()
    whole.model = net
    load_model(whole, str(checkpoint.tensors), strict=False)
    return checkpoint, net.requires_grad_(False)


def report(result: dict[str, Any]) -> None:
    """The table."""
    where = ", ".join(result["machine"]["gpus"]) or result["machine"]["cpu"]
    print(f"{result['model']} on {result['device']} at {result['resolution']}: {where}, {result['threads']} thread(s)")
    ours_mb, theirs_mb = (result["parameter_bytes"][name] / 1e6 for name in ("ours", "theirs"))
    print(f"parameters on the device: ours {ours_mb:.0f} MB, theirs {theirs_mb:.0f} MB")
    stages = ("preprocessing", "network", "copies", "adapter", "finish", "export", "rest", "outside", "total")
    print("batch        " + "".join(f"{stage:>14}" for stage in stages) + "   ms a frame")
    for row in result["rows"]:
        for name in ("ours", "theirs"):
            cells = "".join(f"{row[name].get(stage, 0.0):14.2f}" for stage in stages)
            print(f"{row['batch']:5} {name:7}{cells}")
        print(
            f"      outside the network: {row['outside_ratio']:.3f} of theirs; total: {row['total_ratio']:.3f};"
            f" in the network: {row['network_share']:.1%} of our time; {1e3 / row['ours']['total']:.2f} frames/s"
        )


def main() -> int:
    """Entry point. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro", choices=["micro", *MODELS])
    parser.add_argument("--weights", default="", help="a folder with a checkpoint")
    parser.add_argument("--hub", action="store_true", help="the real weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resolution", type=int, default=504, help="longest side, pixels")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", default="", help="backend of torch.compile for ours, such as inductor")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, net = prepare(options, Path(temporary))
        ours = Ours(checkpoint, device, options.resolution, options.compile, options.threads)
        theirs = Theirs(net, device, options.resolution, checkpoint.card.gaussian_head, Path(temporary))
        rows = [compare(ours, theirs, batch, options.repeats) for batch in options.batches]
    result = {
        "schema": SCHEMA,
        **provenance(),
        "command": " ".join(["python -m benchmarks.inference", *sys.argv[1:]]),
        "model": checkpoint.card.name,
        "device": str(device),
        "resolution": options.resolution,
        "threads": options.threads,
        "parameter_bytes": {"ours": ours.parameter_bytes(), "theirs": sum(t.nbytes for t in net.state_dict().values())},
        "resident_bytes": psutil.Process().memory_info().rss,
        "rows": rows,
    }
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
