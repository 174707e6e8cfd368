"""The Gaussian mixture."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.bijections.base import Condition, Key, PerRow
from pushforward.distributions.base import AbstractDistribution, Draws
from pushforward.draws import normal
from pushforward.errors import InputError, check_count
from pushforward.rows import Shape, as_shape


class GaussianMixture(AbstractDistribution):
    """A mixture of Gaussians, trained with the flow.

        log p = logsumexp_k (log w_k + log N(A_k (x - m_k); 0, 1) + log |A_k|)

    The whitening A_k is diagonal, `1 / s_k`, or lower triangular for full covariances. Cost, either way:
    `components * d`, or `components * d^2` for full covariances.

    Arguments:
        event: the event's size or shape.
        components: number of components; default 8.
        full: whether covariances are full, for vector events only; default False, diagonal.
        key: draws the initial means, standard normal; weights start equal, scales at 1.

    Raises `InputError` for fewer than 1 component, and for full covariances of an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> mixture = pf.distributions.GaussianMixture(2, components=3, key=jax.random.key(0))
    >>> mixture.sample(jax.random.key(1), (4,)).shape
    (4, 2)

    ```
    """

    logits: Float[Array, " components"]
    means: Float[Array, " components *event"]
    log_scales: Float[Array, " components *event"]
    below: Float[Array, "components d d"] | None
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(
        self, event: int | Shape, components: int = 8, *, full: bool = False, key: PRNGKeyArray
    ):
        check_count("components", components)
        self.event_shape = as_shape(event) or ()
        if full and len(self.event_shape) != 1:
            raise InputError(
                f"full covariances are those of vectors, not of events of shape {self.event_shape}"
            )
        self.below = jnp.zeros((components, *self.event_shape * 2)) if full else None
        self.logits = jnp.zeros(components)
        self.means = normal(key, (components, *self.event_shape))
        self.log_scales = jnp.zeros((components, *self.event_shape))

    def unread(self) -> dict[str, Bool[np.ndarray, "..."]]:
        """Of full covariances, all but the strict triangle."""
        if self.below is None:
            return {}
        return {"below": np.triu(np.ones(self.below.shape[-2:], bool))}

    def log_prob_rows(self, x: Array, condition: Condition, key: Key) -> PerRow:
        # Further out all squares would overflow, and no component would be nearest.
        far = jnp.finfo(x.dtype).max ** 0.45
        away = jnp.clip(x[:, None] - self.means, -far, far)
        z = away * jnp.exp(-self.log_scales)
        if self.below is not None:
            z = z + jnp.einsum("kij,nkj->nki", jnp.tril(self.below, -1), away)
        z = jnp.clip(z, -far, far)
        logs = -0.5 * z * z - self.log_scales - 0.5 * math.log(2 * math.pi)
        each = logs.sum(range(2, logs.ndim))
        return jax.nn.logsumexp(each + jax.nn.log_softmax(self.logits), axis=1)

    def sample_rows(self, key: PRNGKeyArray, n: int, condition: Condition) -> Draws:
        pick, noise = jax.random.split(key)
        component = jax.random.categorical(pick, self.logits, shape=(n,))
        z = jax.random.normal(noise, (n, *self.event_shape), self.means.dtype)
        if self.below is None:
            x = self.means[component] + jnp.exp(self.log_scales[component]) * z
        else:
            whitening = jnp.tril(self.below, -1) + jax.vmap(jnp.diag)(jnp.exp(-self.log_scales))
            colouring = jnp.linalg.inv(whitening)
            x = self.means[component] + jnp.einsum("nij,nj->ni", colouring[component], z)
        return x, self.log_prob_rows(x, None, None)
