"""What a piece of work may cost in memory."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_below(*, traced: int, resident: int) -> Iterator[None]:
    """Fail if the work in this block has at any time taken more memory than it may.

    Args:
        traced: Bytes that Python and NumPy were given; seen also where they were never written to.
        resident: Bytes in memory, whoever asked for them: the C libraries' too. Linux only.
    """
    tracemalloc.start()
    Path("/proc/self/clear_refs").write_text("5")  # Resets the high-water mark.
    before = _status("VmRSS")
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < traced
    assert _status("VmHWM") - before < resident


def _status(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(field))
