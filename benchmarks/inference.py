"""Depth Anything 3: our way from a picture to Gaussians, beside the package's own ``inference()`` and its PLY writer.

    python -m benchmarks.inference --model da3-small --resolution 504        # random weights of the real architecture
    python -m benchmarks.inference --model da3-giant --hub --device cuda     # the real ones, from the hub or its cache
    python -m benchmarks.inference --model micro                             # the real heads behind a tiny transformer

Without ``--hub`` or ``--weights`` the weights are random, drawn on the device: time does not depend on them. Figures are
milliseconds a frame. ``frame`` is from the camera's pixels to Gaussians (or depth) on the host, without a mark in it that waits;
``encode`` is the file: a PLY of all Gaussians, or points with colours for models that have none (the package's without its GLB).
The first table has both sides on the same frames, in turn, medians of pairs. ``network`` is backbone, heads and camera decoder.

The second table is ours alone, with percentiles: on a GPU, ``parts`` are intervals between events on the device's own clock, with
whatever the device waited for the host in them; ``before`` and ``after`` are the host's work with the device idle. ``share`` is the
network's part of the frame.

A CPU runs both sides in float32; on a GPU each runs in its own precision. The package has no batches: its frames go one by one.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command import command, describe_machine, new_parser, publish, start_report
from benchmarks.figures import percentiles, table
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
"""Modules of a network that the package runs as they are."""
PARTS = ("copy in", "resize", "network", "Gaussian head", "camera", "adapter", "prune", "copy out")
"""What ``Forward.mark`` names, the network's two parts being added up."""
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


class Marks:
    """When each part of a batch was over, on the device's clock if it has one. ``Forward.mark`` calls it."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._at: dict[str, Any] = {}
        self.began_s = 0.0

    def __call__(self, name: str) -> None:
        """Note that the part is over. In a graph that is being captured, this becomes a part of the graph."""
        if name == "begin":
            self.began_s = time.perf_counter()
        if self._cuda:
            if name not in self._at:
                self._at[name] = torch.cuda.Event(enable_timing=True, external=True)
            self._at[name].record()
        else:
            self._at[name] = time.perf_counter()

    def parts_ms(self) -> dict[str, float]:
        """Part → milliseconds, of the last batch."""
        names = list(self._at)
        pairs = [(self._at[a], self._at[b], b) for a, b in itertools.pairwise(names)]
        found = {name: a.elapsed_time(b) if self._cuda else (b - a) * 1e3 for a, b, name in pairs}
        found["network"] = found.get("network", 0.0) + found.pop("Gaussian head", 0.0)
        return found


class Ours:
    """Our engine, and the PLY codec if there are Gaussians, else the points codec."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, args: argparse.Namespace) -> None:
        self._model = DepthAnything3(
            weights=str(checkpoint.tensors.parent),
            device=str(device),
            longest_px=args.resolution,
            compile="none",
            threads=args.threads,
        )
        forward = self._model._forward
        self.networks = forward.networks
        self._marks = forward.mark = Marks(device)
        with FlopCounterMode(display=False) as counter:
            self._predict(frames(1))
        self.flops = counter.get_total_flops()
        if args.compile != "none":
            forward.compile(heads=args.compile == "all")

    def run(self, pictures: Pictures) -> dict[str, float]:
        """One batch: milliseconds by part."""
        began_s = time.perf_counter()
        predictions = self._predict(pictures)
        predicted_s = time.perf_counter()
        for prediction in predictions:
            CODECS["ply" if prediction.kind == "native" else "points"].encode(prediction.as_gaussians())
        encoded_s = time.perf_counter()
        parts = self._marks.parts_ms()
        before, frame = (self._marks.began_s - began_s) * 1e3, (predicted_s - began_s) * 1e3
        after = frame - before - sum(parts.values())
        return {"frame": frame, "encode": (encoded_s - predicted_s) * 1e3, "before": before, **parts, "after": after}

    def _predict(self, pictures: Pictures) -> list[Prediction]:
        outcomes = self._model.predict([DecodedCapture((picture,)) for picture in pictures])
        predictions = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
        if len(predictions) < len(outcomes):
            raise RuntimeError(str(outcomes))
        return predictions


class Theirs:
    """The package's ``DepthAnything3.inference``, and its PLY writer if there are Gaussians, else its point cloud."""

    def __init__(self, net: torch.nn.Module, device: torch.device, resolution: int, gaussians: bool, folder: Path) -> None:
        self._model = package_model(net, device, exact=device.type == "cpu")
        self._resolution, self._gaussians, self._path = resolution, gaussians, folder / "theirs.ply"
        whole = self._model.model
        self.networks = [whole.da3, whole.da3_metric] if hasattr(whole, "da3_metric") else [whole]
        self._clock = Clock(device)

    def run(self, pictures: Pictures) -> dict[str, float]:
        """One picture after the other, and once more for the time in the network, whose marks wait for the device."""
        predicted_s = encoded_s = 0.0
        for picture in pictures:
            began_s = time.perf_counter()
            prediction = self._infer(picture)
            middle_s = time.perf_counter()
            if self._gaussians:
                write_ply(prediction, self._path)
            else:
                make_points(prediction)
            predicted_s, encoded_s = predicted_s + middle_s - began_s, encoded_s + time.perf_counter() - middle_s
        with self._clock.marking(self.networks):
            for picture in pictures:
                self._infer(picture)
        return {"frame": predicted_s * 1e3, "encode": encoded_s * 1e3, "network": self._clock.network_s * 1e3}

    def _infer(self, picture: NDArray[np.uint8]) -> Any:
        # It copies depth and camera to the host, so that it has waited for the network when it returns.
        return self._model.inference([picture], infer_gs=self._gaussians, process_res=self._resolution)


class Clock:
    """The time spent in a network's modules, with nothing left to do on the device at either end."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.network_s = 0.0

    def _now_s(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def marking(self, networks: Sequence[torch.nn.Module]) -> Iterator[None]:
        """Note the time in the modules of :data:`NETWORK` as ``network_s`` for the length of the block."""
        self.network_s = 0.0
        modules = [getattr(net, name, None) for net in networks for name in NETWORK]
        hooks = []
        for module in filter(None, modules):
            hooks.append(module.register_forward_pre_hook(lambda *_: self._add(-self._now_s())))
            hooks.append(module.register_forward_hook(lambda *_: self._add(self._now_s())))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _add(self, seconds: float) -> None:
        self.network_s += seconds


def compare(ours: Ours, theirs: Theirs | None, args: argparse.Namespace, batch: int, device: torch.device) -> dict[str, Any]:
    """A batch size: both sides on the same frames in turn, with the medians of the paired ratios; and ours alone."""
    pictures = frames(batch)
    sides: dict[str, Any] = {"ours": ours} | ({"theirs": theirs} if theirs else {})
    memory: dict[str, int] = {}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for side in sides.values():
        for _ in range(3):  # Ours is chosen, captured and replayed.
            side.run(pictures)
    for _ in range(args.repeats):
        for name, side in sides.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            rounds[name].append({key: value / batch for key, value in side.run(pictures).items()})
            if device.type == "cuda":
                memory[name] = torch.cuda.max_memory_allocated(device)
    row: dict[str, Any] = {"batch": batch, "peak_device_bytes": memory}
    row |= {
        name: {key: round(statistics.median(found[key] for found in all_), 3) for key in all_[0]} for name, all_ in rounds.items()
    }
    if theirs:
        pairs = list(zip(rounds["ours"], rounds["theirs"], strict=True))
        row["ratios"] = {key: round(statistics.median(a[key] / b[key] for a, b in pairs), 4) for key in ("frame", "encode")}
    alone = [ours.run(pictures) for _ in range(args.alone)] or [
        {k: v * batch for k, v in found.items()} for found in rounds["ours"]
    ]
    row["alone"] = {key: percentiles(found[key] / batch for found in alone) for key in alone[0]}
    row["share"] = round(statistics.median(found["network"] / found["frame"] for found in alone), 4)
    row["frames_per_s"] = round(1e3 / row["alone"]["frame"]["p50"], 1)
    row["tflops"] = round(ours.flops / statistics.median(found["network"] / batch for found in alone) / 1e9, 1)
    return row


def profile(ours: Ours, device: torch.device, repeats: int = 5) -> dict[str, Any]:
    """What the device did in one frame, and how often the host waited for it."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    pictures = frames(1)
    with recording(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        for _ in range(repeats):
            ours.run(pictures)
        torch.cuda.synchronize(device)
    entries = list(recorded.key_averages())
    kernels = sorted(
        ((e.key, e.self_device_time_total / 1e3 / repeats, e.count / repeats) for e in entries if e.self_device_time_total > 0),
        key=lambda entry: -entry[1],
    )
    waits = {e.key: e.count / repeats for e in entries if "ynchronize" in e.key}
    waits["cudaDeviceSynchronize"] = waits.get("cudaDeviceSynchronize", 0) - 1 / repeats  # The one above.
    return {
        "device_ms": round(sum(ms for _, ms, _ in kernels), 3),
        "kernels": sum(count for _, _, count in kernels),
        "largest": [{"name": name, "ms": round(ms, 4), "count": count} for name, ms, count in kernels[:12]],
        "waits": {name: round(count, 2) for name, count in waits.items() if count > 1e-6},
    }


def prepare(args: argparse.Namespace, folder: Path) -> tuple[Checkpoint, torch.nn.Module | None]:
    """A checkpoint, and the package's own network with the same weights if it is wanted."""
    if args.weights or args.hub:
        checkpoint = find("" if args.weights else args.model, args.weights)
    else:
        own = args.model == "micro"  # An architecture that the package does not list.
        config = "micro" if own else MODELS[args.model].config
        layout = micro.any_view() if own else micro.layout_of(config)
        net = micro.make_network(layout, device=args.device)
        return find("", str(micro.save(net, folder / config, config, layout if own else None))), None if args.no_package else net
    if args.no_package:
        return checkpoint, None
    layout = checkpoint.architecture or da3_network.MODEL_REGISTRY[checkpoint.card.config]
    with torch.device(args.device):
        net = da3_network.create_object(da3_network.load_config(str(layout))).eval()
    whole = torch.nn.Module()
    whole.model = net
    load_model(whole, str(checkpoint.tensors), strict=False)
    return checkpoint, net.requires_grad_(False)


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    args, rows = report["args"], report["rows"]
    about = f"{report['model']} on {report['device']} at {args['resolution']} px, {args['threads']} thread(s)"
    compiled = f", compiled: {args['compile']}" if args["compile"] != "none" else ""
    sizes = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in report["parameter_bytes"].items())
    lines = [
        f"{about}{compiled}; {describe_machine(report)}",
        f"parameters on the device: {sizes}; {report['tflop']:.2f} TFLOP a frame",
    ]
    if "theirs" in rows[0]:
        columns = [(key, name) for key in ("network", "frame", "encode") for name in ("ours", "theirs")]
        head = [
            "ms a frame",
            *(f"{key}: {name}" for key, name in columns),
            "frame ratio",
            "encode ratio",
            "peak GB: ours",
            "theirs",
        ]
        lines += [
            "",
            table(
                head,
                (
                    [f"batch {row['batch']}", *(row[name][key] for key, name in columns), *row["ratios"].values(), *_peaks(row)]
                    for row in rows
                ),
            ),
        ]
    parts = ["before", *(part for part in PARTS if part in rows[0]["alone"]), "after"]
    head = ["ms a frame (p50)", *parts, "frame", "p99", "frames/s", "share", "TFLOP/s", "encode"]
    lines += [
        "",
        table(
            head,
            (
                [
                    f"batch {row['batch']}",
                    *(row["alone"][part]["p50"] for part in parts),
                    row["alone"]["frame"]["p50"],
                    row["alone"]["frame"]["p99"],
                    row["frames_per_s"],
                    f"{row['share']:.1%}",
                    row["tflops"],
                    row["alone"]["encode"]["p50"],
                ]
                for row in rows
            ),
        ),
    ]
    if found := report.get("profile"):
        waits = ", ".join(f"{name} {count:g}" for name, count in found["waits"].items()) or "none"
        lines += [
            "",
            f"one frame: {found['kernels']:g} kernels and copies, {found['device_ms']:.2f} ms on the device; host waits: {waits}",
        ]
        lines += [f"  {entry['ms']:8.3f} ms {entry['count']:6g} × {entry['name'][:100]}" for entry in found["largest"]]
    return "\n".join(lines)


def _peaks(row: dict[str, Any]) -> list[float | None]:
    found = row["peak_device_bytes"]
    return [found[name] / 1e9 if name in found else None for name in ("ours", "theirs")]


@command("inference")
def main(argv: list[str]) -> int:
    """Measure, print the tables, write the report. Returns the exit status."""
    cuda = torch.cuda.is_available()
    parser = new_parser("inference", __doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro", choices=["micro", *MODELS])
    parser.add_argument("--weights", default="", help="a folder with a checkpoint")
    parser.add_argument("--hub", action="store_true", help="the real weights, from the hub or its cache")
    parser.add_argument("--device", default="cuda" if cuda else "cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--resolution", type=int, default=504, help="longest side, pixels (%(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8], help="frames in a batch (1 2 4 8)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of both sides (%(default)s)")
    parser.add_argument(
        "--alone", type=int, default=100 if cuda else 0, help="batches of ours alone, for its percentiles (%(default)s)"
    )
    parser.add_argument("--no-package", action="store_true", help="ours only")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--compile", default="none", choices=["none", "blocks", "all"], help="what of ours is compiled (none)")
    parser.add_argument("--profile", action="store_true", help="on a GPU: the largest kernels, and how often the host waits")
    args = parser.parse_args(argv)
    report = start_report("inference", 3, argv, args)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, net = prepare(args, Path(temporary))
        ours = Ours(checkpoint, device, args)
        theirs = None
        if net is not None:
            theirs = Theirs(net, device, args.resolution, checkpoint.card.gaussian_head, Path(temporary))
        del net
        sides: list[tuple[str, Any]] = [("ours", ours), *([("theirs", theirs)] if theirs else [])]
        report |= {
            "model": checkpoint.card.name,
            "device": str(device),
            "parameter_bytes": {
                name: sum(tensor.nbytes for part in side.networks for tensor in part.state_dict().values()) for name, side in sides
            },
            "tflop": ours.flops / 1e12,
            "rows": [compare(ours, theirs, args, batch, device) for batch in args.batches],
        }
        if args.profile and device.type == "cuda":
            report["profile"] = profile(ours, device)
    publish(report, describe(report), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
