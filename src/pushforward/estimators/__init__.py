"""Densities for tables and equations for series: fitting, the fitted models, and scikit-learn estimators.

scikit-learn takes longer to import than the rest together, and the command line needs none of it:
only the estimators import it, when they are first asked for.
"""

from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from pushforward.estimators.fit_table import fit_table
from pushforward.estimators.table_model import TableModel
from pushforward.model_file import read_header

if TYPE_CHECKING:
    from pushforward.estimators.conditional import ConditionalFlowDensity
    from pushforward.estimators.density import FlowDensity
    from pushforward.estimators.neural_ode import NeuralODERegressor

_ESTIMATORS = {
    "ConditionalFlowDensity": "conditional",
    "FlowDensity": "density",
    "NeuralODERegressor": "neural_ode",
}

__all__ = [
    "ConditionalFlowDensity",
    "FlowDensity",
    "NeuralODERegressor",
    "TableModel",
    "fit_table",
    "load",
]


def load(
    path: str | PathLike[str],
) -> "FlowDensity | ConditionalFlowDensity | NeuralODERegressor":
    """Read a fitted estimator from a file that `save` or the command line has written.

    Loading executes nothing that the file holds. Settings of the fit are not in the file: the
    estimator has the fitted architecture and precision, and defaults otherwise.

    Arguments:
        path: the file.

    Returns a `FlowDensity`, a `ConditionalFlowDensity` where the model has a condition, or a
    `NeuralODERegressor`. Raises `InputError` for a file that is missing, damaged, foreign or newer than
    this version, and for an equation by a function, which `NeuralODERegressor.load` takes.

    ```python
    >>> import numpy as np, tempfile
    >>> from pushforward.architectures import RealNVP
    >>> from pushforward.estimators import FlowDensity, load
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> density = FlowDensity(RealNVP(layers=1, width=8), max_epochs=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     density.save(f"{folder}/m.safetensors")
    ...     again = load(f"{folder}/m.safetensors")
    >>> again.score(X) == density.score(X)
    True

    ```
    """
    from pushforward.estimators.conditional import ConditionalFlowDensity
    from pushforward.estimators.density import FlowDensity
    from pushforward.estimators.series_file import KIND, load_equation
    from pushforward.estimators.table_file import load_table_model

    if read_header(path).get("kind") == KIND:
        return load_equation(path)
    model = load_table_model(path)
    kind = FlowDensity if model.given is None else ConditionalFlowDensity
    return kind.from_model(model)


def __getattr__(name: str) -> Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ESTIMATORS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
