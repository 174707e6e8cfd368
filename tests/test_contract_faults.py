"""The contract is proved by seeded faults: each named check fails on a subject with the fault, and passes without it.

No check goes unproved: the last test compares the faults with the tables.
"""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.bijections import (
    AbstractBijection,
    Autoregressive,
    BlockAutoregressive,
    Chain,
    Coupling,
    Elementwise,
    LULinear,
    Reverse,
    Stack,
)
from pushforward.distributions import AbstractDistribution, Flow, StandardNormal
from pushforward.networks import MLP, MaskedMLP
from pushforward.networks.masked_mlp import _degrees
from pushforward.parameters import read_entries
from pushforward.testing import (
    ARCHITECTURE_TABLE,
    BIJECTION_TABLE,
    DENSITY_CHECKS,
    TRANSFORMER_CHECKS,
    ContractError,
    Subject,
    TransformerSubject,
    bijection_subject,
    check_bijection,
    check_distribution,
    check_transformer,
    run_check,
)
from pushforward.transformers import AbstractTransformer, Additive, Affine, DeepSigmoid

KEY = jax.random.key(0)


class Bent(AbstractBijection):
    """A sound map with something done to what goes in, `(value, condition)`, or to what comes out."""

    inner: AbstractBijection
    before: Callable = eqx.field(static=True, default=lambda value, condition: (value, condition))
    after: Callable = eqx.field(static=True, default=lambda value, log_det: (value, log_det))
    volume_preserving: bool = eqx.field(static=True, default=False)
    exact: bool = eqx.field(static=True, default=True)

    @property
    def event_shape(self):
        return self.inner.event_shape

    @property
    def condition_shape(self):
        return self.inner.condition_shape

    def forward_rows(self, z, condition, key):
        return self.after(*self.inner.forward_rows(*self.before(z, condition), key))

    def inverse_rows(self, x, condition, key):
        return self.after(*self.inner.inverse_rows(*self.before(x, condition), key))


class BentDensity(AbstractDistribution):
    """A sound density with something done to its log-densities of rows, or to its draws."""

    inner: AbstractDistribution
    log: Callable = eqx.field(static=True, default=lambda log_prob, x: log_prob)
    drawn: Callable = eqx.field(static=True, default=lambda x, log_prob: (x, log_prob))

    @property
    def event_shape(self):
        return self.inner.event_shape

    @property
    def condition_shape(self):
        return self.inner.condition_shape

    def log_prob_rows(self, x, condition, key):
        return self.log(self.inner.log_prob_rows(x, condition, key), x)

    def sample_rows(self, key, n, condition):
        return self.drawn(*self.inner.sample_rows(key, n, condition))


class BentTransformer(AbstractTransformer):
    """A sound transformer with something done to `(value, log_slope)` of either direction."""

    inner: AbstractTransformer
    forwards: Callable = eqx.field(static=True, default=lambda x, log_slope: (x, log_slope))
    inverses: Callable = eqx.field(static=True, default=lambda z, log_slope: (z, log_slope))

    @property
    def size(self):
        return self.inner.size

    def forward(self, z, params):
        return self.forwards(*self.inner.forward(z, params))

    def inverse(self, x, params):
        return self.inverses(*self.inner.inverse(x, params))


class Searched(BentTransformer):
    """A transformer that says that it searches."""

    searched = True


class Unsaid(DeepSigmoid):
    """A transformer that searches and does not say so."""

    searched = False


class Listed(Bent):
    """A sound map that keeps something in a list."""

    kept: list = eqx.field(default_factory=list)


class SelfSeeing(MaskedMLP):
    """A masked network whose coordinates see themselves: the mask is one too generous."""

    def _masked(self):
        first, hidden, last = super()._masked()
        seen = np.arange(self.first.shape[1])[None, :] <= self._degree[:, None]
        return jnp.where(seen, self.first, first), hidden, last


class BlindFirst(MaskedMLP):
    """A conditional masked network without units of degree 0: its first coordinate never sees the condition."""

    @property
    def _degree(self):
        return _degrees(self.first.shape[1], self.first.shape[0], False)


class Forgetful(MaskedMLP):
    """A masked network whose cached evaluation forgets its output's bias."""

    def one_by_one(self, condition, n):
        without = eqx.tree_at(lambda m: m.last_bias, self, jnp.zeros_like(self.last_bias))
        return MaskedMLP.one_by_one(without, condition, n)


class Reinitialised(AbstractBijection):
    """An activation normalisation that standardises whatever batch it is called with."""

    log_scale: jax.Array
    event_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    condition_shape: None = eqx.field(static=True, default=None)

    def forward_rows(self, z, condition, key):
        return z * jnp.exp(self.log_scale), jnp.broadcast_to(self.log_scale.sum(), z.shape[:1])

    def inverse_rows(self, x, condition, key):
        scale = jnp.log(x.std(0) + 1e-3)
        return (x - x.mean(0)) * jnp.exp(-scale), jnp.broadcast_to(-scale.sum(), x.shape[:1])


class DeadColumn(AbstractBijection):
    """A shift by `W 1` and a scale, of which one column of W is never read."""

    weights: jax.Array
    alive: int = eqx.field(static=True, default=2)
    event_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    condition_shape: None = eqx.field(static=True, default=None)

    def _parts(self):
        return self.weights[:, : self.alive].sum(1), 0.3 * self.weights[:, 0]

    def forward_rows(self, z, condition, key):
        shift, scale = self._parts()
        return z * jnp.exp(scale) + shift, jnp.broadcast_to(scale.sum(), z.shape[:1])

    def inverse_rows(self, x, condition, key):
        shift, scale = self._parts()
        return (x - shift) * jnp.exp(-scale), jnp.broadcast_to(-scale.sum(), x.shape[:1])


class Denied(DeadColumn):
    """The same, which says of the column that it is never read."""

    def unread(self):
        return {"weights": np.array([False, True])}


def elementwise(**bend) -> Subject:
    return bijection_subject("elementwise", Bent(Elementwise(Affine(), 2), **bend))


def coupling(**bend) -> Subject:
    network = MLP(1 + 2, (2, 1), width=8, depth=1, key=KEY)
    return bijection_subject("coupling", Bent(Coupling(network, Affine(), 1, (2,)), **bend))


def autoregressive(kind=MaskedMLP) -> Subject:
    network = kind(3, 2, condition=2, width=8, depth=2, key=KEY)
    return bijection_subject("autoregressive", Autoregressive(network, Affine(), (2,)))


def flow(*between: AbstractBijection, condition: int = 0, layers: int = 3) -> Subject:
    """A coupling flow of two coordinates, with what stands between its layers, and a scale at its end."""

    def layer(key):
        network = MLP(1 + condition, (2, 1), width=8, depth=1, key=key)
        shape = (condition,) if condition else None
        return Chain([Coupling(network, Affine(), 1, shape), *between])

    stack = Stack(layer, layers, key=KEY)
    return bijection_subject("flow", Chain([Elementwise(Affine(), 2), stack]))


def conditional_stack(kind=MaskedMLP) -> Subject:
    def layer(key):
        network = kind(3, 2, condition=2, width=8, depth=1, key=key)
        return Chain([Autoregressive(network, Affine(), (2,)), Reverse(3)])

    return bijection_subject("stack", Stack(layer, 3, key=KEY))


def density(**bend) -> Subject:
    return Subject(
        "density", BentDensity(Flow(StandardNormal(1), Elementwise(Affine(), 1)), **bend)
    )


def transformer(**bend) -> TransformerSubject:
    return TransformerSubject("transformer", BentTransformer(Affine(), **bend))


def estimated(value, log_det):
    """A log-det with an error that differs from row to row."""
    return value, log_det + 0.1 * (1 + jnp.sin(100 * value[:, 0]))


def traced(value) -> bool:
    return isinstance(value, jax.core.Tracer)


def double_constant(value, log_det):
    return value * np.array(1.0, np.float64), log_det


def through_single(value, log_det):
    return value.astype(jnp.float32).astype(value.dtype), log_det


# name -> (table, check that must fail, subject with the fault, subject without)
FAULTS: dict[str, tuple[dict, str, Callable, Callable]] = {
    "both log-det signs flipped, seen forward": (
        BIJECTION_TABLE,
        "forward log-det",
        lambda: elementwise(after=lambda v, log_det: (v, -log_det)),
        elementwise,
    ),
    "both log-det signs flipped, seen inverse": (
        BIJECTION_TABLE,
        "inverse log-det",
        lambda: elementwise(after=lambda v, log_det: (v, -log_det)),
        elementwise,
    ),
    "a scale that only one direction knows": (
        BIJECTION_TABLE,
        "round trip",
        lambda: elementwise(after=lambda v, log_det: (1.01 * v, log_det)),
        elementwise,
    ),
    "a log-det of zero that nobody declared": (
        BIJECTION_TABLE,
        "volume",
        lambda: bijection_subject("reverse", Bent(Reverse(2))),
        lambda: bijection_subject("reverse", Reverse(2)),
    ),
    "a log-det declared to be zero that is not": (
        BIJECTION_TABLE,
        "volume",
        lambda: elementwise(volume_preserving=True),
        elementwise,
    ),
    "an estimated log-det that is said to be exact": (
        BIJECTION_TABLE,
        "inverse log-det",
        lambda: elementwise(after=estimated),
        lambda: elementwise(after=estimated, exact=False),
    ),
    "the same, seen by the integral": (
        DENSITY_CHECKS,
        "integral",
        lambda: elementwise(after=estimated),
        lambda: elementwise(after=estimated, exact=False),
    ),
    "masks that do not alternate": (
        ARCHITECTURE_TABLE,
        "interaction",
        flow,
        lambda: flow(Reverse(2)),
    ),
    "one order that is said and is not": (
        ARCHITECTURE_TABLE,
        "interaction",
        lambda: replace(flow(Reverse(2)), one_order=True),
        lambda: replace(flow(), one_order=True),
    ),
    "an even number of reversals": (
        ARCHITECTURE_TABLE,
        "interaction",
        lambda: flow(Reverse(2), Reverse(2)),
        lambda: flow(Reverse(2)),
    ),
    "a coordinate that is never transformed": (
        ARCHITECTURE_TABLE,
        "no copies",
        lambda: coupling(),
        lambda: flow(Reverse(2)),
    ),
    "a mask that lets a coordinate see itself": (
        BIJECTION_TABLE,
        "inverse log-det",
        lambda: autoregressive(SelfSeeing),
        autoregressive,
    ),
    "a cached inverse that forgets a bias": (
        BIJECTION_TABLE,
        "cached inverse",
        lambda: autoregressive(Forgetful),
        autoregressive,
    ),
    "a condition multiplied by zero": (
        BIJECTION_TABLE,
        "condition",
        lambda: coupling(before=lambda v, c: (v, 0 * c)),
        coupling,
    ),
    "one feature of a condition multiplied by zero": (
        BIJECTION_TABLE,
        "condition",
        lambda: coupling(before=lambda v, c: (v, c.at[:, 1].set(0))),
        coupling,
    ),
    "a condition that does not reach the first coordinate": (
        BIJECTION_TABLE,
        "condition",
        lambda: autoregressive(BlindFirst),
        autoregressive,
    ),
    "the same inside a stack": (
        BIJECTION_TABLE,
        "condition",
        lambda: conditional_stack(BlindFirst),
        conditional_stack,
    ),
    "a condition that never reaches a coordinate": (
        ARCHITECTURE_TABLE,
        "condition everywhere",
        lambda: flow(condition=2, layers=1),
        lambda: flow(Reverse(2), condition=2),
    ),
    "a list among what is no array": (
        ARCHITECTURE_TABLE,
        "hashable",
        lambda: flow(Listed(Reverse(2))),
        lambda: flow(Reverse(2)),
    ),
    "a float64 constant in a map": (
        BIJECTION_TABLE,
        "single precision both ways",
        lambda: elementwise(after=double_constant),
        elementwise,
    ),
    "a float64 constant in a density": (
        DENSITY_CHECKS,
        "single precision",
        lambda: density(log=lambda log_prob, x: log_prob + np.float64(0)),
        density,
    ),
    "float32 inside a float64 map": (
        DENSITY_CHECKS,
        "double precision",
        lambda: density(log=lambda log_prob, x: log_prob.astype(jnp.float32)),
        density,
    ),
    "float32 rounding inside a float64 map": (
        BIJECTION_TABLE,
        "round trip",
        lambda: elementwise(after=through_single),
        elementwise,
    ),
    "an actnorm that is initialised again at every call": (
        BIJECTION_TABLE,
        "row independence",
        lambda: bijection_subject("actnorm", Reinitialised(jnp.zeros(2))),
        elementwise,
    ),
    "the batch's mean subtracted": (
        BIJECTION_TABLE,
        "row independence",
        lambda: elementwise(after=lambda v, log_det: (v - v.mean(0), log_det)),
        elementwise,
    ),
    "the batch's mean subtracted, under vmap": (
        DENSITY_CHECKS,
        "vmap",
        lambda: elementwise(after=lambda v, log_det: (v - v.mean(0), log_det)),
        elementwise,
    ),
    "a dead column in a leaf": (
        DENSITY_CHECKS,
        "gradients",
        lambda: bijection_subject("dead", DeadColumn(jnp.zeros((2, 2)), alive=1)),
        lambda: bijection_subject("alive", DeadColumn(jnp.zeros((2, 2)))),
    ),
    "a column that is said to be dead and is not": (
        DENSITY_CHECKS,
        "gradients",
        lambda: bijection_subject("denied", Denied(jnp.zeros((2, 2)))),
        lambda: bijection_subject("dead", Denied(jnp.zeros((2, 2)), alive=1)),
    ),
    "a gradient that is NaN": (
        DENSITY_CHECKS,
        "gradients",
        lambda: elementwise(after=lambda v, log_det: (v + jnp.sqrt(0 * v), log_det)),
        elementwise,
    ),
    "a density that does not integrate to one": (
        DENSITY_CHECKS,
        "integral",
        lambda: density(log=lambda log_prob, x: log_prob + 0.01),
        density,
    ),
    "draws spread too wide by a twentieth": (
        DENSITY_CHECKS,
        "samples",
        lambda: density(drawn=lambda x, log_prob: (1.05 * x, log_prob)),
        density,
    ),
    "draws whose log-density is another's": (
        DENSITY_CHECKS,
        "sample_and_log_prob",
        lambda: density(drawn=lambda x, log_prob: (x, log_prob + 0.01)),
        density,
    ),
    "a reshape that cannot take an empty batch": (
        DENSITY_CHECKS,
        "leading axes",
        lambda: density(log=lambda log_prob, x: log_prob + 0 * x.reshape(len(x), -1).sum(1)),
        density,
    ),
    "another value when compiled": (
        DENSITY_CHECKS,
        "jit",
        lambda: density(log=lambda log_prob, x: log_prob + (0.1 if traced(x) else 0.0)),
        density,
    ),
    "an infinite density in the middle": (
        DENSITY_CHECKS,
        "finite",
        lambda: density(log=lambda log_prob, x: jnp.where(x[:, 0] > 0, jnp.inf, log_prob)),
        density,
    ),
    "NaN in the tails": (
        DENSITY_CHECKS,
        "far inputs",
        lambda: density(log=lambda log_prob, x: log_prob + 0 * (x[:, 0] * x[:, 0] * x[:, 0])),
        density,
    ),
    "a NaN gradient behind a select": (
        DENSITY_CHECKS,
        "far inputs",
        lambda: density(
            log=lambda log_prob, x: (
                log_prob + jnp.where(abs(x[:, 0]) < 5, 0 * jnp.sqrt(25.0 - x[:, 0] ** 2), 0.0)
            )
        ),
        density,
    ),
    "a transformer that decreases": (
        TRANSFORMER_CHECKS,
        "increasing",
        lambda: transformer(forwards=lambda v, s: (-v, s), inverses=lambda v, s: (-v, s)),
        transformer,
    ),
    "a transformer that is flat for a while": (
        TRANSFORMER_CHECKS,
        "increasing",
        lambda: transformer(inverses=lambda v, s: (jnp.where(abs(v) < 1, 0.0, v), s)),
        transformer,
    ),
    "a transformer whose directions disagree": (
        TRANSFORMER_CHECKS,
        "round trip",
        lambda: transformer(forwards=lambda v, s: (v + 1e-5, s)),
        transformer,
    ),
    "log-slopes of the wrong sign": (
        TRANSFORMER_CHECKS,
        "log-slope",
        lambda: transformer(forwards=lambda v, s: (v, -s), inverses=lambda v, s: (v, -s)),
        transformer,
    ),
    "a log-slope of zero that nobody declared": (
        TRANSFORMER_CHECKS,
        "volume",
        lambda: transformer(forwards=lambda v, s: (v, 0 * s), inverses=lambda v, s: (v, 0 * s)),
        transformer,
    ),
    "a search that nobody declared": (
        TRANSFORMER_CHECKS,
        "search",
        lambda: TransformerSubject("unsaid", Unsaid(2)),
        lambda: TransformerSubject("said", DeepSigmoid(2)),
    ),
    "a search that is declared and is none": (
        TRANSFORMER_CHECKS,
        "search",
        lambda: TransformerSubject("searched", Searched(Affine())),
        transformer,
    ),
    "a transformer that starts far from the identity": (
        TRANSFORMER_CHECKS,
        "near identity",
        lambda: transformer(inverses=lambda v, s: (2 * v, s)),
        transformer,
    ),
    "a transformer with NaN in its tails": (
        TRANSFORMER_CHECKS,
        "far inputs",
        lambda: transformer(inverses=lambda v, s: (v + 0 * jnp.log(1e5 - v), s)),
        transformer,
    ),
    "a float64 constant in a transformer": (
        TRANSFORMER_CHECKS,
        "shapes",
        lambda: transformer(inverses=double_constant),
        transformer,
    ),
    "a transformer that cancels in float32": (
        TRANSFORMER_CHECKS,
        "precisions",
        lambda: transformer(inverses=lambda v, s: ((v + 1e6) - 1e6, s)),
        transformer,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_seen(fault):
    table, check, faulty, sound = FAULTS[fault]
    with pytest.raises(ContractError) as caught:
        run_check(table, check, faulty())
    assert caught.value.check == check
    assert caught.value.subject in str(caught.value)
    run_check(table, check, sound())


def test_flipped_signs_pass_what_others_check():
    """Why log-dets are checked against autodiff: a pair of flipped signs adds up to zero, and round trips hold."""
    subject = elementwise(after=lambda v, log_det: (v, -log_det))
    run_check(BIJECTION_TABLE, "round trip", subject)
    np.testing.assert_allclose(subject.forward.log_det + subject.inverse.log_det, 0, atol=1e-12)


def test_the_doors_refuse():
    """The public `check_...` functions raise, and name the subject."""
    with pytest.raises(ContractError, match=r"flipped: forward log-det: .*instead of"):
        check_bijection(elementwise(after=lambda v, s: (v, -s)).bijection, name="flipped")
    with pytest.raises(ContractError, match="wide: sample_and_log_prob: "):
        check_distribution(density(drawn=lambda x, p: (1.05 * x, p)).initial, name="wide")
    with pytest.raises(ContractError, match="down: increasing: "):
        check_transformer(transformer(inverses=lambda v, s: (-v, s)).transformer, name="down")
    check_bijection(LULinear(2))


def test_what_is_read_is_known_of_every_array():
    """Those in tuples of a module that has unread ones too."""
    module = BlockAutoregressive(3, 4, key=KEY)
    read = read_entries(Chain([module, LULinear(3)]))
    assert all(leaf.dtype == bool for leaf in jax.tree.leaves(read))
    found = read.bijections[0]
    assert all(leaf.all() for leaf in (*found.log_blocks, *found.biases, *found.log_scales))
    assert found.lower[0].sum() == 3 * 4
    assert read.bijections[1].lower.tolist() == np.tri(3, 3, -1, bool).tolist()


def test_what_the_class_says_was_an_argument():
    """`volume_preserving=True` works for one version, and warns."""
    with pytest.warns(DeprecationWarning, match="volume_preserving = True in the class"):
        check_bijection(Bent(Reverse(2)), volume_preserving=True)
    with pytest.warns(DeprecationWarning, match="volume_preserving = True in the class"):
        check_transformer(Additive(), volume_preserving=True)


def test_every_check_is_proved():
    every = {*ARCHITECTURE_TABLE, *BIJECTION_TABLE, *DENSITY_CHECKS, *TRANSFORMER_CHECKS}
    assert {check for _, check, _, _ in FAULTS.values()} == every


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_both_modes_of_differentiation_agree(direction):
    """Maps with a reverse-mode rule of their own are held to the same Jacobians."""
    subjects = [autoregressive(), replace(autoregressive(), mode="reverse")]
    by_forward, by_reverse = (getattr(subject, direction) for subject in subjects)
    for one, other in zip(by_forward, by_reverse, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
