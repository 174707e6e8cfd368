"""The usual toy densities in two dimensions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from pushforward.errors import InputError, check_count

Rows = Float[np.ndarray, "n 2"]


def _moons(n: int, rng: np.random.Generator) -> Rows:
    """Two interleaving half circles, noise 0.1."""
    angle, lower = np.pi * rng.uniform(size=n), rng.uniform(size=n) < 0.5
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle))
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], 1) + rng.normal(scale=0.1, size=(n, 2))


def _eight_gaussians(n: int, rng: np.random.Generator) -> Rows:
    """Eight Gaussians of deviation 0.2 on a circle of radius 2."""
    angle = rng.integers(8, size=n) * np.pi / 4
    centre = 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centre + rng.normal(scale=0.2, size=(n, 2))


def _checkerboard(n: int, rng: np.random.Generator) -> Rows:
    """The dark fields of a 4 by 4 board of side 8."""
    column = rng.integers(4, size=n)
    row = 2 * rng.integers(2, size=n) + column % 2
    return 2 * (np.stack([column, row], 1) + rng.uniform(size=(n, 2))) - 4


def _spirals(n: int, rng: np.random.Generator) -> Rows:
    """Two arms of an Archimedean spiral, one and a half turns, noise 0.1."""
    angle = np.sqrt(rng.uniform(size=n)) * 3 * np.pi
    arm = np.where(rng.uniform(size=n) < 0.5, 1, -1)[:, None]
    curve = np.stack([-np.cos(angle) * angle, np.sin(angle) * angle], 1) / 3
    return arm * curve + rng.normal(scale=0.1, size=(n, 2))


def _pinwheel(n: int, rng: np.random.Generator) -> Rows:
    """Five elongated blobs, bent around the origin."""
    blob = rng.integers(5, size=n)
    along, across = rng.normal(scale=[0.3, 0.1], size=(n, 2)).T
    along = along + 1
    angle = 2 * np.pi * blob / 5 + 0.25 * np.exp(along)
    turned = [
        along * np.cos(angle) - across * np.sin(angle),
        along * np.sin(angle) + across * np.cos(angle),
    ]
    return 2 * np.stack(turned, 1)


def _rings(n: int, rng: np.random.Generator) -> Rows:
    """Four rings of radius 0.75 to 3, noise 0.08."""
    radius = 0.75 * rng.integers(1, 5, size=n)[:, None]
    angle = rng.uniform(0, 2 * np.pi, size=n)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    found: Rows = radius * circle + rng.normal(scale=0.08, size=(n, 2))
    return found


_DRAWS = (_moons, _eight_gaussians, _checkerboard, _spirals, _pinwheel, _rings)
TOYS: Mapping[str, Callable[[int, np.random.Generator], Rows]] = MappingProxyType(
    {draw.__name__.removeprefix("_"): draw for draw in _DRAWS}
)
"""From names to functions that draw a number of rows with a generator."""


def toy(name: str, n: int, seed: int | np.random.Generator = 0) -> Rows:
    """`n` rows of a toy density, `(n, 2)` in float64.

    Arguments:
        name: one of `TOYS`: moons, eight_gaussians, checkerboard, spirals, pinwheel, rings.
        n: number of rows.
        seed: a whole number of at least 0, or a NumPy Generator; default 0.

    Raises `InputError` for an unknown name, or a negative seed.

    ```python
    >>> from pushforward.data.toys import toy
    >>> toy("moons", 5).shape
    (5, 2)

    ```
    """
    if name not in TOYS:
        raise InputError(f"toy {name!r} is unknown; known: {', '.join(TOYS)}")
    if not isinstance(seed, np.random.Generator):
        check_count("seed", seed, 0)
    return TOYS[name](n, np.random.default_rng(seed))
