"""PLY: what independent readers see in ours, and what we make of others' files, honest or hostile."""

import io
import struct
from pathlib import Path

import gsply
import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from deployments.splats.codecs import BadBytes, CodecError, Truncated
from deployments.splats.codecs.ply import PlyCodec, property_names
from deployments.splats.coordinates import half_turn_x
from tests.unit.test_codecs import FIELDS, frame

PLY = PlyCodec()
NAMES = [*"xyz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def header(*lines: str, encoding: str = "binary_little_endian 1.0") -> bytes:
    return "\n".join(["ply", f"format {encoding}", *lines, "end_header\n"]).encode()


def floats(*names: str) -> list[str]:
    return [f"property float {name}" for name in names]


def row(**changes: float) -> bytes:
    values = dict.fromkeys(NAMES, 0.0) | {"rot_0": 1.0} | changes
    return struct.pack("<14f", *(values[name] for name in NAMES))


def test_the_header_is_the_standard_one_and_ends_with_a_bare_newline() -> None:
    data = PLY.encode(frame(2)).tobytes()
    expected = header("element vertex 2", *floats(*NAMES))
    assert data[: len(expected)] == expected
    assert len(data) == len(expected) + 2 * 56


def test_normals_make_seventeen_columns_of_which_three_are_zero() -> None:
    vertex = PlyData.read(io.BytesIO(PlyCodec(normals=True).encode(frame(4)).tobytes()))["vertex"]
    assert [p.name for p in vertex.properties] == [*NAMES[:3], "nx", "ny", "nz", *NAMES[3:]]
    assert not np.any([vertex[name] for name in ("nx", "ny", "nz")])


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_plyfile_reads_what_was_written(degree: int) -> None:
    g = frame(700, degree=degree)
    vertex = PlyData.read(io.BytesIO(PLY.encode(g).tobytes()))["vertex"]
    assert {p.val_dtype for p in vertex.properties} == {"f4"}
    for i, name in enumerate(("x", "y", "z")):
        np.testing.assert_array_equal(vertex[name], g.means[:, i])
    bands = (degree + 1) ** 2 - 1
    for channel in range(3):
        np.testing.assert_array_equal(vertex[f"f_dc_{channel}"], g.sh[:, 0, channel])
        for band in range(bands):
            np.testing.assert_array_equal(vertex[f"f_rest_{channel * bands + band}"], g.sh[:, 1 + band, channel])
        np.testing.assert_allclose(vertex[f"scale_{channel}"], np.log(g.scales[:, channel].astype(float)), rtol=4e-7)
    for i in range(4):
        np.testing.assert_array_equal(vertex[f"rot_{i}"], g.quats[:, i])
    opacity = g.opacities.astype(float)
    np.testing.assert_allclose(vertex["opacity"], np.log(opacity / (1 - opacity)), rtol=4e-7)


@pytest.mark.parametrize("degree", [0, 2])
def test_gsply_reads_the_same_gaussians(degree: int, tmp_path: Path) -> None:
    g = frame(300, degree=degree)
    path = tmp_path / "frame.ply"
    PLY.encode(g).tofile(path)
    read = gsply.plyread(path)
    np.testing.assert_array_equal(read.means, g.means)
    np.testing.assert_array_equal(read.quats, g.quats)
    np.testing.assert_array_equal(read.sh0, g.sh[:, 0])
    np.testing.assert_allclose(np.exp(read.scales), g.scales, rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-read.opacities)), g.opacities, atol=1e-6)
    if degree:
        np.testing.assert_array_equal(np.reshape(read.shN, (300, 8, 3)), g.sh[:, 1:])


def test_what_gsply_writes_is_read(tmp_path: Path) -> None:
    g = frame(300)
    logs, logits = np.log(g.scales), np.log(g.opacities / (1 - g.opacities))
    rest = np.zeros((300, 0, 3), np.float32)
    stored = gsply.GSData(g.means, logs, g.quats, logits, g.sh[:, 0], rest, _format=gsply.create_ply_format(0))
    gsply.plywrite(tmp_path / "frame.ply", stored)
    decoded = PLY.decode((tmp_path / "frame.ply").read_bytes())
    np.testing.assert_array_equal(decoded.means, g.means)
    np.testing.assert_allclose(decoded.scales, g.scales, rtol=1e-5)
    np.testing.assert_allclose(decoded.opacities, g.opacities, atol=1e-6)


def test_the_opengl_frame_is_half_a_turn_about_x_and_decoding_turns_back() -> None:
    g = frame(50, degree=2)
    turned = PlyCodec(frame="opengl").encode(g)
    assert turned.tobytes() == PLY.encode(half_turn_x(g)).tobytes()
    np.testing.assert_array_equal(PlyCodec(frame="opengl").decode(turned).means, g.means)
    with pytest.raises(ValueError, match="frame: expected one of opencv, opengl, got 'unity'"):
        PlyCodec(frame="unity")  # type: ignore[arg-type]


def test_properties_may_come_in_any_order_with_others_between_and_of_any_type() -> None:
    g = frame(40, degree=1)
    ours = PlyData.read(io.BytesIO(PLY.encode(g).tobytes()))["vertex"]
    rng = np.random.default_rng(1)
    names = [*property_names(1), "label", "confidence"]
    rng.shuffle(names)
    types = {"label": "u1", "confidence": "f8", "x": "f8", "opacity": "f8"}
    for uniform in (False, True):
        table = np.zeros(40, [(name, "f4" if uniform else types.get(name, "f4")) for name in names])
        for name in property_names(1):
            table[name] = ours[name]
        out = io.BytesIO()
        faces = np.zeros(3, [("a", "i2")])
        elements = [PlyElement.describe(faces, "camera"), PlyElement.describe(table, "vertex"), PlyElement.describe(faces, "face")]
        PlyData(elements, byte_order="<", comments=["vertex 3"]).write(out)
        decoded, expected = PLY.decode(out.getvalue()), PLY.decode(PLY.encode(g))
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(decoded, field), getattr(expected, field), err_msg=field)


def test_harmonics_of_degree_three_are_read_to_degree_two() -> None:
    names = [*NAMES, *(f"f_rest_{i}" for i in range(45))]
    values = dict.fromkeys(names, 0.0) | {"rot_0": 1.0} | {f"f_rest_{i}": float(i) for i in range(45)}
    data = header("element vertex 1", *floats(*names)) + struct.pack("<59f", *values.values())
    decoded = PLY.decode(data)
    assert decoded.sh_degree == 2
    assert decoded.sh[0, 1:].T.tolist() == [list(range(first, first + 8)) for first in (0, 15, 30)]


def test_quaternions_are_normalised_when_read() -> None:
    decoded = PLY.decode(header("element vertex 1", *floats(*NAMES)) + row(rot_0=0.0, rot_2=-8.0))
    assert decoded.quats[0].tolist() == [0, 0, -1, 0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_place(name: str, value: float) -> None:
    start = header("element vertex 3", *floats(*NAMES))
    if (name == "opacity" and not np.isnan(value)) or (name.startswith("scale") and value == -np.inf):
        return  # what writers without a clamp store for 0 and 1: the next test
    with pytest.raises(BadBytes, match="vertex 1 without") as caught:
        PLY.decode(start + row() + row(**{name: value}) + row())
    assert caught.value.offset == len(start) + 56


@pytest.mark.parametrize("changes", [{"rot_0": 0.0}, {"rot_0": 1e-7}, {"rot_0": 1e30}, {"scale_1": 89.0}])
def test_vertices_that_are_no_gaussians_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(BadBytes, match="vertex 2 without"):
        PLY.decode(header("element vertex 3", *floats(*NAMES)) + row() + row() + row(**changes))


def test_a_double_beyond_float32_is_refused() -> None:
    lines = ["element vertex 1", "property double x", *floats(*NAMES[1:])]
    with pytest.raises(BadBytes, match="vertex 0 without"):
        PLY.decode(header(*lines) + struct.pack("<d", 1e300) + row()[4:])


@pytest.mark.parametrize("size", [1e30, np.inf])
def test_logits_and_logs_beyond_the_limits_even_infinite_ones_are_zero_and_one(size: float) -> None:
    body = row(opacity=-size) + row(opacity=size) + row(scale_0=-size)
    decoded = PLY.decode(header("element vertex 3", *floats(*NAMES)) + body)
    assert decoded.opacities.tolist() == [0, 1, 0.5]
    assert decoded.scales[2].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plx\n", "first line 'ply'"),
        (b"ply\rformat binary_little_endian 1.0\r", "ended by a line feed"),
        (header("element vertex 0", *floats(*NAMES), encoding="binary_middle_endian 1.0"), "binary_little_endian"),
        (header("element vertex 0", *floats(*NAMES), "element vertex 0"), "each element once"),
        (header("element vertex 0", *floats(*NAMES), "element face 1", "property list float int v"), "known type"),
        (header("element vertex 0", *floats(*NAMES), encoding="binary_little_endian 2.0"), "ascii 1.0"),
        (b"ply\nelement vertex 0\nproperty float x\nend_header\n", "format"),
        (header("element vertex -1", *floats(*NAMES)), "a count"),
        (header("element vertex 1e3", *floats(*NAMES)), "a count"),
        (header("element vertex ٣", *floats(*NAMES)), "a count"),
        (header("element vertex " + "9" * 5000, *floats(*NAMES)), "a count"),
        (header("element face 0", *floats(*NAMES)), "element 'vertex'"),
        (header("element vertex 0", *floats(*NAMES[:-1])), "'rot_3'"),
        (header("element vertex 0"), "'x'"),
        (header("element vertex 0", *floats(*NAMES, "x")), "each name once"),
        (header("element vertex 0", *floats(*NAMES, "f_rest_0")), "f_rest"),
        (header("element vertex 0", *floats(*NAMES, *(f"f_rest_{i + 1}" for i in range(9)))), "'f_rest_0'"),
        (header("element vertex 0", "property list uchar int vertex_indices"), "scalar property"),
        (header("element vertex 0", "property half x"), "known type"),
        (header("property float x"), "an element"),
        (header("element vertex"), "an element"),
        (header("nonsense"), "an element"),
        (header("element vertex 0", *floats(*(f"p{i}" for i in range(2000)))), "at most 1024"),
        (b"ply\n" + b"comment spam\n" * 10000, "in the first 65536 bytes"),
    ],
)
def test_headers_that_are_none_are_refused(data: bytes, expected: str) -> None:
    with pytest.raises(BadBytes, match=expected) as caught:
        PLY.decode(data)
    assert not isinstance(caught.value, Truncated)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("element", ["vertex", "camera"])
def test_a_huge_count_is_refused_before_anything_is_allocated(element: str) -> None:
    count = 10**17
    lines = [f"element {element} {count}", *floats(*NAMES)]
    if element != "vertex":
        lines += ["element vertex 1", *floats(*NAMES)]
    with pytest.raises(Truncated, match=str(count * 56)[:4]):
        PLY.decode(header(*lines) + row())


def test_bytes_after_the_vertices_are_ignored() -> None:
    data = header("element vertex 1", *floats(*NAMES)) + row(x=3.0)
    assert PLY.decode(data + b"\n\0trailing").means[0].tolist() == [3, 0, 0]


def test_a_property_may_be_as_long_as_it_likes_within_the_header() -> None:
    data = header("comment " + "long " * 9000, "element vertex 1", *floats("x" * 5000, *NAMES)) + b"\0\0\0\0" + row(y=2.0)
    assert PLY.decode(data).means[0].tolist() == [0, 2, 0]
    with pytest.raises(CodecError):
        PLY.decode(data[:-1])
