"""The bound graph in Serve's local testing mode: four deployments, no cluster."""

import pytest
from ray import serve

from deployments.config import GraphArgs
from deployments.graph import build_app
from deployments.ingress import GraphPipeline
from deployments.pipeline import Capture, PackedFrame
from deployments.splats.codec import CODECS
from deployments.stream.errors import FrameError, UnsupportedImage
from deployments.stream.options import FrameOptions
from tests.unit.test_asgi import jpeg

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def pipeline() -> GraphPipeline:
    args = GraphArgs.model_validate({"engine": {"name": "synthetic", "params": {"splats": 500}}})
    serve.run(build_app(args), name="test_graph", _local_testing_mode=True)
    decoder, inference, packer = (
        serve.get_deployment_handle(name, "test_graph") for name in ("FrameDecoder", "GaussianInference", "SplatPacker")
    )
    return GraphPipeline(decoder, inference, packer, frame_timeout_s=10.0)


async def test_a_jpeg_goes_in_and_packed_splats_come_out(pipeline: GraphPipeline) -> None:
    outcome = await pipeline(Capture((jpeg(),), FrameOptions(border=0.0)))
    assert isinstance(outcome, PackedFrame), outcome
    assert outcome.codec == "packed" and len(CODECS["packed"].decode(outcome.data)) == outcome.count > 0
    assert set(outcome.timings) >= {"decode", "infer", "pack"}


async def test_a_refusal_of_the_first_stage_comes_out_of_the_last(pipeline: GraphPipeline) -> None:
    outcome = await pipeline(Capture((b"no picture",)))
    assert isinstance(outcome, UnsupportedImage) and isinstance(outcome, FrameError)


async def test_the_model_describes_itself(pipeline: GraphPipeline) -> None:
    assert (await pipeline.describe()).engine == "synthetic"
