"""What multi-scale models of images share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from jaxtyping import PRNGKeyArray

from pushforward.bijections import (
    AbstractBijection,
    ActLinear,
    ActNorm,
    Chain,
    Elementwise,
    Permutation,
    Reverse,
    Stack,
)
from pushforward.bijections.images import (
    ImageCoupling,
    MultiScale,
    PerPixel,
    Pixels,
    Squeeze,
)
from pushforward.bijections.images.squeeze import image_shape
from pushforward.distributions import Flow, StandardNormal
from pushforward.draws import permutation, spawn
from pushforward.errors import check_choice
from pushforward.networks import MLP, ImageNetwork
from pushforward.networks.images import AbstractImageNetwork
from pushforward.rows import Shape, Size, as_shape, condition_size
from pushforward.transformers import AbstractTransformer, Affine

MOST = 3
"""Scales at most, where the architecture does not say how many."""


class Scaled(ABC):
    """A multi-scale architecture: at each scale two by two pixels become one, then come its `steps`, then half of the
    channels leave, given the other half.

    The last scale's latents have a trained mean and deviation at every place, which a condition may move.
    """

    scales: int
    steps: int
    width: int
    blocks: int
    dropout: float
    levels: int
    scale: str
    alpha: float

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes of the network's kernels, see `ImageNetwork`."""
        return (3, 3, 1)

    @abstractmethod
    def of_scale(
        self, event: Shape, condition: Shape | None, key: PRNGKeyArray
    ) -> list[AbstractBijection]:
        """The maps of one scale, from its latents to images `event`, of which the last one is to be `Squeeze`."""

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """A flow with fresh parameters, in grey levels, see `Architecture`."""
        shape: Any = event
        image, c = image_shape(shape), as_shape(condition, "condition")
        count = self.scales or fitting_scales(image)
        maps: list[AbstractBijection] = []
        for i, own in enumerate(spawn(key, count)):
            of_scale, of_first = spawn(own, 2)
            inner = self.of_scale(image, c, of_scale)
            latent = inner[0].latent_shape
            last = i == count - 1
            first = (
                learned_top(latent, c, self.width, of_first)
                if last
                else self._coupling(latent, latent[2] - latent[2] // 2, Affine(), c, of_first)
            )
            maps.append(Chain([first, *inner]))
            image = image_shape((*latent[:2], latent[2] - latent[2] // 2))
        bijection = Chain([MultiScale(maps), Pixels(shape, self.levels, self.scale, self.alpha)])
        return Flow(StandardNormal(bijection.latent_shape), bijection)

    def network(
        self, event: Shape, out: tuple[int, int], condition: Shape | None, key: PRNGKeyArray
    ) -> AbstractImageNetwork:
        """The network of a coupling that sees images `event`; default an `ImageNetwork`."""
        return ImageNetwork(
            event,
            out,
            width=self.width,
            blocks=self.blocks,
            sizes=self.sizes,
            dropout=self.dropout,
            condition_shape=condition,
            key=key,
        )

    def _coupling(
        self,
        event: Shape,
        seen: int,
        transformer: AbstractTransformer,
        condition: Shape | None,
        key: PRNGKeyArray,
    ) -> ImageCoupling:
        """A coupling that sees the first channels and transforms the others."""
        seen_event, out = (*event[:2], seen), (transformer.size, event[2] - seen)
        network = self.network(seen_event, out, condition, key)
        return ImageCoupling(event, network, transformer)

    def _stack(
        self,
        event: Shape,
        transformer: AbstractTransformer,
        condition: Shape | None,
        key: PRNGKeyArray,
        mixing: str = "conv",
    ) -> Stack:
        """Steps of a coupling by channels, mixed."""

        def coupling(key: PRNGKeyArray) -> ImageCoupling:
            return self._coupling(event, event[2] // 2, transformer, condition, key)

        return self._mixed(event, coupling, key, mixing)

    def _mixed(
        self,
        event: Shape,
        make: Callable[[PRNGKeyArray], AbstractBijection],
        key: PRNGKeyArray,
        mixing: str = "conv",
    ) -> Stack:
        """Steps of a map, each followed by maps that normalise the channels and mix them, see `mixes`."""

        def step(key: PRNGKeyArray) -> Chain:
            of_map, of_mixing = spawn(key, 2)
            mixed = mixes(mixing, event[2], of_mixing)
            return Chain([make(of_map), *(PerPixel(map, event[:2]) for map in mixed)])

        return Stack(step, self.steps, key=key)


MIXINGS = ("conv", "shuffle", "reverse")


def mixes(mixing: str, channels: int, key: PRNGKeyArray) -> list[AbstractBijection]:
    """The maps of channels between couplings: activation normalisation and a 1 x 1 convolution, in one product, or a
    permutation, drawn or the reverse one, which exchanges the halves."""
    check_choice("mixing", mixing, MIXINGS)
    if mixing == "conv":
        return [ActLinear(channels, key=key)]
    if mixing == "reverse":
        return [Reverse(channels), ActNorm(channels)]
    return [Permutation(permutation(key, channels)), ActNorm(channels)]


def learned_top(
    latent: Shape, condition: Shape | None, width: int, key: PRNGKeyArray
) -> Elementwise:
    """A mean and a deviation at every place of the latents, which a condition moves by a network of one layer."""
    if condition is None:
        return Elementwise(Affine(), latent)
    network = MLP(condition_size(condition), (2, *latent), width=width, depth=1, key=key)
    return Elementwise(Affine(), latent, network=network, condition_shape=condition)


def squeezed(event: Shape) -> tuple[Squeeze, Shape]:
    """The map that ends a scale, and the shape of its latents."""
    squeeze = Squeeze(event)
    return squeeze, squeeze.latent_shape


def fitting_scales(event: Shape) -> int:
    """How often an image can be halved, between 1 and `MOST`."""
    h, w, _ = event
    count = 0
    while count < MOST and h % 2 == 0 and w % 2 == 0:
        h, w, count = h // 2, w // 2, count + 1
    return max(count, 1)
