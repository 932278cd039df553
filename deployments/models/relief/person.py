"""Two small MediaPipe networks on OpenCV's DNN module: where a person is, and where a face is.

Both come from the npm packages ``@mediapipe/selfie_segmentation`` and ``@mediapipe/face_detection`` (Apache-2.0), from which the
build copies them into ``deployments/models/relief/assets``. They are made for webcams: one or two people within about two metres.

- Segmentation: "MediaPipe Selfie Segmentation" model card (2021), general model: RGB 256×256 in 0..1 → person 0..1, 256×256.
- Face: BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047), short range: RGB 128×128 in −1..1 → 896 anchors, each a logit
  and 16 numbers (box centre and size, then right eye, left eye, nose tip, mouth, right ear, left ear), pixels of the input
  relative to the anchor. Anchors: two a cell on a 16×16 grid, six a cell on an 8×8 grid, at the cells' centres.
"""

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ASSETS = Path(__file__).parent / "assets"
SEGMENTATION = "selfie_segmentation.tflite"
FACES = "face_detection_short_range.tflite"

MASK_PX = 256
"""Side of the segmentation's square, whatever the picture's shape."""

MOST_FACES = 4
"""As many as are looked for: the networks are made for one or two people."""

_FACE_PX = 128
_ANCHORS_PER_CELL = ((16, 2), (8, 6))


class MissingAssetError(RuntimeError):
    """A network's file is missing.

    Attributes:
        path: Where it was expected.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is missing: the build creates it; run `make web` in a checkout, or `pip install .` again."


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture.

    Attributes:
        score: Probability, 0..1.
        width: Width of the face, fraction of the picture's width.
        points: Right eye, left eye, nose tip, mouth, as fractions of the picture's width and height. float32 [4, 2].
    """

    score: float
    width: float
    points: NDArray[np.float32]


class PersonNets:
    """Both networks; may be called from several threads.

    Args:
        assets: Folder with the two files.

    Raises:
        MissingAssetError: If one is missing.
    """

    def __init__(self, assets: Path = ASSETS) -> None:
        self._segmentation, self._faces = load_network(assets / SEGMENTATION), load_network(assets / FACES)
        # The last layer but one is a transposed convolution of 2 × 2 pixels, stride 2: OpenCV 5.0 spends 20 ms of the network's
        # 33 on it, where one matrix product takes 1 ms. So the network stops before it.
        layers = list(self._segmentation.getLayerNames())
        self._features = layers[layers.index("segment") - 1]
        kernel, bias = self._segmentation.getLayer(self._segmentation.getLayerId("segment")).blobs
        self._kernel, self._bias = np.ascontiguousarray(kernel.reshape(-1, 4).T), np.float32(bias.ravel()[0])
        self._lock = threading.Lock()

    def segment(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How much each part of the picture is a person, 0..1. float32 [256, 256], the whole picture squeezed into it.

        Args:
            rgb: uint8 [H, W, 3].
        """
        square = cv2.resize(rgb, (MASK_PX, MASK_PX), interpolation=cv2.INTER_AREA)
        blob = np.multiply(square.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32)
        with self._lock:
            self._segmentation.setInput(blob)
            features = self._segmentation.forward(self._features)[0]
            # OpenCV's product, not NumPy's: its threads would fight over a replica's one CPU.
            logits = cv2.gemm(self._kernel, features.reshape(len(features), -1), 1, None, 0) + self._bias
        # [2, 2, 128, 128] → [128, 2, 128, 2]: each feature spreads over two by two pixels.
        half = MASK_PX // 2
        logits = np.clip(logits.reshape(2, 2, half, half).transpose(2, 0, 3, 1).reshape(MASK_PX, MASK_PX), -80, 80)
        mask: NDArray[np.float32] = 1 / (1 + np.exp(-logits))
        return mask

    def find_face(self, rgb: NDArray[np.uint8]) -> Face:
        """The most likely face, however unlikely it is.

        Args:
            rgb: uint8 [H, W, 3].
        """
        return self.find_faces(rgb)[0]

    def find_faces(self, rgb: NDArray[np.uint8], most: int = MOST_FACES) -> list[Face]:
        """The most likely faces, the likeliest first: always one, however unlikely it is, and others from a score of 0.5.

        Args:
            rgb: uint8 [H, W, 3].
            most: So many at most.
        """
        height, width = rgb.shape[:2]
        factor = _FACE_PX / max(height, width)
        small_w, small_h = max(1, round(width * factor)), max(1, round(height * factor))
        left, top = (_FACE_PX - small_w) // 2, (_FACE_PX - small_h) // 2
        square = np.zeros((_FACE_PX, _FACE_PX, 3), np.float32)
        small = cv2.resize(rgb, (small_w, small_h), interpolation=cv2.INTER_AREA)
        square[top : top + small_h, left : left + small_w] = small * np.float32(2 / 255) - np.float32(1)
        with self._lock:
            self._faces.setInput(np.ascontiguousarray(square.transpose(2, 0, 1)[None]))
            logits, boxes = self._faces.forward(["classificators", "regressors"])
            logits, boxes = logits[0, :, 0].copy(), boxes[0].copy()
        order = np.argsort(-logits, kind="stable")
        found: list[Face] = []
        taken = np.zeros((0, 2), np.float32)
        for index in order[: max(1, int(np.count_nonzero(logits > 0)))]:
            # Padding may be off by half a pixel of 128, which does not matter here.
            points = boxes[index, 4:12].reshape(4, 2) + _anchors()[index] * _FACE_PX - (left, top)
            middle, size = points.mean(axis=0), float(boxes[index, 2])
            # Several anchors find one face. Two faces are half a width apart, even cheek to cheek.
            if len(taken) and np.hypot(*(taken - middle).T).min() < size / 2:
                continue
            taken = np.vstack([taken, middle])
            score = 1.0 / (1.0 + np.exp(-np.clip(logits[index], -80.0, 80.0)))
            found.append(Face(float(score), size / small_w, (points / (small_w, small_h)).astype(np.float32)))
            if len(found) == most:
                break
        return found


@cache
def _anchors() -> NDArray[np.float32]:
    """Anchor centres, 0..1. float32 [896, 2]."""
    grids = []
    for cells, each in _ANCHORS_PER_CELL:
        centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0))
    return np.concatenate(grids)


def load_network(path: Path) -> Any:
    """A network's file in OpenCV's DNN module.

    Raises:
        MissingAssetError: If it is missing.
    """
    if not path.is_file():
        raise MissingAssetError(path)
    # OpenCV 5's new engine returns only one of the face network's two outputs; OpenCV 4 has no choice of engines.
    engine = getattr(cv2.dnn, "ENGINE_CLASSIC", None)
    return cv2.dnn.readNetFromTFLite(str(path), *([] if engine is None else [engine]))
