"""A Gaussian mixture, corrected by spline layers."""

from jaxtyping import PRNGKeyArray

from pushforward.architectures.parts import MIXED, layer_of, stacked, vector_shapes
from pushforward.architectures.registry import published
from pushforward.bijections import LULinear
from pushforward.distributions import Flow, GaussianMixture
from pushforward.draws import spawn
from pushforward.errors import InputError, check_count
from pushforward.rows import Size
from pushforward.transformers import RationalQuadratic


@published("mixture", "Izmailov, Kirichenko, Finzi & Wilson 2020, arXiv 1912.13025")
class Mixture:
    """A Gaussian mixture with full covariances under autoregressive rational-quadratic splines and linear maps.

    On tables the mixture starts from EM and the layers near the identity, so that the fit starts from a fitted mixture.
    For many separate modes and few rows, which splines over one normal learn slowly.

    Density: `layers` network passes and `components * d^2`. Sampling: sequential in the coordinates, with about the
    arithmetic of one density pass.

    Arguments:
        components: Gaussians of the base; default 8.
        layers: number of spline layers; default 3; 0 for a linear map only, without a condition.
        width, depth: units and number of hidden layers of each network; default 64 and 2.
        bins: bins of each spline; default 8.
        bound: half-width of the box in which splines act; default 5.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.

    Raises `InputError` for a condition without layers.

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.Mixture(components=3, layers=2, width=8).build(3, condition=1, key=jax.random.key(0))
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

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        d, shape = vector_shapes(self, event, condition)
        check_count("layers", self.layers, 0)
        if shape is not None and not self.layers:
            raise InputError("layers=0: a mixture alone takes no condition; at least 1 is needed")
        base_key, layer_key = spawn(key, 2)
        base = GaussianMixture(d, self.components, full=True, key=base_key)
        if not self.layers:
            return Flow(base, LULinear(d))
        spline = RationalQuadratic(self.bins, self.bound)
        stack = stacked(self.layers, layer_of(self, spline), d, shape, layer_key, MIXED)
        return Flow(base, stack)
