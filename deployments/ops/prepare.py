"""``python -m deployments.ops.prepare``: what would otherwise be done while the first visitor waits.

Compiles the numba kernels into their cache and renders the sample clip; ``make`` runs it once after installing. Everything works
without it, but the first start and the first visitor's sample are slower.
"""

from deployments.config import GraphArgs
from deployments.models import load_model
from deployments.scene.clip import SAMPLE_PATH, sample_clip
from deployments.stages.local import LocalPipeline


def main() -> None:
    """Compile, run the default engine once, and leave the sample clip where the ingress finds it."""
    LocalPipeline(load_model(GraphArgs().engine.name)).warm_up()
    SAMPLE_PATH.unlink(missing_ok=True)
    SAMPLE_PATH.write_bytes(sample_clip())


if __name__ == "__main__":
    main()
