"""A triangle mesh drawn into a depth map."""

import numpy as np
from numpy.typing import NDArray

from deployments.splats.kernel import for_kernel, kernel


def draw_triangles(points: NDArray[np.float32], triangles: NDArray[np.int32], width: int, height: int) -> NDArray[np.float32]:
    """The nearest surface of a mesh at each pixel's centre. Both sides of a triangle are drawn.

    Args:
        points: Corners: x right and y down in pixels, 0 at the picture's outer edge; z, smaller is nearer. float32 [V, 3].
        triangles: Corners of each, counted from 0. int32 [T, 3].
        width, height: Size of the map, pixels.

    Returns:
        z, linear between the corners; infinite where there is no triangle. A triangle with a corner that is no number is left
        out. float32 [height, width].

    Raises:
        ValueError: If a triangle names a corner that there is not.
    """
    if triangles.size and not (triangles.min() >= 0 and triangles.max() < len(points)):
        raise ValueError(f"triangles: expected corners from 0 to {len(points) - 1}")
    out = np.full((height, width), np.inf, np.float32)
    _draw(for_kernel(points), for_kernel(triangles), out)
    return out


@kernel
def _draw(points: NDArray[np.float32], triangles: NDArray[np.int32], out: NDArray[np.float32]) -> None:
    height, width = out.shape
    for t in range(len(triangles)):
        ax, ay, az = points[triangles[t, 0], 0], points[triangles[t, 0], 1], points[triangles[t, 0], 2]
        bx, by, bz = points[triangles[t, 1], 0], points[triangles[t, 1], 1], points[triangles[t, 1], 2]
        cx, cy, cz = points[triangles[t, 2], 0], points[triangles[t, 2], 1], points[triangles[t, 2], 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if not (1e-9 < abs(area) < 1e9):  # seen edge-on, or not a number
            continue
        # Pixel u has its centre at u + 0.5.
        left, right = max(np.ceil(min(ax, bx, cx) - 0.5), 0.0), min(np.floor(max(ax, bx, cx) - 0.5), width - 1.0)
        top, bottom = max(np.ceil(min(ay, by, cy) - 0.5), 0.0), min(np.floor(max(ay, by, cy) - 0.5), height - 1.0)
        for v in range(int(top), int(bottom) + 1):
            y = np.float32(v) + np.float32(0.5)
            for u in range(int(left), int(right) + 1):
                x = np.float32(u) + np.float32(0.5)
                b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                # A hair of overlap, so that rounding leaves no gap between neighbours.
                if b >= -1e-5 and c >= -1e-5 and b + c <= 1.00001:
                    z = az + b * (bz - az) + c * (cz - az)
                    if z < out[v, u]:
                        out[v, u] = z
