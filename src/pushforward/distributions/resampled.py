"""The learned resampled normal (LARS)."""

import math
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, PRNGKeyArray

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.distributions.standard_normal import StandardNormal
from pushforward.errors import InputError
from pushforward.networks import MLP
from pushforward.rows import Shape, as_shape


class Resampled(AbstractDistribution):
    """A standard normal resampled by a learned acceptance rate `a(z)` in (0, 1): the base takes on the topology that no
    diffeomorphism can give, such as separate modes.

        p(z) = N(z) ((1 - r) a(z) / Z + r),    Z = E_N[a],    r = (1 - Z)^(tries - 1)

    A draw is the first of `tries` proposals to be accepted, or else the last. Z is the mean over `points` quasi-random
    normal points (Sobol's sequence), the same in every evaluation, so that the density is deterministic; for smooth
    rates and few dimensions its error falls about as 1 / points.

    Cost: density one network pass, and one over the points for Z in each call; sampling `tries` passes at most.

    Resampled base distributions (Stimper et al. 2022, arXiv 2110.15828) after LARS (Bauer & Mnih 2019, arXiv
    1810.11428).

    Arguments:
        event: the event's size or shape.
        width, depth: units and number of hidden layers of the acceptance network; default 64 and 2.
        tries: proposals per draw, of which the last is taken as it is; default 50.
        points: points for Z, a power of two; default 2048.
        key: draws the initial weights; the rate starts near 1/2 everywhere.

    Raises `InputError` for fewer than 2 tries, or points that are not a power of two.

    ```python
    >>> import jax, pushforward as pf
    >>> base = pf.distributions.Resampled(2, width=8, key=jax.random.key(0))
    >>> base.sample(jax.random.key(1), (4,)).shape, base.log_prob(jax.numpy.zeros((3, 2))).shape
    ((4, 2), (3,))

    ```
    """

    network: MLP
    tries: int = eqx.field(static=True)
    points: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(
        self,
        event: int | Shape,
        *,
        width: int = 64,
        depth: int = 2,
        tries: int = 50,
        points: int = 2048,
        key: PRNGKeyArray,
    ):
        if tries < 2:
            raise InputError(f"tries={tries}: at least 2 proposals are needed")
        if points < 2 or points & (points - 1):
            raise InputError(f"points={points}: a power of two was expected")
        self.event_shape = as_shape(event) or ()
        # Smooth activations: the mean over few points is then exact to many digits.
        self.network = MLP(self._size, (), width=width, depth=depth, activation="tanh", key=key)
        self.tries, self.points = tries, points

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        log_rate, log_mean = self._log_rate(x), self._log_mean(x.dtype)
        # If all proposals are accepted or rejected, in the type's digits, the logarithms below would be infinite.
        limits = jnp.finfo(x.dtype)
        log_mean = jnp.clip(log_mean, 0.5 * jnp.log(limits.tiny), -limits.eps)
        rejected = (self.tries - 1) * jnp.log1p(-jnp.exp(log_mean))
        accepted = log_rate - log_mean + jnp.log(-jnp.expm1(rejected))
        normal = StandardNormal(self.event_shape).log_prob_rows(x, None, None)
        return normal + jnp.logaddexp(accepted, rejected)

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        normal, dtype = StandardNormal(self.event_shape), self.network.first.dtype

        def propose(state: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
            i, x, waiting = state
            of_rows, of_coins = jax.random.split(jax.random.fold_in(key, i))
            proposed = jax.random.normal(of_rows, x.shape, dtype)
            coin = jnp.log(jax.random.uniform(of_coins, (n,), dtype))
            x = jnp.where(waiting.reshape(n, *[1] * (x.ndim - 1)), proposed, x)
            return i + 1, x, waiting & (coin >= self._log_rate(proposed))

        start = (0, jnp.zeros((n, *normal.event_shape), dtype), jnp.ones(n, bool))
        _, x, _ = jax.lax.while_loop(lambda s: (s[0] < self.tries) & s[2].any(), propose, start)
        return x, self.log_prob_rows(x, None, None)

    @property
    def _size(self) -> int:
        return math.prod(self.event_shape)

    def _log_rate(self, x: Array) -> PerRow:
        # Constant far out: huge inputs would make the network overflow.
        inside = jnp.clip(x.reshape(x.shape[0], self._size), -FAR, FAR)
        return jax.nn.log_sigmoid(self.network(inside.T))

    def _log_mean(self, dtype: DTypeLike) -> Array:
        points = _normal_points(self.points, self._size)
        log_rates = self._log_rate(jnp.asarray(points, dtype).reshape(-1, *self.event_shape))
        return jax.nn.logsumexp(log_rates) - math.log(self.points)


FAR = 20.0


@cache
def _normal_points(points: int, size: int) -> np.ndarray:
    from scipy.special import ndtri
    from scipy.stats import qmc

    uniform = qmc.Sobol(size, seed=0).random(points)
    normal: np.ndarray = ndtri(np.clip(uniform, 1e-9, 1 - 1e-9))
    return normal
