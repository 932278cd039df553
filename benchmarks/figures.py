"""Percentiles, and tables of figures for people."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

PERCENTILES = (50, 90, 95, 99)


def percentiles(values: Iterable[float]) -> dict[str, float] | None:
    """``p50``, ``p90``, ``p95``, ``p99``, ``max`` and ``mean``, interpolated linearly; None if there are no values."""
    array = np.fromiter(values, float)
    if not array.size:
        return None
    found = {f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(array, PERCENTILES), strict=True)}
    return {name: round(value, 3) for name, value in {**found, "max": float(array.max()), "mean": float(array.mean())}.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose columns line up in a terminal, too. None and NaN become dashes."""
    cells = [list(head), *([_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    top, *lines = (_line(row, widths) for row in cells)
    return "\n".join([top, rule, *lines])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers = cells
    padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
    return f"| {' | '.join(padded)} |"


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
