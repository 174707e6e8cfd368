"""Bounds of latent variable models: exact where the posterior is, warmed up, with free bits."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.errors import InputError
from pushforward.training import Batch, EvidenceBound, importance_nll

X = jax.random.normal(jax.random.key(1), (250, 1)) * math.sqrt(2) + 1.0
EXACT = -stats.norm.logpdf(np.asarray(X)[:, 0], 1.0, math.sqrt(2))


def log_normal(x, mean, log_scale):
    return (
        -0.5 * jnp.square((x - mean) / jnp.exp(log_scale)) - log_scale - 0.5 * math.log(2 * math.pi)
    )


class Line(eqx.Module):
    """z ~ N(0, 1), x ~ N(z + shift, 1); q(z | x) = N(slope x + offset, scale), exact at 1/2, -1/2, sqrt(1/2)."""

    slope: jax.Array
    offset: jax.Array
    log_scale: jax.Array
    shift: jax.Array

    @staticmethod
    def at(slope=0.5, offset=-0.5, scale=math.sqrt(0.5), shift=1.0):
        return Line(*map(jnp.asarray, (slope, offset, math.log(scale), shift)))

    def bound_terms(self, batch, key):
        mean = self.slope * batch.x[:, 0] + self.offset
        z = mean + jnp.exp(self.log_scale) * jax.random.normal(key, mean.shape)
        cost = log_normal(z, mean, self.log_scale) - log_normal(z, 0.0, 0.0)
        return log_normal(batch.x[:, 0], z + self.shift, 0.0), cost


def test_they_are_the_likelihood_where_the_posterior_is_exact():
    found = EvidenceBound(samples=2)(Line.at(), Batch(X), None)
    np.testing.assert_allclose(found, EXACT, atol=1e-4)
    found = importance_nll(Line.at(), Batch(X), 3, key=jax.random.key(0))
    assert found.shape == (250,)
    np.testing.assert_allclose(found, EXACT, atol=1e-4)


def test_they_are_above_it_elsewhere_and_weights_close_the_gap():
    wide = Line.at(scale=1.2)
    bound = EvidenceBound(samples=200)(wide, Batch(X), jax.random.key(0))
    # KL between the two normals.
    gap = 0.5 * (1.44 / 0.5 - 1) - math.log(1.2 / math.sqrt(0.5))
    assert abs(float(bound.mean()) - EXACT.mean() - gap) < 0.05
    by_draws = [
        importance_nll(wide, Batch(X), k, key=jax.random.key(1)).mean() - EXACT.mean()
        for k in (1, 10, 500)
    ]
    assert gap + 0.2 > by_draws[0] > by_draws[1] > by_draws[2] > -0.01
    assert by_draws[2] < 0.02


def test_the_divergence_is_warmed_up_and_free_at_first():
    loss, key, model = EvidenceBound(warmup=0.5), jax.random.key(0), Line.at()
    fit, cost = model.bound_terms(Batch(X), jax.random.split(key, 1)[0])
    for progress, beta in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.9, 1.0)):
        found = loss.at(jnp.asarray(progress))(model, Batch(X), key)
        np.testing.assert_allclose(found, beta * cost - fit, atol=1e-5)
    assert EvidenceBound().at(jnp.asarray(0.1)) == EvidenceBound()

    def slope(free, key=key):
        def total(model):
            return EvidenceBound(free_bits=free)(model, Batch(X), key).mean()

        return float(jax.grad(total)(model).log_scale)

    nats = float(cost.mean())
    assert slope(0.5 * nats) == slope(0.0)
    assert slope(2 * nats) != slope(0.0)
    # Validation hides nothing.
    bits = EvidenceBound(free_bits=2 * nats)(model, Batch(X), None)
    np.testing.assert_array_equal(bits, EvidenceBound()(model, Batch(X), None))


def test_a_fit_follows_the_warmup():
    """With beta near 0 throughout q collapses onto the best z for each x; with the whole bound it is the posterior."""
    training = pf.Training(max_epochs=30, batch=50, learning_rate=0.05, average=0.0, patience=1.0)
    start = Line.at(slope=0.1, offset=0.0, scale=1.0, shift=0.0)
    fitted = pf.fit(
        start, X, key=jax.random.key(0), loss=EvidenceBound(warmup=0.3), training=training
    )
    assert abs(float(fitted.model.shift) - 1) < 0.2
    assert abs(float(jnp.exp(fitted.model.log_scale)) - math.sqrt(0.5)) < 0.1
    seen = []

    class Watched(EvidenceBound):
        def at(self, progress):
            jax.debug.callback(lambda p: seen.append(float(p)), progress)
            return super().at(progress)

    pf.fit(start, X, key=jax.random.key(0), loss=Watched(warmup=0.3), training=training)
    jax.effects_barrier()
    steps = sorted(seen)
    assert steps[0] == 0
    assert 0.98 < steps[-1] < 1
    assert len(set(steps)) == 30 * (225 // 50)


@pytest.mark.mistyped
def test_bad_input():
    for options, said in (
        ({"warmup": 2}, "warmup=2: a share of the fit"),
        ({"free_bits": -1}, "free_bits=-1: finite nats"),
        ({"samples": 0}, "samples=0: a whole number"),
    ):
        with pytest.raises(InputError, match=said):
            EvidenceBound(**options)
    flow = pf.architectures.NICE(layers=1, width=4).build(2, key=jax.random.key(0))
    with pytest.raises(InputError, match="Flow has no method bound_terms"):
        pf.fit(flow, jnp.ones((9, 2)), key=jax.random.key(0), loss=EvidenceBound())
    with pytest.raises(InputError, match="Flow has no method bound_terms"):
        importance_nll(flow, jnp.ones((9, 2)), key=jax.random.key(0))
