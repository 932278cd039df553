"""``python -m deployments.prepare``: what would otherwise be done while the first visitor waits.

Compiles the numba kernels into their cache and renders the sample clip; ``make`` runs it once after an installation. Without it
everything works, but the first start and the first visitor's sample are slower.
"""

from pathlib import Path

import msgpack

from deployments.config import GraphArgs
from deployments.local import LocalPipeline
from deployments.models import load_model
from deployments.models.scene import PERIOD_S, encode_clip

SAMPLE_PATH = Path(__file__).parent / "models" / "assets" / "sample.msgpack"
_SAMPLE_FPS, _SAMPLE_WIDTH, _SAMPLE_HEIGHT = 15, 640, 480


def sample_clip() -> bytes:
    """The clip for people without a camera: a msgpack map of ``fps``, ``width``, ``height`` and JPEG ``frames``.

    Read from where :func:`main` left it, rendered where it did not.
    """
    if SAMPLE_PATH.is_file():
        return SAMPLE_PATH.read_bytes()
    frames = encode_clip(PERIOD_S, _SAMPLE_FPS, _SAMPLE_WIDTH, _SAMPLE_HEIGHT)
    clip = {"fps": _SAMPLE_FPS, "width": _SAMPLE_WIDTH, "height": _SAMPLE_HEIGHT, "frames": frames}
    return msgpack.packb(clip)  # type: ignore[no-any-return]


def main() -> None:
    """Compile, run the default engine once, and leave the sample clip beside the other assets."""
    args = GraphArgs()
    LocalPipeline(load_model(args.engine.name), args).warm_up()
    SAMPLE_PATH.unlink(missing_ok=True)
    SAMPLE_PATH.write_bytes(sample_clip())


if __name__ == "__main__":
    main()
