"""Other libraries' formats, from Gaussians and back, logs and logits included: what the codecs are measured beside.

They are made for files, so they get files; put them in RAM (/dev/shm).
"""

from pathlib import Path

import gsply
import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement

from deployments.splats.codecs.ply import property_names
from deployments.splats.gaussians import Gaussians

NAMES = property_names(0)


def columns_of(g: Gaussians) -> list[NDArray[np.float32]]:
    """The 14 columns of a PLY, by numpy."""
    o = np.clip(g.opacities, 1e-7, 1 - 1e-7)
    parts = (g.means.T, g.sh[:, 0].T, np.log(o / (1 - o))[None], np.log(g.scales.T), g.quats.T)
    return [column for part in parts for column in part]


def gaussians_of(columns: dict[str, NDArray[np.float32]]) -> Gaussians:
    """The Gaussians of the 14 columns, by numpy."""

    def stack(*names: str) -> NDArray[np.float32]:
        return np.stack([np.asarray(columns[name], np.float32) for name in names], axis=1)

    opacities = 1 / (1 + np.exp(-np.asarray(columns["opacity"], np.float32)))
    return Gaussians(stack(*NAMES[:3]), np.exp(stack(*NAMES[7:10])), stack(*NAMES[10:]), opacities, stack(*NAMES[3:6])[:, None])


class PlyfileFile:
    """plyfile through a file in RAM, which it maps; with ``tuples`` filled row by row, as 3DGS's own exporter does it."""

    def __init__(self, path: Path, tuples: bool) -> None:
        self.path, self.tuples = path, tuples

    def encode(self, g: Gaussians) -> int:
        """Write the file; its size in bytes."""
        rows = np.empty(len(g), [(name, "<f4") for name in NAMES])
        if self.tuples:
            rows[:] = list(map(tuple, np.stack(columns_of(g), axis=1)))
        else:
            for name, column in zip(NAMES, columns_of(g), strict=True):
                rows[name] = column
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(self.path)
        return self.path.stat().st_size

    def decode(self, _: int) -> Gaussians:
        """Read the file."""
        vertex = PlyData.read(self.path)["vertex"]
        return gaussians_of({name: vertex[name] for name in NAMES})


class GsplyFile:
    """gsply through a file in RAM, SPZ or PLY by its suffix."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def encode(self, g: Gaussians) -> int:
        """Write the file; its size in bytes."""
        rest = np.zeros((len(g), 0, 3), np.float32)
        linear = gsply.create_rasterizer_format(0)
        stored = gsply.GSData(g.means, g.scales, g.quats, g.opacities, g.sh[:, 0], rest, _format=linear)
        # Not in place: that would overwrite the frame. The label stays "linear", for which the writer would do it again.
        stored = gsply.apply_pre_deactivations(stored, inplace=False)
        stored._format = gsply.create_ply_format(0)
        (gsply.write_spz if self.path.suffix == ".spz" else gsply.plywrite)(self.path, stored)
        return self.path.stat().st_size

    def decode(self, _: int) -> Gaussians:
        """Read the file."""
        data = (gsply.read_spz if self.path.suffix == ".spz" else gsply.plyread)(self.path)
        data = gsply.apply_pre_activations(data, inplace=False)
        return Gaussians(
            *(np.ascontiguousarray(a) for a in (data.means, data.scales, data.quats, data.opacities, data.sh0[:, None]))
        )
