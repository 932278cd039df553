"""Depth Anything 3: our way from a picture to Gaussians, beside the package's own ``inference()`` and its PLY writer.

    python -m benchmarks.inference --model da3-small --resolutions 504       # random weights of the real architecture
    python -m benchmarks.inference --model da3-giant --hub --device cuda     # the real ones, from the hub or its cache
    python -m benchmarks.inference --model micro                             # the real heads behind a tiny transformer

Without ``--hub`` or ``--weights`` the weights are random, drawn on the device: time does not depend on them. Figures are
milliseconds a frame. ``frame`` is from the camera's pixels to Gaussians (or depth) on the host, without a mark in it that waits;
``encode`` is the file: a PLY of all Gaussians, or points with colours for models that have none (the package's without its GLB).
The first table has both sides on the same frames, in turn, medians of pairs. ``network`` is backbone, heads and camera decoder.
The package has no batches, so that it is compared with ours one frame at a time.

The second table is ours alone, with percentiles: on a GPU, the parts are intervals between events on the device's own clock, with
whatever the device waited for the host in them; ``before`` and ``after`` are the host's work with the device idle. ``share`` is the
network's part of the frame, ``TFLOP/s`` the network's operations over its time.

``--clip`` plays the procedural clip to decode, predict and pack in one process, as the graph does without Ray: in real time, with
each frame's age after each stage; then as fast as it goes, the stages overlapping.

A CPU runs both sides in float32; on a GPU each runs in its own precision.
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
from benchmarks.playback import play
from deployments.models.da3 import network as da3_network
from deployments.models.da3.model import DepthAnything3
from deployments.models.da3.registry import MODELS
from deployments.models.da3.weights import Checkpoint, find
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.codecs import CODECS
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions
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
        self.model = DepthAnything3(
            weights=str(checkpoint.tensors.parent),
            device=str(device),
            longest_px=args.resolutions[0],
            compile="none",
            threads=args.threads,
        )
        forward = self.model._forward
        self.networks = forward.networks
        self._marks = forward.mark = Marks(device)
        self.flops: dict[int, int] = {}
        for px in args.resolutions:
            with FlopCounterMode(display=False) as counter:
                self._predict(frames(1), px)
            self.flops[px] = counter.get_total_flops()
        if args.compile != "none":
            forward.compile(heads=args.compile == "all")
            forward._batches.clear()

    def run(self, pictures: Pictures, px: int) -> dict[str, float]:
        """One batch: milliseconds by part."""
        began_s = time.perf_counter()
        predictions = self._predict(pictures, px)
        predicted_s = time.perf_counter()
        for prediction in predictions:
            CODECS["ply" if prediction.kind == "native" else "points"].encode(prediction.as_gaussians())
        encoded_s = time.perf_counter()
        parts = self._marks.parts_ms()
        before, frame = (self._marks.began_s - began_s) * 1e3, (predicted_s - began_s) * 1e3
        after = frame - before - sum(parts.values())
        return {"frame": frame, "encode": (encoded_s - predicted_s) * 1e3, "before": before, **parts, "after": after}

    def _predict(self, pictures: Pictures, px: int) -> list[Prediction]:
        request = FrameRequest(FrameOptions(inference_px=px))
        outcomes = self.model.predict([DecodedCapture((picture,), request) for picture in pictures])
        predictions = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
        if len(predictions) < len(outcomes):
            raise RuntimeError(str(outcomes))
        return predictions


class Theirs:
    """The package's ``DepthAnything3.inference``, and its PLY writer if there are Gaussians, else its point cloud."""

    def __init__(self, net: torch.nn.Module, device: torch.device, gaussians: bool, folder: Path) -> None:
        self._model = package_model(net, device, exact=device.type == "cpu")
        self._gaussians, self._path = gaussians, folder / "theirs.ply"
        whole = self._model.model
        self.networks = [whole.da3, whole.da3_metric] if hasattr(whole, "da3_metric") else [whole]
        self._clock = Clock(device)

    def run(self, pictures: Pictures, px: int) -> dict[str, float]:
        """One picture, and once more for the time in the network, whose marks wait for the device."""
        (picture,) = pictures
        began_s = time.perf_counter()
        prediction = self._infer(picture, px)
        predicted_s = time.perf_counter()
        if self._gaussians:
            write_ply(prediction, self._path)
        else:
            make_points(prediction)
        encoded_s = time.perf_counter()
        with self._clock.marking(self.networks):
            self._infer(picture, px)
        spent = {"frame": predicted_s - began_s, "encode": encoded_s - predicted_s, "network": self._clock.network_s}
        return {name: seconds * 1e3 for name, seconds in spent.items()}

    def _infer(self, picture: NDArray[np.uint8], px: int) -> Any:
        # It copies depth and camera to the host, so that it has waited for the network when it returns.
        return self._model.inference([picture], infer_gs=self._gaussians, process_res=px)


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


def compare(ours: Ours, theirs: Theirs, px: int, repeats: int) -> dict[str, Any]:
    """Both sides on the same frame, in turn: medians, and medians of the paired ratios of ours to theirs."""
    pictures = frames(1)
    sides: dict[str, Any] = {"ours": ours, "theirs": theirs}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for index in range(-3, repeats):  # Before the first round, ours is chosen, captured and replayed.
        for name, side in sides.items():
            found = side.run(pictures, px)
            if index >= 0:
                rounds[name].append(found)
    pairs = list(zip(rounds["ours"], rounds["theirs"], strict=True))
    medians = {
        name: {key: round(statistics.median(found[key] for found in all_), 3) for key in all_[0]} for name, all_ in rounds.items()
    }
    ratios = {key: round(statistics.median(a[key] / b[key] for a, b in pairs), 4) for key in ("frame", "encode")}
    return {"px": px, **medians, "ratios": ratios}


def measure(ours: Ours, px: int, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Ours alone, in batches: percentiles of milliseconds a frame."""
    pictures = frames(batch)
    for _ in range(3):
        ours.run(pictures, px)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rounds = [ours.run(pictures, px) for _ in range(repeats)]
    ms = {key: percentiles(found[key] / batch for found in rounds) for key in rounds[0]}
    network_ms = statistics.median(found["network"] / batch for found in rounds)
    return {
        "px": px,
        "batch": batch,
        "ms": ms,
        "frames_per_s": round(statistics.median(1e3 * batch / found["frame"] for found in rounds), 1),
        "share": round(statistics.median(found["network"] / found["frame"] for found in rounds), 4),
        "tflop_per_s": round(ours.flops[px] / network_ms / 1e9, 1),
        "device_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        "reserved_bytes": torch.cuda.memory_reserved(device) if device.type == "cuda" else 0,
    }


def profile(ours: Ours, px: int, device: torch.device, repeats: int = 5) -> dict[str, Any]:
    """What the device did in one frame, and how often the host waited for it."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    pictures = frames(1)
    with recording(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        for _ in range(repeats):
            ours.run(pictures, px)
        torch.cuda.synchronize(device)
    entries = list(recorded.key_averages())
    kernels = sorted(
        ((e.key, e.self_device_time_total / 1e3 / repeats, e.count / repeats) for e in entries if e.self_device_time_total > 0),
        key=lambda entry: -entry[1],
    )
    waits = {e.key: e.count / repeats for e in entries if "ynchronize" in e.key}
    # The one above, and the recorder's own at its end.
    waits["cudaDeviceSynchronize"] = waits.get("cudaDeviceSynchronize", 0) - 2 / repeats
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
    compiled = f", compiled: {args['compile']}" if args["compile"] != "none" else ""
    sizes = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in report["parameter_bytes"].items())
    operations = ", ".join(f"{px} px {count / 1e12:.2f} TFLOP" for px, count in report["flops"].items())
    lines = [
        f"{report['model']} on {report['device']}, {args['threads']} thread(s){compiled}; {describe_machine(report)}",
        f"parameters on the device: {sizes}; a frame at {operations}",
    ]
    if pairs := report["pairs"]:
        columns = [(key, name) for key in ("network", "frame", "encode") for name in ("ours", "theirs")]
        head = ["ms a frame", *(f"{key}: {name}" for key, name in columns), "frame ratio", "encode ratio"]
        cells = ([f"{row['px']} px", *(row[name][key] for key, name in columns), *row["ratios"].values()] for row in pairs)
        lines += ["", table(head, cells)]
    parts = ["before", *(part for part in PARTS if part in rows[0]["ms"]), "after"]
    head = ["ms a frame (p50)", *parts, "frame", "p99", "frames/s", "share", "TFLOP/s", "encode", "GB"]
    cells = (
        [
            f"{row['px']} px × {row['batch']}",
            *(row["ms"][part]["p50"] for part in parts),
            row["ms"]["frame"]["p50"],
            row["ms"]["frame"]["p99"],
            row["frames_per_s"],
            f"{row['share']:.1%}",
            row["tflop_per_s"],
            row["ms"]["encode"]["p50"],
            row["device_bytes"] / 1e9,
        ]
        for row in rows
    )
    lines += ["", table(head, cells)]
    if found := report.get("profile"):
        waits = ", ".join(f"{name} {count:g}" for name, count in found["waits"].items()) or "none"
        lines += [
            "",
            f"a frame: {found['kernels']:g} kernels and copies, {found['device_ms']:.2f} ms on the device; waits: {waits}",
        ]
        lines += [f"  {entry['ms']:8.3f} ms {entry['count']:6g} × {entry['name'][:100]}" for entry in found["largest"]]
    if clip := report.get("clip"):
        live = clip["live"]
        said = "; ".join(
            f"{stage} {live['ms'][stage]['p50']:.1f} ms, age {found['p50']:.1f} (p99 {found['p99']:.1f})"
            for stage, found in live["age_ms"].items()
        )
        lines += [
            "",
            f"clip, {live['fps']:g} frames/s, {live['shown']} shown, {live['dropped']} dropped, {live['splats']} splats: {said}",
        ]
        lines += [f"clip, stages overlapping, one frame in each batch: {clip['overlapping_frames_per_s']:.1f} frames/s"]
    return "\n".join(lines)


@command("inference")
def main(argv: list[str]) -> int:
    """Measure, print the tables, write the report. Returns the exit status."""
    cuda = torch.cuda.is_available()
    parser = new_parser("inference", __doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro", choices=["micro", *MODELS])
    parser.add_argument("--weights", default="", help="a folder with a checkpoint")
    parser.add_argument("--hub", action="store_true", help="the real weights, from the hub or its cache")
    parser.add_argument("--device", default="cuda" if cuda else "cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[504], help="longest sides, pixels (504)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8], help="frames in a batch (1 2 4 8)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of both sides (%(default)s)")
    parser.add_argument(
        "--alone", type=int, default=100 if cuda else 0, help="batches of ours alone, for its percentiles (%(default)s)"
    )
    parser.add_argument("--no-package", action="store_true", help="ours only")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--compile", default="none", choices=["none", "blocks", "all"], help="what of ours is compiled (none)")
    parser.add_argument("--clip", type=float, default=0.0, help="seconds of the clip to play (none)")
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
            theirs = Theirs(net, device, checkpoint.card.gaussian_head, Path(temporary))
        del net
        sides: list[tuple[str, Any]] = [("ours", ours), *([("theirs", theirs)] if theirs else [])]
        report |= {
            "model": checkpoint.card.name,
            "device": str(device),
            "parameter_bytes": {
                name: sum(tensor.nbytes for part in side.networks for tensor in part.state_dict().values()) for name, side in sides
            },
            "flops": ours.flops,
            "pairs": [compare(ours, theirs, px, args.repeats) for px in args.resolutions] if theirs else [],
            "rows": [measure(ours, px, batch, args.alone, device) for px in args.resolutions for batch in args.batches],
        }
        if args.profile and device.type == "cuda":
            report["profile"] = profile(ours, args.resolutions[0], device)
        if args.clip:
            report["clip"] = play(ours.model, args.clip)
    publish(report, describe(report), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
