"""What `pushforward sample` writes, into one file or into each of several."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pushforward.cli.progress import say
from pushforward.cli.typed import table_warnings
from pushforward.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from pushforward.models.table_model import TableModel
    from pushforward.models.typed_table import TypedTable

Show = Callable[[int], None]
"""Receives the number of rows that are done."""


class AbstractDraws(ABC):
    """Draws of a model, of which any share can be written by itself.

    Attributes:
        rows: how many there are.
        block: how many are drawn at once; a share is of whole blocks.
    """

    rows: int
    block: int

    @abstractmethod
    def __call__(self, output: str, show: Show, share: tuple[int, int] = (1, 1)) -> None:
        """Write the share of one of several workers, the number of which comes first, to a file."""


class FlowDraws(AbstractDraws):
    """Of a flow; for the arguments see `sample`."""

    def __init__(
        self,
        fitted: "TableModel",
        model: Path,
        n: int,
        seed: int,
        condition: str | None,
        quiet: bool,
    ) -> None:
        from pushforward.data.tables import read_table
        from pushforward.models.notes import names_of
        from pushforward.models.table_model import BLOCK
        from pushforward.trust.draws import draws_warnings

        self._fitted, self._n, self._seed = fitted, n, seed
        self.rows, self.block = n, BLOCK
        self._names, self._integer = fitted.columns.names, fitted.columns.whole
        self._conditions: np.ndarray | None = None
        if fitted.condition is not None:
            wanted = fitted.condition.names
            if condition is None:
                raise InputError(
                    f"{model}: is conditioned on {', '.join(wanted)}; name a table with "
                    f"{'this column' if len(wanted) == 1 else 'these columns'} by --condition"
                )
            stand_in = names_of(fitted)[1] is None
            table = read_table(condition, wanted, by_position=True, stand_in=stand_in)
            self._names = (*table.names, *self._names)
            self._integer = (*table.integer, *self._integer)
            self._conditions, self.rows = table.values, n * len(table.values)
        elif condition is not None:
            raise InputError(
                f"--condition {condition}: {model} is conditioned on nothing; leave --condition out"
            )
        for text in draws_warnings(fitted.trust.get("draws", {})):
            say(f"warning: {text}", quiet)

    def __call__(self, output: str, show: Show, share: tuple[int, int] = (1, 1)) -> None:
        from pushforward.data.tables import open_writer
        from pushforward.rows import share_of_blocks

        done, before = 0, share_of_blocks(self.rows, self.block, share).start * self.block
        with open_writer(output, self._names, self._integer) as writer:
            for draws in self._fitted.sample_blocks(
                self._n, self._seed, self._conditions, share=share
            ):
                if self._conditions is not None:
                    at = np.arange(before + done, before + done + len(draws)) // self._n
                    draws = np.concatenate([self._conditions[at], draws], axis=1)
                writer.write(draws)
                done += len(draws)
                show(done)


class TypedDraws(AbstractDraws):
    """Of a typed table; for the arguments see `sample`."""

    def __init__(self, model: Path, n: int, seed: int, given: str | None, quiet: bool) -> None:
        from pushforward.models.typed_file import load_typed_table
        from pushforward.models.typed_table import BLOCK

        self._fitted, self._n, self._seed = load_typed_table(model), n, seed
        self._given = None if given is None else _given_rows(self._fitted, given, quiet)
        self.rows = n if self._given is None else n * len(self._given)
        self.block = BLOCK

    def __call__(self, output: str, show: Show, share: tuple[int, int] = (1, 1)) -> None:
        from pushforward.data.frames import write_frame

        text = _is_text(output)
        drawn = self._fitted.sample(self._n, self._seed, self._given, text=text, share=share)
        write_frame(drawn, output)
        show(len(drawn))


def sample_typed_where(
    model: Path, n: int, output: str, where: str, *, given: str | None, seed: int, quiet: bool
) -> None:
    """Write draws of a typed table that lie in a range, and say how probable that is."""
    from pushforward.data.frames import write_frame
    from pushforward.models.typed_file import load_typed_table
    from pushforward.models.where import sample_where

    fitted = load_typed_table(model)
    rows = None if given is None else _given_rows(fitted, given, quiet)
    drawn, found = sample_where(fitted, n, seed, where, rows, text=_is_text(output))
    effective = found.effective.min()
    say(
        f"probability of {where}: {found.value.mean():.4g}"
        + (f" +- {found.error[0]:.2g}" if rows is None else " on average")
        + f"; {'at least ' if len(found.value) > 1 else ''}{effective:,.0f} effective draws",
        quiet,
    )
    if effective < min(n, 100) / 2:
        say("warning: few effective draws: some rows come several times", quiet)
    write_frame(drawn, output)
    say(f"{len(drawn):,} rows" + ("" if output == "-" else f" in {output}"), quiet)


def _given_rows(fitted: "TypedTable", given: str, quiet: bool) -> "pl.DataFrame":
    """The rows of a table whose missing cells are drawn."""
    from pushforward.data.frames import read_frame
    from pushforward.models.unfamiliar import improbable, improbable_line

    rows = read_frame(given)
    if not any(name in fitted.columns.names for name in rows.columns):
        raise InputError(f"--given {given}: none of its columns is one of the model's")
    for line in table_warnings(fitted, rows):
        say(f"warning: {line}", quiet)
    if (found := improbable_line(improbable(fitted, rows, absent=True))) is not None:
        say(f"warning: {found}", quiet)
    return rows


def _is_text(output: str) -> bool:
    from pushforward.data.frames import PARQUET

    return Path(output).suffix.lower() not in PARQUET
