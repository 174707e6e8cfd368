"""What `pushforward score` does with one file after the other, and what it says of all of them at the end."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pushforward.cli.progress import say
from pushforward.cli.typed import table_warnings
from pushforward.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from pushforward.models.table_model import TableModel
    from pushforward.models.typed_table import TypedTable

ROWS = 65536
"""Rows read at once: a multiple of the rows in one call of the compiled program."""

Show = Callable[[int, float | None], None]
"""Receives the rows that are done of a file, and the fraction of it; 0 and None when it is open."""


class Table(NamedTuple):
    """A file to be scored.

    Attributes:
        path: of the file; `-` for CSV on standard input.
        name: what to call it in messages; empty where it is the only one.
        folders: columns that it lacks, by what its folders say.
    """

    path: str
    name: str = ""
    folders: Mapping[str, str | None] = {}

    def row(self, number: int) -> str:
        """A row in a message."""
        return f"row {number}" + (f" of {self.name}" if self.name else "")


class AbstractScorer(ABC):
    """Scores files, one call for each.

    Arguments:
        quiet: whether to print nothing.
    """

    columns: Sequence[str] | None = None
    """The columns that are read, if they are known."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._warned = quiet, Counter[str]()

    @abstractmethod
    def __call__(self, table: Table, output: str, show: Show) -> None:
        """Write the scores of a file."""

    @abstractmethod
    def summary(self) -> list[str]:
        """Lines about all rows."""

    def warn(self, kind: str, line: str | None, table: Table) -> None:
        """Print a warning, of many files with the same one that of the first."""
        if line is None:
            return
        self._warned[kind] += 1
        if self._warned[kind] == 1:
            say(f"warning: {table.name + ': ' if table.name else ''}{line}", self._quiet)

    def ending(self) -> list[str]:
        """The warnings that were not printed, and the summary."""
        more = [
            f"warning: {kind} in {count - 1:,} more part{'s' * (count > 2)}"
            for kind, count in self._warned.items()
            if count > 1
        ]
        return more + self.summary()


class _Least:
    """The least value of all, and where it stands."""

    def __init__(self) -> None:
        self.value, self.where = float("inf"), ""

    def see(self, values: np.ndarray, table: Table, before: int = 0) -> None:
        if len(values) and (not self.where or values.min() < self.value):
            row = int(values.argmin())
            self.value, self.where = float(values[row]), table.row(before + row + 1)


class FlowScorer(AbstractScorer):
    """By a flow, in blocks."""

    def __init__(self, fitted: "TableModel", quiet: bool) -> None:
        super().__init__(quiet)
        self._fitted = fitted
        given = () if fitted.condition is None else fitted.condition.names
        self.columns = (*fitted.columns.names, *given)
        self._rows, self._total, self._least = 0, 0.0, _Least()
        self._outside, self._first = 0, ""

    def __call__(self, table: Table, output: str, show: Show) -> None:
        from pushforward.data.tables import open_blocks, open_writer
        from pushforward.models.notes import names_of

        fitted, width = self._fitted, len(self._fitted.columns.names)
        reader = open_blocks(
            table.path,
            self.columns,
            ROWS,
            by_position=True,
            stand_in=names_of(fitted) == (None, None),
            constants=table.folders,
        )
        show(0, None)
        rows = 0
        with open_writer(output, ["log_prob"]) as writer:
            for block in reader:
                condition = block[:, width:] if fitted.condition is not None else None
                values = fitted.log_prob(block[:, :width], condition)
                writer.write(values[:, None])
                bad, what = fitted.columns.outside(block[:, :width])
                if bad.any():
                    where = table.row(rows + int(bad.argmax()) + 1)
                    self._first = self._first or f"the first in {where}: {what}"
                    self._outside += int(bad.sum())
                self._least.see(np.where(bad, np.inf, values), table, rows)
                rows += len(values)
                self._total += float(values[~bad].sum())
                show(rows, reader.fraction)
        self._rows += rows

    def summary(self) -> list[str]:
        lines, inside = [], self._rows - self._outside
        if self._outside:
            lines.append(
                f"{self._outside:,} of {self._rows:,} rows are impossible (-inf), {self._first}"
            )
        if inside:
            count = f"{inside:,} {'other rows' if self._outside else 'rows'}"
            least = f"least {self._least.value:.4f} ({self._least.where})"
            lines.append(f"{count}, mean {self._total / inside:.4f} nats, {least}")
        return lines


class AbstractTypedScorer(AbstractScorer):
    """By a typed table, whole files.

    Arguments:
        fitted: the model.
        given: columns whose cells are known.
        quiet: whether to print nothing.
    """

    def __init__(self, fitted: "TypedTable", given: Sequence[str], quiet: bool) -> None:
        super().__init__(quiet)
        self._fitted, self._given = fitted, given
        self._rows = 0

    def _read(self, table: Table) -> "pl.DataFrame":
        """The table, with the model's columns that its folders say."""
        import polars as pl

        from pushforward.data.frames import read_frame

        frame = read_frame(table.path)
        known = {column.name for column in self._fitted.columns.every}
        more = {k: v for k, v in table.folders.items() if k in known and k not in frame.columns}
        self._rows += len(frame)
        return frame.with_columns(pl.lit(v, pl.String).alias(k) for k, v in more.items())

    def _check(self, frame: "pl.DataFrame", table: Table) -> None:
        for line in table_warnings(self._fitted, frame, self._given):
            self.warn("unknown columns", line, table)


class TypedScorer(AbstractTypedScorer):
    """The log-probability of every row, and of its columns; for the arguments see `score`."""

    def __init__(
        self,
        fitted: "TypedTable",
        given: Sequence[str],
        quiet: bool,
        *,
        per_column: bool,
        gaps: bool,
        absent: bool,
    ) -> None:
        super().__init__(fitted, given, quiet)
        self._per_column, self._gaps, self._absent = per_column, gaps, absent
        self._total, self._least = 0.0, _Least()

    def __call__(self, table: Table, output: str, show: Show) -> None:
        from pushforward.data.tables import open_writer
        from pushforward.models.unfamiliar import improbable, improbable_line, unseen_cells

        fitted, given, absent = self._fitted, self._given, self._absent
        frame = self._read(table)
        self._check(frame, table)
        unseen, line = unseen_cells(fitted.columns, frame, absent=absent)
        self.warn("labels that the fit did not see", line, table)
        cells = fitted.log_prob_cells(frame, given, absent=absent)
        if given:
            line = improbable_line(improbable(fitted, frame, given, absent=absent))
            self.warn("given cells all but impossible", line, table)
        constants = fitted.columns.log_prob_of_constants(frame)
        total = cells.sum(1) + constants
        columns = {"log_prob": total}
        if self._gaps:
            cells = fitted.log_prob_cells(frame, given, gaps=True, absent=absent)
            columns["log_prob_with_gaps"] = cells.sum(1) + constants
        if self._per_column:
            for name in fitted.columns.names:
                if name in (*columns, "unseen"):
                    raise InputError(
                        f"--per-column: column '{name}' has the name of a column of the output"
                    )
                # A column's gaps count with its values.
                own = [of.name == name for of, _ in fitted.columns.places]
                columns[name] = cells[:, own].sum(1)
            columns["unseen"] = unseen
        whole = [name == "unseen" for name in columns]
        with open_writer(output, list(columns), whole) as writer:
            writer.write(np.stack(list(columns.values()), axis=1))
        self._total += float(total.sum())
        self._least.see(total, table)
        show(len(frame), 1.0)

    def summary(self) -> list[str]:
        least = f"least {self._least.value:.4f} ({self._least.where})"
        return [f"{self._rows:,} rows, mean {self._total / self._rows:.4f} nats, {least}"]


class ExactScorer(AbstractTypedScorer):
    """The log-probability of every row as it follows from the joint distribution, with its error."""

    def __init__(
        self, fitted: "TypedTable", given: Sequence[str], quiet: bool, *, draws: int
    ) -> None:
        super().__init__(fitted, given, quiet)
        self._draws, self._totals = draws, np.zeros(3)

    def __call__(self, table: Table, output: str, show: Show) -> None:
        from pushforward.data.tables import open_writer
        from pushforward.models.exact import exact_log_prob

        frame = self._read(table)
        show(0, None)
        found = exact_log_prob(
            self._fitted,
            frame,
            self._given,
            draws=self._draws,
            progress=lambda rows: show(rows, rows / len(frame)),
        )
        with open_writer(output, list(found._fields)) as writer:
            writer.write(np.stack(found, axis=1))
        means = (found.log_prob, found.error, found.effective_draws)
        self._totals += [float(each.sum()) for each in means]

    def summary(self) -> list[str]:
        mean, error, effective = self._totals / self._rows
        return [
            f"{self._rows:,} rows, mean {mean:.4f} nats, mean error of a row {error:.4f}, "
            f"{effective:.1f} effective draws of {self._draws}"
        ]


class RangeScorer(AbstractTypedScorer):
    """The probability of a range for every row, given some of its cells."""

    def __init__(
        self, fitted: "TypedTable", given: Sequence[str], quiet: bool, *, where: str, seed: int
    ) -> None:
        super().__init__(fitted, given, quiet)
        self._where, self._seed, self._total = where, seed, 0.0

    def __call__(self, table: Table, output: str, show: Show) -> None:
        from pushforward.columns.names import unknown_columns
        from pushforward.data.tables import open_writer
        from pushforward.models.where import probability

        frame = self._read(table)
        if lacking := [name for name in self._given if name not in frame.columns]:
            raise InputError(unknown_columns(lacking, frame.columns, table.path))
        self._check(frame, table)
        found = probability(self._fitted, self._where, frame.select(self._given), seed=self._seed)
        with open_writer(output, ["probability", "standard_error", "effective_draws"]) as writer:
            writer.write(np.stack(found, axis=1))
        self._total += float(found.value.sum())
        show(len(frame), 1.0)

    def summary(self) -> list[str]:
        return [f"{self._rows:,} rows, mean probability {self._total / self._rows:.4g}"]
