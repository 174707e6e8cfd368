"""Bernstein polynomial flows."""

from typing import ClassVar

from jaxtyping import PRNGKeyArray

from pushforward import transformers
from pushforward.architectures.parts import transformer_flow
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.rows import Size


@configuration
class BernsteinFlow:
    """Bernstein polynomials in autoregressive layers, a learned linear map (LU) before each.

    Density: `layers` network passes. Sampling: sequential in the coordinates, the networks at about the arithmetic of
    one density pass, each coordinate by a numeric search.

    Arguments:
        layers: layers; default 5.
        width, depth: units and number of hidden layers of each network; default 128 and 2.
        degree: degree of each polynomial; default 16.
        bound: half-width of the box in which maps bend, in standard deviations; default 5.
        residual: whether hidden layers add their input; default False.
        dropout: share of hidden units zeroed while training; default 0.
        base: name of the base distribution; default "normal".

    Raises `InputError` for sizes below 1, an unknown base, or an event that is not a vector.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.BernsteinFlow(layers=2, width=8, degree=4)
    >>> flow = architecture.build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 5
    width: int = 128
    depth: int = 2
    degree: int = 16
    bound: float = 5.0
    residual: bool = False
    dropout: float = 0.0
    base: str = "normal"
    reference: ClassVar[str] = "Ramasinghe, Fernando, Khan & Barnes 2021, arXiv 2102.03509"

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        transformer = transformers.Bernstein(self.degree, self.bound)
        return transformer_flow(self, transformer, event, condition, key)
