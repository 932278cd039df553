"""A line chart as SVG, in a few lines: no plotting library is worth its weight for one picture."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _PANEL_HEIGHT, _LEFT, _RIGHT, _TOP, _GAP = 800, 150, 48, 170, 34, 34


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``points`` are (x, y) in the panel's units. ``steps``: a level holds until the next point. ``marks``: with dots."""

    label: str
    color: str
    points: Sequence[tuple[float, float]]
    steps: bool = False
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines that share a y axis, from ``low`` to ``high`` or to what the largest value needs."""

    unit: str
    lines: Sequence[Line]
    low: float = 0.0
    high: float | None = None


def svg(title: str, panels: Sequence[Panel], x_unit: str, log_x: bool = False) -> str:
    """The picture of panels one above the other, on one x axis: from 0, or logarithmic from the decade of the smallest x."""
    place, x_marks = _logarithmic(panels) if log_x else _linear(panels)
    inner = _WIDTH - _LEFT - _RIGHT
    height = _TOP + len(panels) * (_PANEL_HEIGHT + _GAP) + 16
    bottom = height - 16 - _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/><text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for index, panel in enumerate(panels):
        top = _TOP + index * (_PANEL_HEIGHT + _GAP)
        highest = max((y for line in panel.lines for _, y in line.points), default=1.0) if panel.high is None else panel.high
        step = _round_step(highest - panel.low)
        marks = [panel.low + step * k for k in range(6)]
        y_max = next(mark for mark in marks[1:] if mark >= highest)
        for mark in (mark for mark in marks if mark <= y_max):
            y = top + _PANEL_HEIGHT * (1 - (mark - panel.low) / (y_max - panel.low))
            parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + inner}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{mark:g}</text>')
        parts.append(f'<text x="{_LEFT + inner + 8}" y="{top + 10}" fill="#555">{escape(panel.unit)}</text>')
        for row, line in enumerate(panel.lines):
            pixels = [
                (_LEFT + inner * place(x), top + _PANEL_HEIGHT * (1 - (y - panel.low) / (y_max - panel.low)))
                for x, y in line.points
            ]
            if line.marks:
                parts += (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.color}"/>' for x, y in pixels)
            if line.steps:
                pixels = [corner for a, b in zip(pixels, [*pixels[1:], pixels[-1]], strict=True) for corner in (a, (b[0], a[1]))]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="2"/>')
            parts.append(f'<text x="{_LEFT + inner + 8}" y="{top + 28 + 16 * row}" fill="{line.color}">{escape(line.label)}</text>')
    for mark in x_marks:
        x = _LEFT + inner * place(mark)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{mark:g} {escape(x_unit)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _linear(panels: Sequence[Panel]) -> tuple[Callable[[float], float], list[float]]:
    """Where an x is, 0..1, and the marks of the axis."""
    x_max = max(_xs(panels), default=1.0) or 1.0
    step = _round_step(x_max)
    return lambda x: x / x_max, [step * k for k in range(int(x_max / step) + 1)]


def _logarithmic(panels: Sequence[Panel]) -> tuple[Callable[[float], float], list[float]]:
    """The same on an axis of whole decades."""
    xs = _xs(panels) or [1.0]
    low = math.floor(math.log10(min(xs)))
    decades = max(1, math.ceil(math.log10(max(xs))) - low)
    return lambda x: (math.log10(x) - low) / decades, [10.0 ** (low + k) for k in range(decades + 1)]


def _xs(panels: Sequence[Panel]) -> list[float]:
    return [x for panel in panels for line in panel.lines for x, _ in line.points]


def _round_step(largest: float) -> float:
    """The smallest of 1, 2, 5, 10, … of which five reach the largest value."""
    step = 1e-3
    while True:
        for factor in (1, 2, 5):
            if 5 * factor * step >= largest:
                return factor * step
        step *= 10
