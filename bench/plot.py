"""Draws how a cost grows: both axes logarithmic, so that a power of N is a straight line and its slope the exponent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8a5a99")
#: Of a panel, in pixels; its legend comes on top.
_WIDTH, _HEIGHT, _LEGEND = 400, 300, 20
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 34, 44
_COLUMNS = 2

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """What was measured of one system: at each N a figure above 0."""

    name: str
    points: Points


@dataclass(frozen=True)
class Panel:
    """One diagram.

    :param across: what N counts.
    :param up: what the figures are, with their unit.
    """

    title: str
    across: str
    up: str
    lines: Sequence[Line]


def exponent(points: Points) -> float:
    """Return the k of the N^k that lies nearest to the points, by least squares of the logarithms.

    >>> round(exponent([(1, 3), (10, 300)]), 6)
    2.0
    """
    across = [math.log(x) for x, _ in points]
    up = [math.log(y) for _, y in points]
    middle, height = sum(across) / len(points), sum(up) / len(points)
    return sum((x - middle) * (y - height) for x, y in zip(across, up, strict=True)) / sum(
        (x - middle) ** 2 for x in across
    )


def draw(panels: Sequence[Panel]) -> str:
    """Return the panels as one SVG."""
    legend = _LEGEND * max(len(panel.lines) for panel in panels)
    height = _HEIGHT + legend
    rows = math.ceil(len(panels) / _COLUMNS)
    parts = []
    for number, panel in enumerate(panels):
        x, y = number % _COLUMNS * _WIDTH, number // _COLUMNS * height
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel), "</g>"]
    size = f'width="{_WIDTH * _COLUMNS}" height="{height * rows}"'
    box = f'viewBox="0 0 {_WIDTH * _COLUMNS} {height * rows}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    across = _Axis([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    yield _text(_LEFT, 20, panel.title, weight="bold")
    for value in across.ticks():
        x = across.at(value)
        yield f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ddd"/>'
        yield _text(x, _HEIGHT - _BOTTOM + 16, _word(value), anchor="middle")
    for value in up.ticks():
        y = up.at(value)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        yield _text(_LEFT - 6, y + 4, _word(value), anchor="end")
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, panel.across, anchor="middle")
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    yield f'<g transform="translate(14,{middle}) rotate(-90)">{_text(0, 0, panel.up, anchor="middle")}</g>'
    for number, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=False)):
        places = [(across.at(x), up.at(y)) for x, y in line.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places)
        y = _HEIGHT + _LEGEND * number + 8
        yield f'<rect x="{_LEFT}" y="{y - 9}" width="12" height="10" fill="{colour}"/>'
        yield _text(_LEFT + 18, y, f"{line.name}{grows(line.points)}")


def grows(points: Points) -> str:
    """Return the growth in words, if there is more than one point."""
    return f": N^{exponent(points):.2f}" if len(points) > 1 else ""


class _Axis:
    """Where a value lies, from whole decade to whole decade."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(self._low + 1, math.ceil(math.log10(max(values))))
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def _word(value: float) -> str:
    return f"{value:g}"


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'
