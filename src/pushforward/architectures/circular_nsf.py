"""Neural spline flows of angles."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import (
    elementwise_layer,
    network_of,
    next_turn,
    stacked,
    vector_shapes,
)
from pushforward.architectures.registry import published
from pushforward.bijections import Coupling, Elementwise
from pushforward.distributions import Flow, UniformTorus
from pushforward.networks.periodic import PeriodicMLP
from pushforward.rows import Shape, Size, condition_size
from pushforward.transformers import CircularSpline


@published(
    "circular_nsf", "Rezende, Papamakarios, Racaniere et al. 2020, arXiv 2002.02428", angles=True
)
class CircularNSF:
    """Circular rational-quadratic splines in coupling layers, for angles in radians, over a uniform base.

    Networks see the cosines and sines of angles and splines join at the seam, so that the density is continuous on the
    torus and periodic. Draws lie in `[-pi, pi]`. A single angle is transformed elementwise.

    Density and sampling: `layers` network passes each.

    Arguments:
        layers: number of spline layers; default 6.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        bins: bins of each spline; default 8.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.CircularNSF(layers=2, width=8, bins=4).build(2, key=jax.random.key(0))
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

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        spline, options = CircularSpline(bins=self.bins), network_of(self)

        def layer(
            d: int, *, condition_shape: Shape | None, key: PRNGKeyArray
        ) -> Coupling | Elementwise:
            if d == 1:
                return elementwise_layer(spline, d, condition_shape, key=key, **options)
            kept, size = d // 2, condition_size(condition_shape)
            out = (spline.size, d - kept)
            network = PeriodicMLP(kept, out, condition=size, key=key, **options)
            return Coupling(network, spline, kept, condition_shape)

        d, shape = vector_shapes(self, event, condition)
        return Flow(UniformTorus(d), stacked(self.layers, layer, d, shape, key, (next_turn,)))
