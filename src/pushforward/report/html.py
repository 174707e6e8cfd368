"""HTML and SVG elements as text. What is not an element already is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

VOID = frozenset({"meta", "link", "br", "img", "line", "rect", "circle", "path"})
"""Elements without an end tag in HTML, and those of SVG that close themselves."""
_SVG_VOID = frozenset({"line", "rect", "circle", "path"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, /, *children: Any, **attributes: Any) -> Html:
    """An element.

    Arguments:
        tag: its name.
        children: elements, or anything else, which is escaped; lists of these; None for nothing.
        attributes: by name, with `_` for `-` and a trailing `_` dropped; None and False leave an attribute out, True
            gives it without a value.

    ```python
    >>> element("p", "a < b", element("b", "!"), class_="note", tabindex=0)
    '<p class="note" tabindex="0">a &lt; b<b>!</b></p>'

    ```
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(str(value))}"')
    start = " ".join(parts)
    if tag in VOID:
        return Html(f"<{start}/>" if tag in _SVG_VOID else f"<{start}>")
    return Html(f"<{start}>{joined(children)}</{tag}>")


def joined(children: Iterable[Any]) -> Html:
    """Children of an element, one after another."""
    parts = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, list | tuple):
            parts.append(joined(child))
        elif child is not None:
            parts.append(Html(escape(str(child))))
    return Html("".join(parts))


def section(name: str, title: str, *children: Any) -> Html:
    """A section of the page with its heading, which the list of sections leads to."""
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *children, id=name, aria_labelledby=f"{name}-title")


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Iterable[int] = ()
) -> Html:
    """A table in a box of its own that scrolls where the page is narrow.

    Arguments:
        caption: what it shows.
        heads: of the columns.
        rows: cells; the first of each row is its head.
        numeric: numbers of the columns that are aligned as numbers.
    """
    right = set(numeric)

    def style(i: int) -> str | None:
        return "number" if i in right else None

    top = element(
        "tr", [element("th", head, scope="col", class_=style(i)) for i, head in enumerate(heads)]
    )
    body = [
        element(
            "tr",
            [
                element("th", cell, scope="row", class_=style(i))
                if i == 0
                else element("td", cell, class_=style(i))
                for i, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    whole = element(
        "table", element("caption", caption), element("thead", top), element("tbody", body)
    )
    return scrolled(caption, whole)


def scrolled(label: str, content: Html) -> Html:
    """A box that scrolls, also by the keyboard."""
    return element("div", content, class_="wide", role="region", aria_label=label, tabindex=0)


def folded(summary: str, *children: Any) -> Html:
    """What is shown on demand."""
    return element("details", element("summary", summary), *children)
