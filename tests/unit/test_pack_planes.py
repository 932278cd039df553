"""When a reply is ``planes``: native Gaussians on their grid, for a client that decodes it; and what it is otherwise."""

from dataclasses import replace

import numpy as np
import pytest

from deployments.client import splats_of
from deployments.models.synthetic import SyntheticModel
from deployments.pipeline import DecodedCapture, PredictedCapture, Prediction
from deployments.splats.camera import PosedCamera
from deployments.splats.codecs import planes
from deployments.splats.files import FileOptions
from deployments.stages.pack import Packer, PackSettings
from deployments.stream.errors import FrameError, NoDepth, NoNativeGaussians
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.messages import QualityState, Splats
from deployments.stream.options import FrameOptions
from tests.vectors.native import native_frame

BOTH = ("depth", "planes", "packed", "points")


@pytest.fixture(scope="module")
def packer() -> Packer:
    return Packer(PackSettings())


def predicted(model: SyntheticModel, codecs: tuple[str, ...] = BOTH, **options) -> PredictedCapture:
    u, v = np.meshgrid(np.arange(80), np.arange(60))
    picture = np.stack([u * 3, v * 4, (u + v) % 256], axis=-1).astype(np.uint8)
    request = FrameRequest(FrameOptions(**options), codecs)
    (prediction,) = model.predict([DecodedCapture((picture,), request)])
    assert isinstance(prediction, Prediction)
    return PredictedCapture(prediction, request)


def packed(packer: Packer, capture: PredictedCapture) -> PackedFrame:
    frame = packer.pack(capture)
    assert not isinstance(frame, FrameError)
    return frame


NATIVE, LIFTED, DEPTH = (
    SyntheticModel(splats=4800, native=True),
    SyntheticModel(splats=4800),
    SyntheticModel(splats=4800, depth=True),
)


@pytest.mark.parametrize(
    ("model", "codecs", "options", "codec"),
    [
        (NATIVE, BOTH, {}, "planes"),
        (NATIVE, ("planes", "packed", "points"), {"representation": "splats"}, "planes"),
        (NATIVE, BOTH, {"representation": "points"}, "points"),
        (NATIVE, ("depth", "packed", "points"), {}, "packed"),
        (NATIVE, (), {}, "packed"),
        (NATIVE, BOTH, {"codec": "packed"}, "packed"),
        (NATIVE, ("planes",), {"codec": "planes"}, "planes"),
        (LIFTED, BOTH, {}, "packed"),
        (DEPTH, BOTH, {}, "depth"),
        (DEPTH, ("planes", "packed", "points"), {}, "packed"),
    ],
)
def test_the_codec_is_the_smallest_that_fits_and_the_client_decodes(packer: Packer, model, codecs, options, codec) -> None:
    assert packed(packer, predicted(model, codecs, **options)).codec == codec


@pytest.mark.parametrize("options", [{}, {"min_opacity": 0.75}, {"border": 0.2}, {"border": 0.0}, {"depth_percentile": 60.0}])
def test_the_count_is_that_of_packed_and_so_is_what_was_pruned(packer: Packer, options: dict) -> None:
    ours, theirs = (packed(packer, predicted(NATIVE, codec=codec, **options)) for codec in ("planes", "packed"))
    assert ours.count == theirs.count and ours.pruned == theirs.pruned
    assert ours.pruned["edge"] > 0, "some were hidden"
    assert ours.camera == theirs.camera and len(ours.data) < len(theirs.data) / 3


def test_above_the_budget_what_is_missing_is_told(packer: Packer) -> None:
    prediction = predicted(NATIVE).prediction
    request = FrameRequest(FrameOptions(max_splats=1000), BOTH)
    frame = packed(packer, PredictedCapture(prediction, request))
    whole = packed(packer, PredictedCapture(prediction, FrameRequest(FrameOptions(), BOTH)))
    assert 700 < frame.count <= 1000
    assert frame.pruned == whole.pruned | {"budget": whole.count - frame.count}


def test_the_depth_step_is_the_place_on_the_ladder(packer: Packer) -> None:
    sizes = [len(packed(packer, predicted(NATIVE, depth_step=step)).data) for step in (1 / 512, 1 / 256, 1 / 128, 1 / 64)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 0.85 * sizes[0], "of so few pixels tables are the most"


@pytest.mark.parametrize(
    ("model", "options"), [(LIFTED, {}), (DEPTH, {}), (NATIVE, {"representation": "points"})], ids=["lifted", "depth", "points"]
)
def test_by_name_it_is_refused_where_there_are_no_native_gaussians(packer: Packer, model, options) -> None:
    refused = packer.pack(predicted(model, codec="planes", **options))
    assert isinstance(refused, NoNativeGaussians) and refused.code == "no_native"


@pytest.mark.parametrize("codec", ["planes", "depth"])
@pytest.mark.parametrize("model", [LIFTED, DEPTH, NATIVE], ids=["lifted", "depth", "native"])
def test_a_photo_gets_its_file_whatever_the_servers_own_codec_is(packer: Packer, model, codec: str) -> None:
    found = predicted(model, codec=codec)
    found.request.file = FileOptions()
    assert packed(packer, found).data[:4].tobytes() == b"ply\n"


def test_depth_by_name_is_refused_of_native_gaussians(packer: Packer) -> None:
    assert isinstance(packer.pack(predicted(NATIVE, codec="depth")), NoDepth)


def unfit() -> dict[str, Prediction]:
    """Native Gaussians that are not on a grid any more, or of a camera that is not theirs."""
    found = predicted(NATIVE).prediction
    gaussians = found.as_gaussians()
    return {
        "pruned by the model": replace(found, scene=gaussians.take(np.arange(100)), pruned={"opacity": 4700}),
        "of another size": replace(found, camera=replace(found.camera, width=found.camera.width + 1)),
        "of two cameras": replace(found, views=(PosedCamera(found.camera),) * 2),
    }


@pytest.mark.parametrize("name", unfit())
def test_what_is_off_its_grid_is_packed_and_by_name_refused(packer: Packer, name: str) -> None:
    prediction = unfit()[name]
    assert packed(packer, PredictedCapture(prediction, FrameRequest(FrameOptions(), BOTH))).codec == "packed"
    refused = packer.pack(PredictedCapture(prediction, FrameRequest(FrameOptions(codec="planes"), BOTH)))
    assert isinstance(refused, NoNativeGaussians)


def test_a_frame_of_too_many_pixels_is_packed(packer: Packer) -> None:
    gaussians, cameras = native_frame(1100, 1000)
    prediction = Prediction(gaussians, "native", cameras[0].camera)
    assert not planes.can_encode(gaussians, cameras)
    assert packed(packer, PredictedCapture(prediction, FrameRequest(FrameOptions(), BOTH))).codec == "packed"


def test_numbers_that_no_file_can_hold_are_left_out(packer: Packer) -> None:
    spoiled = SyntheticModel(splats=4800, native=True, nan_every=1)
    frame = packed(packer, predicted(spoiled))
    assert frame.codec == "planes" and frame.pruned["invalid"] >= 1000
    nothing = SyntheticModel(splats=300, native=True, poison=True)
    blue = np.full((48, 64, 3), (0, 0, 255), np.uint8)
    request = FrameRequest(FrameOptions(), BOTH)
    (prediction,) = nothing.predict([DecodedCapture((blue,), request)])
    assert isinstance(prediction, Prediction)
    assert packed(packer, PredictedCapture(prediction, request)).count == 0


def test_the_python_client_has_the_gaussians(packer: Packer) -> None:
    replies = []
    for codec in ("planes", "packed"):
        frame = packed(packer, predicted(NATIVE, codec=codec))
        quality = QualityState(0, 0, 1.0, 1.0, "", "")
        data = frame.data.tobytes()
        replies.append(Splats(0, 0.0, codec, frame.kind, "", frame.count, frame.camera, frame.pruned, {}, {}, quality, data))
    ours, theirs = (splats_of(reply) for reply in replies)
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours.means, theirs.means, rtol=0.01, atol=0.02)
    assert np.abs(ours.opacities - theirs.opacities).mean() < 0.03
    assert np.abs(np.sort(np.log(ours.scales)) - np.sort(np.log(theirs.scales))).mean() < 0.15
