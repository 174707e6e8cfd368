"""Angles and real coordinates in one map."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.errors import InputError
from pushforward.networks.layers import split
from pushforward.rows import Shape


class Cylinder(AbstractBijection):
    """Angles by a map of the torus, the other coordinates by a map that depends on the angles.

        x_a = f(z_a; c),    x_r = g(z_r; x_a, c)

    g receives cosines and sines, so that the density has period 2 pi in every angle. By the chain rule this is no
    restriction: `p(x) = p(x_a | c) p(x_r | x_a, c)`. Cost: that of both maps.

    Flows on products of circles and lines (Rezende et al. 2020, arXiv 2002.02428).

    Arguments:
        turned: the map f of `k` angles in radians, with condition `(c,)` or none.
        straight: the map g of the others, with condition `(2 k + c,)`: cosines, sines, then c.
        angles: which coordinates are angles, at least one and not all.

    Raises `InputError` where the numbers of coordinates or conditions do not fit.

    ```python
    >>> import jax, pushforward as pf
    >>> from pushforward.networks import MLP
    >>> circle = pf.bijections.Elementwise(pf.transformers.CircularSpline(), 1)
    >>> network = MLP(2, (2, 1), width=8, depth=1, key=jax.random.key(0))
    >>> line = pf.bijections.Elementwise(pf.transformers.Affine(), 1, network=network, condition_shape=(2,))
    >>> cylinder = pf.bijections.Cylinder(circle, line, angles=(True, False))
    >>> z, _ = cylinder.inverse(jax.numpy.array([[0.5, 1.0], [0.5 + 2 * jax.numpy.pi, 1.0]]))
    >>> bool(abs(z[0, 1] - z[1, 1]) < 1e-6)
    True

    ```
    """

    turned: AbstractBijection
    straight: AbstractBijection
    angles: tuple[bool, ...] = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self, turned: AbstractBijection, straight: AbstractBijection, angles: Sequence[bool]
    ):
        k, d = sum(angles), len(angles)
        c = turned.condition_shape
        seen = (2 * k + (0 if c is None else c[0]),)
        if (turned.event_shape, straight.event_shape) != ((k,), (d - k,)):
            raise InputError(
                f"maps of {k} angles and {d - k} other coordinates are expected, not of the shapes "
                f"{turned.event_shape} and {straight.event_shape}"
            )
        if straight.condition_shape != seen:
            raise InputError(
                f"the map beside the angles takes the condition {straight.condition_shape}; {seen} is expected: "
                "cosines, sines and the condition of the angles' own map"
            )
        self.turned, self.straight, self.angles = turned, straight, tuple(map(bool, angles))
        self.event_shape, self.condition_shape = (d,), c

    def facts_of(self) -> tuple[AbstractBijection, ...]:
        return self.turned, self.straight

    def without_log_det(self) -> "Cylinder":
        bare = self.turned.without_log_det(), self.straight.without_log_det()
        return Cylinder(*bare, self.angles)

    def visited(
        self, visit: Callable[..., tuple[Any, Array]], x: Array, condition: Condition
    ) -> tuple["Cylinder", Array]:
        """See `initialised`: each map is visited with its part of the data rows `(n, d)`."""
        turned, straight = parted(x, self.angles)
        one, z_turned = visit(self.turned, turned, condition)
        other, z_straight = visit(self.straight, straight, _seen(turned, condition))
        return Cylinder(one, other, self.angles), joined(z_turned, z_straight, self.angles)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        keys = split(key, 2)
        turned, straight = parted(z, self.angles)
        turned, log_det = self.turned.forward_rows(turned, condition, keys[0])
        straight, more = self.straight.forward_rows(straight, _seen(turned, condition), keys[1])
        return joined(turned, straight, self.angles), log_det + more

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        keys = split(key, 2)
        turned, straight = parted(x, self.angles)
        straight, log_det = self.straight.inverse_rows(straight, _seen(turned, condition), keys[1])
        turned, more = self.turned.inverse_rows(turned, condition, keys[0])
        return joined(turned, straight, self.angles), log_det + more


def parted(x: Array, first: tuple[bool, ...]) -> tuple[Array, Array]:
    """The columns of `(n, d)` that `first` marks, and the others."""
    mask = np.array(first)
    return x[:, mask], x[:, ~mask]


def joined(one: Array, other: Array, first: tuple[bool, ...]) -> Array:
    """The inverse of `parted`."""
    order = np.argsort(np.argsort(~np.array(first), kind="stable"), kind="stable")
    return jnp.concatenate([one, other], axis=1)[:, order]


def _seen(angles: Array, condition: Condition) -> Array:
    """Cosines, sines and the condition."""
    parts = [jnp.cos(angles), jnp.sin(angles)]
    return jnp.concatenate(parts if condition is None else [*parts, condition], axis=1)
