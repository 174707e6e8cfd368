"""The Gaussian mixture."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.distributions.base import AbstractDistribution
from pushforward.draws import normal
from pushforward.errors import check_count
from pushforward.rows import Shape, as_shape


class GaussianMixture(AbstractDistribution):
    """A mixture of Gaussians with diagonal covariances, trained with the flow.

        log p = logsumexp_k (log w_k + sum_i log N(x_i; m_ki, s_ki^2))

    Cost: `components * d` either way.

    Arguments:
        event: the event's size or shape.
        components: number of components; default 8.
        key: draws the initial means, standard normal; weights start equal, scales at 1.

    Raises `InputError` for fewer than 1 component.

    ```python
    >>> import jax, pushforward as pf
    >>> mixture = pf.distributions.GaussianMixture(2, components=3, key=jax.random.key(0))
    >>> mixture.sample(jax.random.key(1), (4,)).shape
    (4, 2)

    ```
    """

    logits: Float[Array, " components"]
    means: Float[Array, "components *event"]
    log_scales: Float[Array, "components *event"]
    event_shape: Shape = eqx.field(static=True)
    condition_shape: None = eqx.field(static=True)

    def __init__(self, event: int | Shape, components: int = 8, *, key: PRNGKeyArray):
        check_count("components", components)
        self.event_shape = as_shape(event) or ()
        self.condition_shape = None
        self.logits = jnp.zeros(components)
        self.means = normal(key, (components, *self.event_shape))
        self.log_scales = jnp.zeros((components, *self.event_shape))

    def log_prob_rows(
        self, x: Array, condition: Array | None, key: PRNGKeyArray | None
    ) -> Float[Array, " n"]:
        # Further out all squares would overflow, and no component would be the nearest.
        far = jnp.finfo(x.dtype).max ** 0.45
        z = jnp.clip((x[:, None] - self.means) * jnp.exp(-self.log_scales), -far, far)
        logs = -0.5 * z * z - self.log_scales - 0.5 * math.log(2 * math.pi)
        each = logs.sum(range(2, logs.ndim))
        return jax.nn.logsumexp(each + jax.nn.log_softmax(self.logits), axis=1)

    def sample_rows(
        self, key: PRNGKeyArray, n: int, condition: Array | None
    ) -> tuple[Array, Float[Array, " n"]]:
        pick, noise = jax.random.split(key)
        component = jax.random.categorical(pick, self.logits, shape=(n,))
        z = jax.random.normal(noise, (n, *self.event_shape), self.means.dtype)
        x = self.means[component] + jnp.exp(self.log_scales[component]) * z
        return x, self.log_prob_rows(x, None, None)
