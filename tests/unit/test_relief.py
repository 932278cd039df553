"""The relief: who is a person, how calm it stays, how it looks from the capture viewpoint, and what it takes."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage

from deployments.models import load_model
from deployments.models.relief import person
from deployments.models.relief.model import DEFAULT_PX, ReliefModel, build_relief
from deployments.models.relief.person import ASSETS, FACES, SEGMENTATION, Face, MissingAssetError, PersonNets
from deployments.models.relief.tracking import MIN_FACE_SCORE, Track, follow
from deployments.pipeline import DecodedCapture, Prediction
from deployments.scene.clip import Cast, render_scene
from deployments.splats.camera import Camera
from deployments.splats.layer_lifting import lift_layers
from deployments.splats.pruning import prune
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions
from tests.unit.splatter import psnr, splat

PHOTOS = Path(skimage.__file__).parent / "data"


@cache
def model() -> ReliefModel:
    return ReliefModel()


@cache
def photo(name: str) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(PHOTOS / f"{name}.png"), cv2.IMREAD_COLOR)[..., ::-1])


def predict(rgb: np.ndarray, state: bytes = b"", **options) -> Prediction:
    (result,) = model().predict([DecodedCapture((rgb,), FrameRequest(FrameOptions(**options), state=state))])
    assert isinstance(result, Prediction), str(result)
    return result


def presence(state: bytes) -> float:
    track = Track.from_bytes(state)
    assert track is not None
    return track.presence


def depth_of(result: Prediction) -> np.ndarray:
    size = result.camera.height * result.camera.width
    return result.as_gaussians().means[:size, 2].reshape(result.camera.height, result.camera.width)


def stream(frames, **options) -> list[Prediction]:
    state, results = b"", []
    for rgb in frames:
        results.append(predict(rgb, state, **options))
        state = results[-1].state
    return results


# --- the gate ---


@pytest.mark.parametrize("name", ["astronaut", "camera"])
@pytest.mark.parametrize("change", [lambda p: p, lambda p: p[:, ::-1], lambda p: p[20:, 24:]], ids=["", "mirrored", "cropped"])
def test_people_are_people(name: str, change) -> None:
    assert presence(predict(np.ascontiguousarray(change(photo(name)))).state) == 1.0


@pytest.mark.parametrize("name", ["coffee", "chelsea", "motorcycle_left", "brick", "page", "clock_motion", "horse", "grass"])
@pytest.mark.parametrize("change", [lambda p: p, lambda p: p[:, ::-1], lambda p: p[20:, 24:]], ids=["", "mirrored", "cropped"])
def test_cups_cats_and_machines_are_not(name: str, change) -> None:
    assert presence(predict(np.ascontiguousarray(change(photo(name)))).state) == 0.0


def test_faces_of_people_and_of_cats_lie_well_apart_of_the_threshold() -> None:
    nets = PersonNets()
    people = [nets.find_face(picture).score for picture in (photo("astronaut"), photo("camera"), render_scene(0.0).rgb)]
    others = [nets.find_face(photo(name)).score for name in ("chelsea", "coffee", "motorcycle_left", "horse", "page")]
    assert min(people) > MIN_FACE_SCORE + 0.05 and max(others) < MIN_FACE_SCORE - 0.05


def test_the_sample_scene_is_a_person_all_along() -> None:
    nets = PersonNets()
    for t in (0.0, 0.8, 1.6, 2.4, 3.2):
        scene = render_scene(t, 320, 240)
        mask = cv2.resize(nets.segment(scene.rgb), (320, 240)) > 0.5
        truth = scene.depth < 1.2
        middle = slice(60, 260)  # the plant at the lower left passes for a little of a person
        overlap = (mask & truth)[:, middle].sum() / (mask | truth)[:, middle].sum()
        assert overlap > 0.9
        assert nets.find_face(scene.rgb).score > 0.85


def test_the_stopped_network_gives_what_the_whole_one_gives() -> None:
    square = cv2.resize(photo("astronaut"), (256, 256), interpolation=cv2.INTER_AREA)
    whole = person.load_network(ASSETS / SEGMENTATION)
    whole.setInput(cv2.dnn.blobFromImage(square, 1 / 255))
    assert np.abs(PersonNets().segment(square) - whole.forward()[0, 0]).max() < 1e-4


def test_the_face_network_is_fed_minus_one_to_one() -> None:
    square = cv2.resize(photo("astronaut"), (128, 128), interpolation=cv2.INTER_AREA)
    net = person.load_network(ASSETS / FACES)
    net.setInput(cv2.dnn.blobFromImage(square, 1 / 127.5, mean=(127.5, 127.5, 127.5)))
    logit = net.forward("classificators").max()
    assert PersonNets().find_face(square).score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)


def test_the_face_is_where_it_is_in_every_shape_of_picture() -> None:
    full = PersonNets().find_face(photo("astronaut"))
    assert full.score > 0.85
    eyes, nose, mouth = full.points[:2].mean(axis=0) * 512, full.points[2] * 512, full.points[3] * 512
    assert np.abs(eyes - (222, 103)).max() < 12 and np.abs(nose - (224, 128)).max() < 12 and np.abs(mouth - (226, 148)).max() < 12
    wide, high = photo("astronaut")[:300], photo("astronaut")[:, 80:380]
    a, b = PersonNets().find_face(wide), PersonNets().find_face(high)
    assert np.abs(a.points[2] * (512, 300) - nose).max() < 10
    assert np.abs(b.points[2] * (300, 512) + (80, 0) - nose).max() < 10


# --- over time ---


def track_of(mask: np.ndarray, face: float, before: Track | None, rgb: np.ndarray, calm: float = 1.0) -> Track:
    return follow(before, mask, Face(face, 0.2, np.full((4, 2), 0.5, np.float32)), rgb, calm=calm)


@pytest.fixture
def sitter() -> tuple[np.ndarray, np.ndarray]:
    """A confident mask of a head on shoulders, and a picture to go with it."""
    mask = np.zeros((256, 256), np.float32)
    cv2.ellipse(mask, (128, 110), (40, 55), 0, 0, 360, 1.0, -1)
    cv2.ellipse(mask, (128, 256), (90, 90), 0, 0, 360, 1.0, -1)
    return mask, (np.dstack([mask] * 3) * 120 + 60).astype(np.uint8)


def test_the_mask_alone_starts_nothing_and_neither_does_the_face_alone(sitter) -> None:
    mask, rgb = sitter
    assert track_of(mask, MIN_FACE_SCORE - 0.05, None, rgb).presence == 0
    assert track_of(mask * 0.6, 0.99, None, rgb).presence == 0
    assert track_of(np.roll(mask, -20, axis=0) * (np.arange(256)[:, None] < 230), 0.99, None, rgb).presence == 0
    assert track_of(mask, 0.99, None, rgb).presence == 1


def test_turning_away_holds_and_leaving_lets_go_slowly(sitter) -> None:
    mask, rgb = sitter
    track = track_of(mask, 0.95, None, rgb)
    for _ in range(50):
        track = track_of(mask, 0.05, track, rgb)
    assert track.presence == 1 and track.face_weight == 0
    fall = []
    for _ in range(12):
        track = track_of(mask * 0, 0.05, track, rgb)
        fall.append(track.presence)
    assert fall == sorted(fall, reverse=True) and max(np.abs(np.diff([1.0, *fall]))) <= 0.11
    assert fall[3] > 0.5 and fall[-1] == 0


def test_who_comes_into_an_empty_picture_is_there_within_three_frames(sitter) -> None:
    mask, rgb = sitter
    track = track_of(mask * 0, 0.1, None, rgb)
    steps = []
    for _ in range(3):
        track = track_of(mask, 0.95, track, rgb)
        steps.append(track.presence)
    assert steps[-1] == 1 and 0 < steps[0] < 0.5, "it blends in, it does not pop in"


def test_a_wavering_mask_is_calmed_as_much_as_is_asked_for(sitter) -> None:
    mask, rgb = sitter
    random = np.random.default_rng(0)
    soft = cv2.GaussianBlur(mask, (0, 0), 4)
    raw = [np.clip(soft + random.normal(0, 0.15, mask.shape), 0, 1).astype(np.float32) for _ in range(12)]

    def wander(calm: float | None) -> float:
        track, masks = None, []
        for shaken in raw:
            track = track_of(shaken, 0.95, None if calm is None else track, rgb, calm or 0)
            masks.append(track.mask)
        return float(np.abs(np.diff(np.array(masks[3:])[:, 60:200, 60:200], axis=0)).mean())

    alone, none, half, full = wander(None), wander(0), wander(0.5), wander(1)
    assert none == alone
    assert full < 0.6 * none and full < half < none


def test_without_calm_who_comes_and_goes_is_there_and_gone_at_once(sitter) -> None:
    mask, rgb = sitter
    nobody = track_of(mask * 0, 0.1, None, rgb)
    there = track_of(mask, 0.95, nobody, rgb, calm=0)
    assert there.presence == there.face_weight == 1 and np.abs(there.mask - mask).max() < 0.01
    assert track_of(mask * 0, 0.05, there, rgb, calm=0).presence == 0


def test_the_client_s_calm_reaches_the_relief() -> None:
    random, base = np.random.default_rng(1), render_scene(0.0, 320, 240).rgb
    noisy = [np.clip(base + random.integers(-2, 3, base.shape), 0, 255).astype(np.uint8) for _ in range(8)]
    wander = []
    for calm in (0.0, 1.0):
        depths = np.array([depth_of(result) for result in stream(noisy, inference_px=160, calm=calm)])[3:]
        person = (depths < 1.3).all(axis=0)
        wander.append(np.median((depths.std(axis=0) / depths.mean(axis=0))[person]))
    assert wander[1] < 0.5 * wander[0] and wander[1] < 0.005


def test_the_room_turned_round_is_another_scene_though_it_is_as_bright() -> None:
    here, there = (render_scene(0.5, 256, 192, cast).rgb for cast in (Cast(), Cast((), crowded=True)))
    state = predict(here, inference_px=128).state
    assert presence(state) == 1
    assert presence(predict(np.ascontiguousarray(there[::-1, ::-1]), state, inference_px=128).state) == 0


def test_a_mask_that_moves_is_followed_within_three_frames(sitter) -> None:
    mask, rgb = sitter
    track = track_of(mask, 0.95, None, rgb)
    moved = np.roll(mask, 25, axis=1)
    for _ in range(3):
        track = track_of(moved, 0.95, track, rgb)
    assert np.abs(track.mask - moved).max() < 0.15


def test_another_scene_starts_from_nothing(sitter) -> None:
    mask, rgb = sitter
    track = track_of(mask, 0.95, None, rgb)
    assert track_of(mask * 0, 0.1, track, rgb).presence > 0.8
    other = np.zeros_like(rgb)
    other[:, ::2] = 255
    other[:128] = 255 - other[:128] // 4
    assert track_of(mask * 0, 0.1, track, other).presence == 0


def test_the_state_is_small_and_comes_back(sitter) -> None:
    mask, rgb = sitter
    track = track_of(mask, 0.95, None, rgb)
    data = track.to_bytes()
    back = Track.from_bytes(data)
    assert len(data) < 6000
    assert back.presence == 1 and np.abs(back.mask - mask).mean() < 0.02
    assert np.array_equal(back.thumb, track.thumb) and np.allclose(back.face.points, track.face.points)
    assert back.face.width == pytest.approx(0.2)


@pytest.mark.parametrize("state", [b"", b"x", b"\x01" * 40, b"\x01" * 4000, b"\x02" + bytes(3000)])
def test_a_state_that_is_none_of_ours_counts_as_a_new_stream(state: bytes) -> None:
    assert Track.from_bytes(state) is None
    assert presence(predict(photo("astronaut"), state).state) == 1.0


def test_a_still_picture_under_camera_noise_stays_still() -> None:
    random, base = np.random.default_rng(1), render_scene(0.0, 320, 240).rgb
    noisy = [np.clip(base + random.normal(0, 4, base.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    depths = [depth_of(result) for result in stream(noisy, inference_px=160)]
    moves = np.abs(np.diff(np.array(depths[2:]), axis=0)) / depths[-1]
    assert (moves > 0.05).mean() < 0.004, "the outline does not pop"
    assert np.median(moves) < 0.002


# --- the picture ---


@pytest.mark.parametrize("name", ["scene", "coffee"])
@pytest.mark.parametrize("representation", ["splats", "points"])
def test_the_capture_viewpoint_sees_the_picture(name: str, representation: str) -> None:
    rgb = render_scene(0.4, 640, 480).rgb if name == "scene" else photo(name)
    result = predict(rgb, inference_px=120, representation=representation)
    assert result.kind == ("points" if representation == "points" else "lifted")
    camera = result.camera
    truth = cv2.resize(rgb, (camera.width, camera.height), interpolation=cv2.INTER_AREA) / 255
    kept, _ = prune(result.as_gaussians(), camera, min_opacity=0.1, border=0.03)
    picture, covered = splat(kept, camera)
    inner = np.zeros_like(covered, bool)
    inner[6:-6, 6:-6] = True
    right = psnr(picture, truth, inner)
    assert covered[inner].min() > 0.8
    assert right > 24
    for wrong in (truth[:, ::-1], truth[::-1], truth[..., ::-1]):
        assert psnr(picture, wrong, inner) < right - 6


def test_the_person_is_round_and_before_the_wall() -> None:
    scene = render_scene(0.0, 320, 240)
    result = predict(scene.rgb, inference_px=160)
    depth = depth_of(result)
    truth = cv2.resize(scene.depth, depth.shape[::-1], interpolation=cv2.INTER_NEAREST)
    core = cv2.erode((truth < 1.2).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    wall = cv2.dilate((truth < 2).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    assert depth[core].max() < 1.0 < 1.4 < depth[wall].min()
    outline = core & ~(cv2.erode(core.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
    middle = cv2.erode(core.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    assert depth[middle].mean() < depth[outline].mean() - 0.03
    nose = PersonNets().find_face(scene.rgb).points[2] * depth.shape[::-1]
    face = depth[int(nose[1]), int(nose[0])]
    assert face == pytest.approx(depth[core].min(), abs=0.02), "the nose is what is nearest"


def test_behind_the_person_the_wall_goes_on_and_the_capture_viewpoint_never_sees_it() -> None:
    result = predict(render_scene(0.0, 320, 240).rgb, inference_px=160)
    size = result.camera.width * result.camera.height
    hidden = result.as_gaussians().means[size:]
    assert result.as_gaussians().grid is None and len(hidden) > 500
    assert hidden[:, 2].min() > 1.4
    colours = 0.5 + 0.28209479177387814 * result.as_gaussians().sh[:, 0]
    teal = colours[:, 2] - colours[:, 0] > 0.12
    assert teal[size:].mean() < 0.02, "painted from the wall, not from the sweater"


def test_the_outlines_mixed_colours_do_not_hang_on_the_wall(sitter) -> None:
    soft = cv2.GaussianBlur(sitter[0], (0, 0), 4)
    red, grey = np.array([220, 30, 30]), np.array([120, 120, 120])
    rgb = cv2.resize((soft[..., None] * red + (1 - soft[..., None]) * grey).astype(np.uint8), (160, 160))
    track = track_of(soft, 0.95, None, rgb)
    camera = Camera(160, 160, 140.0, 140.0, 80.0, 80.0)
    lifted = lift_layers(build_relief(rgb, track, camera))
    gaussians = lifted.take(lifted.opacities > 0)
    colours = 0.5 + 0.28209479177387814 * gaussians.sh[:, 0]
    on_wall = gaussians.means[:, 2] > 2.0
    assert on_wall.sum() > 8000 and (~on_wall).sum() > 5000
    assert np.abs(colours[on_wall] - 120 / 255).max() < 0.13


def test_centres_stay_within_half_a_unit_and_four() -> None:
    for rgb in (render_scene(0.0, 320, 240).rgb, photo("coffee"), photo("astronaut")):
        gaussians = predict(rgb, inference_px=160).as_gaussians()
        z = gaussians.means[gaussians.opacities > 0, 2]
        assert z.min() > 0.5 and z.max() < 4.0


# --- what it takes ---


@pytest.mark.parametrize(
    ("width", "height"), [(16, 16), (17, 640), (640, 16), (240, 320), (16, 1000), (333, 222)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("kind", ["black", "white", "noise", "grey"])
def test_any_picture_gives_finite_splats_within_the_budget(width: int, height: int, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    noise[..., 1:] = noise[..., 1:] if kind == "noise" else noise[..., :1]
    rgb = {"black": noise * 0, "white": noise * 0 + 255}.get(kind, noise)
    result = predict(rgb, max_splats=5000)
    gaussians = result.as_gaussians()
    assert 0 < len(gaussians) <= 5000
    assert prune(gaussians, result.camera, min_opacity=0.1)[1]["invalid"] == 0
    assert abs(result.camera.width / result.camera.height / (width / height) - 1) < 0.15 or min(width, height) < 40


@pytest.mark.parametrize("budget", [1, 2, 100, 20_000])
def test_the_budget_holds_with_a_person_too(budget: int) -> None:
    state = predict(photo("astronaut")).state
    assert 0 < len(predict(photo("astronaut"), state, max_splats=budget).as_gaussians()) <= budget


def test_a_person_in_a_tiny_or_thin_picture_is_no_problem(sitter) -> None:
    for size in ((16, 16), (16, 400), (400, 16)):
        rgb = cv2.resize(sitter[1], size)
        state = track_of(sitter[0], 0.95, None, rgb).to_bytes()
        assert np.isfinite(predict(rgb, state, max_splats=3000).as_gaussians().means).all()


def test_the_size_follows_the_option_and_has_a_default() -> None:
    assert predict(np.zeros((360, 640, 3), np.uint8)).camera.width == DEFAULT_PX
    camera = predict(np.zeros((480, 640, 3), np.uint8)).camera
    # As fine as the budget lets it be, with what lies behind the person: the viewer shows 640 pixels, and 384 were soft.
    assert (camera.width, camera.height) == (461, 346) and 1.25 * camera.width * camera.height <= FrameOptions().max_splats
    assert predict(photo("coffee"), inference_px=200).camera.width == 200


def test_a_frame_that_fails_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    shots = [DecodedCapture((photo("coffee"),), FrameRequest(FrameOptions(inference_px=64)))] * 3
    nets, calls = model()._nets, []

    def segment(rgb: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 2:
            raise cv2.error("broken on purpose")
        return np.zeros((256, 256), np.float32)

    monkeypatch.setattr(nets, "segment", segment)
    results = model().predict(shots)
    assert [getattr(result, "code", "ok") for result in results] == ["ok", "inference_failed", "ok"]


def test_only_the_first_view_is_used() -> None:
    shot = DecodedCapture((photo("coffee"),), FrameRequest(FrameOptions(inference_px=64)))
    (one,), (two,) = model().predict([shot]), model().predict([replace(shot, views=(photo("coffee"), photo("astronaut")))])
    assert np.array_equal(one.as_gaussians().sh, two.as_gaussians().sh)


def test_a_missing_network_names_its_file_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=rf"{SEGMENTATION}.*make web"):
        ReliefModel(assets=tmp_path)
    (tmp_path / SEGMENTATION).write_bytes((ASSETS / SEGMENTATION).read_bytes())
    with pytest.raises(MissingAssetError, match=FACES):
        load_model("relief", assets=str(tmp_path))


def test_it_says_that_it_is_no_depth_network() -> None:
    info = model().info
    assert info.label == "Demo depth (no depth network)"
    assert (info.engine, info.name, info.licence, info.kinds, info.metric) == (
        "relief", "relief", "Apache-2.0", ["lifted", "points"], False,
    )  # fmt: skip
