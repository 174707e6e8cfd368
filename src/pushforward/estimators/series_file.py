"""Equations fitted to series, in files."""

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward.errors import InputError
from pushforward.model_file import read_model, write_model
from pushforward.ode import Solver
from pushforward.series.neural_ode import KnownField, LearnedField, SeriesField, Units
from pushforward.series.pieces import Cuts
from pushforward.series.shooting import Member, Shooting
from pushforward.training import Epoch

if TYPE_CHECKING:
    from pushforward.estimators.neural_ode import NeuralODERegressor

KIND = "series"
# Settings that a loaded estimator has again; how it was trained is not in the file.
SETTINGS = ("width", "depth", "autonomous", "segments", "continuity", "starts", "ensemble")


class _Models(eqx.Module):
    members: list[Shooting]


def save_equation(
    estimator: "NeuralODERegressor", path: str | os.PathLike[str], force: bool = True
) -> None:
    """Write a fitted equation to one safetensors file, all or nothing.

    Its header holds the settings, the units, where each member's pieces begin and its history; of a function that
    was given, only the parameters are kept.

    Arguments:
        estimator: fitted.
        path: the file.
        force: whether an existing file may be replaced.

    Raises `InputError` where the file cannot be written.
    """
    solver = estimator.solver
    if solver is not None and not (
        isinstance(solver.method, str) and isinstance(solver.adjoint, str)
    ):
        raise InputError(
            f"{path}: a file keeps a solver's method and adjoint by their names; given {solver}"
        )
    header = {
        "kind": KIND,
        "known": callable(estimator.field),
        "settings": {name: getattr(estimator, name) for name in SETTINGS},
        "solver": None if solver is None else asdict(solver),
        "units": asdict(estimator.units_),
        "several": estimator.several_,
        "range": estimator.range_,
        "longest": estimator.longest_,
        "noise": estimator.noise_,
        "series_begin": estimator.begins_,
        "members": [
            {
                "owner": member.cuts.owner,
                "rows": member.cuts.rows,
                "begins": member.begins,
                "history": [[asdict(epoch) for epoch in stage] for stage in member.history],
                "loss": member.loss,
                "stopped": member.stopped,
            }
            for member in estimator.members_
        ],
    }
    function = estimator.field if callable(estimator.field) else None
    write_model(
        path,
        header,
        _Models([member.model for member in estimator.members_]),
        skeleton=lambda header: _skeleton(header, function, estimator.params),
        force=force,
    )


def load_equation(
    path: str | os.PathLike[str], function: Callable[..., Any] | None = None, params: Any = None
) -> "NeuralODERegressor":
    """The estimator that `save_equation` wrote. Nothing that the file holds is executed.

    Arguments:
        path: the file.
        function, params: of an equation that is known: the function that was fitted, and parameters of the same form.

    Raises `InputError` for a file that is missing, damaged, of another kind or newer than this version; without a
    function where the file needs one, or with one where it does not.
    """
    from pushforward.estimators.neural_ode import NeuralODERegressor, keep_members

    header, models = read_model(path, lambda h: _skeleton(h, function, params), kind=KIND)
    solver = None if header["solver"] is None else Solver(**header["solver"])
    settings = {**header["settings"], "segments": tuple(header["settings"]["segments"])}
    field: Any = "mlp" if function is None else function
    estimator = NeuralODERegressor(field, params=params, solver=solver, **settings)
    members = [
        Member(
            model,
            Cuts(np.asarray(kept["owner"], np.int64), np.asarray(kept["rows"], np.int64)),
            np.asarray(kept["begins"]),
            tuple(tuple(Epoch(**epoch) for epoch in stage) for stage in kept["history"]),
            kept["loss"],
            kept["stopped"],
        )
        for model, kept in zip(models.members, header["members"], strict=True)
    ]
    estimator.units_, estimator.several_ = _units(header), header["several"]
    estimator.n_features_in_ = len(header["noise"])
    estimator.range_ = header["range"][0], header["range"][1]
    estimator.longest_, estimator.noise_ = header["longest"], np.asarray(header["noise"])
    estimator.begins_ = np.asarray(header["series_begin"])
    keep_members(estimator, members)
    return estimator


def _units(header: dict[str, Any]) -> Units:
    kept = header["units"]
    return Units(
        np.asarray(kept["center"]), np.asarray(kept["scale"]), kept["origin"], kept["length"]
    )


def _skeleton(header: dict[str, Any], function: Callable[..., Any] | None, params: Any) -> _Models:
    if header["known"] and function is None:
        raise InputError(
            "holds the parameters of a function that was given: load it with "
            "NeuralODERegressor.load(path, field=the function, params=parameters of the same form)"
        )
    if function is not None and not header["known"]:
        raise InputError("holds a learned equation: it is loaded without a function")
    units, settings = _units(header), header["settings"]
    d = len(units.center)

    def field() -> SeriesField:
        if function is not None:
            try:
                return KnownField(function, params, units)
            except InputError as error:
                raise InputError(
                    f"params={params!r} do not fit the function ({error}); give those of the form that it was "
                    "fitted with"
                ) from error
        sizes = (settings[name] for name in ("width", "depth", "autonomous"))
        return LearnedField(d, *sizes, key=jax.random.key(0))

    return _Models(
        [Shooting(field(), jnp.zeros((len(kept["owner"]), d))) for kept in header["members"]]
    )
