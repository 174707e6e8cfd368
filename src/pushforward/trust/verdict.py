"""The trust report in words: a line for each measure, and warnings."""

from typing import Any

from pushforward.trust.draws import draws_warnings, format_draws
from pushforward.trust.holdout import held_out_how
from pushforward.trust.order import format_order
from pushforward.trust.probes import LOG_DET_COLUMNS

_ROUND_TRIP_LIMIT, _LOG_DET_LIMIT = 1e-3, 1e-2


def format_trust(trust: dict[str, Any]) -> list[str]:
    """The report in plain English, line by line; warnings start with "warning: ".

    Arguments:
        trust: what `trust_report` returned, or an empty dictionary.
    """
    if not trust:
        return ["no trust report: nothing was held out"]
    rows = f"{trust['rows']:,} held-out row{'' if trust['rows'] == 1 else 's'}"
    if how := held_out_how(trust):
        rows += how
    lines = [
        f"density of {rows}: {_nats(trust, 'nats')} per row",
        f"a Gaussian with full covariance, same rows: {_nats(trust, 'gaussian_nats')}",
        f"gain over the Gaussian: {_nats(trust, 'gain')}",
    ]
    if trust["integer_columns"]:
        names = ", ".join(trust["integer_columns"])
        lines.append(
            f"whole-number columns ({names}): both densities are "
            + (
                f"means over the cell of the number (points in it leave {trust['cell_error']:.1e} nats per row)"
                if trust.get("cells")
                else "read at the whole number"
            )
        )
    lines.append(
        f"there and back through the map: off by at most {trust['round_trip']:.1e} deviations "
        f"(on {trust['round_trip_rows']} rows)"
    )
    if trust["log_det"] is None:
        lines.append(f"log-determinant: not checked, more than {LOG_DET_COLUMNS} columns")
    else:
        lines.append(
            f"log-determinant against automatic differentiation: off by at most {trust['log_det']:.1e} nats "
            f"(on {trust['log_det_rows']} rows)"
        )
    lines.append(
        f"in the tails, over {trust['tail_start']:g} deviations out in some column: {trust['tail_rows']:.2%} of rows"
    )
    if trust["latent_beyond"] is not None:
        lines.append(
            f"latent rows beyond the radius that holds {1 - trust['latent_expected']:.1%} of the base: "
            f"{trust['latent_beyond']:.2%} (expected {trust['latent_expected']:.1%})"
        )
    draws = trust.get("draws", {})
    lines += format_draws(draws) if draws else []
    lines += format_order(trust.get("order", {}), trust.get("holdout", {}))
    return lines + [f"warning: {text}" for text in [*_warnings(trust), *draws_warnings(draws)]]


def _warnings(trust: dict[str, Any]) -> list[str]:
    # Written so that NaN warns.
    found = []
    if not trust["gain"] > 0:
        found.append("the flow is not better than the Gaussian on held-out rows")
    if not trust["round_trip"] <= _ROUND_TRIP_LIMIT:
        found.append(
            f"the map does not lead back to where it came from (off by over {_ROUND_TRIP_LIMIT:g} deviations): "
            "samples may not follow the density; 64-bit precision may help"
        )
    if trust["log_det"] is not None and not trust["log_det"] <= _LOG_DET_LIMIT:
        found.append(
            f"the log-determinant is wrong by over {_LOG_DET_LIMIT:g} nats: densities may not integrate to 1; "
            "64-bit precision may help"
        )
    for name, (value, share) in trust.get("repeated", {}).items():
        found.append(
            f"column '{name}' holds {value:g} in {share:.0%} of rows: a density is without bound at a value that "
            "repeats, so nats say little and draws only come near it; model these rows apart, or leave the column out"
        )
    return found


def _nats(trust: dict[str, Any], key: str) -> str:
    error = trust[f"{key}_error"]
    return f"{trust[key]:.3f} nats" + ("" if error is None else f" +- {error:.3f}")
