"""Supports of parameters: maps from all of R onto where a parameter may lie, with their log-dets."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.errors import InputError


class Support(ABC):
    """Where a parameter may lie, and the map from unconstrained numbers onto it.

    Attributes:
        name: as it is declared.
        joint: whether the last axis is mapped as a whole (`Ordered`, `Simplex`), not number by number.
    """

    name: str
    joint = False

    def size(self, k: int) -> int:
        """Unconstrained numbers for `k` numbers of the last axis; default as many."""
        return k

    @abstractmethod
    def forward(self, u: Array) -> tuple[Array, Array]:
        """A vector of unconstrained numbers to one of the support, with the log |det| of the map, one number."""

    @abstractmethod
    def inverse(self, x: Array) -> Array:
        """The unconstrained numbers of a vector of the support."""

    @abstractmethod
    def contains(self, x: np.ndarray) -> bool:
        """Whether a vector lies in the support."""

    def to_json(self) -> str:
        """The support as `support_named` takes it."""
        return self.name


@dataclass(frozen=True)
class Real(Support):
    """All of R: the identity.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.inference import Real
    >>> print(*Real().forward(jnp.array([-2.0])))
    [-2.] 0.0

    ```
    """

    name = "real"

    def forward(self, u: Array) -> tuple[Array, Array]:
        return u, jnp.zeros((), u.dtype)

    def inverse(self, x: Array) -> Array:
        return x

    def contains(self, x: np.ndarray) -> bool:
        return bool(np.isfinite(x).all())


@dataclass(frozen=True)
class Positive(Support):
    """Numbers above 0, `x = exp(u)`, whose log-det is the sum of u.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.inference import Positive
    >>> print(*Positive().forward(jnp.array([0.0])))
    [1.] 0.0

    ```
    """

    name = "positive"

    def forward(self, u: Array) -> tuple[Array, Array]:
        # Neither 0 nor infinity are positive numbers.
        limits = jnp.finfo(u.dtype)
        return jnp.clip(jnp.exp(u), limits.tiny, limits.max), u.sum()

    def inverse(self, x: Array) -> Array:
        return jnp.log(x)

    def contains(self, x: np.ndarray) -> bool:
        return bool((np.isfinite(x) & (x > 0)).all())


@dataclass(frozen=True)
class Interval(Support):
    """Numbers between two bounds, `x = low + (high - low) / (1 + exp(-u))`.

    Arguments:
        low, high: the bounds; default 0 and 1.

    Raises `InputError` unless `low < high`, both finite.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.inference import Interval
    >>> print(Interval(0, 10).forward(jnp.array([0.0]))[0])
    [5.]

    ```
    """

    low: float = 0.0
    high: float = 1.0
    name = "interval"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(
                f"Interval({self.low}, {self.high}): two finite bounds are needed, the lower one first"
            )

    def forward(self, u: Array) -> tuple[Array, Array]:
        width = self.high - self.low
        x = self.low + width * jax.nn.sigmoid(u)
        # Rounding must not reach the bounds, where log-densities are infinite.
        limits = jnp.finfo(u.dtype)
        nearest = float(limits.eps) * max(abs(self.low), abs(self.high))
        within = jnp.clip(
            x,
            self.low + max(nearest, width * float(limits.tiny)) if self.low else width * float(limits.tiny),
            self.high - max(nearest, width * float(limits.epsneg)),
        )  # fmt: skip
        slopes = math.log(width) - jax.nn.softplus(u) - jax.nn.softplus(-u)
        return within, slopes.sum()

    def inverse(self, x: Array) -> Array:
        return jnp.log(x - self.low) - jnp.log(self.high - x)

    def contains(self, x: np.ndarray) -> bool:
        return bool(((x > self.low) & (x < self.high)).all())

    def to_json(self) -> str:
        return f"interval:{self.low!r},{self.high!r}"


@dataclass(frozen=True)
class Circle(Support):
    """Angles in radians, from `seam - 2 pi` to `seam`, `x = seam - 2 pi + 2 pi / (1 + exp(-u))`.

    Densities are integrated over one turn. A mode that the seam cuts would be two modes, so `fit_posterior` turns the
    seam away from the mode that it starts from.

    Arguments:
        seam: where the circle is cut, in radians; default pi, for angles from -pi to pi.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.inference import Circle
    >>> print(Circle().forward(jnp.array([0.0]))[0])
    [0.]

    ```
    """

    seam: float = math.pi
    name = "angle"

    def _interval(self) -> Interval:
        return Interval(self.seam - 2 * math.pi, self.seam)

    def forward(self, u: Array) -> tuple[Array, Array]:
        return self._interval().forward(u)

    def inverse(self, x: Array) -> Array:
        low = self.seam - 2 * math.pi
        turned = low + jnp.mod(x - low, 2 * math.pi)
        least = 1e-6
        return self._interval().inverse(jnp.clip(turned, low + least, self.seam - least))

    def contains(self, x: np.ndarray) -> bool:
        return bool(np.isfinite(x).all())

    def to_json(self) -> str:
        return f"angle:{self.seam!r}"


@dataclass(frozen=True)
class Ordered(Support):
    """Vectors that increase: `x_1 = u_1`, `x_i = x_(i-1) + exp(u_i)`, whose log-det is the sum of u from the second on.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.inference import Ordered
    >>> print(Ordered().forward(jnp.zeros(3))[0])
    [0. 1. 2.]

    ```
    """

    name = "ordered"
    joint = True

    def forward(self, u: Array) -> tuple[Array, Array]:
        return jnp.cumsum(jnp.concatenate([u[:1], jnp.exp(u[1:])])), u[1:].sum()

    def inverse(self, x: Array) -> Array:
        return jnp.concatenate([x[:1], jnp.log(jnp.diff(x))])

    def contains(self, x: np.ndarray) -> bool:
        return bool(np.isfinite(x).all() and (np.diff(x) > 0).all())


@dataclass(frozen=True)
class Simplex(Support):
    """Positive numbers that sum to 1, by breaking a stick: `x_i = (1 - x_1 - ... - x_(i-1)) sigmoid(u_i - log(k - i))`.

    `k` numbers come of `k - 1` unconstrained ones, and u = 0 is the middle. Densities are with respect to the first
    `k - 1` numbers, as a Dirichlet density is.

    Stan's reference manual, "Unit simplex".

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.inference import Simplex
    >>> print(Simplex().forward(jnp.zeros(1))[0])
    [0.5 0.5]

    ```
    """

    name = "simplex"
    joint = True

    def size(self, k: int) -> int:
        return k - 1

    def _shift(self, u: Array) -> Array:
        return u - jnp.log(jnp.arange(len(u), 0, -1).astype(u.dtype))

    def forward(self, u: Array) -> tuple[Array, Array]:
        shifted = self._shift(u)
        broken, kept = jax.nn.log_sigmoid(shifted), jax.nn.log_sigmoid(-shifted)
        left = jnp.concatenate([jnp.zeros(1, u.dtype), jnp.cumsum(kept)])
        logs = jnp.concatenate([broken, jnp.zeros(1, u.dtype)]) + left
        # dx_i/du_i = left_i s (1 - s), and the matrix is triangular.
        tiny = jnp.finfo(u.dtype).tiny
        return jnp.maximum(jnp.exp(logs), tiny), (left[:-1] + broken + kept).sum()

    def inverse(self, x: Array) -> Array:
        beyond = jnp.cumsum(x[::-1])[::-1][1:]
        u = jnp.log(x[:-1]) - jnp.log(beyond)
        return u + jnp.log(jnp.arange(len(u), 0, -1).astype(x.dtype))

    def contains(self, x: np.ndarray) -> bool:
        return bool((x > 0).all() and abs(x.sum() - 1) < 1e-4)


SUPPORTS: dict[str, Callable[..., Support]] = {
    "real": Real,
    "positive": Positive,
    "interval": Interval,
    "angle": Circle,
    "ordered": Ordered,
    "simplex": Simplex,
}
"""By name; `"interval:0,10"` and `"angle:3.14"` give numbers after a colon."""


def support_named(given: Any) -> Support:
    """A support from its name, or itself. Raises `InputError` that lists the known names.

    ```python
    >>> support_named("interval:0,10")
    Interval(low=0.0, high=10.0)

    ```
    """
    if isinstance(given, Support):
        return given
    name, _, rest = given.partition(":") if isinstance(given, str) else ("", "", "")
    if name not in SUPPORTS:
        raise InputError(f"support {given!r} is unknown; known: {', '.join(SUPPORTS)}")
    try:
        return SUPPORTS[name](*(float(number) for number in rest.split(",") if rest))
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"support {given!r}: numbers after the colon do not fit {name!r}"
        ) from None
