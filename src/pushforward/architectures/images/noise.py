"""From an architecture of images to a distribution of pictures: its flow, dequantized by uniform noise or its own."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from pushforward.architectures.architecture import Architecture, Facts
from pushforward.bijections import Chain, Elementwise, Reverse, Sigmoid, Stack
from pushforward.bijections.images import Checker, ImageCoupling, PerPixel
from pushforward.bijections.logit import SCALE, Logit
from pushforward.distributions import Dequantized, Flow, Uniform
from pushforward.networks import GatedNetwork
from pushforward.rows import Shape
from pushforward.transformers import Affine


def dequantized(
    architecture: Architecture, event: Shape, condition: Shape | None, *, key: PRNGKeyArray
) -> Dequantized:
    """The distribution of pictures that an architecture of images builds, with fresh parameters.

    Its noise is its own where it has a method `noise_of`, see `Facts`, and uniform where not.
    """
    flow = architecture.build(event, condition, key=key)
    noise_of = Facts.of(architecture).noise_of
    # The flow's own keys follow from the key itself.
    noise = None if noise_of is None else noise_of(event, key=jax.random.fold_in(key, 1))
    return Dequantized(flow, noise)


def noise_given_picture(
    event: Shape, *, steps: int, width: int, levels: int, key: PRNGKeyArray
) -> Flow:
    """Noise in (0, 1) given a picture of whole levels, which starts uniform: affine couplings by checkerboard, each
    colour `steps` times, on the scale of the logit, whose networks see the picture.

    Slopes are bounded, so that no noise is narrower than the numbers beside 255 that single precision has.
    """
    board = Checker(event)
    h, w, c = board.latent_shape

    def step(key: PRNGKeyArray) -> Chain:
        network = GatedNetwork(
            (h, w, c // 2), (2, c // 2), width=width, condition_shape=event, levels=levels, key=key
        )
        coupling = ImageCoupling((h, w, c), network, Affine(bound=2.0))
        return Chain([coupling, PerPixel(Reverse(c), (h, w))])

    # The logistic scale, so that the start is uniform.
    bound, log_slope = 4.0, -math.log(SCALE)
    start = jnp.zeros((2, *event)).at[1].set(bound * math.atanh(log_slope / bound))
    parts = [
        Logit((h, w, c)),
        Stack(step, 2 * steps, key=key),
        board,
        Elementwise(Affine(bound), event, params=start),
        Sigmoid(event),
    ]
    return Flow(Uniform((h, w, c)), Chain(parts))
