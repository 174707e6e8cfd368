"""A density under test, in several states, with everything computed from it kept for the checks."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.bijections import AbstractBijection
from pushforward.distributions import AbstractDistribution, Flow, StandardNormal
from pushforward.errors import check_count
from pushforward.ode import with_solver
from pushforward.ode.solver import holds_solver
from pushforward.testing.evidence import Pulled, Scored, draw, log_prob, pull, score
from pushforward.testing.perturb import cast, perturbed

ROWS = 30
"""Rows of most checks: 2 x 3 x 5, so that odd leading axes are a reshape away."""
DRAWS = 2**14
BLOCK = 2**13
"""Rows of one call of the float64 density, so that the grid and the few rows share a compiled program."""


@dataclass(eq=False)
class Subject:
    """A density under test. A bijection is tested as the push-forward of a standard normal.

    Everything the checks read is computed once, on first use.

    Arguments:
        name: what reports call it.
        initial: the density as built, float32.
        one_order: whether the model is one layer in one order, so that not all coordinates interact; default False.
        support: the sides of the box outside which the density is 0; default None, no such box.
        mode: of differentiation, `"forward"` (default), or `"reverse"` for maps with a reverse-mode rule of their own
            (`jax.custom_vjp`).
        scale: size of the perturbation, see `perturbed`; default 0.5, and 0 leaves the parameters as built.
        seed: of all noise; default 0.
    """

    name: str
    initial: AbstractDistribution
    one_order: bool = False
    support: tuple[float, float] | None = None
    mode: str = "forward"
    scale: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("seed", self.seed, 0)

    @property
    def size(self) -> int:
        """Number of coordinates of an event."""
        return math.prod(self.initial.event_shape)

    @property
    def exact(self) -> bool:
        """Whether log-dets are declared exact; a density without a map has none."""
        return not isinstance(self.initial, Flow) or self.initial.bijection.exact

    def state(self, i: int) -> AbstractDistribution:
        """The density after perturbation number i, of size `scale` for 0 and up to five times that for others."""
        scale = self.scale * (1 + (i % 16) / 4)
        return perturbed(self.initial, jax.random.key(self.seed + 1000 + i), scale)

    @cached_property
    def model(self) -> AbstractDistribution:
        """The density in the state that most checks use."""
        return self.state(0)

    @cached_property
    def model64(self) -> AbstractDistribution:
        """The same in float64, for use inside `jax.enable_x64(True)`."""
        with jax.enable_x64(True):
            return cast(self.model, jnp.float64)

    @property
    def bijection(self) -> AbstractBijection:
        """The map of the model, which has to be a flow."""
        assert isinstance(self.model, Flow)
        return self.model.bijection

    @property
    def flow64(self) -> Flow:
        """The float64 model, which has to be a flow."""
        assert isinstance(self.model64, Flow)
        return self.model64

    @cached_property
    def condition(self) -> Array | None:
        """Condition rows, or None."""
        shape = self.initial.condition_shape
        key = jax.random.key(self.seed + 1)
        return None if shape is None else jax.random.normal(key, (ROWS, *shape), jnp.float32)

    @property
    def one_condition(self) -> Array | None:
        """A single condition, or None."""
        return None if self.condition is None else self.condition[0]

    @property
    def same_condition(self) -> Array | None:
        """That condition for every row, or None."""
        c = self.one_condition
        return None if c is None else jnp.broadcast_to(c, (ROWS, *c.shape))

    @cached_property
    def z(self) -> Array:
        """Latent rows, spread wider than a standard normal, so that some lie in the tails; within the support."""
        key, model = jax.random.key(self.seed + 2), self.initial
        shape = model.base.event_shape if isinstance(model, Flow) else model.event_shape
        rows = 1.5 * jax.random.normal(key, (ROWS, *shape), jnp.float32)
        if self.support is None:
            return rows
        low, high = self.support
        return low + (high - low) * jax.nn.sigmoid(rows)

    @cached_property
    def x(self) -> Array:
        """Data rows: the images of `z`, or draws where the density has no map."""
        if isinstance(self.initial, Flow):
            return jnp.asarray(self.forward.value, jnp.float32)
        drawn = draw(self.model, jax.random.key(self.seed + 3), ROWS, self.one_condition)[0]
        return jnp.asarray(drawn, jnp.float32)

    @cached_property
    def forward(self) -> Pulled:
        """The map at `z`, float64."""
        return self.pull("forward", np.asarray(self.z, np.float64))

    @cached_property
    def inverse(self) -> Pulled:
        """The inverse at the images of `z`, float64."""
        return self.pull("inverse", self.forward.value)

    @cached_property
    def scored(self) -> Scored:
        """Log-densities of `x` with gradients, float32."""
        return score(self.model, self.x, self.condition)

    @cached_property
    def eager(self) -> tuple[np.ndarray, np.ndarray]:
        """Log-densities of `x` as `(2, 3, 5, *event)` under `(5, *condition)`, uncompiled and compiled, float32."""
        few = None if self.condition is None else self.condition[:5]
        every = None if few is None else jnp.tile(few, (6, *[1] * (few.ndim - 1)))
        odd = self.x.reshape(2, 3, 5, *self.initial.event_shape)
        compiled = score(self.model, self.x, every).log_prob
        return np.asarray(self.model.log_prob(odd, few)), compiled.reshape(2, 3, 5)

    @cached_property
    def draws(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws under one condition, with the log-densities that come with them; many where a grid is compared."""
        n, key = DRAWS if self.size <= 2 else ROWS, jax.random.key(self.seed + 4)
        x, log_probs = jax.device_get(draw(self.model, key, n, self.one_condition))
        return x, log_probs

    def log_prob64(self, x: np.ndarray, condition: Array | None) -> np.ndarray:
        """Float64 log-densities of rows, all under one condition."""
        blocks = []
        with jax.enable_x64(True):
            condition = None if condition is None else cast(condition, jnp.float64)
            for start in range(0, len(x), BLOCK):
                some = np.asarray(x[start : start + BLOCK], np.float64)
                padded = np.concatenate([some, np.repeat(some[-1:], BLOCK - len(some), axis=0)])
                found = log_prob(self.model64, jnp.asarray(padded), condition)
                if found.dtype != jnp.float64:
                    raise TypeError(f"log_prob of float64 is {found.dtype}")
                blocks.append(np.asarray(found)[: len(some)])
        return np.concatenate(blocks)

    def pull(self, direction: str, value: np.ndarray) -> Pulled:
        """A direction of the map with its Jacobian, float64; continuous maps are solved to its last digits."""
        with jax.enable_x64(True):
            condition = None if self.condition is None else cast(self.condition, jnp.float64)
            flow, mode = self.flow64, self.mode
            if holds_solver(flow):
                flow, mode = with_solver(flow, rtol=1e-10, atol=1e-10), "reverse"
            return pull(flow, direction, jnp.asarray(value), condition, mode)


def bijection_subject(name: str, bijection: AbstractBijection, **options: Any) -> Subject:
    """A bijection as the push-forward of a standard normal; `options` of the `Subject`."""
    return Subject(name, Flow(StandardNormal(bijection.latent_shape), bijection), **options)


def leaves_with_names(tree: Any) -> list[tuple[str, Array]]:
    """The floating-point arrays of a pytree, but for empty ones, with their paths."""
    return [
        (jax.tree_util.keystr(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if eqx.is_inexact_array_like(leaf) and np.size(leaf)
    ]
