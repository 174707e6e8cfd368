"""The verdict: one sentence, and the reasons for and against."""

from collections.abc import Sequence
from dataclasses import dataclass

from pushforward.report.calibration import calibrated
from pushforward.report.draws import Distance
from pushforward.report.findings import Findings
from pushforward.report.html import Html, element
from pushforward.report.nats import figures
from pushforward.words import plural, quoted

_MARGIN = 0.05
"""How far beyond chance the distributions of draws and rows may differ."""
_REFERENCES = {
    "marginal": ("its columns by themselves", "no column says anything of another"),
    "gaussian": ("a Gaussian with full covariance", "a Gaussian would do"),
}


@dataclass(frozen=True)
class Reason:
    """A sentence for or against a model; None for one that is neither."""

    text: str
    speaks_for: bool | None = None


def headline(found: Findings) -> tuple[str, bool | None]:
    """The verdict in a sentence, and whether it is a good one."""
    trust = found.trust
    if "gain" not in trust:
        return (
            "Nothing was held out when this model was fitted: how good it is, nobody knows.",
            None,
        )
    what, instead = _REFERENCES["marginal" if "marginal_nats" in trust else "gaussian"]
    gain, error = float(trust["gain"]), trust.get("gain_error")
    sure = 2 * float(error) if error is not None else 0.0
    if gain > sure:
        return f"Better than {what} by {gain:.3g} nats per held-out row.", True
    if gain > -sure:
        return f"Not better than {what}: for all that is known, {instead}.", False
    return f"Worse than {what} by {-gain:.3g} nats per held-out row: do not use it.", False


def reasons(found: Findings, distances: Sequence[Distance | None]) -> list[Reason]:
    """What speaks for the model and what against it.

    Arguments:
        found: all that was measured.
        distances: of draws and rows of each column.
    """
    given = []
    own, *others = figures(found.trust) or [("", 0.0, None)]
    if others:
        name, best, _ = max(others, key=lambda figure: figure[1])
        which = (
            f"the best of {plural(len(others), 'simpler model')}, {name},"
            if len(others) > 1
            else name
        )
        given.append(
            Reason(f"held-out rows have {own[1]:.3f} nats, with {which} {best:.3f}", own[1] > best)
        )
    judged = [(c.name, calibrated(c)) for c in found.columns]
    known = [(name, good) for name, good in judged if good is not None]
    if bad := [name for name, good in known if not good]:
        given.append(
            Reason(
                f"{len(bad)} of {plural(len(known), 'column')} are not calibrated given the rest of their rows: "
                f"{quoted(bad, 5)}",
                False,
            )
        )
    elif known:
        given.append(Reason(f"all {len(known)} columns that can be judged are calibrated", True))
    far = [
        column.name
        for column, apart in zip(found.columns, distances, strict=True)
        if apart is not None and apart.size > apart.chance + _MARGIN
    ]
    if far:
        given.append(
            Reason(f"draws are distributed otherwise than the table in {quoted(far, 5)}", False)
        )
    elif any(apart is not None for apart in distances):
        given.append(Reason("each column's draws are distributed as the table's rows are", True))
    for line in found.trust_lines:
        warns = line.startswith("warning: ")
        given.append(Reason(line.removeprefix("warning: "), False if warns else None))
    return given


def verdict(found: Findings, distances: Sequence[Distance | None]) -> list[Html]:
    """The sentence and the list."""
    return shown_verdict(headline(found), reasons(found, distances))


def shown_verdict(sentence: tuple[str, bool | None], given: Sequence[Reason]) -> list[Html]:
    """A sentence that is good or not, and the reasons."""
    told, good = sentence
    marks = {True: "good", False: "bad", None: "told"}
    spoken = {True: "For it: ", False: "Against it: ", None: ""}
    items = [
        element(
            "li",
            element("span", spoken[reason.speaks_for], class_="hidden"),
            reason.text,
            class_=marks[reason.speaks_for],
        )
        for reason in given
    ]
    return [
        element("p", told, class_=f"headline {marks[good]}-text"),
        element("ul", items, class_="reasons"),
    ]
