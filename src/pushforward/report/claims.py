"""What a trust report says in figures, in words: any figure, whatever its name."""

from collections.abc import Iterator, Mapping
from typing import Any

from pushforward.report.html import Html, element
from pushforward.report.svg import number

_SHARES = ("share", "copies", "fraction")


def claims_list(claims: Mapping[str, Any]) -> Html:
    """The figures of a dictionary as a list of names and values, those of dictionaries in it too.

    ```python
    >>> claims_list({"difference": 0.34, "draws": 64})
    '<dl><dt>difference</dt><dd>0.34</dd><dt>draws</dt><dd>64</dd></dl>'

    ```
    """
    return element("dl", [[element("dt", k), element("dd", v)] for k, v in _flat(claims, "")])


def _flat(claims: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    for key, value in claims.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif value is not None and value != []:
            yield name, _worded(key, value)


def _worded(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and any(word in key for word in _SHARES) and 0 <= value <= 1:
        return f"{value:.2%}"
    if isinstance(value, int | float):
        return number(float(value))
    if isinstance(value, list | tuple):
        return ", ".join(_worded(key, part) for part in value)
    return str(value)
