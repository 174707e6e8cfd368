"""What is measured of a flow on a table of numbers."""

from dataclasses import fields

import numpy as np
from jaxtyping import Float

from pushforward.architectures import Facts
from pushforward.columns import Angle, Constant, Whole
from pushforward.errors import InputError
from pushforward.models.notes import NOTES
from pushforward.models.table_model import TableModel
from pushforward.report.findings import DRAWS, Findings, LeftOut, Values, some_rows, spread
from pushforward.report.strange import SHOWN, strangest
from pushforward.report.svg import number
from pushforward.trust.verdict import format_trust

_UNKNOWN = (
    "A flow gives the density of whole rows. Probabilities of one column given others, calibration by column, "
    "dependence between columns and the column to blame for a strange row need a typed model: fit with --flow typed.",
)


def flow_findings(
    model: TableModel,
    values: Float[np.ndarray, "n d"],
    condition: Float[np.ndarray, "n c"] | None = None,
    seed: int = 0,
) -> Findings:
    """Measure what a flow can be asked for.

    Arguments:
        model: the density.
        values: rows of the table.
        condition: the condition of each, for a conditional model; there is a draw for each.
        seed: of the choice of rows and of the draws.

    Raises `InputError` as `TableModel.log_prob` does, and for a table without rows. Cost: log-densities of 4,096
    rows and 2,048 draws.
    """
    if len(values) == 0:
        raise InputError("the table has no rows")
    at = some_rows(len(values), seed)
    rows = np.asarray(values, np.float64)[at]
    given = None if condition is None else np.asarray(condition, np.float64)[at]
    few = None if given is None else given[spread(len(at), DRAWS)]
    draws = model.sample(min(len(at), DRAWS), seed) if few is None else model.sample(1, seed, few)
    log_prob, draws_log_prob = model.log_prob(rows, given), model.log_prob(draws, few)
    columns, left_out = [], []
    reasons = model.columns.reasons or ("",) * len(model.columns.names)
    for i, (name, kind) in enumerate(zip(model.columns.names, model.columns.kinds, strict=True)):
        if isinstance(kind, Constant):
            left_out.append(LeftOut(name, kind.kind, f"every cell holds {number(kind.value)}"))
            continue
        columns.append(
            Values(
                name=name,
                kind=kind.kind,
                reason=reasons[i],
                measure=_measure(kind.noise, model.cells),
                rows=rows[:, i],
                draws=draws[:, i],
                step=kind.grid if isinstance(kind, Whole | Angle) else 0.0,
                write=lambda value: number(float(value)),
            )
        )
    strange = np.argsort(log_prob, kind="stable")[:SHOWN]
    shown = [model.columns.names[i] for i in model.columns.modelled]
    cells = rows[strange][:, model.columns.modelled]
    density = f"p({', '.join(model.columns.names)})"
    if model.condition is not None:
        density = f"p({', '.join(model.columns.names)} | {', '.join(model.condition.names)})"
    return Findings(
        density=density,
        about=_about(model),
        summary={key: value for key, value in model.summary.items() if key != NOTES},
        trust=model.trust,
        trust_lines=format_trust(model.trust),
        total=len(values),
        used=len(at),
        columns=tuple(columns),
        left_out=tuple(left_out),
        log_prob=log_prob,
        draws_log_prob=draws_log_prob,
        figure="log-density",
        unit="Log-density of a row, in nats, per unit of each column",
        strangest=strangest(
            log_prob[strange],
            at[strange] + 1,
            shown,
            [[number(cell) for cell in row] for row in cells.tolist()],
            np.abs(model.columns.encode(rows[strange])),
            None,
        ),
        unknown=_UNKNOWN,
    )


def _measure(noise: float, cells: bool) -> str:
    if noise == 0:
        return "density, per unit of the column"
    return (
        "density, the mean over the cell of the number" if cells else "density, read at the number"
    )


def _about(model: TableModel) -> dict[str, str]:
    architecture = model.architecture
    options = {field.name: getattr(architecture, field.name) for field in fields(architecture)}
    kind = "density of a row" if model.condition is None else "density of a row given its condition"
    return {
        "kind": f"{kind}, a normalizing flow",
        f"{type(architecture).__name__} {Facts.of(architecture).reference}".rstrip(): ", ".join(
            f"{name}={value}" for name, value in options.items()
        ),
        "arithmetic": f"{model.precision} bits",
    }
