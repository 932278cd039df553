"""Measures ``codecs/spark_bins.py``: at which stored log and logit SparkJS steps to the next byte. Prints them.

    python -m tests.vectors.measure_bins web/node_modules/@sparkjsdev/spark/dist/spark.module.js

Bisection over the float32 numbers around each step, all steps at once, then every neighbour of the found ones, to be sure that
SparkJS goes up there once and for all.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.splats.codecs.ply import property_names
from deployments.splats.codecs.ply_header import write_header
from tests.vectors.make import SPARK, spark_words

Bytes = Callable[[NDArray[np.float32]], NDArray[np.int64]]
NEIGHBOURS = 64


def column_bytes(name: str, word: int, shift: int, bundle: Path) -> Bytes:
    """The byte of SparkJS's words that a PLY column ends up in."""
    names = property_names(0)

    def measure(values: NDArray[np.float32]) -> NDArray[np.int64]:
        rows = np.zeros((len(values), 14), "<f4")
        rows[:, names.index("rot_0")] = 1
        rows[:, names.index(name)] = values
        (words,) = spark_words([write_header(names, len(values)) + rows.tobytes()], bundle)
        return words[:, word].astype(np.int64) >> shift & 255

    return measure


def ordered(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """float32 → integers in the same order, neighbours one apart."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def floats(order: NDArray[np.int64]) -> NDArray[np.float32]:
    """The inverse of :func:`ordered`."""
    return np.where(order < 0, -order | 0x80000000, order).astype(np.uint32).view(np.float32)


def steps(measure: Bytes, low: float, high: float, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
    """The smallest number in low..high with each byte or more."""
    below = np.full(len(wanted), ordered(np.float32([low]))[0])
    reached = np.full(len(wanted), ordered(np.float32([high]))[0])
    while (reached - below).max() > 1:
        middle = (below + reached) // 2
        up = measure(floats(middle)) >= wanted
        below, reached = np.where(up, below, middle), np.where(up, middle, reached)
    around = reached[:, None] + np.arange(-NEIGHBOURS, NEIGHBOURS)
    up = measure(floats(around.ravel())).reshape(around.shape) >= wanted[:, None]
    assert (up == (np.arange(-NEIGHBOURS, NEIGHBOURS) >= 0)).all(), "SparkJS does not step up once and for all"
    return floats(reached)


def main(bundle: Path) -> None:
    """Measure both tables and print them as in the module."""
    logs = steps(column_bytes("scale_0", 3, 0, bundle), -12.5, 9.5, np.arange(2, 256))
    logits = steps(column_bytes("opacity", 0, 24, bundle), -16, 16, np.arange(1, 256))
    for name, found in (("LN_SCALE_STEPS", logs), ("LOGIT_STEPS", logits)):
        text = "".join(f"{bits:08x}" for bits in found.view(np.uint32))
        print(name, *(f'    "{text[i : i + 112]}"' for i in range(0, len(text), 112)), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SPARK)
