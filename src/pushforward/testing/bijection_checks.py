"""The promises of every bijection, as the map of a flow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.testing.contract import Check
from pushforward.testing.numbers import differ, first
from pushforward.testing.parts import (
    autoregressive_layers,
    conditional_part_ignores,
    naive_forward,
    parts,
)
from pushforward.testing.subjects import Subject

DOUBLE = 1e-8
"""What float64 results may differ by, relative to 1 + |value|: below float32's rounding, 6e-8, which shows arithmetic
that passes through float32."""


def round_trip(subject: Subject) -> str | None:
    """`inverse` undoes `forward`, and `forward` undoes `inverse`, float64."""
    there, back = subject.forward, subject.inverse
    again = subject.pull("forward", back.value)
    return first(
        differ(back.value, np.asarray(subject.z), DOUBLE, "inverse(forward(z))"),
        differ(again.value, there.value, DOUBLE, "forward(inverse(x))"),
    )


def forward_log_det(subject: Subject) -> str | None:
    """The log-det of `forward` is the log |det| of its own autodiff Jacobian, unless it is declared an estimate."""
    if not subject.exact:
        return None
    expected = np.linalg.slogdet(subject.forward.jacobian)[1]
    return differ(subject.forward.log_det, expected, DOUBLE, "forward's log-det beside autodiff")


def inverse_log_det(subject: Subject) -> str | None:
    """The log-det of `inverse` is the log |det| of its own autodiff Jacobian, unless it is declared an estimate."""
    if not subject.exact:
        return None
    expected = np.linalg.slogdet(subject.inverse.jacobian)[1]
    return differ(subject.inverse.log_det, expected, DOUBLE, "inverse's log-det beside autodiff")


def volume(subject: Subject) -> str | None:
    """A log-det of 0 everywhere, which would hide a wrong sign, is declared (`volume_preserving` of the class), and
    nothing else is."""
    zero = not (subject.forward.log_det.any() or subject.inverse.log_det.any())
    if zero and not subject.bijection.volume_preserving:
        return (
            "the log-det is 0 on every row, where a wrong sign would pass: set volume_preserving = True in the class, "
            "if that is meant"
        )
    if subject.bijection.volume_preserving and not zero:
        return f"declared volume-preserving, but |log-dets| reach {abs(subject.forward.log_det).max():g}"
    return None


def single_precision(subject: Subject) -> str | None:
    """With 64-bit types enabled, a float32 map still answers float32 rows in float32, both ways."""
    model, condition = subject.model, subject.condition
    for direction, rows in (("forward", subject.z), ("inverse", subject.x)):
        with jax.enable_x64(True):
            found = eqx.filter_eval_shape(getattr(model, direction), rows, condition)
        if any(out.dtype != jnp.float32 for out in found):
            return f"{direction} of float32 is {', '.join(str(out.dtype) for out in found)}"
    return None


def condition(subject: Subject) -> str | None:
    """Every feature of the condition changes the density and, in every conditional layer, every coordinate that the
    layer changes."""
    if subject.condition is None:
        return None
    assert subject.inverse.by_condition is not None
    dead = ~(subject.inverse.by_condition != 0).any(axis=(0, 1))
    if dead.any():
        return f"condition feature {int(np.argmax(dead))} changes no coordinate"
    for name, part in parts(subject.bijection):
        if part.condition_shape is not None:
            detail = conditional_part_ignores(part, subject.z, subject.condition)
            if detail:
                return f"{name}: {detail}"
    return None


def cached_inverse(subject: Subject) -> str | None:
    """An autoregressive layer's cached inverse equals the naive one, coordinate by coordinate, float64."""
    if subject.size < 3:  # nothing to cache, and the round trip tells
        return None
    for name, part in parts(subject.bijection):
        for layer in autoregressive_layers(part):
            with jax.enable_x64(True):
                found, expected = naive_forward(layer, subject.z, subject.condition)
            return first(
                differ(found[0], expected[0], DOUBLE, f"{name}: cached forward beside naive"),
                differ(found[1], expected[1], DOUBLE, f"{name}: cached log-det beside naive"),
            )
    return None


BIJECTION_CHECKS: dict[str, Check[Subject]] = {
    "round trip": round_trip,
    "forward log-det": forward_log_det,
    "inverse log-det": inverse_log_det,
    "volume": volume,
    "single precision both ways": single_precision,
    "condition": condition,
    "cached inverse": cached_inverse,
}
"""The checks of every bijection, by name, in addition to those of its density."""
