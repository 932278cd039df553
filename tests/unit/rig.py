"""A small world that any camera can look at, with exact depth: a wall, a floor and a ball, painted by where their points are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.stream.messages import KnownCamera

WALL_M, FLOOR_M = 3.0, 0.8
"""The wall's distance along z, the floor's along y, both in the world's frame."""
WEBCAM = Camera(160, 120, 140.0, 140.0, 80.0, 60.0)
BALL, RADIUS_M = np.array([0.1, 0.1, 1.8]), 0.45


@dataclass(frozen=True)
class Seen:
    """rgb: uint8 [H, W, 3]. depth: z, metres, float64 [H, W]. camera: intrinsics. pose: world to camera, float64 [3, 4]."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float64]
    camera: Camera
    pose: NDArray[np.float64]

    @property
    def millimetres(self) -> NDArray[np.uint16]:
        return np.rint(self.depth * 1e3).astype(np.uint16)

    @property
    def known(self) -> KnownCamera:
        c = self.camera
        return KnownCamera(c.fx, c.fy, c.cx, c.cy, self.pose.ravel().tolist())


def turned(yaw_deg: float, x_m: float = 0.0, y_m: float = 0.0, pitch_deg: float = 0.0) -> NDArray[np.float64]:
    """World to camera of one that stands at (x, y, 0) and is turned right and up. float64 [3, 4]."""
    a, b = np.radians(yaw_deg), np.radians(pitch_deg)
    yaw = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    pitch = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    turn = pitch @ yaw
    return np.column_stack((turn, -turn @ np.array([x_m, y_m, 0.0])))


def look(pose: NDArray[np.float64], camera: Camera = WEBCAM) -> Seen:
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    turn, place = pose[:, :3], -pose[:, :3].T @ pose[:, 3]
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones_like(rows)], -1) @ turn
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = (WALL_M - place[2]) / rays[..., 2]
        floor = (FLOOR_M - place[1]) / rays[..., 1]
        a, b, c = (rays**2).sum(-1), (rays * (place - BALL)).sum(-1), ((place - BALL) ** 2).sum() - RADIUS_M**2
        ball = (-b - np.sqrt(b * b - a * c)) / a
    # Rays have a z of 1 in the camera's frame: how far along one is the z-depth.
    depth = np.min([np.where(t > 0, t, np.inf) for t in (wall, floor, np.nan_to_num(ball, nan=np.inf))], axis=0)
    return Seen(paint(place + rays * depth[..., None]), depth, camera, pose)


def paint(points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Soft colours of points of the world. [..., 3] → uint8 [..., 3]."""
    waves = np.sin(points @ np.array([[3.0, 1.0, 0.5], [0.5, 2.5, 1.0], [1.0, 0.5, 2.0]]))
    return np.rint(127.5 + 100 * waves).astype(np.uint8)


def off_surface(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far points of the world's frame are from its nearest surface, metres. [N, 3] → [N]."""
    ball = np.abs(np.linalg.norm(points - BALL, axis=1) - RADIUS_M)
    distances: NDArray[np.float64] = np.min([ball, np.abs(points[:, 2] - WALL_M), np.abs(points[:, 1] - FLOOR_M)], axis=0)
    return distances
