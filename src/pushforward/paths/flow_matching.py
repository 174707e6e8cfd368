"""The loss of flow matching."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections import AbstractBijection, FlowMap
from pushforward.bijections.base import single_maps
from pushforward.configuration import configuration
from pushforward.distributions import Flow
from pushforward.errors import InputError, check_choice
from pushforward.fields import GuidedField
from pushforward.paths.couplings import COUPLINGS, partners
from pushforward.paths.path import PATHS


@configuration
class FlowMatchingLoss:
    """The mean squared error of a continuous flow's field against the velocity of a path from noise to data.

        loss = |f(t, x_t) - dx_t/dt|^2 / d,    t uniform, z from the base, x from the data

    Its minimum is the field whose flow takes the base to the data. No equation is solved: a step costs one pass of the
    field and its gradient. The times of a batch are spread evenly, `(u + i/n) mod 1`, each of them uniform.

    Any `Flow` with one continuous map will do; maps between it and the data (those of a table's flow) are applied but
    not trained. A validation loss (no key) always uses the same noise.

    Arguments:
        path: a name in `PATHS`: "linear" (default; the "OT path") or "vp".
        coupling: a name in `COUPLINGS`: "independent" (default), "exact_ot" or "sinkhorn" (the "OT coupling" of a
            batch, for straighter paths; within equal conditions, see `partners`).
        drop_condition: share of rows trained without their condition, for guidance; default 0.

    Raises `InputError` for unknown names or a share out of range; when called, for a model without a continuous map
    or with several; in a fit, for a `drop_condition` that does not suit the model's field.

    Sources: Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003; Tong et al. 2024, arXiv
    2302.00482.

    ```python
    >>> import jax, pushforward as pf
    >>> x = jax.random.normal(jax.random.key(0), (300, 2)) + 2.0
    >>> model = pf.architectures.FFJORD(width=8).build(2, key=jax.random.key(1))
    >>> loss = pf.paths.FlowMatchingLoss(coupling="exact_ot")
    >>> fitted = pf.fit(model, x, key=jax.random.key(2), loss=loss, training=pf.Training(max_epochs=1))
    >>> fitted.model.log_prob(x).shape
    (300,)

    ```
    """

    path: str = "linear"
    coupling: str = "independent"
    drop_condition: float = 0.0

    def __post_init__(self) -> None:
        check_choice("path", self.path, PATHS)
        check_choice("coupling", self.coupling, COUPLINGS)
        if not 0 <= self.drop_condition < 1:
            raise InputError(f"drop_condition={self.drop_condition}: a share in [0, 1) is expected")

    def check(self, model: Any, batch: Any) -> None:
        """Raises `InputError` for rows that are not a `Batch`, or a `drop_condition` that does not suit the model."""
        if not hasattr(batch, "condition"):
            raise InputError(
                f"flow matching takes the rows of fit(model, x, condition), not a {type(batch).__name__}"
            )
        if batch.condition is None:
            return
        guided = isinstance(_parts(model)[0].field, GuidedField)
        if self.drop_condition and not guided:
            raise InputError(
                f"drop_condition={self.drop_condition}: the model's field needs its condition; build the model with "
                f"architectures.FlowMatching(drop_condition={self.drop_condition})"
            )
        if guided and not self.drop_condition:
            raise InputError(
                "the model was built for guidance (drop_condition above 0), and would not learn the unconditional "
                "density: give the loss a drop_condition too"
            )

    def __call__(self, model: Any, batch: Any, key: PRNGKeyArray | None) -> Float[Array, " n"]:
        """The loss of each row of a `Batch`: `x (n, d)`, `condition (n, *condition)` or None."""
        x, condition = batch
        inner, outer = _parts(model)
        n, training = len(x), key is not None
        keys = jax.random.split(jax.random.key(0) if key is None else key, 4)
        for bijection in outer[::-1]:
            x, _ = jax.lax.stop_gradient(bijection.inverse_rows(x, condition, None))
        z = jax.lax.stop_gradient(model.base.sample_rows(keys[0], n, None)[0]).astype(x.dtype)
        z = z[partners(self.coupling, z, x, condition, keys[1])]
        t = (jax.random.uniform(keys[2], (), x.dtype) + jnp.arange(n, dtype=x.dtype) / n) % 1.0
        between, velocity = PATHS[self.path].at(t, z, x)
        field, when = inner.field, t[:, None]
        if condition is None:
            moved = field(when, between)
        elif training and isinstance(field, GuidedField):
            kept = jax.random.bernoulli(keys[3], 1 - self.drop_condition, (n,)).astype(x.dtype)
            moved = field.with_presence(when, between, condition, kept)[0]
        else:
            moved = field(when, between, condition)
        return jnp.square(moved - velocity).mean(1)


def _parts(model: Any) -> tuple[FlowMap, list[AbstractBijection]]:
    """The continuous map to train, and the maps between it and the data."""
    if not isinstance(model, Flow):
        raise InputError(f"flow matching trains a Flow, not a {type(model).__name__}")
    inner, *outer = single_maps(model.bijection)
    if not isinstance(inner, FlowMap):
        raise InputError(
            f"flow matching trains a continuous map next to the base, not a {type(inner).__name__}"
        )
    if any(isinstance(part, FlowMap) for part in outer):
        raise InputError("flow matching trains one continuous map; this model has more (layers=1)")
    if inner.time != 1.0 or inner.log_time is not None or inner.steer:
        raise InputError("flow matching needs a continuous map of fixed time 1, without steer")
    return inner, outer
