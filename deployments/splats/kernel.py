"""The one way this package compiles a loop: numba, cached on disk, without the GIL, with IEEE arithmetic."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=np.generic)


def kernel(function: F) -> F:
    """Compile ``function`` with numba, at its first call.

    ``fastmath`` stays off: it would let LLVM assume that there is no NaN, which the codecs have to find, and reorder and
    contract float32 sums as suits the processor, so that one frame would have different bytes on different machines.
    ``error_model="numpy"`` makes a division by zero an infinity, which lets loops with divisions vectorise.
    The machine code is cached beside the source or in the user's cache folder; where neither can be written (a read-only
    container) it is compiled once a process.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "no locator available", nowhere to write the cache
        return cast(F, numba.njit(**options)(function))
    # Numba drops a cached kernel when the kernel's own file changed, but not when a helper inlined from another did.
    compiled._cache._cache_file._source_stamp = _SOURCES + _file_digest(function.__code__.co_filename)
    return cast(F, compiled)


def inline(function: F) -> F:
    """Compile a scalar helper into the kernels that call it."""
    return cast(F, numba.njit(error_model="numpy")(function))


def for_kernel(array: NDArray[T]) -> NDArray[T]:
    """``array`` as a kernel's input: contiguous, aligned, read-only; a view where it can be.

    To numba, read-only and unaligned arrays are types of their own. What comes out of Ray's object store is read-only, what a
    model just made is not: without this each kind would be compiled when it first comes, in the middle of a stream.
    """
    view = np.require(array, requirements=["C", "A"]).view()
    view.flags.writeable = False
    return view


@functools.cache
def _file_digest(path: str) -> str:
    """Of a kernel's own file, which may lie outside this folder."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCES = _digest()
