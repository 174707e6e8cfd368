"""The page about a model and a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.report.calibration import BINS, CHANCE, calibration_figure
from pushforward.report.claims import claims_list
from pushforward.report.dependence import dependence_figure
from pushforward.report.draws import Distance, distance, draws_figure
from pushforward.report.findings import Findings, Values
from pushforward.report.gaps import gaps_table
from pushforward.report.html import Html, element, folded, table
from pushforward.report.nats import columns_table, figures, nats_figure
from pushforward.report.skeleton import Part, skeleton
from pushforward.report.strange import strange_table
from pushforward.report.typical import typical_figure
from pushforward.report.verdict import verdict
from pushforward.words import plural

PANELS = 100
"""Columns that have pictures."""
_CLAIMS = {
    "agreement": (
        "Do conditionals agree?",
        "How far conditional probabilities that are reached by different routes differ, in nats.",
    ),
    "privacy": (
        "Privacy",
        "How draws compare with the rows of the training, beside the same for rows that were held out.",
    ),
}


def report_page(found: Findings, model: str, data: str) -> str:
    """A page of HTML that needs no network and no script.

    Arguments:
        found: what was measured, by `typed_findings` or `flow_findings`.
        model, data: names of the model's file and of the table's.
    """
    distances = [distance(column, len(found.columns)) for column in found.columns]
    rows = (
        f"all {plural(found.used, 'row')}"
        if found.used == found.total
        else f"{found.used:,} rows drawn at random of {found.total:,}"
    )
    return skeleton(
        f"Report on {model}",
        f"Measured on {rows} of {data} and on {len(found.draws_log_prob):,} draws.",
        _sections(found, distances),
        "This page shows cells of the table that it was made from: share it as you would share the table.",
    )


def _sections(found: Findings, distances: Sequence[Distance | None]) -> list[Part | None]:
    return [
        ("verdict", "Verdict", verdict(found, distances)),
        ("model", "The model", _model(found)),
        _nats(found),
        ("columns", "Columns", _columns(found)),
        _dependence(found),
        ("by-column", "Column by column", _panels(found, distances)),
        _typical(found),
        None if found.gaps is None else ("gaps", "Gaps", gaps_table(found.gaps)),
        ("strange", "The strangest rows", _strange(found)),
        *(_claims(name, found.trust) for name in _CLAIMS),
        ("left-out", "What this page leaves out", [element("p", t) for t in found.unknown])
        if found.unknown
        else None,
    ]


def _model(found: Findings) -> list[Html]:
    return [
        element("p", element("strong", found.density)),
        claims_list(found.about),
        folded("How it was trained", claims_list(found.summary)),
    ]


def _nats(found: Findings) -> Part | None:
    beside = figures(found.trust)
    by_column = columns_table(found.columns)
    if not beside and by_column is None:
        return None
    parts = [nats_figure(beside) if beside else None, by_column]
    return "nats", "Nats per row", parts


def _columns(found: Findings) -> list[Html | None]:
    with_gaps = found.gaps is not None
    heads = ["column", "kind", "why", "the model gives"]
    heads += ["missing", "missing in draws"] if with_gaps else []
    rows = [
        [c.name, c.kind, c.reason, c.measure]
        + ([f"{c.missing:.2%}", f"{c.missing_draws:.2%}"] if with_gaps else [])
        for c in found.columns
    ]
    parts: list[Html | None] = [
        table(
            f"Kinds of the {plural(len(rows), 'column')} that are modelled, and the unit of their figures",
            heads,
            rows,
            (4, 5),
        )
    ]
    if found.left_out:
        others = [(c.name, c.kind, c.reason) for c in found.left_out]
        parts.append(table("Columns that are not modelled", ("column", "kind", "why"), others))
    return parts


def _dependence(found: Findings) -> Part | None:
    if found.dependence is None:
        return None
    text = (
        "Mutual information of two columns: by how many nats one cell makes the other less surprising, with nothing "
        "else known."
    )
    parts = [element("p", text), dependence_figure(found.dependence)]
    return "dependence", "Dependence between columns", parts


def _panels(found: Findings, distances: Sequence[Distance | None]) -> list[Html | None]:
    judged = any(c.ranks is not None for c in found.columns)
    key = [
        element("span", class_="key data"),
        "the table ",
        element("span", class_="key drawn"),
        "draws of the model",
    ]
    if judged:
        key += [element("span", class_="key band"), "the band of chance"]
    parts: list[Html | None] = [element("p", key)]
    if judged:
        parts.append(
            element(
                "p",
                "Calibration: where each cell lies within its distribution given all other cells of its row, from 0 to "
                f"1, cells of equal value spread at random. A model that is right gives bars of equal height; with "
                f"probability {1 - CHANCE:.0%} all {BINS} then lie in the band. Labels are taken in the order of their "
                "levels.",
            )
        )
    panels = [
        _panel(column, f"column-{i}", apart)
        for i, (column, apart) in enumerate(zip(found.columns, distances, strict=True), 1)
        if i <= PANELS
    ]
    parts.append(element("div", panels, class_="panels"))
    if len(found.columns) > PANELS:
        parts.append(element("p", f"The first {PANELS} of {len(found.columns)} columns are shown."))
    return parts


def _panel(column: Values, name: str, apart: Distance | None) -> Html:
    parts: list[Any] = [element("h3", column.name)]
    told = column.kind
    if column.alone is not None and column.given_rest is not None:
        told += f"; {column.alone[0]:.2f} nats alone, {column.given_rest[0]:.2f} given the rest"
    parts.append(element("div", told, class_="soft"))
    parts.append(draws_figure(column, f"{name}-draws", apart))
    parts.append(calibration_figure(column, f"{name}-ranks"))
    return element("article", parts, class_="panel", id=name)


def _typical(found: Findings) -> Part | None:
    drawn = typical_figure(found)
    if drawn is None:
        return None
    return "typical", f"Rows and draws by their {found.figure}", drawn


def _strange(found: Findings) -> list[Html]:
    if any(row.excess is not None for row in found.strangest):
        text = (
            "Rows of least log-probability among those looked at. To blame is the cell that, given all others of its "
            "row, is more surprising than they let one expect, by the most nats."
        )
    else:
        text = (
            "Rows of least log-density among those looked at, with the cell that lies farthest from the median of its "
            "column, in spreads: that need not be the reason."
        )
    return [element("p", text), strange_table(found.strangest, found.figure)]


def _claims(name: str, trust: Mapping[str, Any]) -> Part | None:
    claims = trust.get(name)
    if not claims:
        return None
    title, text = _CLAIMS[name]
    shown = claims_list(claims) if isinstance(claims, Mapping) else element("p", str(claims))
    return name, title, [element("p", text), shown]
