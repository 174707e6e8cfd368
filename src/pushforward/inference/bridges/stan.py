"""Models of Stan, by BridgeStan."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.errors import InputError
from pushforward.inference.bridges.flat import joined
from pushforward.inference.target import Target
from pushforward.rows import Shape


def from_stan(model: Any) -> Target:
    """The target of a Stan model that BridgeStan has compiled, for `fit_posterior`.

        log p(u) = log p(theta(u), data) + log |det dtheta/du|

    All constants are kept, so that `Posterior.log_z` is the log-evidence of the model as written. Draws are
    dictionaries of the parameters and transformed parameters. Stan is called row by row, on the host.

    Arguments:
        model: a `bridgestan.StanModel` with its data, or anything with its methods `param_unc_num`, `param_unc_names`,
            `param_names`, `param_constrain`, `param_unconstrain` and `log_density_gradient`.

    Raises `InputError` for an object without these methods, or a model without parameters.

    ```python
    >>> import pushforward as pf
    >>> pf.inference.from_stan("model.stan")
    Traceback (most recent call last):
    ...
    pushforward.errors.InputError: a compiled bridgestan.StanModel was expected, not str

    ```
    """
    needed = ("param_unc_num", "param_constrain", "param_unconstrain", "log_density_gradient")
    if not all(callable(getattr(model, name, None)) for name in needed):
        raise InputError(
            f"a compiled bridgestan.StanModel was expected, not {type(model).__name__}"
        )
    dim = int(model.param_unc_num())
    if dim < 1:
        raise InputError("this Stan model has no parameters")
    own, shown = list(model.param_names()), list(model.param_names(include_tp=True))

    def value_and_grad(u: np.ndarray) -> tuple[Any, Any]:
        try:
            found: tuple[Any, Any] = model.log_density_gradient(u, propto=False, jacobian=True)
        except RuntimeError as error:
            # A reject() statement, or a solver that gives up: there is no density here.
            raise ArithmeticError(str(error)) from error
        return found

    def constrain(u: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.stack([model.param_constrain(row, include_tp=True) for row in u])
        return in_arrays(rows, shown)

    def unconstrain(events: Mapping[str, Any]) -> np.ndarray:
        shapes = shapes_in(own)
        joined(events, shapes)
        # Stan counts the first index fastest.
        arrays = {name: np.asarray(events[name], np.float64) for name in shapes}
        turned = [array.transpose(0, *range(array.ndim - 1, 0, -1)) for array in arrays.values()]
        rows = np.concatenate([array.reshape(len(array), -1) for array in turned], axis=1)
        return np.stack([model.param_unconstrain(row) for row in rows])

    return Target(
        dim,
        value_and_grad=value_and_grad,
        constrain=constrain,
        unconstrain=unconstrain,
        names=tuple(model.param_unc_names()),
    )


def shapes_in(names: Sequence[str]) -> dict[str, Shape]:
    """The shapes of the arrays that names such as `theta.2.1` are entries of; indices count from 1."""
    last = {name.split(".")[0]: name.split(".")[1:] for name in names}
    return {name: tuple(map(int, index)) for name, index in last.items()}


def in_arrays(rows: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns by Stan's names as arrays `(n, ...)`. Stan counts the first index fastest."""
    arrays, at = {}, 0
    for name, shape in shapes_in(names).items():
        size = math.prod(shape)
        turned = rows[:, at : at + size].reshape(len(rows), *shape[::-1])
        arrays[name] = turned.transpose(0, *range(len(shape), 0, -1))
        at += size
    return arrays
