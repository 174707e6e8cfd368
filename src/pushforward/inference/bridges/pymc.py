"""Models of PyMC."""

import warnings
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

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


def from_pymc(model: Any) -> Target:
    """The target of a PyMC model, for `fit_posterior`: its graph as a function in JAX.

        log p(u) = log p(theta(u), data) + log |det dtheta/du|

    Draws are dictionaries of the model's variables, deterministic ones included; u are its value variables, as
    transformed by PyMC. What PyMC computes in 64 bits is computed in JAX's precision.

    Arguments:
        model: a `pymc.Model`.

    Raises `InputError` where PyMC is not installed, for discrete parameters, a model without parameters, and for what
    PyTensor cannot translate to JAX.

    ```python
    with pymc.Model() as model:
        pymc.Normal("y", pymc.Normal("mu", 0, 1), 1, observed=0.5)
    post = pf.fit_posterior(pf.inference.from_pymc(model))
    ```
    """
    imported("pymc", "pymc")
    # PyTensor's import of JAX switches all of JAX to 64 bits.
    precise = jax.config.values["jax_enable_x64"]
    try:
        translated = imported("pymc.sampling.jax", "pymc").get_jaxified_graph
    finally:
        jax.config.update("jax_enable_x64", precise)
    refuse_discrete([variable.name for variable in model.discrete_value_vars], "PyMC")
    values, shown = list(model.value_vars), list(model.unobserved_value_vars)
    if not values:
        raise InputError("this PyMC model has no parameters")
    point = model.initial_point()
    shapes = shapes_of({variable.name: point[variable.name] for variable in values})
    try:
        of_log_density = translated(inputs=values, outputs=[model.logp()])
        of_shown = translated(inputs=values, outputs=shown)
    except NotImplementedError as error:
        raise InputError(
            f"PyTensor cannot translate this model to JAX ({str(error).splitlines()[0]}); "
            "Target(dim, value_and_grad=model.logp_dlogp_function(...)) takes PyMC's own functions"
        ) from error
    names = [variable.name for variable in shown]

    def run(function: Any, u: Array) -> list[Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)
            found: list[Any] = list(function(*split(u, shapes).values()))
            return found

    def log_density(u: Array) -> Array:
        found: Array = run(of_log_density, u)[0]
        return found

    constrained = compiled(lambda u: dict(zip(names, run(of_shown, u), strict=True)))
    sizes = model.eval_rv_shapes()
    own = {free.name: tuple(sizes[free.name]) for free in model.free_RVs}
    backwards = cache(partial(_transformed, model))

    def unconstrain(events: Mapping[str, Any]) -> np.ndarray:
        joined(events, own)
        columns = [np.asarray(events[name], np.float64) for name in own]
        way = backwards()
        rows = [way(*row) for row in zip(*columns, strict=True)]
        turned = [np.stack(part) for part in zip(*rows, strict=True)]
        return joined(dict(zip(shapes, turned, strict=True)), shapes)

    return Target(
        len(names_of(shapes)),
        log_density,
        constrain=lambda u: by_blocks(constrained, u),
        unconstrain=unconstrain,
        names=names_of(shapes),
    )


def _transformed(model: Any) -> Any:
    """The function from values of the free variables to those of the value variables, by PyMC's transformations.

    Their arguments may be other free variables, as the ends of an interval: these are the given values too.
    """
    pytensor = imported("pytensor", "pymc")
    replaced = imported("pytensor.graph.replace", "pymc").graph_replace
    given = {free: free.type(free.name) for free in model.free_RVs}
    values = []
    for free, value in given.items():
        transform = model.rvs_to_transforms[free]
        turned = value if transform is None else transform.forward(value, *free.owner.inputs)
        values.append(turned)
    return pytensor.function(list(given.values()), replaced(values, given, strict=False))
