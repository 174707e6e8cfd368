"""Which columns of a table `pushforward fit` reads, and how they are divided between the model and its condition."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pushforward.errors import InputError

if TYPE_CHECKING:
    from pushforward.data.tables import Table


def kept(
    data: str,
    columns: tuple[str, ...] | None,
    condition: tuple[str, ...] | None,
    ignored: tuple[str, ...],
) -> tuple[str, ...] | None:
    """The columns to model once some are left out; None for all."""
    if not ignored or columns is not None:
        return columns
    if data == "-":
        raise InputError("--ignore: from standard input, name the columns to model by --columns")
    from pushforward.columns.names import unknown_columns
    from pushforward.data.frames import frame_names

    names = frame_names(data)
    if unknown := [name for name in ignored if name not in names]:
        raise InputError(unknown_columns(unknown, names, data))
    rest = tuple(name for name in names if name not in (*ignored, *(condition or ())))
    if not rest:
        raise InputError(f"--ignore takes every column of {data}; none is left to model")
    return rest


def read(
    data: str,
    columns: tuple[str, ...] | None,
    condition: tuple[str, ...] | None,
    progress: Callable[[str], None],
) -> "tuple[Table, Table | None]":
    """The columns to model, and those to condition on."""
    from pushforward.data.tables import read_table

    if columns is None and condition is None:
        return read_table(data, single=True, progress=progress), None
    if columns is not None:
        table = read_table(data, (*columns, *(condition or ())), single=True, progress=progress)
        return table.select(columns), None if condition is None else table.select(condition)
    table = read_table(data, single=True, progress=progress)
    given = table.select(condition or ())
    rest = [name for name in table.names if name not in given.names]
    if not rest:
        raise InputError(f"--condition takes every column of {data}; none is left to model")
    return table.select(rest), given
