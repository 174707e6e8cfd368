"""The Gaussian that a flow has to beat."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from pushforward.data.preprocess import Preprocessing


def gaussian_log_prob(
    columns: Preprocessing,
    u: np.ndarray,
    c: np.ndarray | None,
    train_u: np.ndarray,
    train_c: np.ndarray | None,
) -> Float[np.ndarray, " n"]:
    """Log-densities, in the table's units, of the full-covariance Gaussian fitted to training rows.

    Arguments:
        columns: pre-processing of the modelled columns.
        u, c: encoded rows `(n, d)` and their encoded conditions `(n, k)`, or None. With a condition the density is
            that of the linear regression p(u | c): the joint Gaussian, conditioned.
        train_u, train_c: the same of the training rows.

    The density of a whole-number column is read at the whole number; the cells are filled when fitting, as in the
    training of a flow. Cost: one covariance of the training rows, one triangular solve.
    """
    d = u.shape[1]
    joint = u if c is None else np.concatenate([u, c], axis=1)
    train = train_u if train_c is None else np.concatenate([train_u, train_c], axis=1)
    center = train.mean(0)
    covariance = np.atleast_2d(np.cov(train, rowvar=False, ddof=0))
    # Whole numbers fill their cells, as in the training of the flow: a cell's variance is width^2 / 12.
    covariance[np.arange(d), np.arange(d)] += np.square(columns.jitter) / 12
    covariance = _regular(covariance)
    away = joint - center
    log_prob = _log_normal(away, covariance)
    if c is not None:
        log_prob -= _log_normal(away[:, d:], covariance[d:, d:])
    return log_prob + columns.log_det


def _regular(covariance: np.ndarray) -> np.ndarray:
    """The covariance with correlations' eigenvalues of at least 1e-9, for too few or dependent rows."""
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    return (vectors * np.maximum(values, 1e-9)) @ vectors.T * np.outer(scale, scale)


def _log_normal(away: np.ndarray, covariance: np.ndarray) -> Float[np.ndarray, " n"]:
    scale = np.sqrt(np.diag(covariance))
    root = np.linalg.cholesky(covariance / np.outer(scale, scale))
    white = solve_triangular(root, (away / scale).T, lower=True)
    log_volume = np.log(np.diag(root)).sum() + np.log(scale).sum()
    return -0.5 * np.square(white).sum(0) - log_volume - 0.5 * len(scale) * np.log(2 * np.pi)
