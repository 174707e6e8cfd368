"""Pictures: scales, axes, steps and bars, as SVG within the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.report.html import Html, element


@dataclass(frozen=True)
class Scale:
    """A linear scale: from values between `low` and `high` to places between `start` and `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The place of a value, rounded to a tenth."""
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.stop - self.start), 1)


def picture(
    name: str, title: str, description: str, width: float, height: float, *children: Any
) -> Html:
    """A picture with a title and a description for readers who do not see it.

    Arguments:
        name: unique on the page.
        title, description: what it shows, and the figures that matter.
        width, height: in the units of its parts, pixels at most a third larger.
        children: its parts.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-text"),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        style=f"max-width: {4 / 3 * width:.0f}px",
        aria_labelledby=f"{name}-title {name}-text",
    )


def words(x: float, y: float, content: str, anchor: str = "start", **attributes: Any) -> Html:
    """Text that begins, ends or has its middle at a point."""
    return element("text", content, x=round(x, 1), y=round(y, 1), text_anchor=anchor, **attributes)


def bar(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> Html:
    """A rectangle; with a title, which appears under the pointer, an element around it."""
    sizes = {"width": round(max(width, 0), 1), "height": round(max(height, 0), 1)}
    drawn = element("rect", x=round(x, 1), y=round(y, 1), **sizes, class_=kind)
    return element("g", element("title", title), drawn) if title else drawn


def steps(edges: Sequence[float], heights: Sequence[float], x: Scale, y: Scale, kind: str) -> Html:
    """The outline of a histogram."""
    path = [f"M{x(edges[0])} {y(0)}"]
    for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
        path.append(f"L{x(left)} {y(height)}L{x(right)} {y(height)}")
    path.append(f"L{x(edges[-1])} {y(0)}")
    return element("path", d="".join(path), class_=kind)


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers from low to high, in at most so many steps.

    ```python
    >>> ticks(0.0, 1.0), ticks(-3.0, 47.0)
    ([0.0, 0.5, 1.0], [0.0, 20.0, 40.0])

    ```
    """
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def axis(
    x: Scale, y: float, label: Callable[[float], str], at: Sequence[float] | None = None
) -> list[Html]:
    """A line with marks and their values below it."""
    found = [element("line", x1=x.start, x2=x.stop, y1=y, y2=y, class_="axis")]
    places = ticks(x.low, x.high) if at is None else at
    for value in places:
        place = x(value)
        found.append(element("line", x1=place, x2=place, y1=y, y2=y + 3, class_="axis"))
        anchor = "start" if place < x.start + 12 else "end" if place > x.stop - 12 else "middle"
        found.append(words(place, y + 14, label(value), anchor, class_="faint"))
    return found


def number(value: float) -> str:
    """A number in few digits.

    ```python
    >>> number(336776.0), number(0.123456), number(-0.0), number(1.5e12)
    ('336,776', '0.1235', '0', '1.5e+12')

    ```
    """
    if value == 0:
        return "0"
    if not np.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1e10 or size < 1e-4:
        return f"{value:.3g}"
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.4g}" if size < 1000 else f"{value:,.1f}"


def brief(content: str, most: int) -> str:
    """Text of at most so many characters."""
    line = " ".join(content.split())
    return line if len(line) <= most else line[: most - 1] + "…"
