"""Linear-spline flows."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward import transformers
from pushforward.architectures.parts import transformer_flow
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Size


@configuration
class LinearSplineFlow:
    """Piecewise-linear splines in autoregressive or coupling layers, a learned linear map (LU) before each.

    Density: `layers` network passes. Sampling: the same for coupling; sequential in the coordinates, about the
    arithmetic of one density pass, for autoregressive layers.

    Arguments:
        layers: layers; default 5.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        bins: bins of each spline; default 16.
        bound: half-width of the box in which splines act, in standard deviations; default 5.
        autoregressive: autoregressive layers (more accurate) or coupling layers (faster sampling); default True.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.LinearSplineFlow(layers=2, width=8, bins=4)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 128
    depth: int = 2
    bins: int = 16
    bound: float = 5.0
    autoregressive: bool = True
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"
    reference: ClassVar[str] = "Müller, McWilliams, Rousselle, Gross & Novák 2019, arXiv 1808.03856"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        transformer = transformers.LinearSpline(bins=self.bins, bound=self.bound)
        return transformer_flow(self, transformer, event, condition, key, self.autoregressive)
