"""Equations fitted to series, in files."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

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

KIND = "series"


@dataclass(frozen=True)
class SeriesModel:
    """An equation fitted to series: what a file holds of it.

    Attributes:
        settings: the estimator's arguments that describe the model, JSON-able.
        solver: solves the equation; None for the default.
        function, params: the function and its parameters, of an equation that is known; None of a learned one.
        units: of times and values.
        several: whether it was fitted to several series.
        range, longest: first and last time, and the longest duration of a series.
        noise: standard deviation of the residuals per column.
        begins: the first time of each series.
        members: the fitted models of the ensemble.
    """

    settings: dict[str, Any]
    solver: Solver | None
    function: Callable[..., Any] | None
    params: Any
    units: Units
    several: bool
    range: tuple[float, float]
    longest: float
    noise: np.ndarray
    begins: np.ndarray
    members: list[Member]


class _Models(eqx.Module):
    # Its name is part of the names of arrays in files.
    members: list[Shooting]


def save_equation(model: SeriesModel, path: str | os.PathLike[str], force: bool = True) -> None:
    """Write a fitted equation to one safetensors file, all or nothing.

    Its header holds the settings, the units, where each member's pieces begin and its history. A known function is
    not in the file, its parameters are.

    Arguments:
        model: the fitted equation.
        path: the file.
        force: whether an existing file may be replaced.

    Raises `InputError` where the file cannot be written.
    """
    solver = model.solver
    if solver is not None and not (
        isinstance(solver.method, str) and isinstance(solver.adjoint, str)
    ):
        raise InputError(
            f"{path}: a file keeps a solver's method and adjoint by their names; given {solver}"
        )
    # What is None is left out, so that earlier versions read the file.
    kept = {k: v for k, v in asdict(solver).items() if v is not None} if solver else None
    header = {
        "kind": KIND,
        "known": model.function is not None,
        "settings": model.settings,
        "solver": kept,
        "units": asdict(model.units),
        "several": model.several,
        "range": model.range,
        "longest": model.longest,
        "noise": model.noise,
        "series_begin": model.begins,
        "members": [
            {
                "owner": member.cuts.owner,
                "rows": member.cuts.rows,
                "begins": member.begins,
                "history": [[asdict(epoch) for epoch in stage] for stage in member.history],
                "loss": member.loss,
                "stopped": member.stopped,
            }
            for member in model.members
        ],
    }
    write_model(
        path,
        header,
        _Models([member.model for member in model.members]),
        skeleton=lambda header: _skeleton(header, model.function, model.params),
        force=force,
    )


def load_equation(
    path: str | os.PathLike[str], function: Callable[..., Any] | None = None, params: Any = None
) -> SeriesModel:
    """Read what `save_equation` wrote. Nothing that the file holds is executed.

    Arguments:
        path: the file.
        function, params: of an equation that is known: the function that was fitted, and parameters of the same form.

    Raises `InputError` for a file that is missing, damaged, of another kind or newer than this version; without a
    function where the file needs one, or with one where it does not.
    """
    header, read = read_model(path, lambda h: _skeleton(h, function, params), kind=KIND)
    return SeriesModel(
        settings={**header["settings"], "segments": tuple(header["settings"]["segments"])},
        solver=None if header["solver"] is None else Solver(**header["solver"]),
        function=function,
        params=params,
        units=_units(header),
        several=header["several"],
        range=(header["range"][0], header["range"][1]),
        longest=header["longest"],
        noise=np.asarray(header["noise"]),
        begins=np.asarray(header["series_begin"]),
        members=[
            Member(
                model,
                Cuts(np.asarray(kept["owner"], np.int64), np.asarray(kept["rows"], np.int64)),
                np.asarray(kept["begins"]),
                tuple(tuple(Epoch(**epoch) for epoch in stage) for stage in kept["history"]),
                kept["loss"],
                kept["stopped"],
            )
            for model, kept in zip(read.members, header["members"], strict=True)
        ],
    )


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
                return KnownField(function, params, units, settings.get("jumps"))
            except InputError as error:
                raise InputError(
                    f"params={params!r} do not fit the function ({error}); give those of the form that it was "
                    "fitted with"
                ) from error
        width, depth, autonomous = (settings[name] for name in ("width", "depth", "autonomous"))
        jumps = units.jumps(settings.get("jumps"))
        return LearnedField(d, width, depth, autonomous, jumps, key=jax.random.key(0))

    return _Models(
        [Shooting(field(), jnp.zeros((len(kept["owner"]), d))) for kept in header["members"]]
    )
