"""Bytes that something has happened to."""

import numpy as np


def mutated(original: bytes, rng: np.random.Generator) -> bytearray:
    """One to three changes: mostly another byte, else up to four bytes lost or added. May be the original again."""
    data = bytearray(original)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data)))
        if rng.random() < 0.7:
            data[at] = int(rng.integers(0, 256))
        elif rng.random() < 0.5:
            del data[at : at + int(rng.integers(1, 5))]
        else:
            data[at:at] = rng.bytes(int(rng.integers(1, 5)))
    return data
