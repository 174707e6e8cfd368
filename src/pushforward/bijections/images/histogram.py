"""Where networks of splines with knots at grey levels start."""

from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pushforward.bijections.base import replaced
from pushforward.networks.causal import CausalTransformer
from pushforward.networks.images import AbstractImageNetwork
from pushforward.transformers.base import AbstractTransformer
from pushforward.transformers.level_spline import LevelSpline

N = TypeVar("N", AbstractImageNetwork, CausalTransformer)


def at_histogram(network: N, transformer: AbstractTransformer, x: Float[Array, "n h w c"]) -> N:
    """The network whose last biases are the parameters of the histogram of the images' numbers; itself for a scalar map
    that has no fixed knots."""
    if not isinstance(transformer, LevelSpline):
        return network
    start = np.repeat(transformer.starting(np.asarray(x).ravel()), network.out[1])
    return replaced(network, last_bias=jnp.asarray(start, network.last_bias.dtype))
