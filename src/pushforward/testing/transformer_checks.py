"""The promises of every transformer: a family of strictly increasing scalar maps."""

from dataclasses import dataclass
from functools import cached_property, partial, wraps

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.rows import broadcasting
from pushforward.testing.contract import Check
from pushforward.testing.numbers import differ, first
from pushforward.testing.perturb import cast
from pushforward.transformers import AbstractTransformer

DOUBLE = 1e-7
FAMILIES = 40
POINTS = 101
FAR = (0.0, 1e6, -1e6, 1e30, -1e30)


@dataclass(eq=False)
class TransformerSubject:
    """A transformer under test.

    Arguments:
        name: what reports call it.
        transformer: the family.
        params: `(size, families)`, one map per column; default zeros, moderate draws and draws up to +-20.
        seed: of the draws.
    """

    name: str
    transformer: AbstractTransformer
    params: np.ndarray | None = None
    seed: int = 0

    @cached_property
    def families(self) -> np.ndarray:
        """Parameter vectors, `(size, families)`, zeros first."""
        if self.params is not None:
            return np.asarray(self.params, np.float64)
        rng = np.random.default_rng(self.seed)
        params = rng.normal(size=(self.transformer.size, FAMILIES))
        scale = np.where(np.arange(FAMILIES) < FAMILIES // 2, 1.0, 5.0)
        return np.clip(params * scale * (np.arange(FAMILIES) > 0), -20, 20)

    @cached_property
    def points(self) -> np.ndarray:
        """`(families, points)` increasing values."""
        return np.broadcast_to(np.linspace(-12.0, 12.0, POINTS), (self.families.shape[1], POINTS))

    @cached_property
    def inverse(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At the points: value, log-slope and log of the autodiff slope of `inverse`, float64."""
        return self.at("inverse", self.points)

    @cached_property
    def forward(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same of `forward`."""
        return self.at("forward", self.points)

    def at(self, direction: str, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, log-slope and log of the autodiff slope of a direction, float64."""
        with jax.enable_x64(True):
            # An axis of 1, which a family's points share; `precisions` repeats it.
            params = jnp.asarray(self.families)[:, :, None]
            transformer = cast(self.transformer, jnp.float64)
            found = _at(transformer, direction, jnp.asarray(points), params)
            value, log_slope, slope = jax.device_get(found)
            # Of a flat or falling map, which a check reports.
            with np.errstate(divide="ignore", invalid="ignore"):
                return value, log_slope, np.log(slope)


def increasing(subject: TransformerSubject) -> str | None:
    """Both directions are strictly increasing."""
    for direction in ("inverse", "forward"):
        value = getattr(subject, direction)[0]
        bad = ~(np.diff(value, axis=1) > 0)
        if bad.any():
            i, j = map(int, np.argwhere(bad)[0])
            return (
                f"{direction} does not increase from {subject.points[i, j]:g} to "
                f"{subject.points[i, j + 1]:g}: {value[i, j]:.9g} to {value[i, j + 1]:.9g}"
            )
    return None


def round_trip(subject: TransformerSubject) -> str | None:
    """`forward` undoes `inverse` and `inverse` undoes `forward`, as far as float64 and the slope allow."""
    for direction, other in (("inverse", "forward"), ("forward", "inverse")):
        value, log_slope, _ = getattr(subject, direction)
        back = subject.at(other, value)[0]
        # The value's rounding error comes back divided by the slope.
        allowed = np.maximum(DOUBLE, 1e-13 * np.exp(-np.minimum(log_slope, 0)))
        error = DOUBLE * np.abs(back - subject.points) / allowed
        detail = differ(error, np.zeros_like(error), DOUBLE, f"{other}({direction}(v)) - v")
        if detail:
            return detail
    return None


def log_slope(subject: TransformerSubject) -> str | None:
    """Both log-slopes are the log of the direction's own autodiff slope."""
    return first(
        differ(subject.inverse[1], subject.inverse[2], DOUBLE, "inverse's log-slope"),
        differ(subject.forward[1], subject.forward[2], DOUBLE, "forward's log-slope"),
    )


def volume(subject: TransformerSubject) -> str | None:
    """A log-slope of 0 everywhere, which would hide a wrong sign, is declared (`volume_preserving` of the class), and
    nothing else is."""
    zero = not (subject.forward[1].any() or subject.inverse[1].any())
    declared = subject.transformer.volume_preserving
    return None if zero == declared else f"log-slope 0 everywhere: {zero}; declared: {declared}"


def search(subject: TransformerSubject) -> str | None:
    """A `forward` with a loop whose length depends on values is declared (`searched` of the class), and no other is."""
    points, params = jnp.asarray(subject.points), jnp.asarray(subject.families)[:, :, None]
    program = eqx.filter_make_jaxpr(subject.transformer.forward)(points, params)[0]
    found, declared = "while[" in str(program), subject.transformer.searched
    return None if found == declared else f"forward searches: {found}; declared: {declared}"


def near_identity(subject: TransformerSubject) -> str | None:
    """All-zero parameters give a map close to the identity near 0, where training starts."""
    params = np.zeros((subject.transformer.size, 1))
    zero = TransformerSubject(subject.name, subject.transformer, params)
    near = np.abs(zero.points) <= 3
    return first(
        differ(zero.inverse[0][near], zero.points[near], 0.2, "inverse at zero parameters"),
        differ(zero.forward[0][near], zero.points[near], 0.2, "forward at zero parameters"),
    )


def far_inputs(subject: TransformerSubject) -> str | None:
    """At 0, +-1e6 and +-1e30, float32: values, log-slopes and gradients are never NaN."""
    shape = (*subject.families.shape, len(FAR))
    params = jnp.broadcast_to(jnp.asarray(subject.families, jnp.float32)[:, :, None], shape)
    points = jnp.broadcast_to(jnp.asarray(FAR, jnp.float32), shape[1:])
    for direction in ("inverse", "forward"):
        found = _pulled(subject.transformer, direction, points, params)
        for what, arrays in zip(("", "the gradient of "), jax.device_get(found), strict=True):
            nan = [np.isnan(a).any(tuple(range(a.ndim - 1))) for a in jax.tree.leaves(arrays)]
            if np.any(nan):
                value = FAR[int(np.argmax(np.any(nan, axis=0)))]
                return f"{what}{direction}({value:g}) is NaN"
    return None


def shapes(subject: TransformerSubject) -> str | None:
    """Values of any shape, empty ones too, keep it; float32 stays float32 with 64-bit types enabled."""
    for direction in ("inverse", "forward"):
        method = getattr(subject.transformer, direction)
        for shape in [(), (0,), (2, 0), (2, 3)]:
            with jax.enable_x64(True):
                params = jnp.zeros((subject.transformer.size, *shape), jnp.float32)
                values = jnp.zeros(shape, jnp.float32)
                # An empty one uncompiled, for code that looks at values.
                run = method if shape == (2, 0) else partial(eqx.filter_eval_shape, method)
                found = {(o.shape, str(o.dtype)) for o in run(values, params)}
                if found != {(shape, "float32")}:
                    return f"{direction} of float32 {shape} gives {sorted(found)}"
    return None


def precisions(subject: TransformerSubject) -> str | None:
    """Float32 with parameters repeated for every point agrees with float64 with shared ones, to rounding."""
    moderate = np.clip(subject.families, -3, 3)
    same = TransformerSubject(subject.name, subject.transformer, moderate)
    params = jnp.asarray(moderate, jnp.float32)[:, :, None]
    repeated = jnp.broadcast_to(params, (*moderate.shape, POINTS))
    found = same.transformer.inverse(jnp.asarray(same.points, jnp.float32), repeated)
    return first(
        differ(found[0], same.inverse[0], 1e-3, "float32 inverse beside float64's"),
        differ(found[1], same.inverse[1], 1e-2, "float32 log-slope beside float64's"),
    )


def _broadcasting(check: Check[TransformerSubject]) -> Check[TransformerSubject]:
    """A check whose scalar maps may broadcast their parameters, as they may inside a bijection."""

    @wraps(check)
    def within(subject: TransformerSubject) -> str | None:
        with broadcasting():
            return check(subject)

    return within


_CHECKS: dict[str, Check[TransformerSubject]] = {
    "increasing": increasing,
    "round trip": round_trip,
    "log-slope": log_slope,
    "volume": volume,
    "search": search,
    "near identity": near_identity,
    "far inputs": far_inputs,
    "shapes": shapes,
    "precisions": precisions,
}
TRANSFORMER_CHECKS = {name: _broadcasting(check) for name, check in _CHECKS.items()}
"""The checks of every transformer, by name."""


@eqx.filter_jit
def _at(
    transformer: AbstractTransformer, direction: str, points: Array, params: Array
) -> tuple[Array, Array, Array]:
    (value, log_slope), pull_back = jax.vjp(
        lambda p: getattr(transformer, direction)(p, params), points
    )
    slope = pull_back((jnp.ones_like(value), jnp.zeros_like(log_slope)))[0]
    return value, jnp.broadcast_to(log_slope, value.shape), slope


@eqx.filter_jit
def _pulled(
    transformer: AbstractTransformer, direction: str, points: Array, params: Array
) -> tuple[tuple[Array, Array], list[tuple[Array, Array]]]:
    """Value and log-slope, and the derivatives of each with respect to points and parameters."""
    out, pull_back = jax.vjp(getattr(transformer, direction), points, params)
    one, none = jnp.ones_like(out[0]), jnp.zeros_like(out[0])
    return out, [pull_back((one, none)), pull_back((none, one))]
