"""What every page is made of: its head, the list of its sections, these, and a last word."""

from collections.abc import Sequence
from typing import Any

from pushforward import __version__
from pushforward.report.html import Html, element, section
from pushforward.report.style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
Part = tuple[str, str, Any]
"""A section: its name in links, its title, what it holds."""


def skeleton(title: str, told: str, parts: Sequence[Part | None], last: str) -> str:
    """A page of HTML that needs no network and no script.

    Arguments:
        title: of the page.
        told: a sentence below it.
        parts: the sections; None for one that is left out.
        last: what stands at the foot.
    """
    sections = [part for part in parts if part is not None]
    links = [element("li", element("a", name, href=f"#{to}")) for to, name, _ in sections]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Html(STYLE)),
    )
    body = element(
        "body",
        element("a", "Skip to the verdict", href="#verdict", class_="skip"),
        element("header", element("h1", title), element("p", told, class_="soft")),
        element("nav", element("ul", links), aria_label="Sections"),
        element("main", [section(*part) for part in sections]),
        element(
            "footer",
            element("p", f"{last} Written by pushforward {__version__}.", class_="soft"),
        ),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"
