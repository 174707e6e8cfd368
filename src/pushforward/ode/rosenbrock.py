"""Linearly implicit (Rosenbrock) methods as data, and the slopes at their stages: for stiff fields."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import InputError
from pushforward.ode.packing import Packing

State = Any
WIDEST = 2048
"""Entries of a system that a Jacobian is made of."""


@dataclass(frozen=True)
class Rosenbrock:
    """A linearly implicit Runge-Kutta method. Each stage solves linear equations with one matrix, and none iterates:

        (I / gamma - h J) k_i = f(t + c_i h, y + h sum_j a_ij k_j) + sum_j g_ij k_j + h d_i df/dt
        y1 = y + h sum_i b_i k_i

    with the Jacobian `J = df/dy` at the step's start. With `control="per_row"` each row has its own matrix.

    Arguments:
        order: of the method; a test measures it.
        gamma: the coefficient of the matrix.
        a, g: a row for each stage, the first empty.
        c, d: a number for each stage.
        b, error, dense: as of a `Tableau`; the `k_i` are no values of the field, so that weights have no given sum.

    Source: Hairer & Wanner 1996, IV.7.
    """  # fmt: skip

    order: int
    gamma: float
    a: tuple[tuple[float, ...], ...]
    g: tuple[tuple[float, ...], ...]
    c: tuple[float, ...]
    d: tuple[float, ...]
    b: tuple[float, ...]
    error: tuple[float, ...]
    dense: tuple[tuple[float, ...], ...]

    implicit: ClassVar[bool] = True
    reuses_last: ClassVar[bool] = False

    def interpolating(self) -> "Rosenbrock":
        """The method itself: it has polynomials."""
        return self

    def slopes(self, slope: Callable[[Array, State], State], s: Array, h: Array, y: State) -> State:
        """The slopes at the stages, stacked on a leading axis. Cost: a call of the field a stage, and one sweep of
        derivatives, as many as a system has components and one more.

        Arguments:
            slope: the derivative.
            s: where the step begins, or where each row's does.
            h: its length, or each row's, whose systems are then their own.
            y: the state there.
        """
        leaves, structure = jax.tree.flatten(y)
        kind = jnp.result_type(*leaves)
        rows = h.ndim == 1
        packing = Packing(tuple(leaf.shape for leaf in leaves), structure, rows)

        def pack(state: State) -> Array:
            return packing.pack(jax.tree.map(lambda leaf: leaf.astype(kind), state))

        def unpack(flat: Array) -> State:
            found = packing.unpack(flat)
            return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), found, y)

        def flat(s: Array, v: Array) -> Array:
            return pack(slope(s, unpack(v)))

        v = pack(y)
        size, count = v.shape[-1], len(self.c)
        by_time, jacobian = _derivatives(flat, s, v)
        ahead = h[:, None] if rows else h
        unit = jnp.eye(size, dtype=kind)
        unit = jnp.broadcast_to(unit, jacobian.shape) / self.gamma
        matrix = unit - (ahead[..., None] if rows else ahead) * jacobian
        solve = _solver(matrix)
        a, g = (jnp.asarray(_square(table), kind) for table in (self.a, self.g))
        c, d = (jnp.asarray(np.array(numbers), kind) for numbers in (self.c, self.d))

        def stage(i: Array, k: Array) -> Array:
            at = v + ahead * jnp.tensordot(a[i], k, 1, precision=jax.lax.Precision.HIGHEST)
            right = flat(s + c[i].astype(s.dtype) * h, at) + ahead * d[i] * by_time
            right = right + jnp.tensordot(g[i], k, 1, precision=jax.lax.Precision.HIGHEST)
            return jax.lax.dynamic_update_index_in_dim(k, solve(right), i, 0)

        found = jax.lax.fori_loop(0, count, stage, jnp.zeros((count, *v.shape), kind))
        return unpack(found)


def check_system(size: int) -> None:
    """Raises `InputError` for a system whose Jacobian would be too large."""
    if size > WIDEST:
        raise InputError(
            f"the state has {size} entries, and an implicit method solves with their {size} x {size} Jacobian: "
            "take control='per_row' where rows are equations by themselves, or an explicit method"
        )


def _square(table: tuple[tuple[float, ...], ...]) -> np.ndarray:
    return np.array([[*row, *[0.0] * (len(table) - len(row))] for row in table])


def _derivatives(field: Callable[[Array, Array], Array], s: Array, v: Array) -> tuple[Array, Array]:
    """The derivatives with respect to time, and to the state, `(..., out, in)`, by one sweep."""
    size = v.shape[-1]
    moves = jnp.concatenate([jnp.zeros((1, size), v.dtype), jnp.eye(size, dtype=v.dtype)])
    moves = jnp.broadcast_to(
        moves.reshape(size + 1, *[1] * (v.ndim - 1), size), (size + 1, *v.shape)
    )
    times = jnp.zeros((size + 1, *s.shape), s.dtype).at[0].set(1.0)
    try:
        _, push = jax.linearize(field, s, v)
        found = jax.vmap(push)(times, moves)
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise InputError(
            "an implicit method needs the field's derivatives in forward mode, and the field has a custom_vjp: take an "
            "explicit method"
        ) from None
    return found[0], jnp.moveaxis(found[1:], 0, -1)


def _solver(matrix: Array) -> Callable[[Array], Array]:
    """Solve with one matrix, or one for each row, factored once; derivatives do not pass through the factors."""
    factors = jax.scipy.linalg.lu_factor(jax.lax.stop_gradient(matrix))

    def product(m: Array, x: Array) -> Array:
        return jnp.matmul(m, x[..., None], precision=jax.lax.Precision.HIGHEST)[..., 0]

    def by_factors(trans: int) -> Callable[[Any, Array], Array]:
        def solve(_: Any, right: Array) -> Array:
            found: Array = jax.scipy.linalg.lu_solve(factors, right[..., None], trans=trans)[..., 0]
            return found

        return solve

    def solve(right: Array) -> Array:
        found: Array = jax.lax.custom_linear_solve(
            lambda x: product(matrix, x), right, by_factors(0), by_factors(1)
        )
        return found

    return solve


def _between(
    b: tuple[float, ...], rows: tuple[tuple[float, ...], ...]
) -> tuple[tuple[float, ...], ...]:
    """`y0 (1 - u) + u (y1 + (1 - u) (p_1 + u p_2 + u^2 p_3))` as polynomials, with `p_m = h sum_i rows[m][i] k_i`."""
    parts = [np.array(b), *map(np.array, rows), np.zeros(len(b))]
    parts[1:] = [
        after - before
        for before, after in zip([0 * parts[0], *parts[1:-1]], parts[1:], strict=True)
    ]
    columns = [parts[0] + parts[1], *parts[2:]]
    return tuple(tuple(float(column[i]) for column in columns) for i in range(len(b)))


# fmt: off
_A = (
    (), (3.0,), (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256,
     0.030198172008377946),
)
_B = _A[-1]
RODAS5P = Rosenbrock(
    order=5,
    gamma=0.21193756319429014,
    # The last two stages begin where the ones before them end.
    a=(*_A, (*_B, 1.0), (*_B, 1.0, 1.0)),
    g=(
        (), (-14.155112264123755,), (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125,
         -0.6610691825249471),
        (30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783,
         -19.097331116725623, -28.087943162872662),
        (37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047,
         -40.06618937091002, -54.66780262877968, -9.48861652309627),
    ),
    c=(0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664,
       1.0, 1.0, 1.0),
    d=(0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734,
       2.325825639765069, 0.0, 0.0, 0.0),
    b=(*_B, 1.0, 1.0, 1.0),
    error=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    dense=_between((*_B, 1.0, 1.0, 1.0), (
        (25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204,
         0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493),
        (-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796,
         20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372),
        (11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643,
         -52.072871366152654, -59.78993626266729, -0.15582684282751913, 4.883087185713722),
    )),
)
# fmt: on
"""Rodas5P: eight stages, stiffly accurate, L-stable; between a step's ends of order 4. Source: Steinebach 2023,
Construction of Rosenbrock-Wanner method Rodas5P."""
