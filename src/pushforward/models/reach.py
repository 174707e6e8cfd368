"""Whether observations are like what a model was fitted to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

WIDEST = 64
"""Features beyond which they are not looked at jointly: a file would hold the square of their number."""


@dataclass(frozen=True)
class Reach:
    """How far rows lay out: a center, an inverse covariance, and the largest distance by it.

    Arguments:
        center: `(c,)`.
        precision: `(c, c)`.
        furthest: the largest `(x - center)' precision (x - center)` of the rows.
    """

    center: Float[np.ndarray, " c"]
    precision: Float[np.ndarray, "c c"]
    furthest: float

    @classmethod
    def of(cls, features: Float[np.ndarray, " n *c"]) -> "Reach | None":
        """That of rows as a model's networks see them; None of more features than `WIDEST`."""
        if features.shape[1] > WIDEST:
            return None
        center = features.mean(0)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(features, rowvar=False)))
        # Features that follow from others must not make rounding count.
        values = np.maximum(values, max(1e-6 * values.max(), 1e-12))
        reach = cls(center, (vectors / values) @ vectors.T, np.inf)
        return cls(center, reach.precision, float(reach.distance(features).max()))

    def distance(self, features: Float[np.ndarray, " n *c"]) -> Float[np.ndarray, " n"]:
        """Squared distances from the center."""
        away = features - self.center
        squared: np.ndarray = np.einsum("ni,ij,nj->n", away, self.precision, away, optimize=True)
        return squared

    def beyond(self, features: Float[np.ndarray, " n *c"]) -> Bool[np.ndarray, " n"]:
        """Which rows lie further out than all of those."""
        beyond: np.ndarray = self.distance(features) > self.furthest * (1 + 1e-6)
        return beyond

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "center": self.center.tolist(),
            "precision": self.precision.tolist(),
            "furthest": self.furthest,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Reach":
        """The inverse of `to_json`."""
        return cls(np.array(data["center"]), np.array(data["precision"]), float(data["furthest"]))
