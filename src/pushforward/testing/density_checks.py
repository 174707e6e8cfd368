"""The promises of every density."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.parameters import read_entries
from pushforward.testing.contract import Check
from pushforward.testing.evidence import log_prob_by_row, score
from pushforward.testing.numbers import differ
from pushforward.testing.quadrature import SUM, grid_of
from pushforward.testing.subjects import ROWS, Subject, leaves_with_names

SINGLE = 1e-3
"""What float32 results may differ by, relative to 1 + |value|: rounding, amplified by the map's condition number."""
FALSE_ALARM = 1e-6
"""Probability that a statistical check fails a correct subject; as noise is fixed, it does so always or never."""
STATES = 64
"""Perturbations tried before a parameter without a gradient counts as dead: a unit of a ReLU network without inputs is
silent in half of them, and two have to be active at once."""


def finite(subject: Subject) -> str | None:
    """Log-densities of the subject's own rows are finite."""
    bad = ~np.isfinite(subject.scored.log_prob)
    return f"{bad.sum()} of {bad.size} log-densities are not finite" if bad.any() else None


def jit(subject: Subject) -> str | None:
    """Compiled and uncompiled log-densities agree, the latter with odd leading axes."""
    eager, compiled = subject.eager
    return differ(eager, compiled, SINGLE, "uncompiled log-density of leading axes (2, 3, 5)")


def vmap(subject: Subject) -> str | None:
    """`vmap` over single rows agrees with the batch."""
    rows = log_prob_by_row(subject.model, subject.x, subject.condition)
    return differ(rows, subject.scored.log_prob, SINGLE, "log-density under vmap")


def leading_axes(subject: Subject) -> str | None:
    """Batches of no rows, one row and odd leading axes work; a condition broadcasts."""
    model, x, c = subject.model, subject.x, subject.condition
    event = model.event_shape
    for batch in [(), (0,), (1,), (3, 0)]:
        rows = jax.ShapeDtypeStruct((*batch, *event), x.dtype)
        given = None if c is None else jax.ShapeDtypeStruct((*batch, *c.shape[1:]), c.dtype)
        shape = eqx.filter_eval_shape(model.log_prob, rows, given).shape
        if shape != batch:
            return f"log_prob of a batch {batch} has shape {shape}"
        drawn = eqx.filter_eval_shape(model.sample, jax.random.key(0), (2, 0), given).shape
        if drawn != (2, 0, *(batch if c is not None else ()), *event):
            return f"a sample of shape (2, 0) under conditions {batch} has shape {drawn}"
    found = np.shape(subject.eager[0])
    return None if found == (2, 3, 5) else f"log_prob of a batch (2, 3, 5) has shape {found}"


def row_independence(subject: Subject) -> str | None:
    """A row's log-density does not change when every other row does."""
    half = ROWS // 2
    others = subject.x.at[half:].set(3.0 * subject.x[half:] + 1.0)
    found = score(subject.model, others, subject.condition).log_prob[:half]
    return differ(found, subject.scored.log_prob[:half], 1e-5, "after other rows changed")


def gradients(subject: Subject) -> str | None:
    """Every parameter gets a finite gradient of the mean log-density, and every entry a non-zero one in some state.

    Entries that a module declares as never read (`pushforward.parameters.Unread`) get none.
    """
    read = dict(leaves_with_names(jax.tree.map(_as_float, read_entries(subject.initial))))
    silent = {name: entries > 0 for name, entries in read.items()}
    for i in range(STATES):
        found = subject.scored if i == 0 else score(subject.state(i), subject.x, subject.condition)
        by_name = leaves_with_names(found.by_model)
        largest = max((np.abs(gradient).max() for _, gradient in by_name), default=0.0)
        for name, gradient in by_name:
            if not np.isfinite(gradient).all():
                return f"the gradient of {name} is not finite"
            lies = (read[name] == 0) & (np.abs(gradient) > SINGLE * largest)
            if lies.any():
                at = tuple(map(int, np.argwhere(lies)[0]))
                return f"{name} is declared unread at {at}, but has a gradient of {gradient[at]:g}"
            silent[name] = silent[name] & (gradient == 0)
        if not any(entries.any() for entries in silent.values()):
            return None
    name, entries = next((n, e) for n, e in silent.items() if e.any())
    at = tuple(map(int, np.argwhere(entries)[0]))
    return f"{entries.sum()} of {entries.size} entries of {name} never get a gradient, such as {at}"


def single_precision(subject: Subject) -> str | None:
    """With 64-bit types enabled, a float32 model still answers float32 rows in float32."""
    model, x, condition = subject.model, subject.x, subject.condition
    with jax.enable_x64(True):
        found = eqx.filter_eval_shape(model.log_prob, x, condition)
    return None if found.dtype == jnp.float32 else f"log_prob of float32 is {found.dtype}"


def double_precision(subject: Subject) -> str | None:
    """Float64 answers in float64, and agrees with float32 to float32's rounding."""
    single = score(subject.model, subject.x, subject.same_condition).log_prob
    double = subject.log_prob64(np.asarray(subject.x), subject.one_condition)
    return differ(single, double, SINGLE, "float32 log-density beside float64's")


def far_inputs(subject: Subject) -> str | None:
    """At 0, in the tails and at 1e6 and 1e30, in one coordinate or in all: log-densities are finite or -inf, never
    NaN, and gradients are never NaN where they are finite."""
    values = [0.0, 10.0, -10.0, 1e3, -1e3, 1e6, -1e6, 1e30, -1e30]
    flat = np.asarray(subject.x).reshape(ROWS, -1)
    rows = [np.full(subject.size, v) for v in values]
    for value, i in itertools.product(values[1:], range(subject.size)):
        rows.append(np.where(np.arange(subject.size) == i, value, flat[0]))
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        block = np.concatenate([some, flat[: ROWS - len(some)]]).reshape(subject.x.shape)
        found = score(subject.model, jnp.asarray(block, jnp.float32), subject.condition).log_prob
        if np.isnan(found).any() or (found == np.inf).any():
            at = int(np.flatnonzero(np.isnan(found) | (found == np.inf))[0])
            return f"log_prob({block[at].tolist()}) is {found[at]}"
        where = np.isfinite(found).reshape(-1, *[1] * (block.ndim - 1))
        kept = np.where(where, block, np.asarray(subject.x))
        again = score(subject.model, jnp.asarray(kept, jnp.float32), subject.condition)
        for name, gradient in leaves_with_names((again.by_model, again.by_x)):
            if np.isnan(gradient).any():
                finite_rows = block.reshape(ROWS, -1)[np.isfinite(found)]
                return f"the gradient of {name} is NaN; largest input {np.abs(finite_rows).max():g}"
    return None


def sample_log_prob(subject: Subject) -> str | None:
    """`sample_and_log_prob` and `log_prob` agree, and the draws are finite."""
    drawn, with_them = subject.draws
    if not np.isfinite(drawn).all():
        return "some draws are not finite"
    found = score(subject.model, jnp.asarray(drawn[:ROWS]), subject.same_condition).log_prob
    return differ(with_them[:ROWS], found, SINGLE, "log-density that came with the draws")


def integral(subject: Subject) -> str | None:
    """A 1-D or 2-D density integrates to 1 +- 1e-3, unless its log-dets are declared estimates."""
    if subject.size > 2 or not subject.exact:
        return None
    mass = grid_of(subject).masses.sum()
    return None if abs(mass - 1) <= SUM else f"the density integrates to {mass:.6f}"


def samples(subject: Subject) -> str | None:
    """Draws of a 1-D or 2-D density follow it: chi-squared over cells, false-alarm rate 1e-6; exact log-dets only."""
    if subject.size > 2 or not subject.exact:
        return None
    p, n = grid_of(subject).p_value(), len(subject.draws[0])
    return None if p >= FALSE_ALARM else f"{n} draws do not follow the density: p = {p:.2g}"


DENSITY_CHECKS: dict[str, Check[Subject]] = {
    "finite": finite,
    "jit": jit,
    "vmap": vmap,
    "leading axes": leading_axes,
    "row independence": row_independence,
    "gradients": gradients,
    "single precision": single_precision,
    "double precision": double_precision,
    "far inputs": far_inputs,
    "sample_and_log_prob": sample_log_prob,
    "integral": integral,
    "samples": samples,
}
"""The checks of every density, by name."""


def _as_float(leaf: Any) -> Any:
    return leaf.astype(np.float32) if isinstance(leaf, np.ndarray) else leaf
