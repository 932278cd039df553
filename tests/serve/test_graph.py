"""The bound graph in Serve's local testing mode: four deployments, no cluster."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.client import encode_depth_png
from deployments.config import GraphArgs
from deployments.graph import build_app
from deployments.splats.codecs import CODECS
from deployments.splats.codecs.depth import decode_depth
from deployments.stream.errors import CamerasRefused, UnsupportedImage
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions
from tests.pictures import jpeg
from tests.unit.rig import look, turned

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def ingress() -> Iterator[DeploymentHandle]:
    # Once a module: a class whose @serve.batch has run in this process can't be bound again (Ray 2.60).
    args = GraphArgs.model_validate({"engine": {"name": "synthetic", "params": {"splats": 500}}})
    with pytest.MonkeyPatch.context() as patch:
        # A warning about the replica's own config, which there is none of in local testing mode: it raises there (Ray 2.60).
        patch.setattr("ray.serve.batching._BatchQueue._warn_if_max_batch_size_exceeds_max_ongoing_requests", lambda self: None)
        yield serve.run(build_app(args), name="test_graph", _local_testing_mode=True)


async def test_a_jpeg_goes_in_and_packed_splats_come_out(ingress: DeploymentHandle) -> None:
    outcome = await ingress.splat.remote(Capture((jpeg(),), FrameRequest(FrameOptions(border=0.0))))
    assert isinstance(outcome, PackedFrame), outcome
    assert outcome.codec == "packed" and len(CODECS["packed"].decode(outcome.data)) == outcome.count > 0
    assert set(outcome.request.timings) >= {"decode", "infer", "pack"}


async def test_a_refusal_of_the_first_stage_comes_out_of_the_last(ingress: DeploymentHandle) -> None:
    outcome = await ingress.splat.remote(Capture((b"no picture",)))
    assert isinstance(outcome, UnsupportedImage)


async def test_views_with_their_own_depth_and_cameras_go_through_the_whole_graph_as_one_world(ingress: DeploymentHandle) -> None:
    rig = [look(turned(0.0)), look(turned(-14.0, 0.5, -0.1))]
    capture = Capture(
        (jpeg(160, 120),) * 2,
        FrameRequest(FrameOptions(border=0.0), ("depth", "packed")),
        tuple(seen.known for seen in rig),
        tuple(encode_depth_png(seen.millimetres) for seen in rig),
    )
    outcome = await ingress.splat.remote(capture)
    assert isinstance(outcome, PackedFrame), outcome
    assert (outcome.codec, outcome.request.label, outcome.camera) == ("depth", "Depth from the camera", rig[0].camera)
    assert [view.camera for view in decode_depth(outcome.data).views] == [seen.camera for seen in rig]
    refused = await ingress.splat.remote(replace(capture, cameras=capture.cameras[:1]))
    assert isinstance(refused, CamerasRefused) and "expected one for each of the 2 views, got 1" in str(refused)
