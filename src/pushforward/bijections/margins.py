"""Each coordinate taken to normal scores, by a spline through the quantiles of data."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped, replaced
from pushforward.errors import InputError, check_count
from pushforward.rows import Shape
from pushforward.transformers.rational_quadratic import evaluate, position

KNOTS = 7
"""Inner knots per coordinate: one per standard deviation from -3 to 3."""
KINDS = ("scores", "heavy", "straight")
_REACH = 3.0
# The least number of rows beyond the outermost inner knots; fewer would make these noise.
_BEYOND = 5
# A column is heavy if its quantiles at two or three standard deviations lie further out than these.
_FAR = (3.0, 5.0)
# Slopes at the extremes relative to the outermost bins'; larger where those say nothing about the tails.
_ENDS, _ENDS_STRAIGHT = 2.0, 4.0
# The narrowest bin in units of the data's spread. Many equal values would make a bin of zero width.
_NARROWEST = 1e-3


class Margins(AbstractBijection):
    """A monotone rational-quadratic spline per coordinate that takes the data's quantiles to a normal's.

        z_i = spline_i(x_i),   straight lines beyond the smallest and the largest value seen

    The flow behind it sees nearly normal margins, whatever the skew and the tails of the columns, and its draws a
    little beyond the data come out a little beyond the data. The knots are measured, not trained: the median, quantiles
    at whole standard deviations and the extremes. Cost: one bin search by comparison either way.

    The spline is that of Durkan et al. 2019 (arXiv 1906.04032) with the slopes of Fritsch & Butland 1984.

    Arguments:
        d: number of coordinates.
        knots: inner knots, at least 2; default 7. There are two more at the extremes.

    Raises `InputError` for fewer than 2 knots.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> x = np.exp(np.random.default_rng(0).normal(size=(4000, 1)))
    >>> z, _ = pf.bijections.Margins(1).following(x).inverse(x[:1000])
    >>> abs(float(z.mean())) < 0.1, round(float(z.std()), 1)
    (True, 1.0)

    ```
    """

    centre: Float[Array, " d"]
    log_widths: Float[Array, "d bins"]
    score: Float[Array, " d"]
    log_heights: Float[Array, "d bins"]
    log_slopes: Float[Array, "d bins+1"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, d: int, knots: int = KNOTS):
        check_count("knots", knots, 2)
        self.event_shape = (d,)
        side = math.log(2 * _REACH / (knots - 1))
        self.log_widths = self.log_heights = jnp.full((d, knots + 1), side)
        self.log_slopes = jnp.zeros((d, knots + 2))
        self.centre = self.score = jnp.zeros(d)

    def unread(self) -> dict[str, bool]:
        """The knots, which are measured, not trained."""
        return dict.fromkeys(("centre", "log_widths", "score", "log_heights", "log_slopes"), True)

    def following(self, x: Float[np.ndarray, "n d"], kind: str = "scores") -> "Margins":
        """The same map with its knots measured on data rows.

        Arguments:
            x: `(n, d)` finite rows.
            kind: `"scores"`: all columns become normal scores. `"heavy"`: only skewed and heavy-tailed ones do; the
                middle of the others stays straight, so that linear dependence is not bent, and what lies further out
                than in a normal is drawn in. x is then in units of its spread about its median. `"straight"`: no column
                does; only what lies beyond the extremes is drawn in.

        Raises `InputError` for another kind.
        """
        from scipy.special import ndtr, ndtri

        if kind not in KINDS:
            raise InputError(f"kind={kind!r}: one of {', '.join(KINDS)} is expected")
        n, knots = len(x), self.log_widths.shape[1] - 1
        reach = min(_REACH, float(ndtri(1 - min(_BEYOND / n, 0.25))))
        inner = np.linspace(-reach, reach, knots)
        furthest = max(float(ndtri(1 - 0.5 / n)), reach + 0.1)
        scores = np.array([-furthest, *inner, furthest])
        shares = [0.0, *ndtr(inner), 1.0]
        # One column at a time: a table may fill most of the memory.
        places = np.stack([_apart(np.quantile(column, shares)) for column in x.T])
        widths = np.diff(places)
        slopes = np.diff(scores) / widths
        middle = (knots + 1) // 2
        centre = np.full(len(places), scores[middle])
        ends = _ENDS
        if kind == "straight":
            slopes, centre, ends = np.ones_like(slopes), places[:, middle], _ENDS_STRAIGHT
        if kind == "heavy":
            far = np.abs(places)
            heavy = (far[:, [2, -3]].max(1) > _FAR[0]) | (far[:, [1, -2]].max(1) > _FAR[1])
            slopes = np.where(heavy[:, None], slopes, _drawn_in(slopes))
            centre = np.where(heavy, centre, places[:, middle])
        heights = widths * slopes
        measured = {
            **{"centre": places[:, middle], "log_widths": np.log(widths)},
            **{"score": centre, "log_heights": np.log(heights)},
            "log_slopes": np.log(_slopes(widths, heights / widths, ends)),
        }
        dtype = self.centre.dtype
        return replaced(self, **{name: jnp.asarray(v, dtype) for name, v in measured.items()})

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        knots = self._knots()[0]
        a, w, b, h, d0, d1 = self._bin(x, knots)
        inside = _inside(x, knots)
        z, log_slope = evaluate((inside - a) / w, w, b, h, d0, d1)
        return _continued(x - inside, z, log_slope, (d0, d1))

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        scores = self._knots()[1]
        a, w, b, h, d0, d1 = self._bin(z, scores)
        inside = _inside(z, scores)
        t = position(inside, w, b, h, d0, d1)
        log_slope = evaluate(t, w, b, h, d0, d1)[1]
        return _continued(z - inside, a + t * w, -log_slope, (1 / d0, 1 / d1))

    def _knots(self) -> tuple[Array, Array]:
        """The knots of data and of scores, `(d, bins + 1)` each."""
        centre, log_widths, score, log_heights = jax.lax.stop_gradient(
            (self.centre, self.log_widths, self.score, self.log_heights)
        )
        return _along(centre, jnp.exp(log_widths)), _along(score, jnp.exp(log_heights))

    def _bin(self, value: Array, edges: Array) -> tuple[Array, ...]:
        """Left knot, width, bottom, height and the two slopes of the bin that holds each value, `(n, d)` each."""
        at = (value[..., None] >= edges[:, 1:-1]).sum(-1)
        knots, scores = self._knots()
        slopes = jnp.exp(jax.lax.stop_gradient(self.log_slopes))
        column = np.arange(value.shape[1])
        a, b, d0 = knots[column, at], scores[column, at], slopes[column, at]
        right, top, d1 = knots[column, at + 1], scores[column, at + 1], slopes[column, at + 1]
        return a, right - a, b, top - b, d0, d1


def _inside(value: Array, edges: Array) -> Array:
    return jnp.clip(value, edges[:, 0], edges[:, -1])


def _continued(beyond: Array, out: Array, log_slope: Array, ends: tuple[Array, Array]) -> Mapped:
    """The spline, continued beyond the outermost knots by straight lines of the slopes there."""
    slope = jnp.where(beyond > 0, ends[1], ends[0])
    return out + beyond * slope, jnp.where(beyond == 0, log_slope, jnp.log(slope)).sum(1)


def _drawn_in(slopes: np.ndarray) -> np.ndarray:
    """Slopes `(d, bins)` that are 1 in the middle and never grow outwards."""
    half = slopes.shape[1] // 2
    out = np.minimum(slopes, 1.0)
    out[:, half - 1] = out[:, half] = 1.0
    below = np.minimum.accumulate(out[:, :half][:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([below, np.minimum.accumulate(out[:, half:], axis=1)], axis=1)


def _along(middle: Array, sides: Array) -> Array:
    """Knots from the middle one and the sides, summed outwards: far knots must not round those in the middle."""
    k = sides.shape[-1] // 2
    below = -jnp.cumsum(sides[..., :k][..., ::-1], -1)[..., ::-1]
    above = jnp.cumsum(sides[..., k:], -1)
    middle = middle[..., None]
    return jnp.concatenate([middle + below, middle, middle + above], -1)


def _apart(knots: np.ndarray) -> np.ndarray:
    """Increasing knots at least `_NARROWEST` spreads apart, also where quantiles of equal values coincide."""
    low, high = knots[len(knots) // 2 - 1 : len(knots) // 2 + 2 : 2]
    spread = (high - low) / 2 or (knots[-1] - knots[0]) / len(knots) or 1.0
    least = _NARROWEST * spread * np.arange(len(knots))
    apart: np.ndarray = np.maximum.accumulate(knots - least) + least
    return apart


def _slopes(widths: np.ndarray, secants: np.ndarray, ends: float) -> np.ndarray:
    """Slopes at the knots: weighted harmonic means of the two bins', at the ends `ends` times the bin's."""
    before, after = secants[:, :-1], secants[:, 1:]
    wide_before, wide_after = widths[:, :-1], widths[:, 1:]
    share = (wide_before + 2 * wide_after) / (3 * (wide_before + wide_after))
    inner = 1 / (share / before + (1 - share) / after)
    # Steeper at the ends, so that draws beyond the extremes come out nearer to them.
    return np.concatenate([ends * secants[:, :1], inner, ends * secants[:, -1:]], axis=1)
