"""Writes the golden files anew. **This blesses whatever the encoders write now**: read the diff of the values before committing.

    python -m tests.vectors.make --spark web/node_modules/@sparkjsdev/spark/dist/spark.module.js

``edges.packed`` is not ours to bless: its words are what SparkJS, run in Node, makes of ``edges.ply``.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.client import read_plane
from deployments.splats.codecs import planes
from deployments.splats.codecs.depth import decode_depth, encode_depth, lift_decoded
from deployments.splats.codecs.packed import HEADER, MAGIC, SPARK_LN_SCALE_RANGE, VERSION, PackedCodec
from deployments.splats.codecs.planes_ladder import rung_at
from deployments.stages.pack import encode_plane
from tests.vectors import foreign, reference
from tests.vectors.cases import (
    FINER_LN_SCALES,
    FOLDER,
    GOLDEN,
    LAYERED,
    MADE_BY_SPARK,
    NATIVE,
    SESSION,
    layered_pictures,
    session_file,
)

SPARK = Path(__file__).parents[2] / "web/node_modules/@sparkjsdev/spark/dist/spark.module.js"


def spark_words(files: list[bytes], bundle: Path = SPARK, suffix: str = "ply") -> list[NDArray[np.uint32]]:
    """The packed words SparkJS makes of files, at its default ranges. uint32 [N, 4] each.

    Args:
        files: Their bytes.
        suffix: What they are: ``ply``, ``spz`` or ``splat``.
        bundle: ``spark.module.js`` of npm's ``@sparkjsdev/spark``.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, data in enumerate(files):
            Path(folder, f"{i}.{suffix}").write_bytes(data)
            paths += [f"{folder}/{i}.{suffix}", f"{folder}/{i}.words"]
        subprocess.run(["node", str(FOLDER / "spark.mjs"), str(bundle), *paths], check=True)
        return [np.fromfile(path, "<u4").reshape(-1, 4) for path in paths[1::2]]


def write_layered() -> None:
    """The ``depth`` files, and beside each what decoding and lifting it gives: planes, colours of the layers, words."""
    facts = {}
    for name, (frame, arguments) in LAYERED.items():
        data, stem = encode_depth(frame, **arguments), name.removesuffix(".depth")
        coded = decode_depth(data)
        lifted, pruned = lift_decoded(coded, layered_pictures(frame))
        data.tofile(FOLDER / name)
        PackedCodec(ln_scale_range=FINER_LN_SCALES).encode(lifted).tofile(FOLDER / f"{stem}.lifted.packed")
        layers = [layer for view in coded.views for layer in view.layers]
        colours = [view.picture if layer.colors is None else layer.colors for view in frame.views for layer in view.layers]
        planes = b"".join(
            layer.inverse_depth.astype("<f4").tobytes() + (b"" if layer.opacity is None else layer.opacity.tobytes())
            for layer in layers
        )
        (FOLDER / f"{stem}.planes").write_bytes(planes)
        opaque = [np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]).tobytes() for rgb in colours]
        (FOLDER / f"{stem}.rgba").write_bytes(b"".join(opaque))
        facts[name] = {"count": len(lifted), "scale": coded.scale, "kind": coded.kind, "pruned": pruned}
        print(f"blessed {name}: {len(data)} bytes, {len(lifted)} splats")
    (FOLDER / "layered.json").write_text(json.dumps(facts, indent=1) + "\n")
    (FOLDER / SESSION).write_bytes(session_file())


def write_native() -> None:
    """The ``planes`` files, and beside each its JPEGs' pixels, 4 bytes each, and the words of what decoding gives."""
    for name, (gaussians, cameras, depth_step) in NATIVE.items():
        kept, pixels = np.flatnonzero(gaussians.opacities > 0), []

        def read(jpeg: bytes, channels: int, pixels: list[bytes] = pixels) -> NDArray[np.uint8]:
            found = read_plane(jpeg, channels)
            rgb = np.broadcast_to(found, (*found.shape[:2], 3))
            pixels.append(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]).tobytes())
            return found

        data, count = planes.encode_planes(gaussians, kept, cameras, rung=rung_at(depth_step), encode_jpeg=encode_plane)
        decoded = planes.decode_planes(data, read)
        data.tofile(FOLDER / name)
        PackedCodec(ln_scale_range=FINER_LN_SCALES).encode(decoded).tofile(FOLDER / f"{name}.packed")
        (FOLDER / f"{name}.rgba").write_bytes(b"".join(pixels))
        print(f"blessed {name}: {len(data)} bytes, {count} splats")


def write_foreign() -> None:
    """PLY files as other programs write them."""
    for name, written in foreign.FOREIGN.items():
        (FOLDER / name).write_bytes(written())
        print(f"blessed {name}")


def main() -> None:
    """Write every golden file and ``values.json``."""
    parser = argparse.ArgumentParser(prog="python -m tests.vectors.make", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--spark", type=Path, default=SPARK, help="spark.module.js of @sparkjsdev/spark 2.2.0")
    parser.add_argument("--layered-only", action="store_true", help="only depth, planes and the recording, which need no Node")
    args = parser.parse_args()
    write_layered()
    write_native()
    write_foreign()
    if args.layered_only:
        return
    (words,) = spark_words([(FOLDER / foreign.COMPRESSED).read_bytes()], args.spark)
    head = HEADER.pack(MAGIC, VERSION, len(words), 0, 1, *SPARK_LN_SCALE_RANGE, 0)
    (FOLDER / f"{foreign.COMPRESSED}.packed").write_bytes(head + words.tobytes())
    values = {}
    for name, (codec, gaussians) in GOLDEN.items():
        data = codec.encode(gaussians).tobytes()
        if name == MADE_BY_SPARK:
            (words,) = spark_words([(FOLDER / "edges.ply").read_bytes()], args.spark)
            ours, data = data, data[:32] + words.tobytes()
            apart = np.abs(np.subtract(*(reference.packed_numbers(np.frombuffer(d, np.uint8)) for d in (ours, data))))
            print(f"{name}: {np.count_nonzero(apart)} of the encoder's {apart.size} numbers differ from SparkJS's")
            if apart.max() > 1:
                raise SystemExit(f"{name}: the encoder is {apart.max():.0f} steps from SparkJS; expected 1 at most")
        (FOLDER / name).write_bytes(data)
        fields = reference.read(name, data)
        values[name] = {
            "count": len(gaussians),
            "sh_degree": gaussians.sh_degree,
            **{field: np.float32(array).ravel().astype(float).tolist() for field, array in fields.items()},
        }
        print(f"blessed {name}: {len(data)} bytes")
    text = json.dumps(values, indent=1).replace(",\n   ", ", ").replace("[\n   ", "[").replace("\n  ]", "]")
    (FOLDER / "values.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
