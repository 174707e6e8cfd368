"""Docstrings as Markdown."""

import inspect
import itertools
import re
import textwrap
from typing import Any

from formulas import NotAFormula, inline, latex


def markdown(text: str) -> str:
    """A docstring as Markdown: lists of arguments become bullets, formulas mathematics, all else is Markdown already.

    A list is a line that ends in a colon with an indented line right below it. A formula is an indented block below an
    empty line, or code within a sentence; what does not read as one stays as it is.
    """
    lines, out, i = text.splitlines(), [], 0
    fenced = False
    while i < len(lines):
        line = lines[i]
        fenced ^= line.startswith("```")
        below = lines[i + 1] if i + 1 < len(lines) else ""
        if fenced or not (line.endswith(":") and below.startswith("    ")):
            out.append(line)
            i += 1
            continue
        block = []
        i += 1
        while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
            block.append(lines[i])
            i += 1
        out += [f"*{line}*" if " " not in line else line, "", *_bullets(block), ""]
    return re.sub(r"\n{3,}", "\n\n", _set("\n".join(out))).strip()


def _set(text: str) -> str:
    """Markdown with its formulas as LaTeX; fences are left alone."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    for i in range(0, len(parts), 2):
        out: list[str] = []
        for block, group in itertools.groupby(parts[i].split("\n"), lambda x: x.startswith("    ")):
            lines = list(group)
            out += _displayed(lines) if block else [inlined("\n".join(lines))]
        parts[i] = "\n".join(out)
    return "".join(parts)


def _displayed(block: list[str]) -> list[str]:
    """An indented block as a formula of its own, or as it is."""
    try:
        return ["$$", latex("\n".join(block)), "$$"]
    except NotAFormula:
        return block


def inlined(text: str) -> str:
    """Text with the formulas within its sentences as LaTeX."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", _inlined, text)


def _inlined(match: re.Match[str]) -> str:
    formula = inline(" ".join(match[1].split()))
    return match[0] if formula is None else f"${formula}$"


def _bullets(block: list[str]) -> list[str]:
    """Entries `name: what it is`, continued on deeper lines; a block without entries is a paragraph."""
    entries: list[list[str]] = []
    for line in textwrap.dedent("\n".join(block)).splitlines():
        if line and not line.startswith(" ") and re.match(r"[\w*][\w*, ]*: ", line):
            entries.append([line])
        elif entries:
            entries[-1].append(line.strip())
        elif line.strip():
            entries.append(["", line])
    out = []
    for entry in entries:
        text = " ".join(part for part in entry if part)
        if entry[0]:
            names, rest = text.split(": ", 1)
            quoted = ", ".join(f"`{name.strip()}`" for name in names.split(","))
            text = f"- {quoted}: {rest}"
        out.append(text)
    return out


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    return [" ".join(part.split()) for part in text.split("\n\n")]


def first_paragraph(thing: Any) -> str:
    """What a thing says of itself first."""
    return paragraphs(inspect.getdoc(thing) or "")[0]
