"""Files for other tools, each read by a reader that is not ours where there is one."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import gsply
import numpy as np
import pytest
from numpy.typing import NDArray
from plyfile import PlyData
from starlette.testclient import TestClient

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.models import load_model
from deployments.splats.activations import SH_C0
from deployments.splats.codecs import CODECS
from deployments.splats.coordinates import half_turn_x
from deployments.splats.errors import BadGaussians
from deployments.splats.files import FORMATS, LAYOUTS, FileOptions, encode_file
from deployments.splats.gaussians import SH_COEFFICIENTS, Gaussians
from deployments.stages.local import LocalPipeline
from tests.pictures import jpeg
from tests.unit.test_codecs_spark import needs_spark, numbers_of
from tests.vectors.make import spark_words
from tests.vectors.reference import PACKED_NUMBERS

ENCODE = {name: codec.encode for name, codec in CODECS.items()}


def frame(degree: int = 0, n: int = 500) -> Gaussians:
    rng = np.random.default_rng(3)
    quats = rng.normal(size=(n, 4))
    return Gaussians(
        means=rng.normal((0.3, -0.5, 3), 1, (n, 3)).astype(np.float32),
        scales=np.exp(rng.uniform(-6, -2, (n, 3))).astype(np.float32),
        quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        opacities=rng.uniform(0.05, 0.95, n).astype(np.float32),
        sh=rng.uniform(-0.9, 0.9, (n, SH_COEFFICIENTS[degree], 3)).astype(np.float32),
    )


def file(g: Gaussians, **options: object) -> bytes:
    return encode_file(g, FileOptions(**options), ENCODE).tobytes()


def vertices(data: bytes) -> NDArray[np.void]:
    found: NDArray[np.void] = PlyData.read(io.BytesIO(data))["vertex"].data
    return found


def rgb_of(g: Gaussians) -> NDArray[np.float64]:
    return np.clip(0.5 + SH_C0 * g.sh[:, 0].astype(float), 0, 1) * 255


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axes", ["opencv", "opengl"])
def test_a_ply_of_every_layout_and_frame_says_what_it_is_and_holds_it(layout: str, axes: str) -> None:
    g = frame()
    data = file(g, layout=layout, frame=axes, comments=("licence: Apache-2.0", "engine: größer\nthan a line"))
    seen, stored = vertices(data), half_turn_x(g) if axes == "opengl" else g
    assert np.array_equal(np.stack([seen[axis] for axis in "xyz"], 1), stored.means)
    about = PlyData.read(io.BytesIO(data)).comments
    assert f"frame: {axes}" in about[0] and about[1:] == ["licence: Apache-2.0", "engine: gr??er?than a line"]
    if layout in ("rgb", "points"):
        colours = np.stack([seen[name] for name in ("red", "green", "blue")], 1)
        assert colours.dtype == np.uint8 and np.abs(colours - rgb_of(g)).max() <= 0.5
    if layout == "points":
        assert seen.dtype.names == ("x", "y", "z", "red", "green", "blue")
    else:
        back = CODECS["ply"].decode(np.frombuffer(data, np.uint8))
        assert np.array_equal(back.means, stored.means) and np.allclose(back.scales, g.scales, rtol=1e-5)
        assert np.allclose(back.opacities, g.opacities, atol=1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_the_layout_of_the_first_implementation_has_its_62_columns_in_its_order(degree: int) -> None:
    g = frame(degree)
    seen = vertices(file(g, layout="inria"))
    names = seen.dtype.names
    assert len(names) == 62 and seen.dtype.itemsize == 248 and names[3:6] == ("nx", "ny", "nz")
    assert names[6:9] == ("f_dc_0", "f_dc_1", "f_dc_2") and names[9] == "f_rest_0" and names[54] == "opacity"
    bands = SH_COEFFICIENTS[degree] - 1
    rest = np.stack([seen[f"f_rest_{i}"] for i in range(45)], 1).reshape(-1, 3, 15)
    assert np.array_equal(rest[:, :, :bands], g.sh[:, 1:].transpose(0, 2, 1)) and not rest[:, :, bands:].any()
    read = gsply.apply_pre_activations(gsply.plyread(_saved(file(g, layout="inria"), "f.ply")), inplace=False)
    assert np.allclose(read.means, g.means) and np.allclose(read.scales, g.scales, rtol=1e-4)


def _saved(data: bytes, name: str) -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp()) / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_an_spz_is_read_back_by_its_library(degree: int) -> None:
    g = frame(degree)
    read = gsply.apply_pre_activations(gsply.read_spz(_saved(file(g, format="spz"), "f.spz")), inplace=False)
    turned = half_turn_x(g)
    assert np.abs(read.means - turned.means).max() < 3e-4
    assert np.abs(np.log(read.scales / g.scales)).max() < 0.04 and np.abs(read.opacities - g.opacities).max() < 0.01
    if degree:
        assert np.abs(read.shN - turned.sh[:, 1:]).max() < 0.04, "a byte a coefficient, for −1 to 1"


@needs_spark
@pytest.mark.parametrize(("suffix", "steps"), [("spz", 6.0), ("splat", 2.1)])
def test_spark_shows_the_other_files_as_it_shows_the_ply(suffix: str, steps: float) -> None:
    g = frame()
    axes = FORMATS[suffix].frame
    (found,) = spark_words([file(g, format=suffix)], suffix=suffix)
    (expected,) = spark_words([file(g, frame=axes)])
    if suffix == "splat":
        expected = expected[np.argsort(-g.opacities * g.scales.prod(axis=1, dtype=np.float64), kind="stable")]
    apart = np.abs(numbers_of(found) - numbers_of(expected))
    for name, column in zip(PACKED_NUMBERS, apart.T, strict=True):
        if name in ("red", "green", "blue", "opacity") or name.startswith("scale") or (suffix == "splat" and name in "xyz"):
            assert column.max() <= steps, name


CORNERS = {(1, 0, 0): (-1, -0.7, 4), (0, 1, 0): (1, -0.7, 4), (0, 0, 1): (-1, 0.7, 4), (1, 1, 1): (0, 0, 2.5)}
"""A picture that is like none of its mirror images: colour → where, in the OpenCV frame. Upper left is red."""


def corners() -> Gaussians:
    n = len(CORNERS)
    quats, dc = np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1)), (np.array([*CORNERS], np.float32) - 0.5) / SH_C0
    means = np.array([*CORNERS.values()], np.float32)
    return Gaussians(means, np.full((n, 3), 0.1, np.float32), quats, np.full(n, 0.9, np.float32), dc[:, None].astype(np.float32))


@needs_spark
@pytest.mark.parametrize(
    ("suffix", "options", "turns"),
    [
        ("spz", {}, False),
        ("ply", {"frame": "opengl"}, False),
        ("splat", {"frame": "opengl"}, False),
        ("ply", {}, True),
        ("ply", {"layout": "inria"}, True),
        ("ply", {"layout": "rgb"}, True),
        ("splat", {}, True),
    ],
)
def test_sparks_camera_sees_the_picture_and_no_mirror_image_of_it(suffix: str, options: dict[str, Any], turns: bool) -> None:
    # three.js's camera is where the capture camera was, at the origin; it looks along −z, and y is up. A mesh of a file in OpenCV's
    # frame is turned by half a turn about x, as the viewer does it.
    (words,) = spark_words([file(corners(), format=suffix, **options)], suffix=suffix)
    assert len(words) == len(CORNERS)
    x, y, z = np.ascontiguousarray(words[:, 1:3]).view(np.float16)[:, :3].T.astype(float)
    y, z = (-y, -z) if turns else (y, z)
    for colour, (right, down, depth) in CORNERS.items():
        bytes_of = words[:, :1].view(np.uint8)[:, :3]
        (i,) = np.flatnonzero(np.abs(bytes_of / 255.0 - colour).max(axis=1) < 0.05)
        assert -z[i] > 0, "in front of the camera"
        assert np.allclose([x[i] / -z[i], y[i] / -z[i], -z[i]], [right / depth, -down / depth, depth], atol=0.01)


def glb(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What a GLB says, and its attributes, by the glTF 2.0 specification alone."""
    magic, version, size, length, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, size, kind) == (b"glTF", 2, len(data), b"JSON") and length % 4 == 0
    about = json.loads(data[20 : 20 + length])
    binary_length, binary_kind = struct.unpack_from("<I4s", data, 20 + length)
    body = data[28 + length :]
    assert binary_kind == b"BIN\0" and len(body) == binary_length == about["buffers"][0]["byteLength"]
    arrays = {}
    for name, index in about["meshes"][0]["primitives"][0]["attributes"].items():
        accessor = about["accessors"][index]
        view = about["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        columns = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        dtype = {5126: "<f4", 5123: "<u2"}[accessor["componentType"]]
        found = np.frombuffer(body, dtype, accessor["count"] * columns, view["byteOffset"])
        assert found.nbytes == view["byteLength"]
        arrays[name] = found.reshape(-1, columns)
    return about, arrays


def linear(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("layout", ["standard", "points"])
def test_a_glb_is_points_with_linear_colours_and_y_up(layout: str) -> None:
    g = frame()
    about, arrays = glb(file(g, format="glb", layout=layout, comments=("unit: metres", "licence: Apache-2.0")))
    assert np.array_equal(arrays["POSITION"], half_turn_x(g).means)
    accessor = about["accessors"][0]
    assert np.allclose(accessor["min"], arrays["POSITION"].min(0)) and np.allclose(accessor["max"], arrays["POSITION"].max(0))
    colours = arrays["COLOR_0"] / 65535
    assert np.abs(colours[:, :3] - linear(np.rint(rgb_of(g)) / 255)).max() <= 1e-5
    assert about["asset"]["extras"]["comments"] == ["unit: metres", "licence: Apache-2.0"]
    assert about["asset"]["copyright"] == "Apache-2.0"
    if layout == "points":
        assert set(arrays) == {"POSITION", "COLOR_0"} and "extensionsUsed" not in about and (colours[:, 3] == 1).all()
    else:
        assert np.allclose(colours[:, 3], g.opacities, atol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_glb_has_the_splats_of_the_extension(degree: int) -> None:
    g = frame(min(degree, 2))
    about, arrays = glb(file(g, format="glb", sh_degree=degree))
    turned, name = half_turn_x(g), "KHR_gaussian_splatting"
    assert about["extensionsUsed"] == [name] and "extensionsRequired" not in about
    extension = about["meshes"][0]["primitives"][0]["extensions"][name]
    assert extension == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    assert np.allclose(arrays[f"{name}:ROTATION"], turned.quats[:, [1, 2, 3, 0]], atol=1e-6)
    assert np.array_equal(arrays[f"{name}:SCALE"], g.scales) and np.array_equal(arrays[f"{name}:OPACITY"][:, 0], g.opacities)
    for band in range(degree + 1):
        for i in range(2 * band + 1):
            found, at = arrays[f"{name}:SH_DEGREE_{band}_COEF_{i}"], band * band + i
            assert np.array_equal(found, turned.sh[:, at] if band < 3 else np.zeros((len(g), 3), np.float32))
    assert f"{name}:SH_DEGREE_{degree + 1}_COEF_0" not in arrays


@pytest.mark.parametrize(("of_model", "asked"), [(0, 1), (1, 3), (2, 3), (2, 0)])
def test_harmonics_are_padded_as_readers_need(of_model: int, asked: int) -> None:
    g, degree = frame(of_model), max(of_model, asked)
    seen, bands = vertices(file(g, sh_degree=asked)), (degree + 1) ** 2 - 1
    assert len(seen.dtype.names or ()) == 14 + 3 * bands
    rest = np.stack([seen[f"f_rest_{i}"] for i in range(3 * bands)], 1).reshape(-1, 3, bands)
    own = SH_COEFFICIENTS[of_model] - 1
    assert np.array_equal(rest[:, :, :own], g.sh[:, 1:].transpose(0, 2, 1)) and not rest[:, :, own:].any()
    read = gsply.read_spz(_saved(file(g, format="spz", sh_degree=asked), "f.spz"))
    assert read.shN.reshape(len(g), -1, 3).shape[1] == bands
    assert np.abs(read.shN.reshape(len(g), -1, 3)[:, own:]).max(initial=0) < 0.01


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("n", [0, 1])
def test_a_file_of_nothing_and_of_one_splat_is_a_file(name: str, n: int) -> None:
    assert len(file(frame(n=n), format=name)) > 0 or (name, n) == ("splat", 0)


@pytest.mark.parametrize("name", ["ply", "spz", "packed", "points"])
def test_numbers_that_no_file_can_hold_are_refused(name: str) -> None:
    g = frame()
    g.means[7, 1] = np.nan
    with pytest.raises(BadGaussians, match="means"):
        file(g, format=name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "obj"}, "one of ply, splat, spz, glb"),
        ({"layout": "odd"}, "one of standard, inria, rgb, points"),
        ({"frame": "left"}, "one of opencv, opengl"),
        ({"format": "spz", "layout": "rgb"}, "ply has them all, glb standard and points"),
        ({"format": "glb", "layout": "inria"}, "ply has them all, glb standard and points"),
        ({"sh_degree": 4}, "a whole number from 0 to 3"),
        ({"sh_degree": "two"}, "a whole number from 0 to 3"),
        ({"format": "glb", "frame": "opencv"}, "y up"),
    ],
)
def test_what_a_file_cannot_be_is_refused_with_what_it_can(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FileOptions(**options)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    args = GraphArgs.model_validate({"engine": {"name": "synthetic", "params": {"splats": 300}}})
    pipeline = LocalPipeline(load_model(args.engine.name, **args.engine.params))
    pipeline.warm_up()
    static = tmp_path_factory.mktemp("static")
    (static / "index.html").write_text("viewer")
    return TestClient(create_app(pipeline, args, static))


@pytest.mark.parametrize(
    ("query", "magic", "suffix"),
    [
        ("", b"ply\n", ".ply"),
        ("?format=ply&layout=inria&frame=opengl", b"ply\n", ".ply"),
        ("?format=ply&layout=points", b"ply\n", ".ply"),
        ("?format=spz", b"\x1f\x8b", ".spz"),
        ("?format=splat", b"", ".splat"),
        ("?format=glb", b"glTF", ".glb"),
        ("?format=glb&layout=points", b"glTF", ".glb"),
        ("?sh_degree=3", b"ply\n", ".ply"),
        ("?format=packed", b"SPPK", ".sppk"),
    ],
)
def test_the_server_answers_with_the_file_that_is_asked_for(client: TestClient, query: str, magic: bytes, suffix: str) -> None:
    answer = client.post(f"/api/splat{query}", content=jpeg())
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(magic) and suffix in answer.headers["content-disposition"]
    if magic == b"ply\n":
        about = PlyData.read(io.BytesIO(answer.content)).comments
        assert [line.split(":")[0] for line in about] == ["frame", "unit", "engine", "licence"]


@pytest.mark.parametrize("query", ["layout=odd", "frame=left", "format=obj", "format=spz&layout=rgb", "sh_degree=4"])
def test_the_server_refuses_other_files(client: TestClient, query: str) -> None:
    answer = client.post(f"/api/splat?{query}", content=jpeg())
    assert answer.status_code == 400
    assert any(words in answer.json()["message"] for words in ("expected one of", "ply has them all", "from 0 to 3"))
