"""The labels of a column and how often each was seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Labels:
    """The levels of a column, and where it is open one more for all other labels.

    In an open column a value that was never seen, or too rarely to be kept, is "other": its code is `len(levels)`.

    Arguments:
        levels: the labels that are kept, text or numbers, in their order.
        counts: how often each was seen.
        others: how often labels were seen that are not kept.
        unseen: how many different ones "other" stands for, at least 1.
        open: whether there is an "other"; default True.

    ```python
    >>> from pushforward.columns.labels import Labels
    >>> labels = Labels.fit(["a", "b", "a", "c"], least=1)
    >>> labels.codes(["c", "a", "d"]).tolist()
    [2, 0, 3]

    ```
    """

    levels: tuple[Any, ...]
    counts: tuple[int, ...]
    others: int = 0
    unseen: int = 1
    open: bool = True

    @classmethod
    def fit(
        cls,
        values: Sequence[Any],
        least: int = 1,
        order: Sequence[Any] | None = None,
        *,
        open: bool = True,
    ) -> "Labels":
        """Count labels.

        Arguments:
            values: labels without missing ones.
            least: times that a label must be seen to be kept.
            order: all levels in their order; default sorted.
            open: whether other labels may come; default True.
        """
        found, counts = np.unique(np.asarray(values), return_counts=True)
        seen = dict(zip(found.tolist(), counts.tolist(), strict=True))
        kept = [v for v in (order if order is not None else seen) if seen.get(v, 0) >= least]
        others = len(values) - sum(seen.get(v, 0) for v in kept)
        return cls(
            tuple(kept),
            tuple(seen.get(v, 0) for v in kept),
            others,
            max(len(seen) - len(kept), 1),
            open,
        )

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def size(self) -> int:
        """The number of codes, that of "other" among them."""
        return len(self.levels) + self.open

    @cached_property
    def _codes(self) -> dict[Any, int]:
        return {level: code for code, level in enumerate(self.levels)}

    def codes(self, values: Any) -> Int[np.ndarray, " n"]:
        """The number of each label; that of "other" for labels that are not kept."""
        other = len(self.levels)
        found, inverse = np.unique(np.asarray(values), return_inverse=True)
        known = np.array([self._codes.get(v, other) for v in found.tolist()], np.int32)
        return known[inverse] if len(known) else np.zeros(0, np.int32)

    @cached_property
    def log_prob(self) -> Float[np.ndarray, " size"]:
        """Log-probabilities of the codes by frequency, with half a count added to each."""
        counts = np.array([*self.counts, self.others][: self.size], float) + 0.5
        found: np.ndarray = np.log(counts / counts.sum())
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "levels": list(self.levels),
            "counts": list(self.counts),
            "others": self.others,
            "unseen": self.unseen,
            "open": self.open,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Labels":
        """The inverse of `to_json`."""
        return cls(
            tuple(data["levels"]),
            tuple(map(int, data["counts"])),
            int(data["others"]),
            int(data["unseen"]),
            bool(data["open"]),
        )
