"""The face mesh: 468 points in three dimensions of one face, and its fit to a face of known size.

Both files come from the npm package ``@mediapipe/face_mesh`` (Apache-2.0), from which the build cuts them out:

- Network: "MediaPipe Face Mesh" model card (2020); Kartynnik et al. 2019, arXiv:1907.06724. RGB 192×192 in 0..1, the face upright
  in the middle, 1.5 times its box → 468 × (x, y, z) in pixels of the input (z relative, smaller is nearer), and a logit of whether
  there is a face at all. Without that gate it draws a face on anything.
- Canonical face: MediaPipe's ``GeometryPipelineMetadata`` (Protocol Buffers): field 1 is a mesh whose field 3 holds 468 × (x, y, z,
  u, v), x right, y up, z towards the viewer, centimetres, and field 4 the corners of 898 triangles; each field 2 is a point (1) and
  its weight (2) for the fit: points that expressions move little.

A face of known size is a ruler: how many pixels of the picture its metre takes says how far away it is. Real faces differ from it,
and so do these metres: a child is taken to be farther away than it is.
"""

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.models.relief.person import ASSETS, Face, MissingAssetError, load_network

NETWORK = "face_landmark.tflite"
CANONICAL = "geometry_pipeline_metadata_landmarks.binarypb"
POINTS = 468

_INPUT_PX = 192
_MARGIN = 1.5

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CanonicalFace:
    """An adult's face, seen from the front.

    Attributes:
        points: Metres, x right, y down, z away from the viewer. float32 [468, 3].
        triangles: Corners. int32 [898, 3].
        weights: How much each point counts in a fit; they sum to 1. float32 [468].
    """

    points: F32
    triangles: NDArray[np.int32]
    weights: F32


@dataclass(frozen=True, slots=True)
class FaceMesh:
    """What the network says of one face.

    Attributes:
        presence: Whether there is a face, 0..1.
        points: x and y in pixels of the picture, 0 at its outer edge; z in the same pixels, relative. float32 [468, 3].
    """

    presence: float
    points: F32


@dataclass(frozen=True, slots=True)
class HeadPose:
    """The canonical face's place in a picture: ``points ≈ pixels_per_metre · rotation · canonical + offset``.

    Attributes:
        pixels_per_metre: At the face's distance.
        rotation: From the canonical face's frame to the camera's. float32 [3, 3].
        offset: Pixels. float32 [3].
    """

    pixels_per_metre: float
    rotation: F32
    offset: F32


class FaceMeshNet:
    """The network and the canonical face; may be called from several threads.

    Args:
        assets: Folder with the two files.

    Raises:
        MissingAssetError: If one is missing.
    """

    def __init__(self, assets: Path = ASSETS) -> None:
        self._net = load_network(assets / NETWORK)
        self.canonical = load_canonical(assets / CANONICAL)
        self._lock = threading.Lock()

    def find_mesh(self, rgb: NDArray[np.uint8], face: Face) -> FaceMesh:
        """The mesh of a face that has been found.

        Args:
            rgb: uint8 [H, W, 3].
            face: Where it is in that picture.
        """
        picture, to_picture = _crop(rgb, face)
        blob = np.multiply(picture.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32)
        with self._lock:
            self._net.setInput(blob)
            # By their sizes: OpenCV names them by layers, and in no fixed order.
            one, other = (output.ravel() for output in self._net.forward(list(self._net.getUnconnectedOutLayersNames())))
            logit, numbers = (one, other) if one.size == 1 else (other, one)
            points, logit = numbers.reshape(POINTS, 3).astype(np.float32), float(logit[0])
        pixels = np.float32(np.hypot(*to_picture[:, 0]))
        placed = np.column_stack([points[:, :2] @ to_picture[:, :2].T + to_picture[:, 2], points[:, 2] * pixels])
        return FaceMesh(float(1 / (1 + np.exp(-np.clip(logit, -80.0, 80.0)))), placed.astype(np.float32))


def _crop(rgb: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.uint8], F32]:
    """The network's input, uint8 [192, 192, 3], and the affine map from its pixels to the picture's, float32 [2, 3]."""
    height, width = rgb.shape[:2]
    points = face.points.astype(np.float64) * (width, height)
    across = points[1] - points[0]
    # In a mirrored face the eyes are swapped as the picture is, so that it stays upright.
    angle = np.arctan2(across[1], across[0])
    factor = max(face.width * width * _MARGIN, 1.0) / _INPUT_PX
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = points.mean(axis=0) - turn @ (_INPUT_PX / 2, _INPUT_PX / 2)
    # Rounded, so that the last bits of a product, which differ between processes, change no pixel.
    to_picture = np.round(np.column_stack([turn, middle]), 6)
    # A large face is made smaller first: bilinear sampling would skip pixels.
    shrink = 1.0
    if factor >= 2:
        shrink = 1 / int(factor)
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    # OpenCV counts from the centre of the first pixel.
    sampled = to_picture * shrink
    sampled[:, 2] += sampled[:, :2] @ (0.5, 0.5) - 0.5
    picture = cv2.warpAffine(rgb, sampled, (_INPUT_PX, _INPUT_PX), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(picture, np.uint8), to_picture.astype(np.float32)


def fit_pose(points: F32, canonical: CanonicalFace) -> HeadPose:
    """The similarity that brings the canonical face to a mesh with the least weighted squared error (Umeyama 1991).

    Args:
        points: float32 [468, 3].
        canonical: The face.
    """
    weights = canonical.weights.astype(np.float64)
    middle, centre = weights @ points, weights @ canonical.points
    here, there = points - middle, canonical.points - centre
    left, stretch, right = np.linalg.svd((here * weights[:, None]).T @ there)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * flip) @ right
    scale = float((stretch * flip).sum() / (weights @ (there * there).sum(axis=1)))
    offset = middle - scale * rotation @ centre
    return HeadPose(scale, rotation.astype(np.float32), offset.astype(np.float32))


def load_canonical(path: Path) -> CanonicalFace:
    """The canonical face from its file.

    Raises:
        MissingAssetError: If it is missing.
        ValueError: If it does not hold 468 points, their triangles and weights.
    """
    if not path.is_file():
        raise MissingAssetError(path)
    fields = list(_fields(path.read_bytes()))
    mesh = list(_fields(next((value for number, value in fields if number == 1 and isinstance(value, bytes)), b"")))
    numbers = b"".join(value for number, value in mesh if number == 3 and isinstance(value, bytes))
    corners = np.array([value for number, value in mesh if number == 4 and isinstance(value, int)], np.int64)
    weights = np.zeros(POINTS, np.float32)
    for number, value in fields:
        if number == 2 and isinstance(value, bytes):
            index, weight = (dict(_fields(value)).get(key) for key in (1, 2))
            if isinstance(index, int) and index < POINTS and isinstance(weight, bytes) and len(weight) == 4:
                weights[index] = struct.unpack("<f", weight)[0]
    if len(numbers) != POINTS * 20 or corners.size % 3 or corners.size == 0 or corners.max() >= POINTS or not weights.sum() > 0:
        raise ValueError(f"{path}: expected {POINTS} points with triangles and weights")
    points = np.frombuffer(numbers, "<f4").reshape(POINTS, 5)[:, :3] * np.array([0.01, -0.01, -0.01], np.float32)
    return CanonicalFace(points.astype(np.float32), corners.reshape(-1, 3).astype(np.int32), weights / weights.sum())


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a Protocol Buffers message: varints as integers, the rest as bytes.

    Raises:
        ValueError: If it is none.
    """
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while at < len(data):
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
        raise ValueError("a message that ends within a number")

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field of the unknown type {kind}")
        length = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        yield key >> 3, data[at : at + length]
        at += length
