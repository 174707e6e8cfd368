"""Cubic-spline flows."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward import transformers
from pushforward.architectures.parts import bins_for, transformer_flow, vector_event
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Size


@configuration
class CubicSplineFlow:
    """Monotone cubic splines in autoregressive or coupling layers, a learned linear map (LU) before each.

    Density: `layers` network passes. Sampling: the same for coupling; sequential in the coordinates, about the
    arithmetic of one density pass, for autoregressive layers; cubics are inverted by a numeric search.

    Arguments:
        layers: layers; default 3.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        bins: bins of each spline; default 0: 16 up to 8 coordinates, 8 beyond, where data are scarcer.
        bound: half-width of the box in which splines act, in standard deviations; default 3.
        autoregressive: autoregressive layers (more accurate) or coupling layers (faster sampling); default True.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.CubicSplineFlow(layers=2, width=8, bins=4)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 3
    width: int = 128
    depth: int = 2
    bins: int = 0
    bound: float = 3.0
    autoregressive: bool = True
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"
    reference: ClassVar[str] = "Durkan, Bekasov, Murray & Papamakarios 2019, arXiv 1906.02145"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        bins = bins_for(self.bins, vector_event(event, "CubicSplineFlow"))
        transformer = transformers.CubicSpline(bins, self.bound)
        return transformer_flow(self, transformer, event, condition, key, self.autoregressive)
