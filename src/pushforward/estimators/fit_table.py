"""From a table to a fitted density: pre-processing, the choice of a model, training, the trust report."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from pushforward.architectures import NSF, Architecture
from pushforward.bijections import Chain, SoftTails
from pushforward.data.preprocess import Preprocessing
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.estimators.table_model import TableModel
from pushforward.rows import Shape
from pushforward.training import Epoch, Training, fit


def table_flow(architecture: Architecture, d: int, condition: Shape | None, key: jax.Array) -> Flow:
    """The architecture's flow for encoded rows: far outliers compressed before the model sees them."""
    flow = architecture.build((d,), condition, key=key)
    return Flow(flow.base, Chain([flow.bijection, SoftTails(d)]))


def fit_table(
    values: np.ndarray,
    given: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    given_names: Sequence[str] | None = None,
    architecture: str | Architecture = "auto",
    settings: Training | None = None,
    precision: int = 32,
    seed: int = 0,
    report: Callable[[Epoch], bool | None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> TableModel:
    """Fit a density to the rows of a table.

    Arguments:
        values: `(n, d)` rows, finite, in their own units.
        given: `(n, c)` rows to condition on, or None.
        names, given_names: column names; default x0.. and y0...
        architecture: "auto", a name in the registry, or an instance.
        settings: how to train; default `Training()`.
        precision: 32 or 64 bits.
        seed: source of all randomness.
        report: called after every epoch; return True to stop with the best model so far.
        checkpoint: file to keep the state of training in, removed at the end; None for none.
        resume: continue from the checkpoint, if it exists.

    Raises `InputError` for values that no density can be fitted to.
    """
    columns = Preprocessing.fit(values, names)
    condition = None if given is None else Preprocessing.fit(given, given_names)
    raise InputError("not yet")
