"""An equation as a layer of a network."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pushforward.errors import InputError
from pushforward.ode.solution import Solution
from pushforward.ode.solve import solve
from pushforward.ode.solver import Solver


class ODELayer(eqx.Module):
    """A neural ODE as a layer: `x` goes in, the solution of an equation that starts there comes out.

        dy/dt = f(t, y),  y(t0) = (x, 0),  layer(x) = y(t1)

    It is a residual network of infinitely many, infinitely small layers that share their weights. A flow cannot tear
    space: what is nested stays nested. `augment` coordinates of zeros, appended to `x`, give it room to go around; they
    are part of the output.

    Cost: the field's, for each stage of each step; memory in training is that of the solver's adjoint. How the equation
    is solved can be changed later, `ode.with_solver(model, rtol=1e-1)`, for fewer calls at inference than in training.

    Arguments:
        field: a module or function `f(t, y)` that returns an array of `y`'s shape; the batch stays inside `y`.
        t0, t1: the interval; default 0 and 1.
        augment: how many zeros to append along `axis`; default 0.
        axis: of the coordinates or channels; default -1, the last.
        solver: how to solve; default `Solver()`.

    Raises `InputError` for an interval that is not finite or is empty, or a negative `augment`; when called, for an `x`
    that is not of floating-point numbers or lacks the axis, and all that `ode.solve` raises.

    Sources: Chen et al. 2018, arXiv 1806.07366; Dupont et al. 2019, arXiv 1904.01681 (`augment`).

    ```python
    >>> import jax, jax.numpy as jnp, pushforward as pf
    >>> field = pf.fields.MLPField(5, width=8, key=jax.random.key(0))
    >>> layer = pf.ode.ODELayer(field, augment=3, solver=pf.ode.Solver(rtol=1e-3, atol=1e-3))
    >>> layer(jnp.ones((4, 2))).shape
    (4, 5)

    ```
    """

    field: Any
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    augment: int = eqx.field(static=True)
    axis: int = eqx.field(static=True)
    solver: Solver = eqx.field(static=True)

    def __init__(
        self,
        field: Any,
        *,
        t0: float = 0.0,
        t1: float = 1.0,
        augment: int = 0,
        axis: int = -1,
        solver: Solver | None = None,
    ):
        if not math.isfinite(t0) or not math.isfinite(t1) or t0 == t1:
            raise InputError(f"t0={t0}, t1={t1}: two finite times that differ were expected")
        if augment < 0:
            raise InputError(f"augment={augment}: a number of zeros of at least 0 was expected")
        self.field, self.t0, self.t1 = field, float(t0), float(t1)
        self.augment, self.axis, self.solver = augment, axis, solver or Solver()

    def __call__(
        self, x: Float[Array, "*shape"], *, per_row: bool = False
    ) -> Float[Array, "*augmented"]:
        """The state at `t1`.

        Arguments:
            x: of any shape, along `axis` shorter than the field's by `augment`.
            per_row: whether each row of the leading axis has its own steps, so that its result does not depend on the
                rows beside it; default False: the batch shares its steps.
        """
        end: Array = self.solve(x, per_row=per_row).y1
        return end

    def solve(self, x: Float[Array, "*shape"], *, per_row: bool = False) -> Solution:
        """The layer's `ode.Solution`, whose `stats` count calls of the field and steps.

        Arguments:
            x, per_row: as for the layer itself.

        ```python
        >>> import jax.numpy as jnp, pushforward as pf
        >>> layer = pf.ode.ODELayer(lambda t, y: -y, solver=pf.ode.Solver(method="rk4", steps=2))
        >>> int(layer.solve(jnp.ones((4, 2))).stats.evaluations)
        8

        ```
        """
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise InputError(f"x is of type {x.dtype}: floating-point numbers were expected")
        if self.augment:
            if not -x.ndim <= self.axis < x.ndim:
                raise InputError(f"x has shape {x.shape}, which has no axis {self.axis} to augment")
            shape = list(x.shape)
            shape[self.axis] = self.augment
            x = jnp.concatenate([x, jnp.zeros(shape, x.dtype)], self.axis)
        return solve(
            self.field, x, self.t0, self.t1, **self.solver.options(per_row, rows=x.ndim > 1)
        )
