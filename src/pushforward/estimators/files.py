"""One door to model files: whatever kind of model there is goes in and comes out."""

from os import PathLike
from typing import TYPE_CHECKING, Any

from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.inference import Posterior
from pushforward.inference.posterior_file import KIND as POSTERIOR
from pushforward.model_file import read_header
from pushforward.models.image_file import KIND as IMAGES
from pushforward.models.image_file import save_image_model
from pushforward.models.image_model import ImageModel
from pushforward.models.notes import notes_of
from pushforward.models.series_file import KIND as SERIES
from pushforward.models.table_file import EMBEDDED, load_table_model, save_table_model
from pushforward.models.table_file import KIND as TABLE
from pushforward.models.table_model import TableModel
from pushforward.models.typed_file import KIND as TYPED
from pushforward.models.typed_file import save_typed_table
from pushforward.models.typed_table import TypedTable
from pushforward.saving import read_flow, write_flow

if TYPE_CHECKING:
    from pushforward.estimators.amortized_posterior import AmortizedPosterior
    from pushforward.estimators.conditional import ConditionalFlowDensity
    from pushforward.estimators.density import FlowDensity
    from pushforward.estimators.image_density import ImageDensity
    from pushforward.estimators.neural_ode import NeuralODERegressor
    from pushforward.estimators.table_density import TableDensity


def save(path: str | PathLike[str], model: Any, *, force: bool = True) -> None:
    """Write a model to a safetensors file, all or nothing. `load` reads it, and so does the command line where the
    model is a table's.

    Arguments:
        path: the file.
        model: a fitted estimator, a `Posterior`, a `TableModel`, a `TypedTable`, an `ImageModel`, or a `Flow` that an
            architecture has built.
        force: whether an existing file may be replaced; default True.

    Raises `InputError` where the file cannot be written, for a flow that was put together from parts, and for anything
    else; `NotFittedError` for an estimator before `fit`.

    ```python
    >>> import jax, tempfile, pushforward as pf
    >>> flow = pf.architectures.NICE(layers=2, width=8).build(3, key=jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pf.save(f"{folder}/flow.safetensors", flow)
    ...     again = pf.load(f"{folder}/flow.safetensors")
    >>> bool(again.log_prob([0.1, 0.2, 0.3]) == flow.log_prob([0.1, 0.2, 0.3]))
    True

    ```
    """
    if isinstance(model, Flow):
        write_flow(path, model, force=force)
    elif isinstance(model, TableModel):
        save_table_model(model, path, force)
    elif isinstance(model, Posterior):
        model.save(path, force=force)
    elif isinstance(model, ImageModel):
        save_image_model(model, path, force)
    elif isinstance(model, TypedTable):
        save_typed_table(model, path, force)
    elif any(base.__module__.startswith(f"{__package__}.") for base in type(model).__mro__):
        model.save(path, force=force)
    else:
        kind = type(model).__name__
        raise InputError(
            f"{path}: a fitted estimator, a TableModel or a Flow is saved, not a {kind}"
        )


def load(
    path: str | PathLike[str],
) -> (
    "FlowDensity | ConditionalFlowDensity | AmortizedPosterior | TableDensity | ImageDensity "
    "| NeuralODERegressor | Posterior | Flow"
):
    """Read a model from a file that `save`, an estimator or the command line has written.

    Loading executes nothing that the file holds. Settings of the fit are not in the file: an estimator has the fitted
    architecture and precision, and defaults otherwise.

    Arguments:
        path: the file.

    Returns a `FlowDensity`, a `ConditionalFlowDensity` where the model has a condition, an `AmortizedPosterior` where
    one was saved, a `TableDensity` of a typed table, an `ImageDensity` of pictures, a `NeuralODERegressor`, a
    `Posterior`, or a `Flow` where one was saved by itself. Raises `InputError` for a file that is missing, damaged,
    foreign or newer than this version, for an architecture that is not registered, and for an equation by a function,
    which `NeuralODERegressor.load` takes.

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
    kind = read_header(path).get("kind")
    if kind == "flow":
        return read_flow(path)
    if kind == POSTERIOR:
        return Posterior.load(path)
    # scikit-learn is imported with the first estimator.
    if kind == SERIES:
        from pushforward.estimators.neural_ode import NeuralODERegressor

        return NeuralODERegressor.load(path)
    if kind == IMAGES:
        from pushforward.estimators.image_density import ImageDensity

        return ImageDensity.load(path)
    if kind == TYPED:
        from pushforward.estimators.table_density import TableDensity

        return TableDensity.load(path)
    from pushforward.estimators.conditional import ConditionalFlowDensity
    from pushforward.estimators.density import FlowDensity

    model = load_table_model(path, EMBEDDED if kind == EMBEDDED else TABLE)
    if notes_of(model).get("posterior"):
        from pushforward.estimators.amortized_posterior import AmortizedPosterior

        return AmortizedPosterior.from_model(model)
    estimator = FlowDensity if model.condition is None else ConditionalFlowDensity
    return estimator.from_model(model)
