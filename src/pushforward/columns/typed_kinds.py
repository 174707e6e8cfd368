"""Which kind the columns of a table of any kind are of, by their values and names."""

import re

import numpy as np
from jaxtyping import Bool, Float

from pushforward.columns.spelling import Spelling

MOST_LEVELS = 4096
"""Levels of text beyond which a column is not modelled."""
LONG_TEXT, WORDS = 40, 5
DECIMALS = 4
"""Digits after the point up to which rounded decimals are looked for."""
EXACT = 2.0**53
"""From here on floats do not tell whole numbers apart."""
NUMBER_KINDS = ("whole", "decimals", "continuous", "bounded", "circular", "date", "time")
TEXT_KINDS = ("category", "ordinal", "identifier", "text")
"""Kinds whose cells are read as text, whatever they look like."""
ANGLES = ("angle", "circular")
"""Words that declare numbers on a circle."""
KINDS = (*NUMBER_KINDS, "boolean", "category", "ordinal", "constant", "identifier", "text")
DAY = 86_400 * 1_000_000.0
"""In microseconds."""
TOUCHED = 0.01
"""The share of cells at 0, 1 or 100 from which on a bound is suggested."""
_IDENTIFIER = re.compile(
    r"(^|[_\W])(id|uuid|guid|key|index)$|^(unnamed.*|_duplicated.*)$", re.IGNORECASE
)
_TURNS = {"hour": 24, "month": 12, "weekday": 7, "minute": 60}
_CIRCULAR = re.compile(
    rf"(^|[_\W])({'|'.join(_TURNS)}|dir|direction|angle|phase|bearing|heading|azimuth)s?($|[_\W])",
    re.IGNORECASE,
)


def guessed_kind(
    name: str, values: np.ndarray, gone: Bool[np.ndarray, " n"], spelling: Spelling
) -> tuple[str, str]:
    """The kind of a column by its values, and the reason.

    Arguments:
        name: of the column.
        values: as `Spelling.read` gives them.
        gone: which of them are missing.
        spelling: how they are written.
    """
    seen = values[~gone]
    if len(seen) == 0:
        return "constant", "every cell is missing"
    distinct = len(set(seen.tolist())) if values.dtype == object else len(np.unique(seen))
    if distinct == 1:
        return "constant", f"every cell holds {spelling.shown(seen[0])}"
    kinds = {
        "truth": ("boolean", "holds yes and no only"),
        "date": ("date", "holds dates"),
        "time": ("time", "holds dates with a time of day"),
        "clock": ("circular", "holds times of day"),
        "duration": ("whole", "holds spans of time"),
    }
    if spelling.form in kinds:
        return kinds[spelling.form]
    if spelling.form == "text":
        return _kind_of_text(name, seen, distinct)
    whole = bool((np.rint(seen) == seen).all() and np.abs(seen).max() < EXACT)
    if (
        whole
        and distinct == len(seen)
        and len(seen) > 20
        and (_IDENTIFIER.search(name) or _counts(seen))
    ):
        return "identifier", "every cell differs" + (
            "" if _IDENTIFIER.search(name) else " and they increase one by one"
        )
    hint = _suggestion(name, seen, whole)
    if whole:
        return "whole", "holds whole numbers only" + hint
    if step := lattice_step(seen):
        return "decimals", f"holds multiples of {step:g} only{hint}"
    fractions = seen[np.rint(seen) != seen]
    return "continuous", f"holds {(fractions if len(fractions) else seen)[0]:.6g}{hint}"


def _suggestion(name: str, seen: Float[np.ndarray, " n"], whole: bool) -> str:
    """What the column might be declared as, for the reason of its kind."""
    low, high = float(seen.min()), float(seen.max())
    if found := _CIRCULAR.search(name):
        turn = _TURNS.get(found[2].lower())
        turn = turn or (360 if high > 2 * np.pi or whole else None)
        period = turn or 2 * np.pi
        if -period / 2 <= low and high <= period:
            what = f"circular:{turn}" if turn else "circular"
            return f"; its ends would meet as {what}"
    if whole:
        return ""
    touched = {end: float(np.mean(seen == end)) for end in (low, high)}
    below = "0" if low == 0 and touched[low] >= TOUCHED else ""
    above = f"{high:g}" if high in (1, 100) and touched[high] >= TOUCHED else ""
    if not (below or above):
        return ""
    ends = " and ".join(
        f"{touched[end]:.0%} at {end:g}" for end in (low, high) if f"{end:g}" in (below, above)
    )
    return f"; {ends}, so maybe bounded:{below},{above}"


def _kind_of_text(name: str, seen: np.ndarray, distinct: int) -> tuple[str, str]:
    lengths = np.array([len(cell) for cell in seen.tolist()])
    if distinct == len(seen) and len(seen) > 20:
        return "identifier", "every cell differs"
    if (
        np.mean(lengths) > LONG_TEXT
        or np.mean([cell.count(" ") for cell in seen.tolist()]) >= WORDS
    ):
        return "text", f"holds long text ({np.mean(lengths):.0f} characters on average)"
    if distinct > len(seen) / 2 and len(seen) > 20:
        return "identifier", f"{distinct:,} different texts in {len(seen):,} cells"
    if distinct > MOST_LEVELS:
        return "text", f"holds {distinct:,} different texts, more than {MOST_LEVELS:,}"
    return "category", f"holds {distinct:,} different texts"


def _counts(seen: np.ndarray) -> bool:
    """Whether numbers are 0, 1, 2, ... in the order of the rows."""
    return bool((np.diff(seen) == 1).all())


def lattice_step(seen: Float[np.ndarray, " n"], rare: bool = False) -> float:
    """The distance of a lattice on which all values lie, whole or of few decimals; 0 without one.

    Arguments:
        seen: finite values.
        rare: whether decimals that hardly repeat lie on a lattice too; default False, they are real numbers that were
            printed with few digits.
    """
    distinct = np.unique(seen)
    if np.abs(distinct).max() >= EXACT or len(distinct) < 2:
        return 0.0
    for digits in range(DECIMALS + 1):
        scaled = distinct * 10.0**digits
        whole = np.rint(scaled)
        if np.abs(whole).max() < EXACT and np.allclose(scaled, whole, rtol=1e-12, atol=1e-6):
            if digits and not rare and len(distinct) > 0.5 * len(seen):
                return 0.0
            return float(np.gcd.reduce(np.diff(whole).astype(np.int64))) / 10.0**digits
    return 0.0
