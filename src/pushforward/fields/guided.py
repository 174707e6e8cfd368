"""Classifier-free guidance."""

import math
from numbers import Real
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pushforward.errors import InputError
from pushforward.fields.base import AbstractField
from pushforward.rows import Shape


class GuidedField(AbstractField):
    """A conditional field that also knows the unconditional one, and extrapolates from it by a weight.

        f_w(t, x, c) = (1 + w) f(t, x, c) - w f(t, x),    tr J_w = (1 + w) tr J(c) - w tr J

    One more feature of the inner field's condition says whether there is one. Cost: the inner field's; twice that where
    the weight is not 0.

    Arguments:
        field: the inner field, whose condition is `(c + 1,)`.
        condition_shape: of the condition, with `c` entries.
        weight: w; default 0, the conditional field. With any other weight log-densities remain exact for the samples,
            which no longer follow the data's density.

    Source: Ho & Salimans 2022, arXiv 2207.12598.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from pushforward.fields import GuidedField, MLPField
    >>> inner = MLPField(2, width=8, condition=2, key=jax.random.key(0))
    >>> field = GuidedField(inner, (1,), weight=2.0)
    >>> field(0.5, jnp.ones((5, 2)), jnp.ones((5, 1))).shape
    (5, 2)

    ```
    """

    field: AbstractField
    weight: float = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    condition_shape: Shape | None = eqx.field(static=True)

    def __init__(self, field: AbstractField, condition_shape: Shape, *, weight: float = 0.0):
        self.field, self.weight = field, float(weight)
        self.event_shape, self.condition_shape = field.event_shape, condition_shape

    def prepared(self) -> "GuidedField":
        assert self.condition_shape is not None
        return GuidedField(self.field.prepared(), self.condition_shape, weight=self.weight)

    def with_divergence(
        self, t: ArrayLike, x: Float[Array, "n d"], condition: Array | None = None
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"] | None]:
        assert condition is not None
        value, trace = self.with_presence(t, x, condition, jnp.ones(len(x), x.dtype))
        if self.weight == 0:
            return value, trace
        free, free_trace = self.with_presence(t, x, condition, jnp.zeros(len(x), x.dtype))
        value = (1 + self.weight) * value - self.weight * free
        if trace is None or free_trace is None:
            return value, None
        return value, (1 + self.weight) * trace - self.weight * free_trace

    def with_presence(
        self, t: ArrayLike, x: Float[Array, "n d"], condition: Array, present: Float[Array, " n"]
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"] | None]:
        """The inner field with its divergence, evaluated with the condition (`present` = 1) or without it (0)."""
        flag = present[:, None]
        features = condition.reshape(len(condition), -1) * flag
        return self.field.with_divergence(t, x, jnp.concatenate([features, flag], 1))


def with_guidance(model: Any, weight: float) -> Any:
    """The same model with its guided fields at another weight.

    Arguments:
        model: a flow, or anything that holds guided fields; or what has such a flow: a fitted estimator, a
            `TableModel`.
        weight: 0 for the conditional density itself; above 0, samples are more typical of their condition.

    Raises `InputError` for a weight below -1, or a model that was not trained for guidance.

    ```python
    >>> import jax, pushforward as pf
    >>> architecture = pf.architectures.FlowMatching(width=8, drop_condition=0.1)
    >>> flow = architecture.build(2, condition=1, key=jax.random.key(0))
    >>> pf.fields.with_guidance(flow, 1.5).sample(jax.random.key(1), (4,), jax.numpy.ones(1)).shape
    (4, 2)

    ```
    """
    if not (isinstance(weight, Real) and -1 <= weight < math.inf):
        raise InputError(
            f"weight={weight!r}: a finite number of at least -1 was expected (-1 leaves the condition out)"
        )
    if hasattr(model, "with_flow"):
        return model.with_flow(lambda flow: with_guidance(flow, weight))

    def is_guided(node: Any) -> bool:
        return isinstance(node, GuidedField)

    if not any(map(is_guided, jax.tree.leaves(model, is_leaf=is_guided))):
        raise InputError(
            "the model has no unconditional field: build it with drop_condition above 0, and a condition"
        )

    def change(node: Any) -> Any:
        guided = is_guided(node)
        return GuidedField(node.field, node.condition_shape, weight=weight) if guided else node

    return jax.tree.map(change, model, is_leaf=is_guided)
