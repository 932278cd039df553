"""The room of the procedural scene: boxes and ellipsoids, ray-cast once per picture size.

It is asymmetric and colourful on purpose (a blue window on the left, books and a warm lamp on the right, a plant at the lower
left), so that a mirrored, flipped or channel-swapped picture is clearly different.
"""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.scene.person import compiled, turned

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Colour = tuple[float, float, float]

WALL_M = 2.7
"""Distance of the back wall, metres."""

# Rows: kind (0 box, 1 ellipsoid), centre xyz, half size xyz, linear colour, light given off. Camera frame, metres.
_BOX, _BALL = 0.0, 1.0


def _furniture() -> F64:
    rows: list[tuple[float, ...]] = []

    def box(x: float, y: float, z: float, a: float, b: float, c: float, colour: Colour, glow: float = 0.0) -> None:
        rows.append((_BOX, x, y, z, a, b, c, *colour, glow))

    def ball(x: float, y: float, z: float, a: float, b: float, c: float, colour: Colour, glow: float = 0.0) -> None:
        rows.append((_BALL, x, y, z, a, b, c, *colour, glow))

    # Bookshelf, right: two boards with books of many heights.
    wood, dark = (0.36, 0.20, 0.10), (0.22, 0.12, 0.06)
    for y in (-0.52, 0.02):
        box(1.00, y, 2.56, 0.46, 0.018, 0.13, wood)
    spines = [
        (0.62, 0.07, 0.05),
        (0.80, 0.45, 0.08),
        (0.08, 0.30, 0.38),
        (0.75, 0.70, 0.58),
        (0.16, 0.33, 0.12),
        (0.42, 0.12, 0.30),
    ]
    x = 0.58
    for i in range(9):
        half, tall = 0.021 + 0.007 * ((i * 5) % 3), 0.15 + 0.022 * ((i * 7) % 4)
        box(x + half, -0.538 - tall, 2.55, half * 0.94, tall, 0.10, spines[i % 6])
        x += 2 * half
    x = 1.02
    for i in range(7):
        half, tall = 0.022 + 0.006 * ((i * 4) % 3), 0.12 + 0.02 * ((i * 5) % 4)
        box(x + half, 0.002 - tall, 2.55, half * 0.94, tall, 0.10, spines[(i * 5 + 2) % 6])
        x += 2 * half
    ball(0.72, -0.085, 2.52, 0.075, 0.085, 0.075, (0.10, 0.42, 0.44))  # a vase
    ball(0.72, -0.185, 2.52, 0.032, 0.05, 0.032, (0.10, 0.42, 0.44))
    # Lamp, lower right: a glowing shade on a stand.
    ball(1.02, 0.40, 2.25, 0.17, 0.15, 0.17, (1.0, 0.58, 0.22), 0.75)
    box(1.02, 0.80, 2.25, 0.014, 0.30, 0.014, dark)
    box(1.00, 1.14, 2.25, 0.40, 0.06, 0.25, wood)  # the table it stands on
    # Plant, lower left.
    pot = (0.58, 0.22, 0.12)
    ball(-0.98, 1.02, 2.15, 0.15, 0.19, 0.15, pot)
    for i in range(15):
        a = i * 2.399963  # golden angle: leaves never line up
        r, up = 0.06 + 0.017 * i, 0.30 + 0.25 * ((i * 7) % 5) / 5
        green = (0.06 + 0.03 * (i % 3), 0.26 + 0.07 * ((i * 2) % 3), 0.07)
        wide = 0.055 + 0.03 * abs(math.cos(a))
        ball(-0.98 + r * math.cos(a), 0.92 - up, 2.15 + 0.6 * r * math.sin(a), wide, 0.13, 0.05, green)
    # Sofa back along the bottom.
    ball(-0.25, 1.16, 2.30, 0.62, 0.22, 0.26, (0.40, 0.17, 0.20))
    # Window frame, left.
    white = (0.80, 0.78, 0.73)
    for fx in (-1.42, -0.93, -0.44):
        box(fx, -0.47, WALL_M - 0.03, 0.028, 0.52, 0.04, white)
    for fy in (-0.98, -0.52, 0.03):
        box(-0.93, fy, WALL_M - 0.03, 0.52, 0.026, 0.04, white)
    box(-0.93, 0.075, WALL_M - 0.09, 0.57, 0.022, 0.10, white)  # the sill
    return np.array(rows, np.float64)


def _near_things() -> F64:
    """A table with a cup, a jug and a stack of books, a floor lamp's pole and a hanging ball: what has edges at every distance."""
    rows = [
        (_BOX, -0.10, 0.62, 1.25, 0.95, 0.025, 0.40, 0.30, 0.18, 0.10, 0.0),
        (_BALL, -0.30, 0.50, 1.05, 0.055, 0.085, 0.055, 0.82, 0.80, 0.76, 0.0),
        (_BALL, 0.02, 0.46, 1.35, 0.085, 0.135, 0.085, 0.10, 0.28, 0.50, 0.0),
        (_BALL, 0.02, 0.30, 1.35, 0.045, 0.060, 0.045, 0.10, 0.28, 0.50, 0.0),
        (_BOX, 0.42, 0.56, 1.20, 0.15, 0.035, 0.11, 0.66, 0.12, 0.10, 0.0),
        (_BOX, 0.40, 0.50, 1.21, 0.13, 0.025, 0.10, 0.14, 0.36, 0.20, 0.0),
        (_BOX, 0.72, 0.10, 1.70, 0.012, 1.20, 0.012, 0.10, 0.10, 0.11, 0.0),
        (_BALL, -0.62, -0.42, 1.55, 0.12, 0.12, 0.12, 0.75, 0.28, 0.06, 0.15),
        (_BOX, -0.62, -0.90, 1.55, 0.004, 0.37, 0.004, 0.10, 0.10, 0.11, 0.0),
    ]
    return np.array(rows, np.float64)


@compiled
def _wall(x: float, y: float) -> tuple[float, float, float]:
    """Linear colour of a point on the back wall: plaster, a darker panel below, a landscape in the window."""
    if -1.42 < x < -0.44 and -0.98 < y < 0.03:
        hills = -0.16 + 0.05 * math.sin(7.0 * x) + 0.03 * math.sin(17.0 * x + 1.0)
        if y > hills + 0.10:
            return 0.20, 0.42, 0.12
        if y > hills:
            return 0.30, 0.48, 0.30
        f = (y + 0.98) / 0.9
        cloud = math.exp(-(((x + 0.75) / 0.18) ** 2) - ((y + 0.66 + 0.02 * math.sin(30.0 * x)) / 0.045) ** 2)
        return 0.33 + 0.32 * f + 0.5 * cloud, 0.58 + 0.22 * f + 0.3 * cloud, 1.02 - 0.05 * f
    # Light comes in through the window, and the lamp casts a warm patch.
    day = 0.62 + 0.38 * math.exp(-(((x + 0.6) / 1.3) ** 2) - ((y + 0.2) / 1.1) ** 2)
    lamp = 0.75 * math.exp(-((x - 1.02) ** 2 + (y - 0.36) ** 2) / 0.30)
    r, g, b = 0.62, 0.52, 0.40
    if y > 0.52:
        groove = 0.75 if abs(((x * 5.0) % 1.0) - 0.5) > 0.47 else 1.0
        r, g, b = 0.20 * groove, 0.31 * groove, 0.29 * groove
        if y < 0.56:
            r, g, b = 0.72, 0.66, 0.55
    return r * (day + lamp), g * (day + 0.62 * lamp), b * (day + 0.22 * lamp)


@compiled
def _cast(eye: F64, du: float, dv: float, items: F64) -> tuple[float, float, float, float]:
    """z-depth and linear colour along the ray (du, dv, 1) of an eye's frame."""
    dx, dy, dz = turned(eye, du, dv)
    z = (WALL_M - eye[11]) / dz if dz > 1e-6 else 1e6
    r, g, b = _wall(eye[9] + dx * z, eye[10] + dy * z)
    for i in range(items.shape[0]):
        px, py, pz = items[i, 1] - eye[9], items[i, 2] - eye[10], items[i, 3] - eye[11]
        a, bb, c = items[i, 4], items[i, 5], items[i, 6]
        nx = ny = nz = 0.0
        if items[i, 0] == _BOX:
            near, far, axis = -1e9, 1e9, 2
            for k in range(3):
                d = dx if k == 0 else (dy if k == 1 else dz)
                p, h = items[i, 1 + k] - eye[9 + k], items[i, 4 + k]
                inv = 1.0 / d if abs(d) > 1e-9 else 1e9
                t0, t1 = (p - h) * inv, (p + h) * inv
                if t0 > t1:
                    t0, t1 = t1, t0
                if t0 > near:
                    near, axis = t0, k
                far = min(far, t1)
            if near > far or near <= 0.0 or near >= z:
                continue
            t = near
            if axis == 0:
                nx = -1.0 if dx > 0.0 else 1.0
            elif axis == 1:
                ny = -1.0 if dy > 0.0 else 1.0
            else:
                nz = -1.0 if dz > 0.0 else 1.0
        else:
            ex, ey, ez = dx / a, dy / bb, dz / c
            ox, oy, oz = -px / a, -py / bb, -pz / c
            qa = ex * ex + ey * ey + ez * ez
            qb = ex * ox + ey * oy + ez * oz
            disc = qb * qb - qa * (ox * ox + oy * oy + oz * oz - 1.0)
            if disc <= 0.0:
                continue
            t = (-qb - math.sqrt(disc)) / qa
            if t <= 0.0 or t >= z:
                continue
            nx, ny, nz = (dx * t - px) / (a * a), (dy * t - py) / (bb * bb), (dz * t - pz) / (c * c)
            n = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
            nx, ny, nz = nx * n, ny * n, nz * n
        z = t
        x, y = eye[9] + dx * t, eye[10] + dy * t
        lx, ly = x - 1.02, y - 0.36
        lamp = 0.5 * math.exp(-(lx * lx + ly * ly) / 0.25)
        day = 0.38 + 0.62 * max(-0.62 * nx - 0.5 * ny - 0.6 * nz, 0.0)
        glow = items[i, 10]
        rim = glow * (0.55 + 0.45 * abs(nz))
        r = items[i, 7] * (day + lamp + rim)
        g = items[i, 8] * (day + 0.62 * lamp + rim)
        b = items[i, 9] * (day + 0.22 * lamp + rim)
    return z, r, g, b


@compiled
def _render(rgb: F32, depth: F32, items: F64, eye: F64, fx: float, fy: float, cx: float, cy: float) -> None:
    height, width = depth.shape
    for v in range(height):
        for u in range(width):
            # Depth is that of the pixel centre; colour is the mean of 3 × 3 rays.
            depth[v, u] = _cast(eye, (u + 0.5 - cx) / fx, (v + 0.5 - cy) / fy, items)[0]
            for s in range(9):
                du, dv = (s % 3 + 0.5) / 3.0, (s // 3 + 0.5) / 3.0
                _, r, g, b = _cast(eye, (u + du - cx) / fx, (v + dv - cy) / fy, items)
                rgb[v, u, 0] += r / 9.0
                rgb[v, u, 1] += g / 9.0
                rgb[v, u, 2] += b / 9.0


def draw_room(
    width: int, height: int, eye: F64, fx: float, fy: float, cx: float, cy: float, *, crowded: bool = False
) -> tuple[F32, F32]:
    """The room without people.

    Args:
        width, height: Size of the picture, pixels.
        eye: Who looks; see :data:`deployments.scene.person.FRONT`. float64 [12].
        fx, fy, cx, cy: Intrinsics, pixels.
        crowded: With things that stand near the camera, at several distances, as well.

    Returns:
        Linear colour, float32 [H, W, 3], and z-depth in the eye's frame, metres, float32 [H, W].
    """
    rgb, depth = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    _render(rgb, depth, np.concatenate([_furniture(), _near_things()]) if crowded else _furniture(), eye, fx, fy, cx, cy)
    return rgb, depth
