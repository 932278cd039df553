"""``python -m deployments.ops.prepare``: what would otherwise be done while the first visitor waits.

Compiles the numba kernels into their cache, renders the sample clip and records what the default engine makes of it; ``make`` runs
it once after installing. Everything works without it, but the first start and the first visitor's sample are slower, and the viewer
shows nothing behind its invitation.
"""

from importlib.metadata import version

from deployments.config import GraphArgs
from deployments.models import load_model
from deployments.ops.sample import record_sample
from deployments.scene.clip import RECORDING_PATH, SAMPLE_PATH, sample_clip
from deployments.stages.local import LocalPipeline


def main() -> None:
    """Compile, run the default engine, and leave the sample clip and its recording where the ingress finds them."""
    pipeline = LocalPipeline(load_model(GraphArgs().engine.name))
    pipeline.warm_up()
    SAMPLE_PATH.unlink(missing_ok=True)
    SAMPLE_PATH.write_bytes(sample_clip())
    RECORDING_PATH.write_bytes(record_sample(pipeline, version("splatcast")))


if __name__ == "__main__":
    main()
