"""Faces in the relief: who gets a mesh, how true it is, how far away it puts people, and how calm it stays."""

import logging
import shutil
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from hypothesis import given
from hypothesis import strategies as st

from deployments.models.relief.face_depth import lay_faces, outlines, owners
from deployments.models.relief.face_mesh import (
    CANONICAL,
    NETWORK,
    POINTS,
    FaceMesh,
    FaceMeshNet,
    HeadPose,
    fit_pose,
    load_canonical,
)
from deployments.models.relief.faces import MIN_FACE_PX, Faces, FaceTrack, SeenFace, follow_faces, outline_m
from deployments.models.relief.model import FACE_LABEL, LABEL, ReliefModel
from deployments.models.relief.person import ASSETS, FACES, MOST_FACES, SEGMENTATION, Face, MissingAssetError, PersonNets
from deployments.pipeline import DecodedCapture, Prediction
from deployments.scene.clip import render_scene
from deployments.splats.triangles import draw_triangles
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions

PHOTOS = Path(skimage.__file__).parent / "data"
SIZE, FOCAL_PX = (640, 480), 554.26
F32 = np.float32


@cache
def model() -> ReliefModel:
    return ReliefModel()


@cache
def nets() -> PersonNets:
    return PersonNets()


@cache
def net() -> FaceMeshNet:
    return FaceMeshNet()


@cache
def photo(name: str) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(PHOTOS / f"{name}.png"), cv2.IMREAD_COLOR)[..., ::-1])


def predict(rgb: np.ndarray, state: bytes = b"", at_s: float = 0.0, engine: ReliefModel | None = None, **options) -> Prediction:
    request = FrameRequest(FrameOptions(**options), state=state, arrived_s=at_s)
    (result,) = (engine or model()).predict([DecodedCapture((np.ascontiguousarray(rgb),), request)])
    assert isinstance(result, Prediction), str(result)
    return result


def depth_of(result: Prediction) -> np.ndarray:
    return 1 / np.maximum(result.scene.views[0].layers[0].inverse_depth, 1e-3)


def two_people() -> np.ndarray:
    """The astronaut, and beside her a smaller, mirrored one. uint8 [300, 480, 3]."""
    person = photo("astronaut")[:300, 120:360]
    out = np.full((300, 480, 3), person[5, -5], np.uint8)
    out[:, :240] = person
    out[75:, 270:450] = cv2.resize(person, (180, 225), interpolation=cv2.INTER_AREA)[:, ::-1]
    return out


def turned(rgb: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture turned about its face, and the map of points. uint8 [H, W, 3], float64 [2, 3]."""
    matrix = cv2.getRotationMatrix2D((224, 125), degrees, 1)
    return cv2.warpAffine(rgb, matrix, rgb.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), matrix


# --- the network ---


@pytest.mark.parametrize("name", ["astronaut", "camera", "scene"])
def test_a_face_is_one(name: str) -> None:
    rgb = render_scene(0.0).rgb if name == "scene" else photo(name)
    assert net().find_mesh(rgb, nets().find_face(rgb)).presence > 0.8


@pytest.mark.parametrize("name", ["chelsea", "coffee", "motorcycle_left", "page", "horse"])
def test_what_is_none_is_gated(name: str) -> None:
    assert net().find_mesh(photo(name), nets().find_face(photo(name))).presence < 0.5
    result = predict(photo(name))
    assert result.label == "" and not Faces.from_bytes(result.state).tracks


def test_the_points_lie_on_the_face() -> None:
    points = net().find_mesh(photo("astronaut"), nets().find_face(photo("astronaut"))).points
    nose, right, left, chin = points[1, :2], points[[33, 133], :2].mean(0), points[[263, 362], :2].mean(0), points[152, :2]
    for point, place in ((nose, (223, 127)), (right, (206, 107)), (left, (240, 103)), (chin, (228, 172))):
        assert np.abs(point - place).max() < 8, (point, place)
    assert points[1, 2] < points[:, 2].mean() - 15, "the nose is nearest"


@pytest.mark.parametrize("degrees", [-40, -20, 20, 40])
def test_a_tilted_face_is_the_same_face_tilted(degrees: float) -> None:
    straight = net().find_mesh(photo("astronaut"), nets().find_face(photo("astronaut")))
    rgb, matrix = turned(photo("astronaut"), degrees)
    tilted = net().find_mesh(rgb, nets().find_face(rgb))
    expected = straight.points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    assert tilted.presence > 0.9
    assert np.abs(tilted.points[:, :2] - expected).mean() < 2.5
    assert np.corrcoef(tilted.points[:, 2], straight.points[:, 2])[0, 1] > 0.98


def test_a_mirrored_face_is_the_same_face_mirrored() -> None:
    rgb = photo("astronaut")
    straight, mirrored = (net().find_mesh(each, nets().find_face(each)) for each in (rgb, np.ascontiguousarray(rgb[:, ::-1])))
    a = draw_triangles(straight.points, net().canonical.triangles, 512, 512)
    b = draw_triangles(mirrored.points, net().canonical.triangles, 512, 512)[:, ::-1]
    both = np.isfinite(a) & np.isfinite(b)
    assert both.sum() > 0.93 * max(np.isfinite(a).sum(), np.isfinite(b).sum())
    assert np.corrcoef(a[both], b[both])[0, 1] > 0.97


def test_a_large_picture_gives_the_mesh_of_a_small_one() -> None:
    rgb = photo("astronaut")
    large = cv2.resize(rgb, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    face = nets().find_face(rgb)
    points = net().find_mesh(large, face).points / 5
    assert np.abs(points - net().find_mesh(rgb, face).points).mean() < 0.5


def test_several_faces_are_found_and_no_face_twice() -> None:
    rgb = two_people()
    found = [face for face in nets().find_faces(rgb) if face.score > 0.7]
    assert len(found) == 2
    noses = sorted(float(face.points[2, 0]) * 480 for face in found)
    assert noses == pytest.approx([224 - 120, 450 - 0.75 * (224 - 120)], abs=8)
    assert len(nets().find_faces(photo("page"))) == 1, "always one, however unlikely"
    assert len(nets().find_faces(np.hstack([rgb[::2, ::2]] * 3), most=2)) <= 2


# --- a face as a ruler ---


def projected(distance_m: float, yaw: float, pitch: float, roll: float = 0.0, aside: float = 0.0) -> np.ndarray:
    """The canonical face as a camera of ``FOCAL_PX`` sees it, in the network's terms. float32 [468, 3]."""
    rotation = np.eye(3)
    for axis, degrees in ((1, yaw), (0, pitch), (2, roll)):
        vector = np.zeros(3)
        vector[axis] = np.radians(degrees)
        rotation = cv2.Rodrigues(vector)[0] @ rotation
    points = net().canonical.points @ rotation.T
    points = points - points.mean(axis=0) + (aside, 0, distance_m)
    xy = points[:, :2] / points[:, 2:] * FOCAL_PX + (320, 240)
    return np.column_stack([xy, points[:, 2] * FOCAL_PX / distance_m]).astype(F32)


@pytest.mark.parametrize("distance_m", [0.35, 0.6, 1.2, 2.5])
@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (35, 0, 0), (-60, 10, 0), (0, 25, 30), (10, -20, -40)])
def test_the_distance_of_a_projected_face_is_found_within_a_tenth(distance_m: float, yaw: float, pitch: float, roll: float) -> None:
    pose = fit_pose(projected(distance_m, yaw, pitch, roll, aside=0.1), net().canonical)
    assert FOCAL_PX / pose.pixels_per_metre == pytest.approx(distance_m, rel=0.1)


@given(st.floats(50, 2000), st.tuples(*[st.floats(-1.2, 1.2)] * 3), st.tuples(*[st.floats(-500, 500)] * 3))
def test_the_fit_finds_what_was_done(scale: float, angles: tuple[float, ...], offset: tuple[float, ...]) -> None:
    rotation = cv2.Rodrigues(np.array(angles))[0]
    points = (scale * net().canonical.points @ rotation.T + offset).astype(F32)
    pose = fit_pose(points, net().canonical)
    assert isinstance(pose, HeadPose)
    assert pose.pixels_per_metre == pytest.approx(scale, rel=1e-3)
    assert np.abs(pose.rotation - rotation).max() < 1e-2
    assert np.linalg.det(pose.rotation) == pytest.approx(1, abs=1e-5)


def test_people_are_at_believable_distances() -> None:
    for rgb, low, high in ((photo("astronaut"), 0.55, 0.85), (render_scene(0.0).rgb, 0.65, 0.95), (photo("camera"), 0.6, 1.2)):
        result = predict(rgb)
        (track,) = Faces.from_bytes(result.state).tracks
        assert low < track.distance_m < high
        depth = depth_of(result)
        assert depth[:20, -40:].min() > 1.6 * track.distance_m, "the wall is behind them"


def test_the_sample_scenes_face_is_true_to_within_centimetres() -> None:
    """Its proportions are not an adult's, so that its distance is 14 % off; its shape is what is compared."""
    scene = render_scene(0.0)
    result = predict(scene.rgb, inference_px=640, max_splats=500_000)
    (track,) = Faces.from_bytes(result.state).tracks
    points = track.points * np.array([640, 480, 1], F32)
    face = np.isfinite(draw_triangles(points, net().canonical.triangles, 640, 480)) & (scene.depth < 1.2)
    face = cv2.erode(face.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    depth = depth_of(result)[face]
    error = depth * (scene.depth[face].mean() / depth.mean()) - scene.depth[face]
    assert face.sum() > 5000 and np.abs(error).mean() < 0.008 and np.percentile(np.abs(error), 99) < 0.03


# --- in the picture ---


def test_every_face_gets_its_shape_and_every_person_their_distance() -> None:
    result = predict(two_people())
    tracks = sorted(Faces.from_bytes(result.state).tracks, key=lambda track: track.centre[0])
    assert len(tracks) == 2 and [track.weight for track in tracks] == [1, 1]
    assert tracks[1].distance_m / tracks[0].distance_m == pytest.approx(4 / 3, rel=0.07)
    depth = depth_of(result)
    height, width = depth.shape
    for track in tracks:
        nose, *cheeks = (track.points[index] for index in (1, 50, 280))
        here, *there = (depth[int(point[1] * height), int(point[0] * width)] for point in (nose, *cheeks))
        assert here == pytest.approx(track.distance_m + nose[2], abs=0.02)
        assert here < min(there) - 0.01
        body = depth[int(0.95 * height), int(track.centre[0] * width)]
        assert abs(body - track.distance_m) < 0.13 * track.distance_m + 0.05


def test_a_face_owns_its_part_of_the_mask_and_shares_a_common_one() -> None:
    mask = np.zeros((256, 256), F32)
    mask[60:, 10:110] = mask[60:, 140:250] = 1
    faces = Faces((track_at(0.2), track_at(0.8)), metric=1.0, distance_m=1.0)
    left, right = owners(faces, mask, (320, 240))
    assert left.shape == (240, 320)
    assert left[80:, 20:130].min() > 0.99 and right[80:, 190:300].min() > 0.99
    joined = owners(faces, np.ones_like(mask), (320, 240))
    assert np.abs(joined[0] + joined[1] - 1).max() < 1e-5
    assert joined[0][120, 10] > 0.99 and joined[1][120, 310] > 0.99 and joined[0][120, 160] == pytest.approx(0.5, abs=0.05)
    assert owners(replace(faces, tracks=faces.tracks[:1]), mask, (320, 240)) == []


def test_outlines_are_the_persons_own_and_made_up_where_nothing_is_measured() -> None:
    assert outlines(Faces(), []) == pytest.approx(1.45)
    near, far = replace(track_at(0.2), distance_m=0.5), replace(track_at(0.8), distance_m=2.0)
    faces = Faces((near, far), metric=1.0, distance_m=0.5)
    away = outlines(faces, owners(faces, np.ones((256, 256), F32), (320, 240)))
    assert away[120, 5] == pytest.approx(outline_m(0.5), abs=0.02) and away[120, 315] == pytest.approx(outline_m(2.0), abs=0.02)


def track_at(x: float, weight: float = 1.0) -> FaceTrack:
    points = net().canonical.points.copy()
    points[:, 2] -= points[:, 2].mean()
    points[:, :2] = points[:, :2] * (1.5, 2.0) + (x, 0.4)
    return FaceTrack((x, 0.4), 0.2, 1.0, weight, 1.0, 0.0, points.astype(F32))


def test_a_mesh_is_whole_inside_and_gone_beyond_its_reach() -> None:
    track = track_at(0.5)
    depth = np.full((240, 320), 1.08, F32)
    lay_faces(depth, Faces((track,), metric=1.0, distance_m=1.0), [], net().canonical.triangles)
    nose = track.points[1] * (320, 240, 1)
    assert depth[int(nose[1]), int(nose[0])] == pytest.approx(1 + nose[2], abs=0.004)
    assert (depth[:, :40] == F32(1.08)).all() and (depth[-40:] == F32(1.08)).all()
    steps = np.abs(np.diff(depth, axis=1))
    assert steps.max() < 0.03, "no step at the rim"


def test_a_mesh_that_sticks_out_of_the_picture_or_is_tiny_is_no_problem() -> None:
    for x, width in ((-0.05, 320), (1.02, 320), (5.0, 320), (0.5, 16), (0.5, 1)):
        depth = np.full((max(1, width * 3 // 4), width), 1.08, F32)
        lay_faces(depth, Faces((track_at(x),), metric=1.0, distance_m=1.0), [], net().canonical.triangles)
        assert np.isfinite(depth).all() and depth.min() > 0.8


def test_a_face_of_few_pixels_is_left_as_it_is() -> None:
    rgb = cv2.resize(photo("astronaut"), (160, 160), interpolation=cv2.INTER_AREA)
    face = nets().find_face(rgb)
    assert face.score > 0.8 and 0 < face.width * 160 < MIN_FACE_PX
    result = predict(rgb)
    assert result.label == "" and 1.1 < depth_of(result).min() < 1.3


def test_a_frame_with_a_face_says_so_and_one_without_does_not() -> None:
    assert predict(photo("astronaut")).label == FACE_LABEL == "Demo depth with a 3D face (no depth network)"
    assert predict(photo("coffee")).label == ""
    info = model().info
    assert (info.label, info.other_labels, info.around_deg) == (LABEL, [FACE_LABEL], 20)


# --- over time ---


def seen(distance_m: float = 0.7, yaw: float = 0.0, presence: float = 1.0, x: float = 0.5) -> SeenFace:
    points = projected(distance_m, yaw, 0)
    points[:, 0] += (x - 0.5) * 640
    width = 0.14 * FOCAL_PX / distance_m / 640
    at = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0.1], [0, 0.3]], F32) * width + (x, 0.5)
    return SeenFace(Face(0.9, width, at.astype(F32)), FaceMesh(presence, points))


def run(frames: list[list[SeenFace]], fps: float, before: Faces | None = None, start_s: float = 1.0) -> list[Faces]:
    states = []
    for index, each in enumerate(frames):
        before = follow_faces(before, each, SIZE, FOCAL_PX, start_s + index / fps, net().canonical)
        before = Faces.from_bytes(before.to_bytes())
        assert before is not None
        states.append(before)
    return states


def test_without_calm_a_face_is_where_it_is_seen_and_gone_when_it_is_not() -> None:
    (before,) = run([[seen(0.7)]], 10)
    moved = follow_faces(before, [seen(0.75)], SIZE, FOCAL_PX, 1.1, net().canonical, calm=0)
    (alone,) = run([[seen(0.75)]], 10)
    assert moved.distance_m == pytest.approx(alone.distance_m, rel=1e-4)
    np.testing.assert_allclose(moved.tracks[0].points, alone.tracks[0].points, atol=1e-3)
    eased = follow_faces(before, [seen(0.75)], SIZE, FOCAL_PX, 1.1, net().canonical)
    assert eased.distance_m < (before.distance_m + moved.distance_m) / 2
    assert not follow_faces(moved, [], SIZE, FOCAL_PX, 1.2, net().canonical, calm=0).shown


def test_the_first_frame_decides_at_once_and_a_later_face_comes_in_within_a_third_of_a_second() -> None:
    (first,) = run([[seen()]], 10)
    assert first.tracks[0].weight == 1 and first.metric == 1 and first.distance_m == pytest.approx(0.7, rel=0.05)
    weights = [state.tracks[0].weight if state.tracks else 0.0 for state in run([[]] + [[seen()]] * 12, 30)]
    assert weights[0] == 0 and 0 < weights[1] < 0.2 and weights[-1] == 1
    assert max(np.diff(weights)) < 0.12, "it blends in"


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_a_face_that_turns_away_goes_in_less_than_half_a_second_at_any_rate(fps: float) -> None:
    before = run([[seen()]], fps)[0]
    gone = [[seen(presence=0.1)]] * round(fps)
    states = run(gone, fps, before, start_s=1 + 1 / fps)
    weights = np.array([1.0] + [state.tracks[0].weight for state in states])
    times = np.arange(len(weights)) / fps
    assert np.abs(weights - np.clip(1 - times / 0.4, 0, 1)).max() < 0.01
    assert states[-1].tracks[0].distance_m == pytest.approx(before.tracks[0].distance_m), "the distance stays"


def test_a_mesh_that_goes_is_the_last_good_one_and_moves_along() -> None:
    before = run([[seen()]], 10)[0]
    after = run([[seen(presence=0.1, x=0.53)]], 10, before, 1.1)[0]
    moved = after.tracks[0].points - before.tracks[0].points
    assert np.abs(moved - (0.03, 0, 0)).max() < 1e-3


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_a_distance_that_wavers_is_calm_and_one_that_changes_is_followed_in_seconds(fps: float) -> None:
    random = np.random.default_rng(0)
    before = run([[seen()]], fps)[0]
    count = round(4 * fps)
    wavering = run([[seen(0.7 * (1 + random.normal(0, 0.004)))] for _ in range(count)], fps, before, 1 + 1 / fps)
    steps = np.abs(np.diff([state.distance_m for state in wavering])) / 0.7
    assert np.sqrt((steps**2).mean()) < 0.0015
    states = run([[seen(1.0)]] * round(fps), fps, before, 1 + 1 / fps)
    after_s = [index / fps for index, state in enumerate(states, 1) if state.tracks[0].distance_m > 0.7 + 0.6 * 0.3]
    assert 0.05 < after_s[0] < 0.45


def test_the_room_stays_while_someone_moves_to_and_fro_in_it() -> None:
    before = run([[seen(0.7)]], 10)[0]
    walk = [[seen(0.7 + 0.12 * np.sin(i / 4))] for i in range(60)]
    rooms = {round(state.room, 5) for state in run(walk, 10, before, 1.1)}
    assert len(rooms) == 1
    far = run([[seen(2.2)]] * 40, 10, before, 1.1)[-1]
    assert 2.3 * far.room > outline_m(2.2) * 1.2, "but nobody runs through its wall"


def test_a_person_turned_away_keeps_their_distance_and_one_who_left_gives_theirs_up() -> None:
    before = run([[seen(0.6, x=0.25), seen(1.5, x=0.75)]], 10)[0]
    assert before.distance_m == pytest.approx(0.6, rel=0.06)
    states = run([[seen(0.6, x=0.25)]] * 40, 10, before, 1.1)
    assert len(states[15].tracks) == 2 and states[15].tracks[1].life == 1 and states[15].tracks[1].weight == 0
    assert len(states[-1].tracks) == 1
    alone = run([[]] * 60, 10, before, 1.1)[-1]
    assert alone.metric == 1 and alone.distance_m == before.distance_m and not alone.shown


def test_a_clock_that_stands_still_jumps_or_runs_back_is_no_problem() -> None:
    before = run([[seen()]], 10)[0]
    for now_s in (1.0, 0.0, -1e300, 1e300, float("inf"), float("nan")):
        after = follow_faces(before, [seen(0.8)], SIZE, FOCAL_PX, now_s, net().canonical)
        assert 0.7 < after.tracks[0].distance_m < 0.85


def test_small_faces_and_more_than_there_is_room_for() -> None:
    assert not run([[seen(5.0)]], 10)[0].tracks
    kept = run([[seen(1.9)], [seen(2.2)]], 10)[1]
    assert kept.tracks[0].weight == 1, "one that has a mesh keeps it for a few pixels more"
    many = [[seen(1.5, x=x) for x in np.linspace(0.05, 0.95, 9)]]
    assert len(run(many, 10)[0].tracks) == MOST_FACES


def test_the_state_comes_back_after_any_other_state() -> None:
    (faces,) = run([[seen(0.7, yaw=20), seen(1.2, x=0.8)]], 10)
    data = b"other" + faces.to_bytes()
    back = Faces.from_bytes(data)
    assert len(data) < 4000 and back is not None
    assert np.abs(back.tracks[0].points - faces.tracks[0].points).max() < 2e-3
    assert np.abs(back.tracks[0].points[:, 2] - faces.tracks[0].points[:, 2]).max() < 2e-5
    assert back.tracks[1].distance_m == faces.tracks[1].distance_m


@given(st.binary(max_size=60), st.integers(0, 4000), st.integers(0, 255))
def test_bytes_that_are_no_state_of_ours_are_none(start: bytes, at: int, byte: int) -> None:
    assert Faces.from_bytes(start) is None or start.endswith(b"f1")
    data = bytearray(run([[seen()]], 10)[0].to_bytes())
    data[at % len(data)] = byte
    read = Faces.from_bytes(bytes(data))
    assert read is None or all(np.isfinite(track.points).all() for track in read.tracks)
    assert Faces.from_bytes(bytes(data[: at % len(data)])) is None


@pytest.mark.parametrize("cut", [1, 100, 2000])
def test_a_broken_state_counts_as_a_new_stream(cut: int) -> None:
    state = predict(photo("astronaut")).state
    assert predict(photo("astronaut"), state[cut:]).label == FACE_LABEL
    assert predict(photo("astronaut"), state[:-cut]).label == FACE_LABEL


def test_a_still_face_under_the_cameras_noise_stays_still() -> None:
    random, base, state, depths = np.random.default_rng(0), photo("astronaut").astype(int), b"", []
    for index in range(12):
        noise = random.integers(-2, 3, (*base.shape[:2], 1))
        result = predict(np.clip(base + noise, 0, 255).astype(np.uint8), state, 1 + index / 10)
        state = result.state
        depths.append(depth_of(result))
    (track,) = Faces.from_bytes(state).tracks
    height, width = depths[0].shape
    face = np.isfinite(draw_triangles(track.points * np.array([width, height, 1], F32), net().canonical.triangles, width, height))
    face = cv2.erode(face.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    steps = np.abs(np.diff(depths[2:], axis=0))[:, face]
    assert np.median(steps) < 0.0005 and np.percentile(steps, 99) < 0.003, "metres between one frame and the next"


def test_a_face_whose_mesh_is_lost_goes_without_a_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict(photo("astronaut"), at_s=1.0)
    state, depths, labels = first.state, [depth_of(first)], []
    found = FaceMeshNet.find_mesh
    monkeypatch.setattr(FaceMeshNet, "find_mesh", lambda *args: replace(found(*args), presence=0.1))
    for index in range(1, 8):
        result = predict(photo("astronaut"), state, 1 + index / 10)
        state = result.state
        depths.append(depth_of(result))
        labels.append(result.label)
    assert labels == [FACE_LABEL] * 3 + [""] * 4
    height, width = depths[0].shape
    # Within the face: no pixel of the outline, which has no depth.
    face = (slice(height * 20 // 100, height * 32 // 100), slice(width * 39 // 100, width * 50 // 100))
    wholly = np.abs(depths[-1] - depths[0])[face]
    steps = [np.abs(after - before)[face] for before, after in pairwise(depths)]
    assert wholly.mean() > 0.005, "the bump is another shape than the face"
    assert max(step.mean() for step in steps) < 0.5 * wholly.mean(), "it takes four tenths of a second, the first step the largest"


def test_another_scene_forgets_the_faces() -> None:
    state = predict(photo("astronaut"), at_s=1.0).state
    after = Faces.from_bytes(predict(render_scene(0.0).rgb, state, 1.1).state)
    assert len(after.tracks) == 1 and after.tracks[0].weight == 1 and after.tracks[0].unseen_s == 0


# --- the files ---


@pytest.mark.parametrize("missing", [NETWORK, CANONICAL])
def test_without_its_files_the_engine_works_as_before_and_says_why(tmp_path: Path, missing: str, caplog) -> None:
    for name in {SEGMENTATION, FACES, NETWORK, CANONICAL} - {missing}:
        shutil.copy(ASSETS / name, tmp_path)
    with pytest.raises(MissingAssetError, match=rf"{missing}.*make web"):
        FaceMeshNet(tmp_path)
    logger = logging.getLogger("ray.serve.splatcast")
    logger.addHandler(caplog.handler)
    try:
        engine = ReliefModel(assets=tmp_path)
    finally:
        logger.removeHandler(caplog.handler)
    assert missing in caplog.text and "make web" in caplog.text
    engine.warm_up()
    result = predict(photo("astronaut"), engine=engine)
    assert result.label == "" and engine.info.other_labels == []
    assert 1.1 < depth_of(result).min() < 1.3, "a person as far away as ever"


def test_a_broken_canonical_face_is_refused(tmp_path: Path) -> None:
    data = (ASSETS / CANONICAL).read_bytes()
    for broken in (data[:100], data[100:], b"\x0f", b"\xff" * 50, b"", data[:-2000]):
        path = tmp_path / CANONICAL
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"expected|ends|unknown type"):
            load_canonical(path)


def test_the_canonical_face_is_an_adults_in_metres() -> None:
    face = load_canonical(ASSETS / CANONICAL)
    assert face.points.shape == (POINTS, 3) and face.triangles.shape == (898, 3)
    assert 0.14 < np.ptp(face.points[:, 0]) < 0.17 and 0.16 < np.ptp(face.points[:, 1]) < 0.19
    assert face.points[1, 2] < face.points[:, 2].mean() - 0.03, "the nose points at the viewer"
    assert face.points[10, 1] < face.points[152, 1], "the forehead is up"
    assert face.weights.sum() == pytest.approx(1)


# --- triangles ---


def test_triangles_are_drawn_as_a_plane_says() -> None:
    points = np.array([[0, 0, 1], [8, 0, 2], [0, 8, 3], [8, 8, 4]], F32)
    drawn = draw_triangles(points, np.array([[0, 1, 2], [3, 1, 2]], np.int32), 10, 9)
    u, v = np.meshgrid(np.arange(8) + 0.5, np.arange(8) + 0.5)
    assert np.allclose(drawn[:8, :8], 1 + u / 8 + v / 4, atol=1e-5)
    assert np.isinf(drawn[8:]).all() and np.isinf(drawn[:, 8:]).all()


def test_the_nearer_triangle_is_seen_whatever_the_order_and_the_winding() -> None:
    points = np.array([[0, 0, 5], [9, 0, 5], [0, 9, 5], [0, 0, 2], [9, 0, 2], [0, 9, 2]], F32)
    for triangles in ([[0, 1, 2], [3, 5, 4]], [[3, 4, 5], [0, 2, 1]]):
        assert draw_triangles(points, np.array(triangles, np.int32), 4, 4).max() == 2


@given(st.lists(st.tuples(*[st.floats(width=32)] * 3), min_size=3, max_size=9))
def test_any_corners_are_drawn_within_the_picture(corners: list[tuple[float, float, float]]) -> None:
    points = np.array(corners, F32)
    triangles = np.array([[i, (i + 1) % len(points), (i + 2) % len(points)] for i in range(len(points))], np.int32)
    with np.errstate(all="ignore"):
        assert draw_triangles(points, triangles, 7, 5).shape == (5, 7)


def test_a_corner_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 2"):
        draw_triangles(np.zeros((3, 3), F32), np.array([[0, 1, 3]], np.int32), 4, 4)
