"""What faces cost the embedded engine, and what they bring: ``python -m benchmarks.faces``.

Times are CPU milliseconds of one thread, so that others on the machine change them little. The whole frame is measured with and
without the mesh in turn; the ratio is the median of paired ratios. What they bring is measured on the procedural scene, whose depth
is known: the error of the face's shape after one scale for each, and how far still depth moves under a camera's noise of ±2 grey.
"""

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.command import between, command, describe_machine, new_parser, publish, start_report
from benchmarks.figures import table
from deployments.models.relief.face_depth import lay_faces
from deployments.models.relief.face_mesh import FaceMeshNet, fit_pose
from deployments.models.relief.faces import Faces
from deployments.models.relief.model import ReliefModel
from deployments.models.relief.person import ASSETS, FACES, SEGMENTATION, PersonNets
from deployments.pipeline import DecodedCapture, Prediction
from deployments.scene.clip import PERIOD_S, render_scene
from deployments.splats.layers import LayeredDepth
from deployments.splats.triangles import draw_triangles
from deployments.stream.frames import FrameRequest

NOISE = 2
FPS = 10.0


def predict(model: ReliefModel, rgb: NDArray[np.uint8], state: bytes = b"", at_s: float = 0.0) -> Prediction:
    """One frame."""
    (result,) = model.predict([DecodedCapture((rgb,), FrameRequest(state=state, arrived_s=at_s))])
    if not isinstance(result, Prediction):
        raise RuntimeError(str(result))
    return result


def depth_of(prediction: Prediction) -> NDArray[np.float32]:
    """z of the front layer. float32 [H, W]."""
    assert isinstance(prediction.scene, LayeredDepth)
    return 1 / np.maximum(prediction.scene.views[0].layers[0].inverse_depth, np.float32(1e-3))


def parts(rgb: NDArray[np.uint8], state: bytes, rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of each step for one face."""
    nets, net = PersonNets(), FaceMeshNet()
    faces = Faces.from_bytes(state)
    assert faces is not None
    face = nets.find_face(rgb)
    points, triangles = net.find_mesh(rgb, face).points, net.canonical.triangles
    grid = np.full((288, 384), 1.0, np.float32)
    on_grid = (faces.tracks[0].points * np.array([384, 288, 1], np.float32)).astype(np.float32)
    steps: dict[str, Callable[[], Any]] = {
        "person mask": lambda: nets.segment(rgb),
        "face detector": lambda: nets.find_faces(rgb),
        "mesh network": lambda: net.find_mesh(rgb, face),
        "fit of the canonical face": lambda: fit_pose(points, net.canonical),
        "mesh to depth, 384 px": lambda: draw_triangles(on_grid, triangles, 384, 288),
        "mesh laid into the cushion": lambda: lay_faces(grid.copy(), faces, [], triangles),
    }
    return {name: statistics.median(_cpu_ms(step) for _ in range(rounds)) for name, step in steps.items()}


def _cpu_ms(step: Callable[[], Any]) -> float:
    began_s = time.thread_time()
    step()
    return (time.thread_time() - began_s) * 1e3


def shape_error_mm(models: dict[str, ReliefModel], moments: int) -> dict[str, float]:
    """Mean error of the depth inside the mesh, after one scale each, millimetres; mean over moments of the clip."""
    errors: dict[str, list[float]] = {name: [] for name in models}
    triangles = FaceMeshNet().canonical.triangles
    for index in range(moments):
        scene = render_scene(PERIOD_S * index / moments)
        found = {name: predict(model, scene.rgb) for name, model in models.items()}
        faces = Faces.from_bytes(found["with"].state)
        assert faces is not None and faces.tracks
        height, width = depth_of(found["with"]).shape
        points = (faces.tracks[0].points * np.array([width, height, 1], np.float32)).astype(np.float32)
        truth = cv2.resize(scene.depth, (width, height), interpolation=cv2.INTER_NEAREST)
        face = np.isfinite(draw_triangles(points, triangles, width, height)) & (truth < 1.2)
        face = cv2.erode(face.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        for name, prediction in found.items():
            depth = depth_of(prediction)[face]
            error = depth * (truth[face].mean() / depth.mean()) - truth[face]
            errors[name].append(float(np.abs(error).mean()) * 1e3)
    return {name: statistics.mean(values) for name, values in errors.items()}


def wander_mm(model: ReliefModel, frames: int) -> dict[str, float]:
    """How far a still face's depth moves from one frame to the next under noise, millimetres."""
    random, base = np.random.default_rng(0), render_scene(0.0).rgb.astype(int)
    state, depths = b"", []
    for index in range(frames):
        noise = random.integers(-NOISE, NOISE + 1, base.shape)
        result = predict(model, np.clip(base + noise, 0, 255).astype(np.uint8), state, 1 + index / FPS)
        state = result.state
        depths.append(depth_of(result))
    faces = Faces.from_bytes(state)
    assert faces is not None
    height, width = depths[0].shape
    points = (faces.tracks[0].points * np.array([width, height, 1], np.float32)).astype(np.float32)
    inside = np.isfinite(draw_triangles(points, FaceMeshNet().canonical.triangles, width, height)).astype(np.uint8)
    steps = np.abs(np.diff(depths[2:], axis=0))[:, cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0] * 1e3
    return {"median": float(np.median(steps)), "p99": float(np.percentile(steps, 99))}


def measure(rounds: int) -> dict[str, Any]:
    """Everything."""
    logging.getLogger("ray.serve.splatcast").setLevel(logging.ERROR)  # It would warn of the files that are left out on purpose.
    rgb = render_scene(0.0).rgb
    with tempfile.TemporaryDirectory() as folder:
        for name in (SEGMENTATION, FACES):
            (Path(folder) / name).symlink_to(ASSETS / name)
        models = {"without": ReliefModel(assets=folder), "with": ReliefModel()}
    for model in models.values():
        model.warm_up()
    states = {name: predict(model, rgb).state for name, model in models.items()}
    frames: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            frames[name].append(_cpu_ms(lambda m=model, s=states[name]: predict(m, rgb, s)))
    ratios = [new / old for new, old in zip(frames["with"], frames["without"], strict=True)]
    return {
        "parts_cpu_ms": parts(rgb, states["with"], rounds),
        "frame_cpu_ms": {name: statistics.median(times) for name, times in frames.items()},
        "ratio": statistics.median(ratios),
        "shape_error_mm": shape_error_mm(models, 8),
        "wander_mm": wander_mm(models["with"], 24),
        "state_bytes": {name: len(state) for name, state in states.items()},
    }


def describe(measured: dict[str, Any]) -> str:
    """Two tables and a sentence."""
    frame, error, size = measured["frame_cpu_ms"], measured["shape_error_mm"], measured["state_bytes"]
    steps = table(["step", "CPU ms"], [[name, f"{ms:.2f}"] for name, ms in measured["parts_cpu_ms"].items()])
    whole = table(
        ["", "without", "with the mesh"],
        [
            ["frame, CPU ms", f"{frame['without']:.1f}", f"{frame['with']:.1f} ({measured['ratio']:.2f} ×)"],
            ["error of the face's shape, mm", f"{error['without']:.1f}", f"{error['with']:.1f}"],
            ["state, bytes", str(size["without"]), str(size["with"])],
        ],
    )
    wander = measured["wander_mm"]
    noise = (
        f"A still face moves by {wander['median']:.2f} mm a frame (median; 99 %: {wander['p99']:.2f}) under ±{NOISE} grey of noise."
    )
    return f"{steps}\n\n{whole}\n\n{noise}"


@command("faces")
def main(argv: list[str]) -> int:
    """Entry point."""
    parser = new_parser("faces", __doc__ or "")
    parser.add_argument("--rounds", type=between(3, 1000, int), default=30, help="of each (%(default)s)")
    args = parser.parse_args(argv)
    report = start_report("faces", 1, argv, args)
    measured = measure(args.rounds)
    publish(report | measured, f"{describe_machine(report)}\n\n{describe(measured)}", args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
