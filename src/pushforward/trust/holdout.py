"""How rows were held out, as the trust report says it, and errors of means where rows come in groups."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pushforward.training.holdout import name_of


def holdout_report(
    way: str, groups: Any = None, codes: np.ndarray | None = None, held: np.ndarray | None = None
) -> dict[str, Any]:
    """How rows were held out.

    Arguments:
        way: as of `held_out`.
        groups, codes: labels, and the same as numbers; default None.
        held: the numbers of the held-out rows; only needed for groups.

    Returns `{"way": "random"}`, `{"way": "last"}`, or `{"way": "groups", "by": "groups by 'name'", "held": k, "of": n}`
    with the numbers of groups.
    """
    if codes is None:
        return {"way": way}
    of_held = len(np.unique(codes[held]))
    return {"way": "groups", "by": name_of(groups), "held": of_held, "of": int(codes.max()) + 1}


def holdout_words(report: dict[str, Any]) -> str:
    """The same in words; empty for files that do not know.

    ```python
    >>> holdout_words({"way": "groups", "by": "groups by 'image'", "held": 3, "of": 40})
    "all of 3 of 40 groups by 'image'"

    ```
    """
    if not report:
        return ""
    if report["way"] == "groups":
        return f"all of {report['held']:,} of {report['of']:,} {report['by']}"
    return {"random": "drawn at random", "last": "the last of the table"}[report["way"]]


def held_out_how(trust: dict[str, Any]) -> str:
    """The words to put behind "held out" where it was not at random."""
    report = trust.get("holdout", {})
    return f" ({holdout_words(report)})" if report.get("way", "random") != "random" else ""


def mean_error(
    values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"] | None = None
) -> float | None:
    """The standard error of a mean; None where there is one row or one group, or a mean that is not finite.

        sqrt(g / (g - 1) sum over groups of (sum of x - mean)^2) / n

    with g groups; rows of one group may be as alike as they like. Without groups every row is one.

    Source: Liang & Zeger 1986, "Longitudinal data analysis using generalized linear models".
    """
    n, mean = len(values), float(values.mean())
    if groups is None:
        return float(values.std(ddof=1) / np.sqrt(n)) if n > 1 and np.isfinite(mean) else None
    _, codes = np.unique(groups, return_inverse=True)
    g = int(codes.max()) + 1
    if g < 2 or not np.isfinite(mean):
        return None
    sums = np.bincount(codes.reshape(-1), values - mean)
    return float(np.sqrt(g / (g - 1) * np.square(sums).sum()) / n)
