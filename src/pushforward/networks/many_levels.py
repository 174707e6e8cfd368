"""Logits of a column of many labels, and how others read it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from pushforward.draws import normal


class ManyLevels(eqx.Module):
    """Labels by how often they were seen beside those of another column, and a correction of low rank.

        a_k = log p(k | parent) + u_k r,    features = v_k

    where r are a network's `rank` outputs for the column. The correction starts at zero.

    Cost: `rank` multiply-adds per label and row; features are looked up.

    Arguments:
        log_prob: log p(k | parent), for each label of the other column, then for rows where it is not known;
            `(parents + 1, levels)`. It is not trained.
        rank: the number of outputs and of features.
        key: what the features are drawn from.
    """

    decaying = ("correction",)
    log_prob: Float[Array, "parents levels"]
    correction: Float[Array, "levels rank"]
    embedding: Float[Array, "levels rank"]

    def __init__(self, log_prob: Float[np.ndarray, "parents levels"], rank: int, key: PRNGKeyArray):
        levels = log_prob.shape[1]
        self.log_prob = jnp.asarray(log_prob, jnp.zeros(()).dtype)
        self.correction = jnp.zeros((levels, rank))
        self.embedding = normal(key, (levels, rank))

    def logits(
        self, outputs: Float[Array, "rank n"], parent: Int[Array, " n"]
    ) -> Float[Array, "levels n"]:
        """The logits of every label.

        Arguments:
            outputs: of the network.
            parent: the code of the other column's label; one past the last where it is not known.
        """
        counted = jax.lax.stop_gradient(self.log_prob)[parent].T
        return counted + self.correction @ outputs

    def features(self, code: Int[Array, " n"]) -> Float[Array, "rank n"]:
        """What others read of a label."""
        return self.embedding[code].T
