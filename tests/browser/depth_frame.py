"""The frame of the browser check of ``depth``: ``python -m tests.browser.depth_frame`` writes it into the viewer's sources anew.

It is wanted after every change of the codec's bytes, and blesses what encoder and lifting give now.
"""

import base64
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.codecs import depth
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.stages.pack import PackSettings
from tests.server import ROOT

SOURCE = ROOT / "web" / "src" / "codecs" / "test_depth.ts"
COLUMNS = 110


def encode_frame() -> bytes:
    """6×4 pixels: a slope, a wall before it, one pixel without a surface, a half transparent row, colours of its own."""
    width, height = 6, 4
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inverse = np.where(u < 3, 0.5 + v / 20, 1.0).astype(np.float32)
    inverse[0, 5] = 0
    opacity = np.full((height, width), 255, np.uint8)
    opacity[3] = 120
    rgb = np.stack([u * 40, v * 60, 255 - u * 40], axis=-1).astype(np.uint8)
    camera = Camera(width, height, 6.0, 6.0, 3.0, 2.0)
    layered = LayeredDepth((DepthView(camera, (DepthLayer(inverse, rgb, opacity),), rgb),))
    return depth.encode_depth(layered, step=1 / 256, min_opacity=0.1).tobytes()


def lift_frame(frame: bytes) -> bytes:
    """The packed words, 16 bytes a splat, that the server lifts from the frame's bytes."""
    decoded = depth.decode_depth(np.frombuffer(frame, np.uint8))
    unused = [np.zeros((view.camera.height, view.camera.width, 3), np.uint8) for view in decoded.views]
    lifted, _ = depth.lift_decoded(decoded, unused)
    packed: NDArray[np.uint8] = PackSettings().packed_codec().encode(lifted)
    return packed.tobytes()[32:]


def read_source(path: Path = SOURCE) -> tuple[bytes, bytes]:
    """The frame and its words as the viewer has them."""
    texts = re.findall(r"^const (?:FRAME|LIFTED) =\n(.*?);", path.read_text(), re.S | re.M)
    frame, words = (base64.b64decode("".join(re.findall(r'"([\w+/=]+)"', text))) for text in texts)
    return frame, words


def main() -> None:
    """Write it."""
    frame = encode_frame()
    source = SOURCE.read_text()
    for name, data in (("FRAME", frame), ("LIFTED", lift_frame(frame))):
        text = base64.b64encode(data).decode()
        lines = " +\n".join(f'  "{text[at : at + COLUMNS]}"' for at in range(0, len(text), COLUMNS))
        source = re.sub(rf"^const {name} =\n.*?;", f"const {name} =\n{lines};", source, flags=re.S | re.M)
    SOURCE.write_text(source)


if __name__ == "__main__":
    main()
