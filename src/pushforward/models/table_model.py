"""A fitted density for a table, in the table's own units."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.architectures import Architecture
from pushforward.bijections import Embedded
from pushforward.columns import Columns
from pushforward.columns.values import check_finite
from pushforward.deprecated import outdated, renamed_arguments
from pushforward.distributions import Flow
from pushforward.draws import key_of
from pushforward.errors import InputError
from pushforward.models.cells import Cells, cell_log_prob
from pushforward.models.encoder import Encoder
from pushforward.models.labels import warn_of_new_labels
from pushforward.rows import block_size, padded, share_of_blocks, spelled_out

# Rows evaluated by one call of the compiled program. Fewer rows are padded to a power of two, so that data of any
# length shares a few compiled programs.
BLOCK = 8192
# Rows encoded at once.
ENCODED = 8 * BLOCK


@dataclass(frozen=True)
class TableModel:
    """A density for the rows of a table: its columns, a flow over encoded rows, and a record of the fit.

    Densities are in nats, in the table's own units. For a conditional model the density is that of the columns given
    the columns of `condition`.

    Attributes:
        flow: the model, over encoded rows.
        architecture: the configuration that `flow` was built from.
        columns: the modelled columns, their kinds and units.
        condition: the condition's columns, or None.
        precision: 32 or 64, the bits of the arithmetic.
        summary: a summary of the training, JSON-able.
        trust: the trust report, JSON-able.
        cells: whether the density of a whole number is the mean over its cell, as `fit_table` sets it. Models in files
            from before 0.5 have the density at the number.
    """

    flow: Flow
    architecture: Architecture
    columns: Columns
    condition: Columns | None = None
    precision: int = 32
    summary: dict[str, Any] = field(default_factory=dict)
    trust: dict[str, Any] = field(default_factory=dict)
    cells: bool = False

    @property
    def given(self) -> Columns | None:
        """The old name of `condition`."""
        outdated("TableModel.given", "TableModel.condition")
        return self.condition

    def with_flow(self, change: Callable[[Flow], Flow]) -> "TableModel":
        """The same density with a changed flow: another solver (`ode.with_solver`), another weight of guidance
        (`fields.with_guidance`). A file can hold only the flow that the architecture builds.

        Arguments:
            change: from the flow to the new one.
        """
        return replace(self, flow=change(self.flow))

    @renamed_arguments(given="condition")
    def log_prob(
        self, values: Float[np.ndarray, "n d"], condition: Float[np.ndarray, " n *c"] | None = None
    ) -> Float[np.ndarray, " n"]:
        """Log-density of each row in nats, in the table's units; float64.

        With `cells` the density of a column of whole numbers is its mean over the cell of the number: with a grid of 1
        the number's probability. It is by Gauss's rule for up to three such columns, for more an estimate by 32 points
        whose error the trust report measures. Cells narrower than a fiftieth of the column's spread are read at their
        middle.
        Log-densities are finite however far a row lies from the data, except for a row with a value that is impossible
        for its column (`Columns.outside`): it has density 0 and scores `-inf`.

        Raises `InputError` as `encode` does.
        """
        values = np.asarray(values)
        condition = None if condition is None else np.asarray(condition)
        if condition is not None and len(condition) != len(values):
            raise self._encoder.rows_differ(len(values), len(condition))
        self._check(values, condition)
        cells, parts = Cells.of(self.columns) if self.cells else None, [np.zeros(0)]
        # Encoded some at a time: a large table is not in memory twice. An empty one has its columns checked.
        for start in range(0, len(values) or 1, ENCODED):
            rows = slice(start, start + ENCODED)
            u, c = self._encoder(values[rows], None if condition is None else condition[rows])
            part = cell_log_prob(
                lambda u, c: log_prob_rows(self.flow, u, c, self.precision),
                cells,
                self.columns,
                u,
                c,
            )
            parts.append(part + self.columns.log_det(values[rows]))
        self._warn_of_labels(condition)
        return np.concatenate(parts)

    @renamed_arguments(given="condition")
    def encode(
        self, values: Float[np.ndarray, "n d"], condition: Float[np.ndarray, " n *c"] | None = None
    ) -> tuple[Float[np.ndarray, "n width"], Float[np.ndarray, " n *features"] | None]:
        """Encode rows of the table and of the condition for the flow: in its units, float64.

        Raises `InputError` where numbers of columns or rows do not fit, a cell is missing or infinite, or a condition
        is missing or not taken.
        """
        self._check(values, condition)
        return self._encoder(values, condition)

    def _check(self, values: np.ndarray | None, condition: np.ndarray | None) -> None:
        """Raises `InputError` for cells that are missing or infinite."""
        for rows, columns, where in (
            (values, self.columns, "the table"),
            (condition, self.condition, "the condition"),
        ):
            if (
                rows is not None
                and columns is not None
                and np.shape(rows)[1:] == (len(columns.names),)
            ):
                check_finite(np.asarray(rows), columns.names, where)

    @property
    def _encoder(self) -> Encoder:
        return Encoder(self.columns, self.condition)

    @renamed_arguments(given="condition")
    def sample(
        self, n: int, seed: int, condition: Float[np.ndarray, " m *c"] | None = None
    ) -> Float[np.ndarray, "rows d"]:
        """`n` draws in the table's units, integer columns rounded to their grid; with a `condition`, n draws for each
        of its m rows, `(m * n, d)`, the draws of one row side by side.

        The first rows of a longer sample with the same seed are the rows of a shorter one (without a condition).

        Raises `InputError` for a negative n, or where a condition is missing or not taken.
        """
        empty = np.zeros((0, len(self.columns.names)))
        return np.concatenate([empty, *self.sample_blocks(n, seed, condition)])

    @renamed_arguments(given="condition")
    def sample_blocks(
        self,
        n: int,
        seed: int,
        condition: Float[np.ndarray, " m *c"] | None = None,
        *,
        share: tuple[int, int] = (1, 1),
    ) -> Iterator[Float[np.ndarray, "block d"]]:
        """The rows of `sample`, block by block in constant memory; arguments and errors as there, and `share`: of
        several workers, which draw all rows together, the number of this one, from 1, and how many there are; default
        the only one."""
        if n < 0:
            raise InputError(f"n={n}: the number of draws cannot be negative")
        rows = n if condition is None else n * len(condition)
        self._check(None, condition)
        c = self._encoder.features(condition)
        flow = self.flow
        if c is not None and isinstance(flow.bijection, Embedded):
            # Once for each observation, not for each draw.
            c = embedded_rows(flow.bijection, c, self.precision)
            flow = Flow(flow.base, flow.bijection.bijection)
        self._warn_of_labels(condition)
        # Full blocks whatever n is: the same seed gives the same first rows.
        size = BLOCK if c is None else block_size(rows, BLOCK)
        for number in share_of_blocks(rows, BLOCK, share):
            start, stop = number * BLOCK, min((number + 1) * BLOCK, rows)
            block_condition = None
            with jax.enable_x64(self.precision == 64):
                if c is not None:
                    repeated = c[np.arange(start, stop) // n]
                    block_condition = _padded(repeated, size, self.precision)
                key = jax.random.fold_in(key_of(seed), number)
                draws = np.asarray(_sample(flow, key, block_condition, size), np.float64)
                if np.isnan(draws).any():
                    # The same draws without compilation, where the numeric inverse at fault raises.
                    with spelled_out():
                        _sample(flow, key, block_condition, size)
            yield self.columns.decode(draws[: stop - start])

    def _warn_of_labels(self, condition: np.ndarray | None) -> None:
        labels = self.summary.get("labels")
        if labels and self.condition is not None and condition is not None:
            values = np.asarray(condition, np.float64)
            warn_of_new_labels(labels, values, self.condition.names)


def log_prob_rows(
    flow: Flow,
    u: Float[np.ndarray, "n d"],
    c: Float[np.ndarray, " n *c"] | None,
    precision: int,
) -> Float[np.ndarray, " n"]:
    """Log-densities of encoded rows in the model's units, block by block; float64."""
    size, parts = block_size(len(u), BLOCK), []
    with jax.enable_x64(precision == 64):
        for start in range(0, len(u), BLOCK):
            rows = slice(start, start + BLOCK)
            block = _padded(u[rows], size, precision)
            condition = None if c is None else _padded(c[rows], size, precision)
            parts.append(np.asarray(_log_prob(flow, block, condition), np.float64)[: len(u[rows])])
    return np.concatenate([*parts, np.zeros(0)])


def embedded_rows(
    bijection: Embedded, c: Float[np.ndarray, "n k m"], precision: int
) -> Float[np.ndarray, " n *features"]:
    """What the network of a condition gives, block by block."""
    size, parts = block_size(len(c), BLOCK), []
    with jax.enable_x64(precision == 64):
        for start in range(0, len(c), BLOCK):
            block = _padded(c[start : start + BLOCK], size, precision)
            found = np.asarray(_embed(bijection.network, block), np.float64)
            parts.append(found[: len(c[start : start + BLOCK])])
    return np.concatenate(parts)


def _padded(rows: np.ndarray, size: int, precision: int) -> Array:
    """Rows as a device array of the precision, padded to `size` rows."""
    return padded(rows.astype(np.float64 if precision == 64 else np.float32), size)


@eqx.filter_jit
def _log_prob(flow: Flow, x: Array, condition: Array | None) -> Array:
    return flow.log_prob(x, condition)


@eqx.filter_jit
def _sample(flow: Flow, key: PRNGKeyArray, condition: Array | None, rows: int) -> Array:
    return flow.sample(key, (rows,) if condition is None else (), condition)


@eqx.filter_jit
def _embed(network: Callable[..., Array], condition: Array) -> Array:
    return network(condition, None)
