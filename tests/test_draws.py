"""Numbers drawn once by NumPy: what a key determines, and that transformations of JAX do not change it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.draws import normal, permutation, spawn, uniform

DRAWS = {
    "uniform": lambda key: uniform(key, (3, 4)),
    "normal": lambda key: normal(key, (3, 4)),
    "spawn": lambda key: jax.random.key_data(jnp.stack(spawn(key, 3))),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_key_determines_the_numbers_wherever_they_are_drawn(draw):
    keys = jax.random.split(jax.random.key(0), 2)
    one, other = (np.asarray(draw(key)) for key in keys)
    assert not np.isclose(one, other).any()
    np.testing.assert_array_equal(jax.jit(draw)(keys[0]), one)
    np.testing.assert_array_equal(jax.vmap(draw)(keys), [one, other])


@pytest.mark.parametrize(
    "key",
    [jax.random.key(0), jax.random.key(0, impl="rbg"), jax.random.PRNGKey(0)],
    ids=["typed", "rbg", "raw"],
)
def test_children_are_keys_of_the_same_kind(key):
    children = spawn(key, 5)
    assert {child.dtype for child in children} == {key.dtype}
    assert {child.shape for child in children} == {key.shape}
    words = {tuple(jax.random.key_data(k).tolist()) for k in [key, *children]}
    assert len(words) == 6


def test_distributions():
    """Means and deviations of 10,000 draws within 5 standard errors (false alarms: 6e-7 each)."""
    n, key = 10_000, jax.random.key(0)
    flat, bell = np.asarray(uniform(key, (n,), -2.0, 4.0)), np.asarray(normal(key, (n,)))
    assert flat.dtype == bell.dtype == np.float32
    assert flat.min() >= -2
    assert flat.max() < 4
    assert abs(flat.mean() - 1) < 5 * 3**0.5 / n**0.5
    assert abs(bell.mean()) < 5 / n**0.5
    assert abs(bell.std() - 1) < 5 / (2 * n) ** 0.5


def test_double_precision_where_it_is_the_default():
    with jax.enable_x64(True):
        assert normal(jax.random.key(0), (2,)).dtype == jnp.float64


def test_permutations():
    key = jax.random.key(3)
    first, second = permutation(key, 50), permutation(key, 50, 1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert (first != second).any()
    np.testing.assert_array_equal(first, permutation(key, 50))


def test_a_model_built_under_a_transformation_is_the_same_model():
    def build(key):
        return pf.architectures.RealNVP(layers=2, width=4, depth=1).build(2, key=key)

    keys = jax.random.split(jax.random.key(0), 2)
    apart = [build(key) for key in keys]
    for i, found in enumerate(jax.tree.leaves(jax.vmap(build)(keys))):
        for j in (0, 1):
            np.testing.assert_allclose(found[j], jax.tree.leaves(apart[j])[i], rtol=1e-6)
