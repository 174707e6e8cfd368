"""Sylvester flows."""

from functools import partial
from typing import Literal

from pushforward.architectures.parts import Plan, Planned
from pushforward.architectures.registry import published
from pushforward.bijections import ActNorm, Reverse, Sylvester


@published(
    "sylvester",
    "van den Berg, Hasenclever, Tomczak & Welling 2018, arXiv 1803.05649",
    learning_rate=2e-2,
)
class SylvesterFlow(Planned):
    """Sylvester maps, each followed by a reversal of the coordinates and an activation normalisation.

    Density: `layers` times `2 d units` multiply-adds, and the orthogonal factors once per call. Sampling: the same,
    with `units` sequential numeric searches per layer.

    Arguments:
        layers: number of maps; default 16.
        units: directions of each map, at most d; default 32.
        kind: how the orthogonal factor is parametrised, "orthogonal", "householder" or "triangular" (none); default
            "orthogonal".
        reflections: reflections of the kind "householder"; default 8.
        base: name of the base distribution; default "normal".

    ```python
    >>> import jax, pushforward as pf
    >>> flow = pf.architectures.SylvesterFlow(layers=2, units=2).build(3, condition=1, key=jax.random.key(0))
    >>> flow.log_prob(jax.numpy.zeros((4, 3)), jax.numpy.zeros(1)).shape
    (4,)

    ```
    """

    layers: int = 16
    units: int = 32
    kind: Literal["orthogonal", "householder", "triangular"] = "orthogonal"
    reflections: int = 8
    base: str = "normal"

    def plan(self, d: int) -> Plan:
        make = partial(Sylvester, units=self.units, kind=self.kind, reflections=self.reflections)
        return Plan(make, (Reverse, ActNorm))
