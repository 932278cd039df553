"""Files of splats, and how they get onto a page."""

import base64
import functools
from typing import Any

import numpy as np
from playwright.sync_api import Page

from deployments.splats.codecs import CODECS
from deployments.splats.files import FileOptions, encode_file
from deployments.splats.gaussians import Gaussians

DROP = """([name, content]) => {
    const data = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([data], name));
    document.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@functools.cache
def ball() -> Gaussians:
    """500 splats in front of the camera."""
    random = np.random.default_rng(5)
    means = random.normal(0, 0.4, (500, 3)).astype(np.float32) + np.float32([0, 0, 3])
    quats = random.normal(size=(500, 4)).astype(np.float32)
    return Gaussians(
        means=means,
        scales=random.uniform(0.01, 0.05, (500, 3)).astype(np.float32),
        quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        opacities=random.uniform(0.3, 0.95, 500).astype(np.float32),
        sh=random.uniform(-1, 1, (500, 1, 3)).astype(np.float32),
    )


def file_of(gaussians: Gaussians, **options: Any) -> bytes:
    """Them, as the server writes files."""
    encode = {name: CODECS[name].encode for name in ("points", "packed")}
    return encode_file(gaussians, FileOptions(**options), encode).tobytes()


def drop(page: Page, name: str, data: bytes) -> None:
    """Drop a file on the page."""
    page.evaluate(DROP, [name, in_base64(data)])


def in_base64(data: bytes) -> str:
    """How bytes get into a page."""
    return base64.b64encode(data).decode()
