"""Quadratic-spline flows."""

from pushforward import transformers
from pushforward.architectures.parts import MIXED, Plan, Planned, bins_for, layer_of, structure
from pushforward.architectures.registry import published


@published(
    "quadratic_spline", "Müller, McWilliams, Rousselle, Gross & Novák 2019, arXiv 1808.03856"
)
class QuadraticSplineFlow(Planned):
    """Piecewise-quadratic splines in autoregressive or coupling layers, each preceded by a learned linear map (LU).

    Density: `layers` network passes. Sampling: the same for coupling; sequential in the coordinates, with about the
    arithmetic of one density pass, for autoregressive layers.

    Arguments:
        layers: number of layers; default 3.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        bins: bins of each spline; default 0: 16 up to 8 coordinates, 8 beyond, where data are scarcer.
        bound: half-width of the box in which splines act, in standard deviations; default 3.
        autoregressive: autoregressive layers (more accurate) or coupling layers (faster sampling); default True.
        residual: whether hidden layers have skip connections; default False.
        dropout: fraction of hidden units dropped during training; default 0.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.QuadraticSplineFlow(layers=2, width=8, bins=4).build(3, 1, key=jax.random.key(0))
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

    def plan(self, d: int) -> Plan:
        spline = transformers.QuadraticSpline(bins_for(self.bins, d), self.bound)
        return Plan(layer_of(self, spline, structure(self.autoregressive)), MIXED, soft=True)
