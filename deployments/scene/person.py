"""The person of the procedural scene: a signed distance field, marched and shaded by numba kernels.

Person frame: origin between the ears, x right in the picture, y down, z away from the camera, metres; the face looks along −z.
Distances follow Quilez's articles on SDF primitives and smooth unions (iquilezles.org/articles/distfunctions, /smin).
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
F64 = NDArray[np.float64]
F32 = NDArray[np.float32]

# Layout of the pose vector that the kernels read.
HEAD_ROTATION = 0  # 9 numbers, row-major: camera frame → head frame
HEAD = 9  # 3: head origin in the camera frame, metres
BODY = 12  # 3: body origin in the camera frame, metres
BODY_YAW = 15  # cosine, sine
BLINK = 17  # 0 open … 1 shut
POSE_SIZE = 18

FRONT = np.array([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], np.float64)
"""The eye of the scene's camera itself: the turn from an eye's frame to the camera's, row by row, then its place. float64 [12]."""

SKIN, HAIR, SWEATER, EYE, COLLAR = 1, 2, 3, 4, 5

_HEAD_BOUND_M = 0.185
_MAX_STEPS = 64
_NEAR_M = 0.42
_BEHIND_M = 0.8  # of a person's origin: nothing of them is farther
_TILE = 8


def compiled(function: F) -> F:
    """Compile with numba at the first call, without the GIL; with ``fastmath``, as nothing depends on a picture's last bit."""
    options = {"nogil": True, "fastmath": True}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write the cache, as in a read-only container
        return cast(F, numba.njit(**options)(function))


@compiled
def _smin(a: float, b: float, k: float) -> float:
    """Union of two distances whose seam is rounded over ``k`` metres."""
    h = max(k - abs(a - b), 0.0) / k
    return min(a, b) - h * h * k * 0.25


@compiled
def _ellipsoid(x: float, y: float, z: float, rx: float, ry: float, rz: float) -> float:
    ax, ay, az = x / rx, y / ry, z / rz
    k0 = math.sqrt(ax * ax + ay * ay + az * az)
    bx, by, bz = ax / rx, ay / ry, az / rz
    return k0 * (k0 - 1.0) / (math.sqrt(bx * bx + by * by + bz * bz) + 1e-9)


@compiled
def _capsule(
    x: float, y: float, z: float, ax: float, ay: float, az: float, bx: float, by: float, bz: float, ra: float, rb: float
) -> float:
    """Distance to a segment a–b thickened from ``ra`` to ``rb``."""
    dx, dy, dz = bx - ax, by - ay, bz - az
    h = ((x - ax) * dx + (y - ay) * dy + (z - az) * dz) / (dx * dx + dy * dy + dz * dz)
    h = min(max(h, 0.0), 1.0)
    x, y, z = x - ax - h * dx, y - ay - h * dy, z - az - h * dz
    return math.sqrt(x * x + y * y + z * z) - (ra + h * (rb - ra))


@compiled
def _head(x: float, y: float, z: float) -> tuple[float, float, float]:
    """Distances to skin, hair and eyeballs at a point in the head frame."""
    m = abs(x)
    skin = _ellipsoid(x, y + 0.035, z - 0.012, 0.075, 0.098, 0.094)
    skin = _smin(skin, _ellipsoid(x, y - 0.035, z + 0.020, 0.060, 0.084, 0.066), 0.03)
    eye = 1.0
    if z < 0.005 and skin < 0.06:  # farther away, the face's features change nothing
        skin = _smin(skin, _ellipsoid(m - 0.034, y - 0.022, z + 0.058, 0.026, 0.026, 0.024), 0.03)  # cheeks
        skin = _smin(skin, _ellipsoid(x, y - 0.100, z + 0.060, 0.022, 0.018, 0.019), 0.03)  # chin
        skin = _smin(skin, _capsule(m, y, z, 0.0, -0.033, -0.078, 0.045, -0.029, -0.066, 0.010, 0.007), 0.022)  # brow
        # Cut the sockets before adding the nose, or they eat its bridge.
        socket = _ellipsoid(m - 0.031, y + 0.006, z + 0.094, 0.021, 0.012, 0.012)
        skin = -_smin(-skin, socket, 0.016)
        skin = _smin(skin, _capsule(x, y, z, 0.0, -0.022, -0.083, 0.0, 0.026, -0.102, 0.006, 0.0115), 0.014)
        skin = _smin(skin, _ellipsoid(m - 0.011, y - 0.029, z + 0.091, 0.0075, 0.0065, 0.010), 0.008)  # wings of the nose
        smile = y + 4.5 * x * x  # the corners of the mouth go up
        lips = _ellipsoid(x, smile - 0.0590, z + 0.0840, 0.023, 0.0055, 0.009)
        lips = _smin(lips, _ellipsoid(x, smile - 0.0675, z + 0.0830, 0.019, 0.0062, 0.009), 0.002)
        skin = _smin(skin, lips, 0.006)
        eye = math.sqrt((m - 0.031) ** 2 + (y + 0.006) ** 2 + (z + 0.0705) ** 2) - 0.0155
    skin = _smin(skin, _ellipsoid(m - 0.077, y - 0.002, z - 0.012, 0.010, 0.030, 0.018), 0.010)  # ears

    # Hair: a cap above a slanted hairline with a side parting, and a bob that is longer on one side.
    cap = _ellipsoid(x, y + 0.048, z - 0.026, 0.091, 0.108, 0.105)
    wave = 0.004 * math.sin(34.0 * x + 1.0)
    fringe = 0.656 * (y + 0.068 - 0.30 * (x - 0.03) ** 2 * 30.0 + 0.35 * x + wave) - 0.755 * (z + 0.1)
    cap = -_smin(-cap, -fringe, 0.012)
    bob = _ellipsoid(x, y - 0.030 - 0.12 * x, z - 0.040, 0.101, 0.118, 0.070)
    bob = -_smin(-bob, z + 0.012 + wave, 0.03)
    hair = _smin(cap, bob, 0.03) + 0.0006 * math.sin(330.0 * x + 80.0 * z)
    return skin, hair, eye


@compiled
def _sweater(x: float, y: float, z: float) -> float:
    """Distance to the sweater at a point in the body frame."""
    m = abs(x)
    d = _capsule(m, y, z, 0.05, 0.222, 0.050, 0.158, 0.252, 0.060, 0.056, 0.060)
    d = _smin(d, _ellipsoid(x, y - 0.43, z - 0.050, 0.190, 0.27, 0.115), 0.06)
    return _smin(d, _capsule(m, y, z, 0.188, 0.275, 0.065, 0.232, 0.60, 0.040, 0.056, 0.052), 0.03)


@compiled
def _collar(x: float, y: float, z: float) -> float:
    """Distance to the sweater's collar at a point in the body frame."""
    ring = math.sqrt(x * x + ((z - 0.040) * 1.1) ** 2) - 0.060
    return math.sqrt(ring * ring + ((y - 0.178 + 0.25 * (z - 0.04)) * 0.55) ** 2) - 0.0115


@compiled
def _scene(px: float, py: float, pz: float, q: F64) -> tuple[float, int]:
    """Distance from a point in the camera frame to the person, and the nearest part's material."""
    x, y, z = px - q[9], py - q[10], pz - q[11]
    bx, by, bz = px - q[12], py - q[13], pz - q[14]
    rx, rz = q[15] * bx - q[16] * bz, q[16] * bx + q[15] * bz
    if by > 0.33:
        # Below the shoulders, everything else is at least this far away.
        return min(_sweater(rx, by, rz), by - 0.29), SWEATER
    neck = 1e3
    if by > 0.02:
        # The neck hangs between head and body.
        neck = _capsule(px, py, pz, q[9], q[10] + 0.06, q[11] + 0.022, q[12], q[13] + 0.23, q[14] + 0.05, 0.047, 0.056)
    best, material = neck, SKIN
    bound = math.sqrt(x * x + y * y + z * z) - _HEAD_BOUND_M
    if bound < 0.03:
        hx = q[0] * x + q[1] * y + q[2] * z
        hy = q[3] * x + q[4] * y + q[5] * z
        hz = q[6] * x + q[7] * y + q[8] * z
        skin, hair, eye = _head(hx, hy, hz)
        best = _smin(skin, neck, 0.025)
        if hair < best:
            best, material = hair, HAIR
        if eye < best:
            best, material = eye, EYE
    elif bound + 0.02 < best:
        best = bound + 0.02
    if by < 0.06:
        # Far above the shoulders, a bound is enough.
        if 0.13 - by < best:
            best, material = 0.13 - by, SWEATER
        return best, material
    sweater, collar = _sweater(rx, by, rz), _collar(rx, by, rz)
    if sweater < best:
        best, material = sweater, SWEATER
    if collar < best:
        best, material = collar, COLLAR
    return best, material


@compiled
def _albedo(px: float, py: float, pz: float, material: int, q: F64) -> tuple[float, float, float, float]:
    """Linear colour and gloss of the surface at a point in the camera frame."""
    x, y, z = px - q[9], py - q[10], pz - q[11]
    hx = q[0] * x + q[1] * y + q[2] * z
    hy = q[3] * x + q[4] * y + q[5] * z
    hz = q[6] * x + q[7] * y + q[8] * z
    m = abs(hx)
    if material == HAIR:
        strand = 0.5 + 0.5 * math.sin(420.0 * hx + 90.0 * hy + 3.0 * math.sin(35.0 * hy))
        return 0.105 + 0.03 * strand, 0.042 + 0.012 * strand, 0.021 + 0.006 * strand, 0.35
    if material == SWEATER:
        by, bx = py - q[13], px - q[12]
        knit = 0.93 + 0.07 * math.sin(330.0 * bx) * math.sin(260.0 * by)
        # Edges are soft over a pixel, as nothing else anti-aliases the inside of the person.
        stripe = max((0.0135 - abs(by - 0.3385)), (0.0035 - abs(by - 0.3685))) / 0.0015 + 0.5
        stripe = min(max(stripe, 0.0), 1.0)
        badge = min(max((0.017 - math.sqrt((bx - 0.085) ** 2 + (by - 0.292) ** 2)) / 0.0015 + 0.5, 0.0), 1.0)
        r, g, b = 0.035 + stripe * 0.765, 0.20 + stripe * 0.42, 0.24 + stripe * 0.12
        r, g, b = r + badge * (0.85 - r), g + badge * (0.16 - g), b + badge * (0.05 - b)
        return r * knit, g * knit, b * knit, 0.0
    if material == COLLAR:
        return 0.028, 0.155, 0.19, 0.0
    if material == EYE and q[BLINK] < 0.5:
        ex, ey = m - 0.031, hy + 0.006
        r = math.sqrt(ex * ex + ey * ey)
        if (ex + 0.003) ** 2 + (ey + 0.0025) ** 2 < 0.0014**2:
            return 1.6, 1.6, 1.6, 0.0
        if r < 0.0036 and ey > -0.0053:
            return 0.01, 0.01, 0.012, 0.8
        if ey > -0.0053 + 10.0 * ex * ex:  # below the upper lid
            if r < 0.0080:
                return 0.075, 0.19, 0.13, 0.8
            return 0.62, 0.59, 0.55, 0.6
        if ey > -0.0072 + 10.0 * ex * ex:
            return 0.06, 0.032, 0.022, 0.0
    r, g, b = 0.74, 0.425, 0.30
    if hz < 0.0:
        blush = math.exp(-((m - 0.043) ** 2 + (hy - 0.028) ** 2) / 0.00035)
        blush += 0.5 * math.exp(-(m**2 + (hy - 0.026) ** 2) / 0.0002)
        g, b = g * (1.0 - 0.22 * blush), b * (1.0 - 0.20 * blush)
        my = hy + 4.5 * m * m - 0.0632
        half = 0.025 * (1.0 - (my / 0.0125) ** 2)
        if half > 0.0:
            lip = min(max((half - m) / 0.006, 0.0), 1.0)
            line = math.exp(-((my / 0.0012) ** 2)) * min(max((0.024 - m) / 0.004, 0.0), 1.0)
            r, g, b = r + lip * (0.60 - r), g + lip * (0.19 - g), b + lip * (0.16 - b)
            r, g, b = r * (1.0 - 0.75 * line), g * (1.0 - 0.75 * line), b * (1.0 - 0.75 * line)
        brow = abs(hy + 0.0335 - 0.007 * (m - 0.030) / 0.02 * (m - 0.030) / 0.02 + 0.0015)
        hairy = min(max((0.0048 - 0.05 * max(m - 0.03, 0.0) - brow) / 0.0015, 0.0), 1.0)
        hairy *= min(max((m - 0.012) / 0.003, 0.0), 1.0) * min(max((0.052 - m) / 0.004, 0.0), 1.0)
        lash = 0.0
        if q[BLINK] >= 0.5 and abs(m - 0.031) < 0.014:
            lash = math.exp(-(((hy - 0.002 + 8.0 * (m - 0.031) ** 2) / 0.0012) ** 2))
        dark = max(hairy * 0.85, lash * 0.75)
        r, g, b = r + dark * (0.07 - r), g + dark * (0.035 - g), b + dark * (0.022 - b)
    return r, g, b, 0.12


@compiled
def _shade(px: float, py: float, pz: float, material: int, q: F64, eye: F64) -> tuple[float, float, float]:
    """Linear colour towards the eye: a warm key light from the window, a cool fill, a lamp behind as rim light."""
    e = 0.0006
    nx = ny = nz = 0.0
    for k in range(4):  # the four corners of a tetrahedron
        sx, sy, sz = (1.0 if k in (0, 3) else -1.0), (1.0 if k in (1, 3) else -1.0), (1.0 if k in (2, 3) else -1.0)
        d, _ = _scene(px + sx * e, py + sy * e, pz + sz * e, q)
        nx, ny, nz = nx + sx * d, ny + sy * d, nz + sz * d
    n = 1.0 / (math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12)
    nx, ny, nz = nx * n, ny * n, nz * n
    lx, ly, lz = -0.56, -0.52, -0.645
    lit, t = 1.0, 0.012
    for _ in range(7):
        d, _ = _scene(px + lx * t + nx * 0.004, py + ly * t + ny * 0.004, pz + lz * t + nz * 0.004, q)
        lit = min(lit, 0.5 + 5.0 * d / t)
        if lit <= 0.0:
            lit = 0.0
            break
        t += max(d, 0.012)
        if t > 0.22:
            break
    lit = min(max(lit, 0.0), 1.0)
    lit = lit * lit * (3.0 - 2.0 * lit)
    d1, _ = _scene(px + nx * 0.02, py + ny * 0.02, pz + nz * 0.02, q)
    ao = min(max(0.35 + 0.65 * d1 / 0.02, 0.0), 1.0)
    r, g, b, gloss = _albedo(px, py, pz, material, q)
    wrap = 0.28 if material == SKIN else 0.1
    key = max((nx * lx + ny * ly + nz * lz + wrap) / (1.0 + wrap), 0.0) * (0.18 + 0.82 * lit)
    fill = max(0.3 + 0.7 * (nx * 0.83 - ny * 0.10 - nz * 0.55), 0.0) * ao
    sky = (0.55 - 0.45 * ny) * ao
    vx, vy, vz = eye[9] - px, eye[10] - py, eye[11] - pz
    view = math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx / view, vy / view, vz / view
    facing = max(nx * vx + ny * vy + nz * vz, 0.0)
    rim = (1.0 - facing) ** 3 * max(0.62 * nx - 0.25 * ny + 0.3 + 0.6 * nz, 0.0) * ao
    hx, hy, hz = lx + vx, ly + vy, lz + vz
    hn = max(nx * hx + ny * hy + nz * hz, 0.0) / math.sqrt(hx * hx + hy * hy + hz * hz)
    spec = gloss * (hn**28) * lit
    warm = 0.10 * (1.0 - lit) if material == SKIN else 0.0  # blood under the skin at the edge of the shadow
    r = r * (1.55 * key + 0.22 * fill + 0.34 * sky + warm) + 0.55 * rim * (0.25 + r) + 0.5 * spec
    g = g * (1.46 * key + 0.25 * fill + 0.36 * sky) + 0.36 * rim * (0.25 + g) + 0.48 * spec
    b = b * (1.30 * key + 0.33 * fill + 0.42 * sky) + 0.16 * rim * (0.25 + b) + 0.45 * spec
    return r, g, b


@compiled
def turned(eye: F64, dx: float, dy: float) -> tuple[float, float, float]:
    """The direction (dx, dy, 1) of an eye's frame in the camera's."""
    return eye[0] * dx + eye[1] * dy + eye[2], eye[3] * dx + eye[4] * dy + eye[5], eye[6] * dx + eye[7] * dy + eye[8]


@compiled
def _draw_pixel(
    rgb: F32, depth: F32, q: F64, eye: F64, fx: float, v: int, u: int, dx: float, dy: float, start: float, far: float
) -> None:
    """March the ray (dx, dy, 1) from distance ``start``, and blend what it hits into pixel (v, u)."""
    n = math.sqrt(dx * dx + dy * dy + 1.0)
    pixel = 1.0 / (n * fx)  # a pixel's width at distance 1
    rx, ry, rz = turned(eye, dx, dy)
    rx, ry, rz = rx / n, ry / n, rz / n
    ox, oy, oz = eye[9], eye[10], eye[11]
    t, nearest, t_nearest, hit, material = start, 1e9, start, False, 0
    for _ in range(_MAX_STEPS):
        d, material = _scene(ox + rx * t, oy + ry * t, oz + rz * t, q)
        if d < 0.04 * pixel * t:
            hit = True
            t += d
            break
        if d < nearest * t:
            nearest, t_nearest = d / t, t
        t += 0.94 * d
        if t > far:
            break
    cover = 1.0
    if not hit:
        # A ray that runs out of steps is in a crease, not at an outline.
        cover = 0.5 - nearest / pixel if t > far else 1.0
        if cover <= 0.0 or nearest > 0.6 * pixel:
            return
        t = t_nearest
        d, material = _scene(ox + rx * t, oy + ry * t, oz + rz * t, q)
    if t / n > depth[v, u]:
        return
    r, g, b = _shade(ox + rx * t, oy + ry * t, oz + rz * t, material, q, eye)
    rgb[v, u, 0] += cover * (r - rgb[v, u, 0])
    rgb[v, u, 1] += cover * (g - rgb[v, u, 1])
    rgb[v, u, 2] += cover * (b - rgb[v, u, 2])
    if hit:
        depth[v, u] = t / n


@compiled
def draw_person(rgb: F32, depth: F32, q: F64, eye: F64, fx: float, fy: float, cx: float, cy: float) -> None:
    """March the person into a picture that already holds the room, and whoever is farther away.

    Silhouettes are anti-aliased by coverage: a ray that misses by less than half a pixel is blended over the room.

    Args:
        rgb: Linear colour, written in place. float32 [H, W, 3].
        depth: z-depth in the eye's frame, metres, written in place where the person covers at least half a pixel. float32 [H, W].
        q: Pose. float64 [POSE_SIZE].
        eye: Who looks; see :data:`FRONT`. float64 [12].
        fx, fy, cx, cy: Intrinsics, pixels.
    """
    height, width = depth.shape
    far = math.sqrt((q[12] - eye[9]) ** 2 + (q[13] - eye[10]) ** 2 + (q[14] - eye[11]) ** 2) + _BEHIND_M
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            # A cone around the tile's middle shows where its rays may start, and finds the many tiles without the person.
            dx, dy = (left + 0.5 * _TILE - cx) / fx, (top + 0.5 * _TILE - cy) / fy
            n = math.sqrt(dx * dx + dy * dy + 1.0)
            rx, ry, rz = turned(eye, dx, dy)
            rx, ry, rz = rx / n, ry / n, rz / n
            spread = 0.75 * _TILE / (n * min(fx, fy))
            start = _NEAR_M
            for _ in range(_MAX_STEPS):
                d, _ = _scene(eye[9] + rx * start, eye[10] + ry * start, eye[11] + rz * start, q)
                if d < 1.1 * spread * start:
                    break
                start += 0.94 * (d - spread * start)
                if start > far:
                    break
            if start > far:
                continue
            start *= 1.0 - spread
            for v in range(top, min(top + _TILE, height)):
                for u in range(left, min(left + _TILE, width)):
                    _draw_pixel(rgb, depth, q, eye, fx, v, u, (u + 0.5 - cx) / fx, (v + 0.5 - cy) / fy, start, far)
