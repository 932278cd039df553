"""Our output is the package's own ``inference()`` on the same weights and pictures, after the one conversion to our convention."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.package import package_model
from deployments.models.da3.model import DepthAnything3
from deployments.pipeline import DecodedCapture, Prediction
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions
from tests.da3.conftest import picture

PX = 140
CPU = torch.device("cpu")


def engine(checkpoint: Path, **params: Any) -> DepthAnything3:
    return DepthAnything3(weights=str(checkpoint), device="cpu", longest_px=PX, threads=1, **{"calm": False, **params})


def ours(model: DepthAnything3, *views: NDArray[np.uint8], **options: Any) -> Prediction:
    (outcome,) = model.predict([DecodedCapture(views, FrameRequest(FrameOptions(**options)))])
    assert isinstance(outcome, Prediction), outcome
    return outcome


def theirs(net: torch.nn.Module, *views: NDArray[np.uint8], infer_gs: bool = True) -> Any:
    return package_model(net, CPU, exact=True).inference(list(views), infer_gs=infer_gs, process_res=PX)


def rotation(quats: NDArray[Any]) -> NDArray[np.float64]:
    """Matrices of wxyz quaternions, by the textbook. [N, 3, 3]."""
    w, x, y, z = np.asarray(quats, np.float64).T / np.linalg.norm(quats, axis=-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def close(ours: Any, theirs: Any, relative: float = 2e-5) -> None:
    """Equal to ``relative`` of the largest value: float32 sums in another order."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=0, atol=relative * max(float(np.abs(b).max()), 1e-12))


def check_intrinsics(camera: Any, theirs: NDArray[np.float32]) -> None:
    close([camera.fx, camera.fy, camera.cx, camera.cy], [theirs[0, 0], theirs[1, 1], theirs[0, 2], theirs[1, 2]], 1e-6)


def test_one_view_equals_the_package_re_expressed_in_the_cameras_frame(networks: Any, checkpoints: Any) -> None:
    view = picture()
    got, said = ours(engine(checkpoints["micro"]), view, sh_degree=2), theirs(networks["micro"], view)
    g, h = got.as_gaussians(), said.gaussians
    w2c = said.extrinsics[0].astype(np.float64)
    assert np.abs(w2c - np.eye(3, 4)).max() > 0.1, "a pose that changes nothing proves nothing"
    assert got.kind == "native" and g.grid == (1, 112, 140)
    close(g.means, h.means[0].numpy() @ w2c[:, :3].T + w2c[:, 3])
    close(g.scales, h.scales[0].numpy())
    close(g.opacities, h.opacities[0].numpy())
    # The package turns the harmonics into the world; degree 0 has no direction.
    close(g.sh[:, 0], h.harmonics[0, :, :, 0].numpy())
    check_intrinsics(got.camera, said.intrinsics[0])


def test_one_view_equals_the_package_in_every_field_where_its_pose_is_the_identity(tmp_path: Path) -> None:
    from tests.da3 import micro

    net = micro.make_network(micro.any_view())
    folder = micro.save(net, tmp_path / "still", "micro", micro.any_view())
    view = picture(seed=3)
    g, h = ours(engine(folder), view, sh_degree=2).as_gaussians(), theirs(net, view).gaussians
    close(g.means, h.means[0].numpy())
    close(g.scales, h.scales[0].numpy())
    close(g.opacities, h.opacities[0].numpy())
    close(g.sh, h.harmonics[0].numpy().transpose(0, 2, 1))
    close(rotation(g.quats), rotation(h.rotations[0].numpy()))
    np.testing.assert_allclose(np.linalg.norm(g.quats, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("views", [2, 4])
def test_several_views_equal_the_package_in_the_first_cameras_frame(networks: Any, checkpoints: Any, views: int) -> None:
    pictures = [picture(seed=i) for i in range(views)]
    got, said = ours(engine(checkpoints["micro"]), *pictures), theirs(networks["micro"], *pictures)
    g, h = got.as_gaussians(), said.gaussians
    first = said.extrinsics[0].astype(np.float64)
    assert np.abs(said.extrinsics[1] - said.extrinsics[0]).max() > 1e-3, "views at one place prove nothing"
    assert g.grid == (views, 112, 140)
    close(g.means, h.means[0].numpy() @ first[:, :3].T + first[:, 3])
    close(g.scales, h.scales[0].numpy())
    close(g.opacities, h.opacities[0].numpy())
    close(g.sh[:, 0], h.harmonics[0, :, :, 0].numpy())
    check_intrinsics(got.camera, said.intrinsics[0])


def test_several_views_turn_their_quaternions_by_the_pose_where_the_package_mixes_up_their_order(
    networks: Any, checkpoints: Any
) -> None:
    pictures = [picture(seed=i) for i in range(2)]
    g, said = ours(engine(checkpoints["micro"]), *pictures).as_gaussians(), theirs(networks["micro"], *pictures)
    raw = _raw_quats_wxyz(networks["micro"], pictures)
    w2c = said.extrinsics[:, :, :3].astype(np.float64)
    per_view = len(g) // 2
    expected = np.concatenate([w2c[0] @ w2c[v].T @ rotation(raw[v * per_view : (v + 1) * per_view]) for v in range(2)])
    close(rotation(g.quats), expected)
    package = w2c[0] @ rotation(said.gaussians.rotations[0].numpy())
    assert np.abs(package - expected).max() > 0.1, "the package is right after all: use its quaternions"


def _raw_quats_wxyz(net: Any, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What the head says, in each camera's frame. [V·H·W, 4]."""
    kept = []
    hook = net.gs_head.register_forward_hook(lambda module, inputs, output: kept.append(output.raw_gs))
    theirs(net, *pictures)
    hook.remove()
    xyzw = kept[0][0, ..., 5:9].reshape(-1, 4).numpy()
    return xyzw[:, [3, 0, 1, 2]]


def test_harmonics_of_several_views_are_turned_into_the_first_cameras_frame(networks: Any, checkpoints: Any) -> None:
    """The first view is at the origin: its harmonics are the head's own, of every degree."""
    pictures = [picture(seed=i) for i in range(2)]
    g = ours(engine(checkpoints["micro"]), *pictures, sh_degree=2).as_gaussians()
    alone = _raw_harmonics(networks["micro"], pictures)
    close(g.sh[: len(g) // 2], alone[: len(g) // 2])
    assert np.abs(g.sh[len(g) // 2 :, 1:] - alone[len(g) // 2 :, 1:]).max() > 1e-3 * np.abs(alone[:, 1:]).max()


def _raw_harmonics(net: Any, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    kept = []
    hook = net.gs_head.register_forward_hook(lambda module, inputs, output: kept.append(output.raw_gs))
    theirs(net, *pictures)
    hook.remove()
    sh = kept[0][0, ..., 9:36].reshape(-1, 3, 9) * net.gs_adapter.sh_mask
    return sh.numpy().transpose(0, 2, 1)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_lower_degree_is_the_higher_one_cut_off(checkpoints: Any, degree: int) -> None:
    model, view = engine(checkpoints["micro"]), picture()
    full, cut = ours(model, view, sh_degree=2).as_gaussians(), ours(model, view, sh_degree=degree).as_gaussians()
    assert cut.sh_degree == degree
    np.testing.assert_array_equal(cut.sh, full.sh[:, : (degree + 1) ** 2])
    np.testing.assert_array_equal(cut.means, full.means)


def test_nested_is_scaled_to_metres_which_the_package_forgets(networks: Any, checkpoints: Any) -> None:
    view = picture()
    got, said = ours(engine(checkpoints["micro-nested"]), view), theirs(networks["micro-nested"], view)
    w2c, unit = said.extrinsics[0].astype(np.float64), said.scale_factor
    assert said.is_metric == 1 and abs(unit - 1) > 0.05
    unscaled = said.gaussians.means[0].numpy() @ w2c[:, :3].T + w2c[:, 3] / unit
    close(got.as_gaussians().means, unscaled * unit)
    close(got.as_gaussians().scales, said.gaussians.scales[0].numpy() * unit)


def test_depth_of_nested_is_the_packages_metric_depth(networks: Any, checkpoints: Any) -> None:
    view = picture()
    got, said = ours(engine(checkpoints["micro-nested"]), view, representation="points"), theirs(networks["micro-nested"], view)
    close(got.as_gaussians().means[:, 2], said.depth.ravel(), 1e-4)


@pytest.mark.parametrize("name", ["micro-depth", "micro-mono"])
def test_depth_models_give_points_at_the_packages_depth(networks: Any, checkpoints: Any, name: str) -> None:
    view = picture()
    got, said = ours(engine(checkpoints[name]), view), theirs(networks[name], view, infer_gs=False)
    assert got.kind == "points"
    close(got.as_gaussians().means[:, 2], said.depth.ravel())
    lifted = ours(engine(checkpoints[name]), view, representation="splats")
    assert lifted.kind == "lifted"
    if name == "micro-depth":
        check_intrinsics(got.camera, said.intrinsics[0])


def test_points_of_several_views_meet_in_the_first_cameras_frame(networks: Any, checkpoints: Any) -> None:
    pictures = [picture(seed=i) for i in range(3)]
    got, said = ours(engine(checkpoints["micro-depth"]), *pictures), theirs(networks["micro-depth"], *pictures, infer_gs=False)
    expected = []
    first = said.extrinsics[0].astype(np.float64)
    for depth, k, w2c in zip(said.depth, said.intrinsics, said.extrinsics.astype(np.float64), strict=True):
        v, u = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
        rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], axis=-1)
        world = (rays * depth[..., None]).reshape(-1, 3) - w2c[:, 3]
        expected.append((world @ w2c[:, :3]) @ first[:, :3].T + first[:, 3])
    close(got.as_gaussians().means, np.concatenate(expected), 1e-4)
    assert got.as_gaussians().grid == (3, 112, 140)


def test_a_picture_of_nothing_but_sky_gives_a_frame_where_the_package_asserts(checkpoints: Any, networks: Any) -> None:
    import copy

    net = copy.deepcopy(networks["micro-nested"])
    bias = net.da3_metric.head.scratch.sky_output_conv2[-1].bias
    with torch.no_grad():
        bias.fill_(100.0)
    with pytest.raises(AssertionError, match="non-sky"):
        theirs(net, picture())
    model = engine(checkpoints["micro-nested"])
    with torch.no_grad():
        model._forward._steps.meter.head.scratch.sky_output_conv2[-1].bias.fill_(100.0)
    for representation in ("splats", "points"):
        got = ours(model, picture(), representation=representation)
        assert np.isfinite(got.as_gaussians().means).all() and got.as_gaussians().means[:, 2].max() > 0


def test_metric_depth_follows_the_focal_length(checkpoints: Any) -> None:
    from deployments.models.da3.forward import Forward

    model = engine(checkpoints["micro-mono"])
    plain = ours(model, picture())
    net = model._forward._steps.main
    model._forward = Forward(net, CPU, metric=True)
    metric = ours(model, picture())
    close(metric.as_gaussians().means[:, 2], plain.as_gaussians().means[:, 2] * metric.camera.fx / 300, 1e-6)


def test_each_session_has_its_own_lens(checkpoints: Any) -> None:
    from deployments.models.da3.forward import Forward

    model = engine(checkpoints["micro-mono"], calm=False)
    model._forward = Forward(model._forward._steps.main, CPU, metric=True)
    shots = [
        DecodedCapture((picture(),), fov_deg=fov, intrinsics=known)
        for fov, known in ((90.0, "exif"), (0.0, "guessed"), (30.0, "given"))
    ]
    outcomes = model.predict(shots)
    wide, usual, long = outcomes
    for outcome, fov_deg, known in ((wide, 90, "exif"), (usual, 60, "guessed"), (long, 30, "given")):
        assert outcome.camera.fx / outcome.camera.width == pytest.approx(0.5 / math.tan(math.radians(fov_deg / 2)), rel=1e-5)
        assert outcome.intrinsics == known
    # Metres are in proportion to it.
    depth = [outcome.as_gaussians().means[:, 2] for outcome in (wide, long)]
    close(depth[0] / wide.camera.fx, depth[1] / long.camera.fx, 1e-5)


def test_another_lens_makes_other_metres_at_once_however_calm_the_session(checkpoints: Any) -> None:
    from deployments.models.da3.forward import Forward

    model = engine(checkpoints["micro-mono"], calm=True)
    model._forward = Forward(model._forward._steps.main, CPU, metric=True)
    state, depths = b"", []
    for fov_deg in (60.0, 60.0, 40.0):
        (outcome,) = model.predict([DecodedCapture((picture(),), FrameRequest(state=state), fov_deg=fov_deg)])
        assert isinstance(outcome, Prediction)
        state = outcome.state
        depths.append(outcome.as_gaussians().means[:, 2] / outcome.camera.fx)
    close(depths[1], depths[0], 1e-5)
    close(depths[2], depths[0], 1e-5)


def test_the_lens_in_the_config_is_known_and_a_network_that_finds_its_own_says_so(checkpoints: Any) -> None:
    assert ours(engine(checkpoints["micro-mono"]), picture()).intrinsics == "guessed"
    told = ours(engine(checkpoints["micro-mono"], fov_deg=90.0), picture())
    assert told.intrinsics == "given" and told.camera.fx / told.camera.width == pytest.approx(0.5, rel=1e-5)
    (found,) = engine(checkpoints["micro"]).predict([DecodedCapture((picture(),), fov_deg=90.0, intrinsics="exif")])
    assert isinstance(found, Prediction) and found.intrinsics == "predicted"


def test_shrinking_on_the_device_gives_the_same_frame(checkpoints: Any) -> None:
    model = engine(checkpoints["micro"])
    expected = ours(model, picture())
    model._shrink_on_device = True
    got = ours(model, picture())
    assert got.camera == expected.camera and got.as_gaussians().grid == expected.as_gaussians().grid
    for name in ("means", "scales", "quats", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(got.as_gaussians(), name), getattr(expected.as_gaussians(), name))
