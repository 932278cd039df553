"""Faces in the relief: how far away each person is, and their face's mesh laid into the depth of the cushion.

Outside of its rim a mesh goes on as it is there, and eases into the cushion: slowly above the forehead, where a skull goes on, and
quickly below the chin, where the neck lies farther back. Where there are several people, each pixel belongs to the nearest face of
its part of the mask, a body below its face rather than beside it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.models.relief.faces import USUAL_OUTLINE, Faces, FaceTrack, outline_m
from deployments.splats.triangles import draw_triangles

F32 = NDArray[np.float32]

_REACH_ABOVE, _REACH_BELOW = 0.5, 0.2  # of a mesh's width, in which it eases into the cushion
_TRIM = 0.025  # of it, left out at the rim, where cheeks are seen edge-on and a pixel more or less is a centimetre of depth
_SOFT = 0.01  # of it, by which the mesh is smoothed
_FOREHEAD, _CHIN = 10, 152  # points of the mesh: its upper and lower end
_SMALLEST_PX = 8  # a mesh that is narrower on the grid has nothing to show
_OWN_PX = 128  # side of the map of who owns what
_BODY_BELOW = 3.0  # face widths that a body reaches below its face count as one
_APART = 2.0  # sharpness of the border between people, per square face width


def owners(faces: Faces, mask: F32, size: tuple[int, int]) -> list[F32]:
    """How much of each pixel is each face's person's, where there are several; they sum to at most 1.

    Args:
        faces: The faces.
        mask: The people. float32 [H, W], the whole picture.
        size: Width and height of the maps, and of the picture.

    Returns:
        One a face, float32 [height, width]; none where there are fewer than two faces.
    """
    tracks = faces.tracks
    if len(tracks) < 2:
        return []
    small = cv2.resize(mask, (_OWN_PX, _OWN_PX), interpolation=cv2.INTER_AREA)
    count, parts = cv2.connectedComponents((small > 0.5).astype(np.uint8), connectivity=4)
    homes = [int(parts[_cell(track.centre[1]), _cell(track.centre[0])]) for track in tracks]
    # Part → whether it holds a face; part 0 is the background, which is nobody's.
    held = np.zeros(count, bool)
    held[[home for home in homes if home]] = True
    steps = (np.arange(_OWN_PX, dtype=np.float32) + 0.5) / _OWN_PX
    tall = size[1] / size[0]
    shares = []
    for track, home in zip(tracks, homes, strict=True):
        x = (steps - track.centre[0]) / max(track.width, 1e-3)
        y = (steps - track.centre[1]) * tall / max(track.width, 1e-3)
        y = np.where(y > 0, y / _BODY_BELOW, y)
        # A face in a part of the mask of its own owns all of it, and nothing of another face's.
        allowed = ~held[parts] | (parts == home) if home else ~held[parts]
        nearness = -_APART * (y[:, None] ** 2 + x[None] ** 2)
        shares.append(np.where(allowed, nearness, -np.inf))
    best = np.maximum(np.max(shares, axis=0), -1e30)
    weights = [np.exp(share - best) * track.life for share, track in zip(shares, tracks, strict=True)]
    total = np.maximum(np.sum(weights, axis=0), 1.0)
    return [cv2.resize((weight / total).astype(np.float32), size, interpolation=cv2.INTER_LINEAR) for weight in weights]


def _cell(fraction: float) -> int:
    return min(max(int(fraction * _OWN_PX), 0), _OWN_PX - 1)


def outlines(faces: Faces, owned: list[F32]) -> F32:
    """Distance of the people's outline from the camera. float32 [H, W], or [1, 1] where it is the same everywhere.

    Args:
        faces: The faces.
        owned: As :func:`owners` returns it.
    """
    if not owned:
        return np.full((1, 1), _outline(faces, faces.tracks[0] if faces.tracks else None), np.float32)
    usual = np.float32(_outline(faces, None))
    away = np.full(owned[0].shape, usual)
    for track, own in zip(faces.tracks, owned, strict=True):
        away += own * (np.float32(_blend(faces, outline_m(track.distance_m))) - usual)
    return away


def _outline(faces: Faces, track: FaceTrack | None) -> float:
    """The same for one person; None: one whose face is not known."""
    if faces.metric == 0:
        return USUAL_OUTLINE
    distance = faces.distance_m
    if track:
        distance += track.life * (track.distance_m - distance)
    return _blend(faces, outline_m(distance))


def _blend(faces: Faces, outline: float) -> float:
    return USUAL_OUTLINE + faces.metric * (outline - USUAL_OUTLINE)


def lay_faces(depth: F32, faces: Faces, owned: list[F32], triangles: NDArray[np.int32]) -> None:
    """Lay each face's mesh into a map of the people's depth.

    Args:
        depth: z, changed in place. float32 [H, W].
        faces: The faces.
        owned: As :func:`owners` returns it, of that size.
        triangles: Of the mesh. int32 [T, 3].
    """
    height, width = depth.shape
    # The farthest first: where two overlap, the nearer one is seen.
    for index in sorted(range(len(faces.tracks)), key=lambda i: -faces.tracks[i].distance_m):
        track = faces.tracks[index]
        if track.weight <= 0:
            continue
        points = track.points * np.array([width, height, 1], np.float32)
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        across = float(high[0] - low[0])
        margin = _REACH_ABOVE * across
        left, top = (max(0, int(edge - margin)) for edge in low)
        right, bottom = (min(most, int(edge + margin) + 1) for edge, most in zip(high, (width, height), strict=True))
        if across < _SMALLEST_PX or left >= right or top >= bottom:
            continue
        points[:, :2] -= (left, top)
        window = depth[top:bottom, left:right]
        surface, weight = _spread(draw_triangles(points, triangles, right - left, bottom - top), _reach(points, window.shape))
        if surface is None:
            continue
        weight *= np.float32(track.weight)
        if owned:
            weight *= owned[index][top:bottom, left:right]
        # Beside an outline that is not where it was measured, as when it has just been found, the whole head moves with it.
        shift = np.float32(_outline(faces, track) / outline_m(track.distance_m))
        window += weight * ((surface + np.float32(track.distance_m)) * shift - window)


def _reach(points: F32, shape: tuple[int, ...]) -> F32:
    """Pixels beyond its rim in which a mesh eases into the cushion. float32 [H, W]."""
    across = float(np.ptp(points[:, 0]))
    up = points[_FOREHEAD, :2] - points[_CHIN, :2]
    up /= max(float(up @ up), 1e-6)
    middle = (points[_FOREHEAD, :2] + points[_CHIN, :2]) / 2
    x, y = (np.arange(size, dtype=np.float32) + np.float32(0.5) for size in (shape[1], shape[0]))
    # 0 at the chin's height, 1 at the forehead's, along a tilted face.
    height = np.clip((x - middle[0]) * up[0] + ((y - middle[1]) * up[1])[:, None] + np.float32(0.5), 0, 1)
    reach = np.float32(_REACH_BELOW) + np.float32(_REACH_ABOVE - _REACH_BELOW) * height * height
    return np.asarray(np.maximum(reach * np.float32(across), 1), np.float32)


def _spread(surface: F32, reach: F32) -> tuple[F32 | None, F32]:
    """A mesh's z, going on beyond its rim as it is there, and its weight: 1 on the mesh, 0 from ``reach`` pixels on. [H, W]."""
    trim = 2 * round(float(reach.max()) * _TRIM / _REACH_ABOVE) + 1
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (trim, trim))
    inside = cv2.erode(np.isfinite(surface).astype(np.uint8), shape) > 0
    if not inside.any():
        return None, np.zeros_like(surface)
    away, labels = cv2.distanceTransformWithLabels((~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros(int(labels.max()) + 1, np.float32)
    nearest[labels[inside]] = surface[inside]
    beyond = nearest[labels]
    away /= reach
    # The nearest point of the rim jumps from one pixel to the next: smoothed, but not at the rim itself.
    size = (2 * int(reach.max() / 5) + 1,) * 2
    beyond += np.minimum(4 * away, 1) * (cv2.blur(beyond, size) - beyond)
    # The mesh's triangles are flat: without this they show as facets on a large face.
    beyond = cv2.GaussianBlur(beyond, (0, 0), max(0.3, _SOFT * float(reach.max()) / _REACH_ABOVE))
    fading = np.minimum(away, 1)
    weight = 1 - fading * fading * (3 - 2 * fading)
    return np.asarray(beyond, np.float32), np.asarray(weight, np.float32)
