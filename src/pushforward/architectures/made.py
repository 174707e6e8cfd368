"""The masked autoencoder for distribution estimation."""

from typing import ClassVar

import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import autoregressive_layer, network_of, vector_event
from pushforward.bijections import Chain, Invert, Permutation
from pushforward.configuration import configuration
from pushforward.distributions import Flow, StandardNormal
from pushforward.errors import InputError
from pushforward.rows import Size, as_shape
from pushforward.transformers import GaussianMixtureCDF


@configuration
class MADE:
    """One masked network gives every coordinate's density, Gaussian or a mixture of Gaussians, given those before it.

        p(x) = prod_i sum_k w_k N(x_i; m_k, s_k^2),    w, m, s from x_1, ..., x_{i-1}

    The same as an autoregressive layer whose transformer is the cumulative mixture, over a normal base.

    Density: one network pass. Sampling: coordinate by coordinate, the network at about the arithmetic of one pass, each
    coordinate by a numeric search (one Gaussian: closed).

    Arguments:
        width, depth: units and number of hidden layers of the masked network; default 256 and 2.
        components: Gaussians of each conditional; default 1.
        order: the order in which coordinates are drawn, a permutation of 0, ..., d - 1; default empty, as they are.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.

    Raises `InputError` for sizes below 1, an order that is none, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.MADE(width=8, components=2, order=(2, 0, 1))
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
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
    one_order: ClassVar[bool] = True
    reference: ClassVar[str] = "Germain, Gregor, Murray & Larochelle 2015, arXiv 1502.03509"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        d, context = vector_event(event, "MADE"), as_shape(condition, "condition")
        made = autoregressive_layer(
            GaussianMixtureCDF(self.components), d, context, key=key, **network_of(self)
        )
        if not self.order:
            return Flow(StandardNormal(d), made)
        if sorted(self.order) != list(range(d)):
            raise InputError(f"order={self.order}: a permutation of 0 to {d - 1} was expected")
        return Flow(StandardNormal(d), Chain([made, Invert(Permutation(np.asarray(self.order)))]))
