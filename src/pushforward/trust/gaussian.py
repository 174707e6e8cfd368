"""The Gaussian that a flow has to beat."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from pushforward.columns import Columns


@dataclass(frozen=True)
class Gaussian:
    """A full-covariance Gaussian over encoded rows and their conditions.

    Attributes:
        center: `(d + k,)`.
        covariance: `(d + k, d + k)`.
    """

    center: np.ndarray
    covariance: np.ndarray

    @staticmethod
    def fit(columns: Columns, u: np.ndarray, c: np.ndarray | None) -> "Gaussian":
        """The one of maximum likelihood. Cost: one covariance.

        Arguments:
            columns: pre-processing of the modelled columns. Whole numbers fill their cells, as in the training of a
                flow: a cell adds a variance of width^2 / 12.
            u, c: encoded training rows `(n, d)` and their encoded conditions `(n, k)`, or None.
        """
        joint = u if c is None else np.concatenate([u, c], axis=1)
        covariance = np.atleast_2d(np.cov(joint, rowvar=False, ddof=0))
        d = u.shape[1]
        covariance[np.arange(d), np.arange(d)] += np.square(columns.noise) / 12
        return Gaussian(joint.mean(0), _regular(covariance))

    def log_prob(self, u: np.ndarray, c: np.ndarray | None) -> Float[np.ndarray, " n"]:
        """Log-densities of encoded rows in the model's units; with a condition that of the linear regression p(u | c),
        the joint Gaussian conditioned. Cost: one triangular solve."""
        away = (u if c is None else np.concatenate([u, c], axis=1)) - self.center
        log_prob = _log_normal(away, self.covariance)
        if c is not None:
            d = u.shape[1]
            log_prob -= _log_normal(away[:, d:], self.covariance[d:, d:])
        return log_prob


def _regular(covariance: np.ndarray) -> np.ndarray:
    """The covariance with correlations' eigenvalues of at least 1e-9, for too few or dependent rows."""
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    regular: np.ndarray = (vectors * np.maximum(values, 1e-9)) @ vectors.T * np.outer(scale, scale)
    return regular


def _log_normal(away: np.ndarray, covariance: np.ndarray) -> Float[np.ndarray, " n"]:
    scale = np.sqrt(np.diag(covariance))
    root = np.linalg.cholesky(covariance / np.outer(scale, scale))
    white = solve_triangular(root, (away / scale).T, lower=True)
    log_volume = np.log(np.diag(root)).sum() + np.log(scale).sum()
    constant = log_volume + 0.5 * len(scale) * np.log(2 * np.pi)
    log_prob: np.ndarray = -0.5 * np.square(white).sum(0) - constant
    return log_prob
