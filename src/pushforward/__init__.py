"""pushforward: normalizing flows behind one contract."""

from typing import TYPE_CHECKING, Any

from pushforward import architectures, bijections, distributions
from pushforward.errors import InputError
from pushforward.training import Training, fit

if TYPE_CHECKING:
    from pushforward.estimators import ConditionalFlowDensity, FlowDensity, load

__version__ = "0.1.0"
__all__ = [
    "ConditionalFlowDensity",
    "FlowDensity",
    "InputError",
    "Training",
    "architectures",
    "bijections",
    "distributions",
    "fit",
    "load",
]

# scikit-learn is imported when an estimator is first used, so that `import pushforward` costs what JAX costs.
_ESTIMATORS = ("ConditionalFlowDensity", "FlowDensity", "load")


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        from pushforward import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
