"""PLY files that other programs write: read to the same Gaussians, or refused by name, with bounded time and memory."""

import io
import struct
import tracemalloc
from pathlib import Path

import gsply
import numpy as np
import pytest
from plyfile import PlyData

from deployments.splats.codecs import CODECS, BadBytes, CodecError, Truncated
from deployments.splats.codecs.ply import PlyCodec, property_names
from tests.mutations import mutated
from tests.unit.test_codecs import FIELDS, frame
from tests.unit.test_codecs_ply import NAMES, floats, header, row
from tests.vectors import reference
from tests.vectors.cases import FOLDER, edges, golden
from tests.vectors.foreign import COMPRESSED, FOREIGN, ordinary

PLY = PlyCodec()
FILES = (*FOREIGN, COMPRESSED)


@pytest.mark.parametrize("name", FOREIGN)
def test_the_golden_files_are_those_that_plyfile_writes(name: str) -> None:
    assert golden(name).tobytes() == FOREIGN[name]()


@pytest.mark.parametrize("name", FOREIGN)
def test_another_programs_file_is_read_as_ours_is(name: str) -> None:
    decoded, expected = PLY.decode(golden(name)), PLY.decode(golden("edges.ply"))
    for field in ("means", "scales", "quats", "opacities"):
        np.testing.assert_array_equal(getattr(decoded, field), getattr(expected, field), err_msg=field)
    np.testing.assert_array_equal(decoded.sh[:, 0], expected.sh[:, 0])


@pytest.mark.parametrize("name", ["others.doubles.ply", "others.big-endian.ply", "others.text.ply"])
def test_plyfile_reads_the_same(name: str) -> None:
    decoded, theirs = PLY.decode(golden(name)), reference.read_ply(golden(name).tobytes())
    for field in FIELDS:
        np.testing.assert_allclose(getattr(decoded, field), theirs[field], rtol=1e-6, atol=1e-6, err_msg=field)


def test_harmonics_of_degree_three_lie_channel_after_channel() -> None:
    vertex = PlyData.read(io.BytesIO(golden("others.carriage-returns.ply").tobytes().replace(b"\r\n", b"\n", 80)))["vertex"]
    decoded = PLY.decode(golden("others.carriage-returns.ply"))
    assert decoded.sh_degree == 2
    for channel in range(3):
        for band in range(8):
            np.testing.assert_array_equal(decoded.sh[:, 1 + band, channel], vertex[f"f_rest_{15 * channel + band}"])


def test_a_compressed_file_is_what_spark_and_gsply_read_in_it() -> None:
    decoded = PLY.decode(golden(COMPRESSED))
    assert len(decoded) == len(ordinary()) and decoded.sh_degree == 1
    again = reference.packed_numbers(CODECS["packed"].encode(decoded))
    assert np.abs(again - reference.packed_numbers(golden(f"{COMPRESSED}.packed"))).max() <= 1
    theirs = gsply.apply_pre_activations(gsply.plyread(FOLDER / COMPRESSED), inplace=False)
    np.testing.assert_allclose(decoded.means, theirs.means, atol=1e-5)
    np.testing.assert_allclose(decoded.scales, theirs.scales, rtol=1e-5)
    np.testing.assert_allclose(decoded.opacities, theirs.opacities, atol=1e-6)
    np.testing.assert_allclose(decoded.sh[:, 1:], theirs.shN.reshape(-1, 3, 3), atol=1e-6)


def test_what_gsply_compresses_is_as_near_as_its_bits(tmp_path: Path) -> None:
    g = frame(700)
    logs, logits = np.log(g.scales), np.log(g.opacities / (1 - g.opacities))
    stored = gsply.GSData(g.means, logs, g.quats, logits, g.sh[:, 0], np.zeros((700, 0, 3), np.float32))
    gsply.plywrite(tmp_path / "frame.ply", stored, compressed=True)
    decoded = PLY.decode(next(tmp_path.glob("*compressed*")).read_bytes())
    assert len(decoded) == 700
    np.testing.assert_allclose(np.sort(decoded.means[:, 0]), np.sort(g.means[:, 0]), atol=0.02)
    np.testing.assert_allclose(np.sort(decoded.opacities), np.sort(g.opacities), atol=0.003)


def without_colours(data: bytes) -> bytes:
    """A compressed file as SuperSplat wrote them before 2.4: no colours in the chunks, no harmonics."""
    from deployments.splats.codecs.ply_header import read_tables

    tables = read_tables(np.frombuffer(data, np.uint8))
    chunk, vertex = tables["chunk"].rows, tables["vertex"].rows
    names = [name for name in chunk.dtype.names or () if name[-1] not in "rgb"]
    lines = [f"element chunk {len(chunk)}", *floats(*names), f"element vertex {len(vertex)}"]
    lines += [f"property uint {name}" for name in vertex.dtype.names or ()]
    body = np.stack([chunk[name] for name in names], axis=1).astype("<f4").tobytes() + vertex.tobytes()
    return header(*lines) + body


def test_colours_of_an_older_compressed_file_span_zero_to_one() -> None:
    data = without_colours(golden(COMPRESSED).tobytes())
    decoded = PLY.decode(data)
    assert decoded.sh_degree == 0
    np.testing.assert_array_equal(decoded.means, PLY.decode(golden(COMPRESSED)).means)
    words = np.frombuffer(data[-16 * len(decoded) :], "<u4").reshape(-1, 4)[:, 3]
    np.testing.assert_allclose(0.5 + reference.C0 * decoded.sh[:, 0, 0], (words >> 24) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"element chunk 2", b"element chunk 1", "for every 256 of 300 vertices, got 1 of them"),
        (b"element chunk 2\n", b"element chunks 2\n", "a row 'chunk' for every 256 of 300 vertices, got none"),
        (b"float min_x", b"float mim_x", "a property 'min_x' of the chunks"),
        (b"uint packed_scale", b"uint packed_skale", "a property uint 'packed_scale'"),
        (b"uint packed_scale", b"float packed_scale", "a property uint 'packed_scale'"),
        (b"element sh 300", b"element sh 299", "300 rows 'sh' of uchar"),
    ],
)
def test_compressed_files_that_are_none_are_refused(old: bytes, new: bytes, expected: str) -> None:
    with pytest.raises(BadBytes, match=expected):
        PLY.decode(golden(COMPRESSED).tobytes().replace(old, new))


def test_every_truncation_of_every_file_is_refused_or_harmless() -> None:
    for name in FILES:
        data = golden(name).tobytes()
        whole = PLY.decode(data)
        for end in range(0, len(data), 1 if len(data) < 5000 else 7):
            try:
                decoded = PLY.decode(data[:end])
            except Truncated as error:
                assert error.offset == end
            except BadBytes:
                assert ".text." in name or "compressed" in name, "a number cut short, or the harmonics"
            else:
                assert len(decoded) == len(whole), "only what follows the vertices was cut"


def test_text_that_is_no_number_is_refused() -> None:
    start = header("element vertex 1", *floats(*NAMES), encoding="ascii 1.0")
    for line in (b"1 2 3 x 0 0 0 0 0 0 1 0 0 0\n", b"1 2 3 0x1 0 0 0 0 0 0 1 0 0 0\n", b"0 " * 13 + b"\n", b"0 " * 15 + b"\n"):
        with pytest.raises(BadBytes):
            PLY.decode(start + line)
    with pytest.raises(BadBytes, match="vertex 0 without"):
        PLY.decode(start + b"nan 2 3 0 0 0 0 0 0 0 1 0 0 0\n")
    assert PLY.decode(start + b" 1e0\t+2 -3 0 0 0 0 0 0 0 1 0 0 0").means.tolist() == [[1, 2, -3]]


@pytest.mark.parametrize(
    "lines",
    [
        ["element vertex 999999999999999999", *floats(*NAMES)],
        ["element face 999999999999999999", "property list uchar int v", "element vertex 1", *floats(*NAMES)],
        ["element face 999999999999999999", "property list uint double v", "element vertex 1", *floats(*NAMES)],
        ["element face 999999999999999999", "property list char char v", "element vertex 1", *floats(*NAMES)],
        [
            "element nothing 999999999999999999",
            "element face 999999999999999999",
            *floats("a"),
            "element vertex 1",
            *floats(*NAMES),
        ],
        ["element vertex 999999999999999999", *(f"property double p{i}" for i in range(1000))],
    ],
)
@pytest.mark.parametrize("encoding", ["binary_little_endian 1.0", "binary_big_endian 1.0", "ascii 1.0"])
def test_a_header_that_claims_a_lot_costs_nothing(lines: list[str], encoding: str) -> None:
    data = header(*lines, encoding=encoding) + row() + bytes(200_000)
    tracemalloc.start()
    try:
        with pytest.raises(BadBytes):
            PLY.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_elements_without_columns_take_no_bytes() -> None:
    data = header("element nothing 999999999999999999", "element vertex 1", *floats(*NAMES)) + row(x=2.0)
    assert PLY.decode(data).means[0].tolist() == [2, 0, 0]


def test_a_list_of_negative_length_is_longer_than_any_file() -> None:
    lines = ["element face 1", "property list int int v", "element vertex 1", *floats(*NAMES)]
    with pytest.raises(Truncated):
        PLY.decode(header(*lines) + struct.pack("<i", -1) + row())


def test_properties_are_found_among_a_thousand_others() -> None:
    names = [*(f"p{i}" for i in range(900)), *NAMES]
    data = header("element vertex 1", *floats(*names)) + bytes(3600) + row(x=1.0, rot_0=2.0)
    assert PLY.decode(data).means[0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("name", FILES)
def test_mutations_give_an_error_or_gaussians(name: str) -> None:
    rng = np.random.default_rng(11)
    original = golden(name).tobytes()
    start = original.index(b"end_header")
    for i in range(400):
        # Half of the changes in the header, where most of what can go wrong is.
        head, body = original[:start], original[start:]
        data = bytes(mutated(head, rng)) + body if i % 2 else head + bytes(mutated(body, rng))
        try:
            decoded = PLY.decode(data)
        except CodecError as error:
            assert "expected" in str(error) and len(str(error)) < 600
            continue
        assert all(np.isfinite(getattr(decoded, field)).all() for field in FIELDS)


def test_our_own_file_is_not_copied_to_be_read() -> None:
    from deployments.splats.codecs.ply_header import read_tables

    data = PLY.encode(edges())
    rows = read_tables(data)["vertex"].rows
    assert np.shares_memory(rows, data) and rows.dtype.names == property_names(0)
