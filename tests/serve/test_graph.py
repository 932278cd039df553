"""The bound graph in Serve's local testing mode: four deployments, no cluster."""

from collections.abc import Iterator

import pytest
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.config import GraphArgs
from deployments.graph import build_app
from deployments.splats.codecs import CODECS
from deployments.stream.errors import UnsupportedImage
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions
from tests.pictures import jpeg

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
