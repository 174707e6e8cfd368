"""Densities for tables and equations for series: fitting, the fitted models, and scikit-learn estimators.

scikit-learn takes longer to import than the rest together, and the command line needs none of it:
only the estimators import it, when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pushforward.estimators.files import load, save
from pushforward.fitting.fit_table import fit_table
from pushforward.models.elements import Embedding
from pushforward.models.table_model import TableModel

if TYPE_CHECKING:
    from pushforward.estimators.amortized_posterior import AmortizedPosterior
    from pushforward.estimators.conditional import ConditionalFlowDensity
    from pushforward.estimators.density import FlowDensity
    from pushforward.estimators.image_density import ImageDensity
    from pushforward.estimators.neural_ode import NeuralODERegressor
    from pushforward.estimators.table_density import TableDensity

_ESTIMATORS = {
    "AmortizedPosterior": "amortized_posterior",
    "ConditionalFlowDensity": "conditional",
    "FlowDensity": "density",
    "ImageDensity": "image_density",
    "NeuralODERegressor": "neural_ode",
    "TableDensity": "table_density",
}

__all__ = [
    "AmortizedPosterior",
    "ConditionalFlowDensity",
    "Embedding",
    "FlowDensity",
    "ImageDensity",
    "NeuralODERegressor",
    "TableDensity",
    "TableModel",
    "fit_table",
    "load",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ESTIMATORS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
