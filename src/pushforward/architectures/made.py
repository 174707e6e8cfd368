"""The masked autoencoder for distribution estimation."""

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import layer_of, vector_shapes
from pushforward.architectures.registry import published
from pushforward.bijections import Chain, Invert, Permutation
from pushforward.distributions import Flow, StandardNormal
from pushforward.errors import InputError
from pushforward.rows import Size
from pushforward.transformers import GaussianMixtureCDF


@published("made", "Germain, Gregor, Murray & Larochelle 2015, arXiv 1502.03509", one_order=True)
class MADE:
    """One masked network, which gives each coordinate's conditional density: a Gaussian or a mixture of Gaussians.

        p(x) = prod_i sum_k w_k N(x_i; m_k, s_k^2),    w, m, s from x_1, ..., x_{i-1}

    Equivalent to an autoregressive layer whose transformer is the cumulative mixture, over a normal base.

    Density: one network pass. Sampling: sequential in the coordinates, with about the network arithmetic of one pass
    and a numeric search per coordinate (none for one Gaussian).

    Arguments:
        width, depth: units and number of hidden layers of the masked network; default 256 and 2.
        components: Gaussians of each conditional; default 1.
        order: the order in which coordinates are drawn, a permutation of 0, ..., d - 1; default empty, in order.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.

    Raises `InputError` for an order that is not a permutation.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.MADE(width=8, components=2, order=(2, 0, 1)).build(3, 1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    width: int = 256
    depth: int = 2
    components: int = 1
    order: tuple[int, ...] = ()
    residual: bool = False
    dropout: float = 0.0

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        d, shape = vector_shapes(self, event, condition)
        layer = layer_of(self, GaussianMixtureCDF(self.components))
        made = layer(d, condition_shape=shape, key=key)
        if not self.order:
            return Flow(StandardNormal(d), made)
        if sorted(self.order) != list(range(d)):
            raise InputError(f"order={self.order}: a permutation of 0 to {d - 1} was expected")
        return Flow(StandardNormal(d), Chain([made, Invert(Permutation(np.asarray(self.order)))]))
