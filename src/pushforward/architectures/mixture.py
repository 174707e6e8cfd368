"""A Gaussian mixture, corrected by spline layers."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import transformer_layer, vector_event
from pushforward.bijections import AbstractBijection, LULinear, Stack
from pushforward.configuration import configuration
from pushforward.distributions import Flow, GaussianMixture
from pushforward.draws import spawn
from pushforward.errors import InputError, check_count
from pushforward.rows import Size, as_shape
from pushforward.transformers import RationalQuadratic


@configuration
class Mixture:
    """A Gaussian mixture with full covariances as the base, autoregressive rational-quadratic splines and linear maps
    behind it.

    In fits of tables the mixture starts from EM and the layers near the identity, so that the fit starts from what a
    mixture knows. For many separate modes and few rows, which splines over one normal learn slowly.

    Density: `layers` network passes and `components * d^2`. Sampling: sequential in the coordinates, about the
    arithmetic of one density pass.

    Arguments:
        components: Gaussians of the base; default 8.
        layers: spline layers; default 3. With 0 there is a linear map only, and no condition.
        width, depth: units and number of hidden layers of each network; default 64 and 2.
        bins: bins of each spline; default 8.
        bound: half-width of the box in which splines act; default 5.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.

    Raises `InputError` for sizes below 1 (layers: 0), a condition without layers, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.Mixture(components=3, layers=2, width=8)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    components: int = 8
    layers: int = 3
    width: int = 64
    depth: int = 2
    bins: int = 8
    bound: float = 5.0
    residual: bool = False
    dropout: float = 0.0
    reference: ClassVar[str] = "Izmailov, Kirichenko, Finzi & Wilson 2020, arXiv 1912.13025"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        d, context = vector_event(event, "Mixture"), as_shape(condition, "condition")
        check_count("layers", self.layers, 0)
        if context is not None and not self.layers:
            raise InputError("layers=0: a mixture alone takes no condition; at least 1 is needed")
        base_key, layer_key = spawn(key, 2)
        base = GaussianMixture(d, self.components, full=True, key=base_key)
        spline = RationalQuadratic(self.bins, self.bound)

        def layer(key: PRNGKeyArray) -> AbstractBijection:
            return transformer_layer(self, spline, d, context, key)

        if not self.layers:
            return Flow(base, LULinear(d))
        return Flow(base, Stack(layer, self.layers, key=layer_key))
