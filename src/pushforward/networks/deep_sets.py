"""A network of sets."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from pushforward.draws import spawn
from pushforward.networks.mlp import MLP


class DeepSets(eqx.Module):
    """A function of sets, which does not depend on the order of their elements.

        g(mean_i f(x_i), log number),   f and g perceptrons

    The mean is over the elements that count. Cost: a pass of f for every element.

    Arguments:
        inputs: numbers of an element.
        out: numbers of a result.
        width: units of a hidden layer, and of what is averaged; default 64.
        depth: hidden layers of f and of g; default 2.
        key: draws the weights.

    Source: Zaheer et al. 2017, arXiv 1703.06114.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.networks import DeepSets
    >>> network = DeepSets(3, 8, width=16, key=jax.random.key(0))
    >>> x = jax.random.normal(jax.random.key(1), (5, 7, 3))
    >>> network(x).shape, bool(jnp.allclose(network(x), network(x[:, ::-1]), atol=1e-6))
    ((5, 8), True)

    ```
    """

    each: MLP
    all: MLP

    def __init__(
        self, inputs: int, out: int, *, width: int = 64, depth: int = 2, key: PRNGKeyArray
    ):
        one, other = spawn(key, 2)
        self.each = MLP(inputs, (width,), width=width, depth=depth, last_scale=1.0, key=one)
        self.all = MLP(width + 1, (out,), width=width, depth=depth, last_scale=1.0, key=other)

    def __call__(
        self,
        elements: Float[Array, "n k inputs"],
        key: PRNGKeyArray | None = None,
        *,
        counts: Bool[Array, "n k"] | None = None,
    ) -> Float[Array, "n out"]:
        """One result for each set.

        Arguments:
            elements: `(n, k, inputs)`.
            key: not used.
            counts: `(n, k)`, whether an element counts; default None, all do.
        """
        n, k, inputs = elements.shape
        found = self.each(elements.reshape(n * k, inputs).T)
        found = found.reshape(len(found), n, k)
        counted = (
            jnp.ones((n, k), elements.dtype) if counts is None else counts.astype(elements.dtype)
        )
        number = jnp.maximum(counted.sum(1), 1.0)
        # A product, not a sum: XLA's CPU backend (JAX 0.10) fuses a sum with the products before it, 60 times slower.
        mean = jnp.einsum("fnk,nk->fn", found, counted) / number[None]
        out: Array = self.all(jnp.concatenate([mean, jnp.log(number)[None]]))
        return out.T
