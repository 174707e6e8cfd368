"""Neural spline flows of angles."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import (
    elementwise_layer,
    network_of,
    next_turn,
    vector_event,
)
from pushforward.bijections import Chain, Coupling, Elementwise, Stack
from pushforward.configuration import configuration
from pushforward.distributions import Flow, UniformTorus
from pushforward.networks.periodic import PeriodicMLP
from pushforward.rows import Size, as_shape, condition_size
from pushforward.transformers import CircularSpline


@configuration
class CircularNSF:
    """Circular rational-quadratic splines in coupling layers, for angles in radians, over a uniform base.

    Networks see angles as cosines and sines and splines join at the seam, so that the density is continuous on the
    torus and the same after a turn. Draws lie in `[-pi, pi]`. A single angle is transformed elementwise.

    Density and sampling: `layers` network passes each.

    Arguments:
        layers: spline layers; default 6.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        bins: bins of each spline; default 8.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.

    Raises `InputError` for sizes below 1, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.CircularNSF(layers=2, width=8, bins=4)
    >>> flow = architecture.build(2, key=jax.random.key(0))
    >>> [round(float(v), 2) for v in flow.log_prob(jax.numpy.array([[0.5, -1.0], [4.0, 0.0]]))]
    [-3.68, -3.68]

    ```
    """

    layers: int = 6
    width: int = 128
    depth: int = 2
    bins: int = 8
    residual: bool = False
    dropout: float = 0.0
    angles: ClassVar[bool] = True
    reference: ClassVar[str] = "Rezende, Papamakarios, Racaniere et al. 2020, arXiv 2002.02428"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        d, context = vector_event(event, "CircularNSF"), as_shape(condition, "condition")
        spline, kept = CircularSpline(bins=self.bins), d // 2

        def splines(key: PRNGKeyArray) -> Coupling | Elementwise:
            options = network_of(self)
            if d == 1:
                return elementwise_layer(spline, d, context, key=key, **options)
            out, size = (spline.size, d - kept), condition_size(context)
            network = PeriodicMLP(kept, out, condition=size, key=key, **options)
            return Coupling(network, spline, kept, context)

        def layer(key: PRNGKeyArray) -> Chain:
            return Chain([splines(key), next_turn(d)])

        return Flow(UniformTorus(d), Stack(layer, self.layers, key=key))
