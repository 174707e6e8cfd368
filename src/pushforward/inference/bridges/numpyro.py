"""Models of NumPyro."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.draws import key_of
from pushforward.errors import InputError
from pushforward.inference.bridges.flat import (
    by_blocks,
    compiled,
    imported,
    joined,
    names_of,
    refuse_discrete,
    shapes_of,
    split,
)
from pushforward.inference.target import Target


def from_numpyro(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Target:
    """The target of a NumPyro model given its data, for `fit_posterior`.

        log p(u) = log p(theta(u), data) + log |det dtheta/du|

    Draws are dictionaries of the sites' values, deterministic ones included. NumPyro transforms what has a support.

    Arguments:
        model: the model, a function.
        args, kwargs: its arguments, the data.

    Raises `InputError` where NumPyro is not installed, for discrete parameters, and where the model has no finite
    log-density or gradient at any start that NumPyro tries.

    ```python
    >>> import numpyro.distributions as dist, pushforward as pf
    >>> from numpyro import sample
    >>> def model(y):
    ...     sample("y", dist.Normal(sample("mu", dist.Normal(0, 1)), 1), obs=y)
    >>> target = pf.inference.from_numpyro(model, 0.5)
    >>> target.names
    ('mu',)

    ```
    """
    util = imported("numpyro.infer.util", "numpyro")
    handlers = imported("numpyro.handlers", "numpyro")
    key = key_of(0)
    trace = handlers.trace(handlers.seed(model, key)).get_trace(*args, **kwargs)
    sampled = [site for site in trace.values() if site["type"] == "sample"]
    latent = [site for site in sampled if not site["is_observed"]]
    refuse_discrete([s["name"] for s in latent if s["fn"].support.is_discrete], "NumPyro")
    if not latent:
        raise InputError("this NumPyro model has no parameters: every site is observed")
    try:
        info = util.initialize_model(key, model, model_args=args, model_kwargs=kwargs)
    except RuntimeError as error:
        raise InputError(f"NumPyro found no start: {str(error).splitlines()[0]}") from error
    shapes = shapes_of(info.param_info.z)

    def log_density(u: Array) -> Array:
        log_prob: Array = -info.potential_fn(split(u, shapes))
        return log_prob

    constrained = compiled(lambda u: info.postprocess_fn(split(u, shapes)))
    own = shapes_of(info.postprocess_fn(info.param_info.z))
    turned = jax.jit(
        jax.vmap(lambda events: util.unconstrain_fn(model, args, kwargs, events)),
    )

    def unconstrain(events: Mapping[str, Any]) -> np.ndarray:
        joined(events, {name: own[name] for name in shapes})
        rows = turned({name: jnp.asarray(events[name], jnp.zeros(()).dtype) for name in shapes})
        return joined(rows, shapes)

    return Target(
        len(names_of(shapes)),
        log_density,
        constrain=lambda u: by_blocks(constrained, u),
        unconstrain=unconstrain,
        names=names_of(shapes),
    )
