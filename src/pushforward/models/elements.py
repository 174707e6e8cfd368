"""Conditions that are sets or series: their units, and the network that reads them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.columns import Columns
from pushforward.columns.kinds import damaged
from pushforward.configuration import configuration
from pushforward.draws import spawn
from pushforward.errors import InputError, check_choice, check_count
from pushforward.networks import MLP, DeepSets, RecurrentNetwork
from pushforward.words import plural, quoted

KINDS = ("set", "series")


@configuration
class Embedding:
    """A network that makes one row of features of an observation with many elements.

    Arguments:
        kind: "set" (default), whose order says nothing (`networks.DeepSets`), or "series", whose order does: a gated
            recurrent cell run over the steps.
        features: of the result; default 32. At least twice the number of parameters is wise.
        width: units of a hidden layer, or of the cell's memory; default 64.
        depth: hidden layers of each perceptron; default 2.

    Raises `InputError` for an unknown kind and for sizes below 1.

    ```python
    >>> from pushforward.estimators import Embedding
    >>> Embedding(kind="series", features=16)
    Embedding(kind='series', features=16, width=64, depth=2)

    ```
    """

    kind: Literal["set", "series"] = "set"
    features: int = 32
    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        for name in ("features", "width", "depth"):
            check_count(name, getattr(self, name))


@dataclass(frozen=True)
class Elements(Columns):
    """The columns of observations `(n, k, d)`: sets or series of up to k elements, d numbers each.

    Cells may be missing (NaN), whole elements too: the network sees which.

    Arguments:
        longest: k.
        embedding: the network.
    """

    longest: int = 1
    embedding: Embedding = field(default_factory=Embedding)

    @classmethod
    def of(
        cls,
        values: Float[np.ndarray, "n k d"],
        names: Sequence[str],
        embedding: Embedding,
        where: str,
    ) -> "Elements":
        """Measure the units of observations.

        Raises `InputError` for infinite cells, and where too few elements are complete.
        """
        _refuse_infinite(values, names, where)
        rows = values.reshape(-1, values.shape[2])
        columns = Columns.fit(
            rows[~np.isnan(rows).any(1)], names, modelled=False, where=f"the elements of {where}"
        )
        reasons = columns.reasons
        return cls(columns.names, columns.kinds, reasons, values.shape[1], embedding)

    @property
    def features_width(self) -> int:
        return self.embedding.features

    @property
    def seen_shape(self) -> tuple[int, int]:
        """The shape of what the network receives for one observation."""
        return self.longest, super().features_width + len(self.names)

    def features(self, values: Float[np.ndarray, "n k d"]) -> Float[np.ndarray, "n longest seen"]:
        """Observations as the network sees them: encoded, 0 where a cell is missing, then which cells are there.

        Raises `InputError` for another number of columns, more elements than `longest`, and infinite cells.
        """
        values = np.asarray(values, np.float64)
        d = len(self.names)
        if values.ndim != 3 or values.shape[2] != d or values.shape[1] > self.longest:
            raise InputError(
                f"observations of up to {plural(self.longest, 'element')} with {plural(d, 'column')} "
                f"({quoted(self.names)}) are expected, (n, {self.longest}, {d}); given shape {values.shape}"
            )
        _refuse_infinite(values, self.names, "x")
        n, k, _ = values.shape
        if k < self.longest:
            absent = np.full((n, self.longest - k, d), np.nan)
            values = np.concatenate([values, absent], 1)
        rows = values.reshape(-1, d)
        there = ~np.isnan(rows)
        seen = super().features(np.where(there, rows, [kind.center for kind in self.kinds]))
        # The cosines of angles stand at the end, then their sines.
        turned = np.array(self.angles)
        order = [*np.flatnonzero(~turned), *np.flatnonzero(turned), *np.flatnonzero(turned)]
        seen = np.where(there[:, order], seen, 0.0)
        return np.concatenate([seen, there], 1).reshape(n, *self.seen_shape)

    def network(self, key: PRNGKeyArray) -> "ElementsNetwork":
        """The network with fresh weights."""
        return ElementsNetwork(self.embedding, self.seen_shape[1], len(self.names), key=key)

    def to_json(self) -> dict[str, Any]:
        return {
            **super().to_json(),
            "longest": self.longest,
            "embedding": asdict(self.embedding),
        }

    @classmethod
    def from_json(cls, data: Any) -> "Elements":
        columns = Columns.from_json(data)
        try:
            longest, embedding = int(data["longest"]), Embedding(**data["embedding"])
        except (KeyError, TypeError) as error:
            raise damaged(repr(error)) from None
        return cls(columns.names, columns.kinds, columns.reasons, longest, embedding)


class ElementsNetwork(eqx.Module):
    """From what `Elements.features` gives to a row of features."""

    body: DeepSets | RecurrentNetwork
    last: MLP | None
    columns: int = eqx.field(static=True)

    def __init__(self, embedding: Embedding, seen: int, columns: int, *, key: PRNGKeyArray):
        sizes = {"width": embedding.width, "depth": embedding.depth}
        self.columns = columns
        if embedding.kind == "set":
            self.body, self.last = DeepSets(seen, embedding.features, **sizes, key=key), None
            return
        one, other = spawn(key, 2)
        self.body = RecurrentNetwork(
            eqx.nn.GRUCell(seen, embedding.width, key=one), embedding.width
        )
        # Of the memory at the end and of its mean over the steps.
        self.last = MLP(
            2 * embedding.width,
            (embedding.features,),
            width=embedding.width,
            depth=embedding.depth,
            last_scale=1.0,
            key=other,
        )

    def __call__(
        self, seen: Float[Array, "n k seen"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "n features"]:
        counts = (seen[..., -self.columns :] > 0.5).any(-1)
        if isinstance(self.body, DeepSets):
            return self.body(seen, counts=counts)
        last, every = self.body(seen, counts)
        number = jnp.maximum(counts.sum(1), 1).astype(seen.dtype)
        mean = jnp.where(counts[..., None], every, 0.0).sum(1) / number[:, None]
        assert self.last is not None
        out: Array = self.last(jnp.concatenate([last, mean], 1).T)
        return out.T


def _refuse_infinite(values: np.ndarray, names: Sequence[str], where: str) -> None:
    if np.isinf(values).any():
        row, element, column = (int(i) for i in np.argwhere(np.isinf(values))[0])
        raise InputError(
            f"{where}: observation {row + 1} is infinite in element {element + 1}, column '{names[column]}': "
            "missing cells are NaN"
        )
