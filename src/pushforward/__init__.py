"""pushforward: normalizing flows behind one contract."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward import (
        architectures,
        bijections,
        columns,
        distributions,
        fields,
        inference,
        networks,
        ode,
        paths,
        series,
        transformers,
    )
    from pushforward import data as data
    from pushforward import estimators as estimators
    from pushforward import saving as saving
    from pushforward import testing as testing
    from pushforward import training as training
    from pushforward.data.stream import Stream
    from pushforward.errors import InputError, InputWarning
    from pushforward.estimators import (
        AmortizedPosterior,
        ConditionalFlowDensity,
        FlowDensity,
        ImageDensity,
        NeuralODERegressor,
        TableDensity,
        load,
        save,
    )
    from pushforward.fitting.fit_table import fit_table
    from pushforward.inference import fit_posterior
    from pushforward.training import Checkpoint, Devices, Training, fit

__version__ = "0.5.0"
__all__ = [
    "AmortizedPosterior",
    "Checkpoint",
    "ConditionalFlowDensity",
    "Devices",
    "FlowDensity",
    "ImageDensity",
    "InputError",
    "InputWarning",
    "NeuralODERegressor",
    "Stream",
    "TableDensity",
    "Training",
    "architectures",
    "bijections",
    "columns",
    "distributions",
    "fields",
    "fit",
    "fit_posterior",
    "fit_table",
    "inference",
    "load",
    "networks",
    "ode",
    "paths",
    "save",
    "series",
    "transformers",
]

# The modules of names. Each is imported at first use: the command line prints its help without JAX, and users of JAX
# never import scikit-learn.
_HOMES = {
    "AmortizedPosterior": "estimators",
    "Checkpoint": "training",
    "ConditionalFlowDensity": "estimators",
    "Devices": "training",
    "FlowDensity": "estimators",
    "ImageDensity": "estimators",
    "InputError": "errors",
    "InputWarning": "errors",
    "NeuralODERegressor": "estimators",
    "Stream": "data.stream",
    "TableDensity": "estimators",
    "Training": "training",
    "fit": "training",
    "fit_posterior": "inference",
    "fit_table": "fitting.fit_table",
    "load": "estimators",
    "save": "estimators",
}
# Modules that can be reached by name, but are not in `__all__`.
_MODULES = ("dask", "data", "estimators", "saving", "testing", "training")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"pushforward.{_HOMES[name]}"), name)
    if name in (*__all__, *_MODULES):
        return import_module(f"pushforward.{name}")
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
