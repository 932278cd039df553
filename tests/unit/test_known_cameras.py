"""Cameras that know themselves, and depth that was measured: several views of one world agree, and nonsense is named."""

import io
import math
import struct
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from PIL import Image

from deployments.client import encode_depth_png, splats_of
from deployments.models.relief.model import ReliefModel
from deployments.models.synthetic import SyntheticModel
from deployments.pipeline import DecodedCapture
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import lift_layers
from deployments.splats.layers import LayeredDepth
from deployments.stages.decode import FrameLimits, decode_capture
from deployments.stages.local import LocalPipeline
from deployments.stages.measured_depth import LABEL, layers_of_depth
from deployments.stages.predict import predict_batch
from deployments.stream import known_cameras
from deployments.stream.errors import CamerasRefused, DepthRefused, FrameError
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.messages import KnownCamera, QualityState, Splats
from deployments.stream.options import FrameOptions
from tests.mutations import mutated
from tests.pictures import png_chunk
from tests.unit.rig import Camera, Seen, look, off_surface, paint, turned

RIG = [look(turned(0.0)), look(turned(-14.0, 0.5, -0.1)), look(turned(11.0, -0.45, 0.15, 4.0))]
# The world is not the first camera's frame: nothing may depend on that.
ELSEWHERE = [look(turned(9.0, 0.3, 0.1)), *RIG[1:]]


def png(pixels: NDArray[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **options)
    return out.getvalue()


def capture_of(seen: list[Seen], unit_m: float = 0.001, codecs: tuple[str, ...] = (), **options: Any) -> Capture:
    options = {"border": 0.0, "min_opacity": 0.0, **options}
    return Capture(
        tuple(png(view.rgb) for view in seen),
        FrameRequest(FrameOptions(**options), codecs),
        tuple(view.known for view in seen),
        tuple(encode_depth_png(np.rint(view.depth / unit_m).astype(np.uint16)) for view in seen),
        unit_m,
    )


def decoded(capture: Capture) -> DecodedCapture:
    result = decode_capture(capture)
    assert isinstance(result, DecodedCapture), str(result)
    return result


def refusal(capture: Capture, limits: FrameLimits | None = None) -> FrameError:
    error = decode_capture(capture, limits or FrameLimits())
    assert isinstance(error, FrameError)
    return error


def in_the_world(gaussians: Gaussians, first: Seen) -> NDArray[np.float64]:
    """Centres in the rig's world instead of in the first camera's frame."""
    turn, shift = first.pose[:, :3], first.pose[:, 3]
    return np.asarray((gaussians.means.astype(np.float64) - shift) @ turn)


def colours(gaussians: Gaussians) -> NDArray[np.float64]:
    return np.asarray((0.5 + 0.28209479 * gaussians.sh[:, 0]) * 255)


def reply_of(packed: PackedFrame | FrameError) -> Splats:
    assert isinstance(packed, PackedFrame), str(packed)
    quality = QualityState(0, 0, 1.0, 1.0, "", "")
    return Splats(
        0, 0.0, packed.codec, packed.kind, packed.request.label, packed.count, packed.camera, packed.pruned, {}, {}, quality,
        packed.data.tobytes(),
    )  # fmt: skip


# --- one world ---


@pytest.mark.parametrize("rig", [RIG, ELSEWHERE], ids=["in the first camera's frame", "elsewhere"])
@pytest.mark.parametrize("codec", ["depth", "packed", "points", "ply"])
def test_views_with_exact_depth_and_cameras_meet_in_one_world_by_every_codec(rig: list[Seen], codec: str) -> None:
    engine = SyntheticModel(splats=300)
    shape = {"representation": "points"} if codec == "points" else {}
    packed = LocalPipeline(engine).run(capture_of(rig, codecs=("depth", "packed", "points", "ply"), codec=codec, **shape))
    reply = reply_of(packed)
    assert (reply.codec, reply.label) == (codec, LABEL)
    splats = splats_of(reply)
    visible = splats.opacities > 0.1
    points = in_the_world(splats, rig[0])[visible]
    assert len(points) > 0.9 * 3 * rig[0].depth.size
    # Metres: a step of depth is 1 mm, a codec's at most 1/768 of 3 m.
    assert np.percentile(off_surface(points), 98) < 0.008
    wrong = np.abs(colours(splats)[visible] - paint(points)).max(axis=1)
    assert np.percentile(wrong, 90) < 12


def test_a_splat_of_one_view_lies_where_another_view_has_measured_its_surface() -> None:
    layered = layers_of_depth(decoded(capture_of(RIG))).scene
    assert isinstance(layered, LayeredDepth)
    one = replace(layered, views=(layered.views[0],))
    for index in (1, 2):
        there = RIG[index]
        points = lift_layers(one).means @ there.pose[:, :3].T.astype(np.float32) + there.pose[:, 3].astype(np.float32)
        camera = there.camera
        u, v = (points[:, :2] / points[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)).T
        seen = (points[:, 2] > 0) & (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)
        measured = there.depth[v[seen].astype(int), u[seen].astype(int)]
        near = np.abs(points[seen, 2] - measured) < 0.03
        assert near.mean() > 0.9, "what is hidden from there, or lies on an edge, is less than a tenth"
        assert seen.mean() > 0.5


def test_with_measured_depth_the_engine_is_not_run_and_its_neighbours_in_the_batch_are() -> None:
    class Counting(SyntheticModel):
        asked = 0

        def predict(self, captures: Any) -> Any:
            self.asked += len(captures)
            return super().predict(captures)

    model = Counting(splats=300)
    plain = decoded(Capture((png(RIG[0].rgb),), FrameRequest(state=b"a")))
    deep = decoded(replace(capture_of(RIG[:1]), request=FrameRequest(state=b"b")))
    first, second, third = predict_batch(model, [plain, deep, plain])
    assert not isinstance(first, FrameError) and not isinstance(second, FrameError) and not isinstance(third, FrameError)
    assert model.asked == 2
    assert [p.prediction.label for p in (first, second, third)] == ["", LABEL, ""]
    assert second.request.state == b"b", "the engine's state waits for the next frame without depth"
    assert predict_batch(model, [deep]) and model.asked == 2


def test_where_nothing_was_measured_there_is_nothing() -> None:
    seen = RIG[0]
    holes = seen.millimetres.copy()
    holes[40:60, 50:90] = 0
    capture = replace(capture_of([seen]), depths=(encode_depth_png(holes),))
    scene = layers_of_depth(decoded(capture)).scene
    assert isinstance(scene, LayeredDepth)
    inverse = scene.views[0].layers[0].inverse_depth
    assert (inverse[40:60, 50:90] == 0).all() and (inverse[holes > 0] > 0).all()
    assert reply_of(LocalPipeline(SyntheticModel()).run(capture)).count == np.count_nonzero(holes) - _on_edges(scene)


def _on_edges(scene: LayeredDepth) -> int:
    view = scene.views[0]
    return int(np.count_nonzero((lift_layers(scene).opacities == 0) & (view.layers[0].inverse_depth.ravel() > 0)))


@pytest.mark.parametrize("codec", ["depth", "packed"])
def test_a_frame_of_nothing_but_holes_is_an_empty_frame(codec: str) -> None:
    capture = capture_of(RIG[:2], codecs=("depth", "packed"), codec=codec)
    capture = replace(capture, depths=(encode_depth_png(np.zeros((120, 160), np.uint16)),) * 2)
    assert reply_of(LocalPipeline(SyntheticModel()).run(capture)).count == 0


def test_the_unit_is_what_the_frame_says() -> None:
    millimetres = layers_of_depth(decoded(capture_of(RIG[:1]))).scene
    quarters = layers_of_depth(decoded(capture_of(RIG[:1], unit_m=0.00025))).scene
    assert isinstance(millimetres, LayeredDepth) and isinstance(quarters, LayeredDepth)
    a, b = (scene.views[0].layers[0].inverse_depth for scene in (millimetres, quarters))
    np.testing.assert_allclose(a, b, rtol=1e-3)


def test_a_budget_makes_the_grids_smaller_and_not_thinner_and_so_does_inference_px() -> None:
    scene = layers_of_depth(decoded(capture_of(RIG, max_splats=9000))).scene
    assert isinstance(scene, LayeredDepth) and 8000 < scene.pixels <= 9000
    assert {view.camera.width for view in scene.views} == {63}
    small = layers_of_depth(decoded(capture_of(RIG, inference_px=40))).scene
    assert isinstance(small, LayeredDepth) and {view.camera.width for view in small.views} == {40}
    for view in (*scene.views, *small.views):
        assert view.camera.fx / view.camera.width == pytest.approx(140 / 160)
        assert view.camera.cx / view.camera.width == pytest.approx(0.5)


def test_depth_of_another_size_than_the_picture_keeps_its_own() -> None:
    low = look(RIG[0].pose, Camera(64, 48, 56.0, 56.0, 32.0, 24.0))
    capture = replace(capture_of(RIG[:1]), depths=(encode_depth_png(low.millimetres),))
    scene = layers_of_depth(decoded(capture)).scene
    assert isinstance(scene, LayeredDepth)
    assert scene.views[0].camera == low.camera
    assert np.percentile(off_surface(lift_layers(scene).means), 95) < 0.01


def test_more_views_than_depth_can_carry_go_as_splats_or_are_refused_by_name() -> None:
    rig = [look(turned(2.0 * i, 0.1 * i)) for i in range(9)]
    assert reply_of(LocalPipeline(SyntheticModel()).run(capture_of(rig, codecs=("depth", "packed")))).codec == "packed"
    error = LocalPipeline(SyntheticModel()).run(capture_of(rig, codecs=("depth", "packed"), codec="depth"))
    assert isinstance(error, FrameError) and str(error) == "The frame has 9 views: expected 1 to 8."


# --- turned and resized pictures ---


@pytest.mark.parametrize("orientation", range(1, 9))
def test_intrinsics_and_depth_are_those_of_the_upright_picture_whatever_way_it_is_stored(orientation: int) -> None:
    camera = Camera(160, 120, 140.0, 130.0, 70.0, 65.0)
    seen = look(RIG[1].pose, camera)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # How a camera that is held that way stores what is upright: the inverse of turning it upright.
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    stored, stored_depth = (_turned(array, inverse) for array in (seen.rgb, seen.millimetres))
    upright = Capture((png(seen.rgb),), cameras=(seen.known,), depths=(encode_depth_png(seen.millimetres),))
    picture_turned = replace(upright, views=(png(stored, exif=exif),))
    both_turned = replace(picture_turned, depths=(png(stored_depth, exif=exif),))
    expected = decoded(upright)
    for capture in (picture_turned, both_turned):
        got = decoded(capture)
        assert got.cameras == expected.cameras == (camera,)
        assert (got.views[0] == expected.views[0]).all() and (got.depths[0] == expected.depths[0]).all()


def _turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    return np.ascontiguousarray(
        {
            1: lambda a: a,
            2: lambda a: a[:, ::-1],
            3: lambda a: a[::-1, ::-1],
            4: lambda a: a[::-1],
            5: lambda a: a.swapaxes(0, 1),
            6: lambda a: np.rot90(a, -1),
            7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
            8: lambda a: np.rot90(a, 1),
        }[orientation](array)
    )


def test_depth_that_lies_on_its_side_is_refused_and_told_to_turn() -> None:
    sideways = np.ascontiguousarray(np.rot90(RIG[0].millimetres))
    error = refusal(replace(capture_of(RIG[:1]), depths=(encode_depth_png(sideways),)))
    assert str(error) == (
        "The frame's depth can't be used: depth 0: expected the shape of its view, which is 160×120 pixels upright, got 120×160: "
        "align it to the picture, and turn it as the picture is turned."
    )


def test_intrinsics_shrink_with_the_picture() -> None:
    out = io.BytesIO()
    Image.fromarray(RIG[0].rgb).resize((1600, 1200)).save(out, "JPEG")
    known = KnownCamera(1400.0, 1390.0, 790.0, 610.0)
    request = FrameRequest(FrameOptions(inference_px=400))
    got = decoded(Capture((out.getvalue(),), request, (known,)))
    assert got.views[0].shape == (300, 400, 3)
    assert got.cameras == (Camera(400, 300, 350.0, 347.5, 197.5, 152.5),)


def test_a_known_camera_goes_before_fov_deg_and_that_before_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    exif.get_ifd(0x8769)[0xA405] = 18  # mm of 35-mm film, 90°
    pixels = np.zeros((90, 120, 3), np.uint8)
    found = []
    for fov_deg, cameras in ((40.0, (KnownCamera(200.0, 150.0, 61.0, 44.0),)), (40.0, ()), (0.0, ())):
        request = FrameRequest(FrameOptions(fov_deg=fov_deg))
        found.append(decoded(Capture((png(pixels, exif=exif),), request, cameras)))
    assert [capture.intrinsics for capture in found] == ["given", "given", "exif"]
    assert [capture.fov_deg for capture in found] == pytest.approx([2 * math.degrees(math.atan(60 / 200)), 40.0, 90.0])
    for model in (ReliefModel(), SyntheticModel(splats=300, depth=True)):
        for capture, outcome in zip(found, predict_batch(model, found), strict=True):
            assert not isinstance(outcome, FrameError)
            seen = outcome.prediction
            across = 0.5 / math.tan(math.radians(capture.fov_deg) / 2)
            assert seen.intrinsics == capture.intrinsics
            assert seen.camera.fx / seen.camera.width == pytest.approx(across, rel=1e-5)


def test_the_relief_stands_in_the_camera_that_is_known() -> None:
    model = ReliefModel()
    plain = decoded(Capture((png(RIG[0].rgb),)))
    known = decoded(Capture((png(RIG[0].rgb),), cameras=(RIG[0].known,)))
    guessed, true = (model.predict([capture])[0] for capture in (plain, known))
    assert not isinstance(guessed, FrameError) and not isinstance(true, FrameError)
    assert true.camera == RIG[0].camera != guessed.camera


# --- poses ---


@given(st.lists(st.tuples(*[st.floats(-180, 180)] * 2, *[st.floats(-50, 50)] * 2), min_size=1, max_size=5))
def test_relative_poses_carry_points_as_the_worlds_do(rig: list[tuple[float, float, float, float]]) -> None:
    poses = [turned(yaw, x, y, pitch) for yaw, pitch, x, y in rig]
    # As people write them down: with four digits of a rotation.
    rough = [np.column_stack((np.round(pose[:, :3], 4), pose[:, 3])) for pose in poses]
    cameras = tuple(KnownCamera(1.0, 1.0, 0.0, 0.0, pose.ravel().tolist()) for pose in rough)
    assert known_cameras.why_not(Capture((b"x",) * len(cameras), cameras=cameras)) is None
    relative = known_cameras.relative_poses(cameras)
    assert relative is not None and (relative[0] == np.eye(3, 4)).all()
    point = np.array([0.3, -0.2, 2.0])
    first = poses[0][:, :3] @ point + poses[0][:, 3]
    for pose, moved in zip(poses, relative, strict=True):
        expected = pose[:, :3] @ point + pose[:, 3]
        np.testing.assert_allclose(moved[:, :3] @ first + moved[:, 3], expected, atol=0.05)
        np.testing.assert_allclose(moved[:, :3] @ moved[:, :3].T, np.eye(3), atol=1e-6)


# --- refusals ---

LENS = KnownCamera(140.0, 140.0, 80.0, 60.0)
POSE = turned(3.0).ravel().tolist()
GOOD = capture_of(RIG[:2])
DEEP = GOOD.depths[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cameras": (LENS,)}, "cameras can't be used: expected one for each of the 2 views, got 1."),
        (
            {"cameras": (LENS, replace(LENS, fx=0.0))},
            "cameras can't be used: camera 1: 'fx': expected a number of pixels above 0, got 0.",
        ),
        (
            {"cameras": (LENS, replace(LENS, cx=float("nan")))},
            "cameras can't be used: camera 1: 'cx': expected a number of pixels, got nan.",
        ),
        (
            {"cameras": (replace(LENS, pose=POSE), LENS)},
            "cameras can't be used: expected a pose of every camera or of none, got 1 of 2.",
        ),
        (
            {"cameras": (LENS, replace(LENS, pose=POSE[:11]))},
            "cameras can't be used: camera 1: 'pose': expected 12 numbers, got 11.",
        ),
        (
            {"cameras": (replace(LENS, pose=[*POSE[:3], 2e6, *POSE[4:]]), LENS)},
            "camera 0: 'pose': expected numbers of at most 1e+06, got [",
        ),
        (
            {"cameras": (replace(LENS, pose=[2 * x for x in POSE]), LENS)},
            "camera 0: 'pose': expected a rotation in its first three columns (world to camera, row by row), got [[",
        ),
        (
            {"cameras": (replace(LENS, pose=[-1.0, *[0.0] * 4, 1.0, *[0.0] * 4, 1.0, 0.0]), LENS)},
            "camera 0: 'pose': expected a rotation in its first three columns",
        ),
        (
            {"cameras": (replace(GOOD.cameras[0], fx=2.0), GOOD.cameras[1])},
            "cameras can't be used: camera 0: 'fx': expected 8 to 160000 pixels for a picture of 160×120, got 2.",
        ),
        (
            {"cameras": (replace(GOOD.cameras[0], cy=500.0), GOOD.cameras[1])},
            "cameras can't be used: camera 0: 'cy': expected -120 to 240 pixels for a picture of 160×120, got 500.",
        ),
        ({"depths": (DEEP,)}, "depth can't be used: expected one for each of the 2 views, got 1."),
        ({"depths": (DEEP, b"")}, "depth can't be used: depth 1 is empty: expected a 16-bit grey PNG for each view."),
        (
            {"cameras": ()},
            "depth can't be used: expected 'cameras' along with 'depths', as depth without a focal length has no shape.",
        ),
        (
            {"cameras": (LENS, LENS)},
            "depth can't be used: expected a pose of each of the 2 cameras, as nothing else relates their depths.",
        ),
        ({"depth_unit_m": 0.0}, "depth can't be used: 'depth_unit_m': expected 1e-06 to 1, got 0."),
        ({"depth_unit_m": float("nan")}, "depth can't be used: 'depth_unit_m': expected 1e-06 to 1, got nan."),
        (
            {"depths": (DEEP, png(RIG[0].rgb[..., 0]))},
            "depth can't be used: depth 1: expected a 16-bit grey PNG, got a PNG of 8 bits a channel (grey).",
        ),
        (
            {"depths": (DEEP, GOOD.views[0])},
            "depth can't be used: depth 1: expected a 16-bit grey PNG, got a PNG of 8 bits a channel (RGB).",
        ),
        ({"depths": (DEEP, b"GIF89a")}, "depth can't be used: depth 1: expected a 16-bit grey PNG, got a GIF."),
        ({"depths": (DEEP, DEEP[:-20])}, "depth can't be used: depth 1: The picture can't be decoded (the PNG is truncated)"),
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_named(changes: dict[str, Any], sentence: str) -> None:
    error = refusal(replace(GOOD, **changes))
    assert isinstance(error, (CamerasRefused, DepthRefused))
    assert sentence in str(error)


def test_bytes_and_pixels_of_depths_count_towards_the_frames_limits() -> None:
    size = GOOD.encoded_bytes
    assert isinstance(decode_capture(GOOD, FrameLimits(max_frame_bytes=size)), DecodedCapture)
    assert refusal(GOOD, FrameLimits(max_frame_bytes=size - 1)).code == "frame_too_large"
    pixels = 4 * 160 * 120
    assert isinstance(decode_capture(GOOD, FrameLimits(max_pixels=pixels)), DecodedCapture)
    assert refusal(GOOD, FrameLimits(max_pixels=pixels - 1)).code == "image_size"
    header = png_chunk((b"IHDR", struct.pack(">IIBBBBB", 65536, 49152, 16, 0, 0, 0, 0)))
    bomb = b"\x89PNG\r\n\x1a\n" + header + png_chunk((b"IDAT", b"x")) + png_chunk((b"IEND", b""))
    assert "depth 1: The picture is 65536×49152 pixels: expected 16×16 to 4096×4096" in str(
        refusal(replace(GOOD, depths=(DEEP, bomb)))
    )


def test_changed_bytes_of_a_depth_give_a_frame_or_a_documented_refusal() -> None:
    rng = np.random.default_rng(5)
    original = encode_depth_png(look(turned(0.0), Camera(24, 18, 20.0, 20.0, 12.0, 9.0)).millimetres)
    out = io.BytesIO()
    Image.new("RGB", (24, 18)).save(out, "PNG")
    cameras, refused = (KnownCamera(20.0, 20.0, 12.0, 9.0),), 0
    for _ in range(400):
        outcome = decode_capture(Capture((out.getvalue(),), cameras=cameras, depths=(bytes(mutated(original, rng)),)))
        assert isinstance(outcome, (DecodedCapture, DepthRefused))
        refused += isinstance(outcome, DepthRefused)
    assert refused > 350, "a PNG has checksums"


any_number = st.floats() | st.floats(-3, 3) | st.just(140.0)


@given(
    st.lists(
        st.builds(KnownCamera, *[any_number] * 4, st.none() | st.lists(any_number, min_size=12, max_size=12) | st.just(POSE)),
        max_size=3,
    ),
    st.lists(st.sampled_from([b"", DEEP]), max_size=3),
    any_number,
)
def test_any_numbers_make_a_frame_or_a_documented_refusal(cameras: list[KnownCamera], depths: list[bytes], unit: float) -> None:
    capture = replace(GOOD, cameras=tuple(cameras), depths=tuple(depths), depth_unit_m=unit)
    outcome = decode_capture(capture)
    if isinstance(outcome, DecodedCapture):
        assert len(outcome.cameras) in (0, 2) and all(np.isfinite(c.fx + c.fy + c.cx + c.cy) for c in outcome.cameras)
        assert outcome.poses is None or np.isfinite(outcome.poses).all()
        if outcome.depths:
            assert layers_of_depth(outcome).label == LABEL
    else:
        assert isinstance(outcome, (CamerasRefused, DepthRefused))


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_depth_png_reads_back_as_it_was(width: int, height: int, random: Any) -> None:
    depth = np.array([[random.randrange(65536) for _ in range(width)] for _ in range(height)], np.uint16)
    with Image.open(io.BytesIO(encode_depth_png(depth))) as image:
        assert image.mode == "I;16" and (np.asarray(image) == depth).all()


def test_what_is_no_depth_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"expected uint16 \[H, W\], got float32 \(2, 3\)"):
        encode_depth_png(np.zeros((2, 3), np.float32))  # type: ignore[arg-type]
