"""From a table to a fitted density: pre-processing, the choice of a model, training, the trust report."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from pushforward.architectures import ARCHITECTURES, NSF, Architecture
from pushforward.bijections import Chain, SoftTails
from pushforward.data.preprocess import Preprocessing
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.estimators.table_model import TableModel
from pushforward.rows import Shape
from pushforward.training import Checkpoint, Epoch, Training, fit


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
    values = np.asarray(values, np.float64)
    columns = Preprocessing.fit(values, names)
    condition = None if given is None else Preprocessing.fit(given, given_names)
    if given is not None and len(given) != len(values):
        raise InputError(f"{len(values)} rows, but {len(given)} rows of the condition")
    with jax.enable_x64(precision == 64):
        dtype = np.float64 if precision == 64 else np.float32
        x = columns.encode(values).astype(dtype)
        c = None if condition is None or given is None else condition.encode(given).astype(dtype)
        key = jax.random.key(seed)
        chosen = _architecture(architecture)
        shape = None if c is None else (c.shape[1],)
        flow = table_flow(chosen, x.shape[1], shape, jax.random.fold_in(key, 0))
        jitter = columns.jitter if any(columns.lattice) else None
        kept = None if checkpoint is None else Checkpoint(checkpoint, resume=resume)
        fitted = fit(
            flow, x, c, key=jax.random.fold_in(key, 1), settings=settings, jitter=jitter, report=report,
            checkpoint=kept,
        )  # fmt: skip
    summary = {"stopped": fitted.stopped, "epochs": len(fitted.history), "seconds": fitted.seconds}
    return TableModel(fitted.model, chosen, columns, condition, precision, summary)


def _architecture(choice: str | Architecture) -> Architecture:
    if not isinstance(choice, str):
        return choice
    if choice == "auto":
        return NSF()
    if choice not in ARCHITECTURES:
        raise InputError(f"flow {choice!r} is unknown; known: auto, {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[choice]()
