"""The flow of a table: an architecture's flow, then maps that fit it to the columns."""

from collections.abc import Sequence

import jax
import numpy as np

from pushforward.architectures import Architecture, CircularNSF, Facts
from pushforward.architectures.parts import softened
from pushforward.bijections import (
    AbstractBijection,
    Chain,
    Cylinder,
    Embedded,
    Margins,
    SoftTails,
)
from pushforward.bijections.base import replaced
from pushforward.distributions import AbstractDistribution, Flow, Product, StandardNormal
from pushforward.draws import spawn
from pushforward.models.elements import Elements
from pushforward.rows import Shape

ANGLES = CircularNSF(layers=4, width=64, depth=2, bins=16, residual=True, dropout=0.0)
"""The model of angles beside other columns. Files do not store it, so changing it would make them unreadable."""


def table_flow(
    architecture: Architecture,
    d: int,
    condition: Shape | None,
    key: jax.Array,
    margins: bool = False,
    angles: Sequence[bool] = (),
    elements: Elements | None = None,
) -> Flow:
    """The architecture's flow for encoded rows.

    Outliers of coordinates other than angles are compressed before the architecture sees them. Angles beside other
    coordinates are modelled by `ANGLES`, and the others by the architecture, given the angles.

    Arguments:
        architecture, d, condition, key: what to build.
        margins: True for `Margins` with root tails beyond them and a soft base, so that draws stay where the data
            are; False (default) for logarithmic tails.
        angles: which coordinates are angles, for an architecture that does not model angles; default none.
        elements: of a condition that is a set or a series, whose network stands between it and the flow.
    """
    if elements is not None:
        keys = spawn(key, 2)
        flow = table_flow(architecture, d, condition, keys[0], margins, angles)
        network = elements.network(keys[1])
        return Flow(flow.base, Embedded(flow.bijection, network, elements.seen_shape))
    if Facts.of(architecture).angles:
        flow = architecture.build((d,), condition, key=key)
        return Flow(flow.base, flow.bijection)
    if any(angles):
        k, keys = sum(angles), spawn(key, 2)
        turned = ANGLES.build((k,), condition, key=keys[0])
        seen = (2 * k + (0 if condition is None else condition[0]),)
        rest = table_flow(architecture, d - k, seen, keys[1], margins)
        return Flow(
            Product(turned.base, rest.base, angles),
            Cylinder(turned.bijection, rest.bijection, angles),
        )
    flow = architecture.build((d,), condition, key=key)
    if not margins:
        return Flow(flow.base, Chain([flow.bijection, SoftTails(d)]))
    outer = [SoftTails(d, root=True), Margins(d)]
    return Flow(softened(flow.base), Chain([flow.bijection, *outer]))


def has_margins(flow: Flow) -> bool:
    """Whether a table's flow was built with margins."""
    return outer_maps(flow)[1] is not None


def outer_maps(flow: Flow) -> tuple[SoftTails | None, Margins | None]:
    """The tails and the margins of a table's flow, where it has them."""
    straight = _straight(flow.bijection)
    maps = straight.bijections if isinstance(straight, Chain) else ()
    margins = maps[-1] if maps and isinstance(maps[-1], Margins) else None
    tails = maps[-1 if margins is None else -2] if maps else None
    return tails if isinstance(tails, SoftTails) else None, margins


def with_margins(flow: Flow, u: np.ndarray, kind: str) -> Flow:
    """A table's flow with its margins measured on encoded rows `(n, width)`; `kind` as of `Margins.following`."""
    straight, margins = _straight(flow.bijection), outer_maps(flow)[1]
    assert isinstance(straight, Chain)
    assert margins is not None
    measured = margins.following(without_angles(flow, u), kind)
    straight = Chain([*straight.bijections[:-1], measured])
    whole, outer = _inner(flow.bijection), flow.bijection
    if isinstance(whole, Cylinder):
        straight = Cylinder(whole.turned, straight, whole.angles)
    if isinstance(outer, Embedded):
        return Flow(flow.base, replaced(outer, bijection=straight))
    return Flow(flow.base, straight)


def without_angles(flow: Flow, rows: np.ndarray) -> np.ndarray:
    """The coordinates of encoded or latent rows that are no angles beside others."""
    inner = _inner(flow.bijection)
    angles = inner.angles if isinstance(inner, Cylinder) else None
    return rows if angles is None else rows[:, ~np.array(angles)]


def has_normal_base(flow: Flow) -> bool:
    """Whether the base of the coordinates that are no angles is normal, but for tails that few draws reach."""
    base: AbstractDistribution = flow.base
    base = base.second if isinstance(base, Product) else base
    return isinstance(base.base if isinstance(base, Flow) else base, StandardNormal)


def _straight(bijection: AbstractBijection) -> AbstractBijection:
    """A table's map, without that of angles beside it."""
    bijection = _inner(bijection)
    return bijection.straight if isinstance(bijection, Cylinder) else bijection


def _inner(bijection: AbstractBijection) -> AbstractBijection:
    """A table's map, given its condition as the network gives it."""
    return bijection.bijection if isinstance(bijection, Embedded) else bijection
