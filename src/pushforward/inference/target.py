"""What is fitted: an unnormalised log-density of one flat unconstrained vector."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.errors import InputError, check_count
from pushforward.inference.layout import Layout, layout_of
from pushforward.rows import broadcasting

Rows = tuple[np.ndarray, np.ndarray]
"""Log-densities `(n,)` and their gradients `(n, d)`, in float64."""
# Rows of a compiled call: one program serves starts, probes, weights and each step of a fit.
FEW, MANY = 256, 4096
COMPILER: dict[str, Any] = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_prefer_vector_width": 128,
}
"""Compiling is most of the time of a fit: programs that run as fast and compile in half the time (JAX 0.10, CPU)."""


@dataclass(frozen=True, eq=False)
class Target:
    """An unnormalised log-density of one flat unconstrained vector `u`, in nats, log-dets of supports included.

        log p(u) = log p(theta(u)) + log |det dtheta/du|

    `fit_posterior` needs its value and gradient at single vectors, nothing else. They come from a JAX function, or from
    any function on the host: Stan, PyMC's compiled functions, a program in Fortran. A bridge to a modelling language
    makes one of these.

    Arguments:
        dim: the length of u.
        log_density: a function in JAX from `(dim,)` to a number, which can be traced and differentiated; or None, with
            `value_and_grad`.
        value_and_grad: a function on the host from a float64 NumPy vector `(dim,)` to the log-density and its gradient
            `(dim,)`, in place of `log_density`. It may return NaN, or raise `ArithmeticError`, where there is none. It
            must not call JAX.
        constrain: from NumPy rows `(n, dim)` to draws as the user sees them: a dictionary, or another container, of
            arrays `(n, ...)`, derived quantities included; default the rows themselves.
        unconstrain: the inverse, from a container of arrays `(n, ...)` to rows `(n, dim)`, for `evidence` with draws
            of others; default None.
        names: of the numbers of u, for messages; default `u[0]`, `u[1]`, ...
        layout: the supports, where they are ours: a file can then give draws of the parameters, and densities of theirs
            have their log-dets; default None.
        of_event: the user's function of one event, with a layout; default None.

    Raises `InputError` for a `dim` below 1, and unless exactly one of the two functions is given.

    ```python
    >>> import numpy as np
    >>> from pushforward.inference import Target
    >>> target = Target(2, value_and_grad=lambda u: (-0.5 * u @ u, -u))
    >>> value, gradient = target.rows(np.ones((1, 2)))
    >>> value.tolist(), gradient.tolist()
    ([-1.0], [[-1.0, -1.0]])

    ```
    """

    dim: int
    log_density: Callable[[Array], Array] | None = None
    value_and_grad: Callable[[np.ndarray], tuple[Any, Any]] | None = None
    constrain: Callable[[np.ndarray], Any] | None = None
    unconstrain: Callable[[Any], np.ndarray] | None = None
    names: tuple[str, ...] | None = None
    layout: Layout | None = None
    of_event: Callable[..., Any] | None = field(repr=False, default=None)
    _compiled: Any = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        check_count("dim", self.dim)
        if (self.log_density is None) == (self.value_and_grad is None):
            raise InputError("a Target takes either log_density or value_and_grad")
        names = self.names or tuple(f"u[{i}]" for i in range(self.dim))
        if len(names) != self.dim:
            raise InputError(f"{len(names)} names for a target of {self.dim} numbers")
        object.__setattr__(self, "names", tuple(map(str, names)))
        if self.log_density is not None:
            function = jax.vmap(jax.value_and_grad(self.log_density))
            object.__setattr__(self, "_compiled", jax.jit(function, compiler_options=COMPILER))

    def traced_rows(self, u: Float[Array, "n d"]) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
        """`(n, dim)` rows to log-densities `(n,)` and gradients `(n, dim)`, within compiled JAX programs. A function on
        the host is called from there."""
        if self.log_density is not None:
            return jax.vmap(jax.value_and_grad(self.log_density))(u)
        shapes = (jax.ShapeDtypeStruct((len(u),), u.dtype), jax.ShapeDtypeStruct(u.shape, u.dtype))

        def host(rows: Any) -> Rows:
            values, gradients = self._called(np.asarray(rows, np.float64))
            return values.astype(u.dtype), gradients.astype(u.dtype)

        found: tuple[Array, Array] = jax.pure_callback(host, shapes, u)
        return found

    def rows(self, u: np.ndarray, block: int = FEW) -> Rows:
        """`(n, dim)` rows to log-densities `(n,)` and gradients `(n, dim)`, in float64 where the function is: NaN, not
        an error, where there is none. `block` rows go to one call of a compiled program; each size compiles one."""
        u = np.asarray(u, np.float64)
        if self.value_and_grad is not None:
            return self._called(u)
        values, gradients = np.empty(len(u)), np.empty(u.shape)
        for at in range(0, len(u), block):
            own = u[at : at + block]
            filled = np.concatenate([own, np.broadcast_to(own[:1], (block - len(own), self.dim))])
            with broadcasting():
                found = self._compiled(device_rows(filled))
            values[at : at + block] = np.asarray(found[0])[: len(own)]
            gradients[at : at + block] = np.asarray(found[1])[: len(own)]
        return values, gradients

    def values(self, u: np.ndarray) -> np.ndarray:
        """Log-densities alone."""
        return self.rows(u)[0]

    def _called(self, u: np.ndarray) -> Rows:
        """The host's function, row by row."""
        assert self.value_and_grad is not None
        values, gradients = np.full(len(u), np.nan), np.full(u.shape, np.nan)
        for i, row in enumerate(u):
            try:
                values[i], gradients[i] = self.value_and_grad(row)
            except ArithmeticError:
                continue
        return values, gradients

    def turned(self, layout: Layout) -> "Target":
        """The same log-density of one event by way of another layout, for targets of ours."""
        assert self.of_event is not None
        return target_with(self.of_event, layout)

    def draws(self, u: np.ndarray) -> Any:
        """Rows as the user sees them."""
        return np.asarray(u) if self.constrain is None else self.constrain(np.asarray(u))


def device_rows(rows: np.ndarray) -> Array:
    """Rows in JAX's precision; what is too large for it is infinite there."""
    with np.errstate(over="ignore"):
        return jnp.asarray(rows.astype(jnp.zeros(()).dtype))


def layout_constrain(layout: Layout) -> Callable[[np.ndarray], Any]:
    """Rows of unconstrained vectors to events, as NumPy arrays."""
    run = jax.jit(jax.vmap(lambda u: layout.constrain(u)[0]))

    def constrain(u: np.ndarray) -> Any:
        n = len(u)
        size = max(64, 1 << (max(n, 1) - 1).bit_length())
        filled = np.concatenate([u, np.zeros((size - n, layout.dim), u.dtype)])
        with broadcasting():
            found = run(device_rows(filled))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:n], found)

    return constrain


def layout_unconstrain(layout: Layout) -> Callable[[Any], np.ndarray]:
    """Events with the rows in front to rows of unconstrained vectors."""
    run = eqx.filter_jit(jax.vmap(layout.unconstrain))

    def unconstrain(events: Any) -> np.ndarray:
        leaves = layout.leaves(events)
        dtype = jnp.zeros(()).dtype
        arrays = [jnp.asarray(leaf, dtype) for leaf in leaves]
        for part, leaf in zip(layout.parts, arrays, strict=True):
            if leaf.shape[1:] != part.shape or len(leaf) != len(arrays[0]):
                raise InputError(
                    f"{part.name}: draws of shape {('n', *part.shape)} were expected, not {leaf.shape}"
                )
        order = jax.tree.leaves(layout.tree)
        tree = jax.tree.unflatten(jax.tree.structure(layout.tree), [arrays[i] for i in order])
        with broadcasting():
            return np.asarray(run(tree))

    return unconstrain


def target_of(
    log_density: Any, event: Any = None, support: Any = None, names: Any = None
) -> Target:
    """The target of a function of one event, see `fit_posterior`; a `Target` is returned as it is."""
    if isinstance(log_density, Target):
        if event is not None or support is not None or names is not None:
            raise InputError(
                "a Target has its own dimension, supports and names: give it without them"
            )
        return log_density
    if not callable(log_density):
        raise InputError(
            f"log_density: a function of one event was expected, not {type(log_density).__name__}"
        )
    if event is None:
        raise InputError("give the number of parameters, or an example of them, after log_density")
    return target_with(log_density, layout_of(event, support, names))


def target_with(log_density: Callable[..., Any], layout: Layout) -> Target:
    """The target of a function of one event of a layout."""

    def flat(u: Array) -> Array:
        event, log_det = layout.constrain(u)
        value = jnp.asarray(log_density(event))
        return value.astype(u.dtype) + log_det

    names = layout.unconstrained_names()
    return Target(
        layout.dim,
        flat,
        None,
        layout_constrain(layout),
        layout_unconstrain(layout),
        names,
        layout,
        log_density,
    )


def check_target(target: Target, u: np.ndarray) -> None:
    """Raise `InputError`, in one line, for a log-density that raises, that returns anything but one number, or that
    cannot be differentiated; `u` is one vector to try."""
    if target.value_and_grad is not None:
        try:
            value, gradient = target.value_and_grad(np.asarray(u, np.float64))
            shapes = np.shape(value), np.shape(gradient)
        except ArithmeticError:
            return
        except Exception as error:
            raise InputError(f"the log-density raised {_said(error)}") from error
        if shapes != ((), (target.dim,)):
            raise InputError(
                f"value_and_grad returned shapes {shapes[0]} and {shapes[1]}: a number and a gradient of shape "
                f"({target.dim},) were expected"
            )
        return
    assert target.log_density is not None
    at = jax.ShapeDtypeStruct((target.dim,), jnp.zeros(()).dtype)
    try:
        with broadcasting():
            found = jax.eval_shape(target.log_density, at)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as error:
        raise InputError(
            "the log-density is not a function in JAX (it needs the values of its arguments): write it with jax.numpy, "
            "or give Target(dim, value_and_grad=...)"
        ) from error
    except Exception as error:
        raise InputError(f"the log-density raised {_said(error)}") from error
    if found.shape != ():
        raise InputError(
            f"the log-density returned an array of shape {found.shape}: one number for one event was expected; sum it"
        )
    try:
        with broadcasting():
            jax.eval_shape(jax.grad(target.log_density), at)
    except Exception as error:
        raise InputError(
            f"the log-density cannot be differentiated ({_said(error)}); give Target(dim, value_and_grad=...)"
        ) from error


def _said(error: Exception) -> str:
    """An exception in one line."""
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
