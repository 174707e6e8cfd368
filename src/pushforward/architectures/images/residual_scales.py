"""What residual flows on images share."""

from typing import Any

from jaxtyping import PRNGKeyArray

from pushforward.architectures.images.scales import fitting_scales, learned_top, squeezed
from pushforward.bijections import AbstractBijection, ActNorm, Chain, Residual, Stack
from pushforward.bijections.images import PerPixel, Pixels
from pushforward.bijections.images.squeeze import image_shape
from pushforward.bijections.reshape import Reshape
from pushforward.distributions import Flow, StandardNormal
from pushforward.draws import spawn
from pushforward.networks import LipschitzConv
from pushforward.rows import Shape, Size, as_shape, condition_size


class ResidualScaled:
    """Scales of residual maps, each followed by an activation normalisation of the channels: at each scale two by two
    pixels become one, and all channels go on to the next.

    The latents have a trained mean and deviation at every place, which a condition may move.
    """

    scales: int
    steps: int
    width: int
    lipschitz: float
    judged: int
    levels: int
    scale: str
    alpha: float

    def built(
        self,
        event: Size,
        condition: Size | None,
        key: PRNGKeyArray,
        activation: str,
        **log_det: Any,
    ) -> Flow:
        """A flow of networks with this activation; `log_det` says how training finds the log-dets, see `Residual`."""
        shape: Any = event
        image, c = image_shape(shape), as_shape(condition, "condition")
        count = self.scales or fitting_scales(image)
        of_top, *of_scales = spawn(key, count + 1)
        maps: list[AbstractBijection] = [Pixels(shape, self.levels, self.scale, self.alpha)]
        latent: Shape = image
        for own in of_scales:
            squeeze, latent = squeezed(latent)
            maps += [squeeze, self._stack(latent, c, own, activation, log_det)]
        maps += [learned_top(latent, c, self.width, of_top), Reshape(latent)]
        return Flow(StandardNormal(maps[-1].latent_shape), Chain(maps[::-1]))

    def _stack(
        self,
        event: Shape,
        condition: Shape | None,
        key: PRNGKeyArray,
        activation: str,
        log_det: dict[str, Any],
    ) -> Stack:
        def step(key: PRNGKeyArray) -> Chain:
            network = LipschitzConv(
                event,
                width=self.width,
                condition=condition_size(condition),
                lipschitz=self.lipschitz,
                activation=activation,
                key=key,
            )
            residual = Residual(network, condition_shape=condition, judged=self.judged, **log_det)
            return Chain([residual, PerPixel(ActNorm(event[2]), event[:2])])

        return Stack(step, self.steps, key=key)
