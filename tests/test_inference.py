"""Posteriors from a log-density: supports, weights, probes, particles, chains, files, verdicts, wrong input."""

import sys
from types import ModuleType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.inference import Target, effective_draws, evidence, smoothed_weights, split_r_hat
from pushforward.inference.layout import Layout, layout_of
from pushforward.inference.probes import Probes, improper_axes
from pushforward.inference.smc import tempered
from pushforward.inference.start import Frame, climb, frames, refined, starting_points
from pushforward.inference.supports import (
    Circle,
    Interval,
    Ordered,
    Positive,
    Real,
    Simplex,
    support_named,
)
from pushforward.inference.target import target_of
from pushforward.inference.verdict import Facts, verdict_of
from pushforward.inference.weights import LogZ, effective_share, importance_log_z, systematic

SMALL = pf.architectures.RealNVP(layers=4, width=16)
LOG_2PI = np.log(2 * np.pi)


def normal(x, mean=0.0, sd=1.0):
    return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) - 0.5 * LOG_2PI


# Supports


DENSITIES = [
    (Real(), 1, lambda x: normal(x[0], 0.3, 0.8)),
    (Positive(), 1, lambda x: -x[0]),
    (Interval(-2, 3), 1, lambda x: -jnp.log(5.0)),
    (Circle(1.0), 1, lambda x: -jnp.log(2 * jnp.pi)),
    (Ordered(), 2, lambda x: jnp.log(2.0) + normal(x).sum()),
    (Simplex(), 3, lambda x: jnp.log(6.0) + jnp.log(x[0])),
]


@pytest.mark.parametrize(("support", "size", "density"), DENSITIES)
def test_a_density_on_a_support_integrates_to_one(support, size, density):
    def flat(u):
        x, log_det = support.forward(u)
        return density(x) + log_det

    d = support.size(size)
    grid = np.linspace(-16, 16, 4001 if d == 1 else 321)
    points = np.stack(np.meshgrid(*[grid] * d), -1).reshape(-1, d).astype(np.float32)
    values = np.exp(np.asarray(jax.jit(jax.vmap(flat))(points), np.float64))
    assert abs(values.sum() * (grid[1] - grid[0]) ** d - 1) < 2e-3


@pytest.mark.parametrize(("support", "size"), [(s, k) for s, k, _ in DENSITIES] + [(Ordered(), 4)])
def test_log_dets_and_inverses_of_supports(support, size):
    u = jnp.asarray(np.random.default_rng(0).normal(0, 1.5, support.size(size)), jnp.float32)
    x, log_det = support.forward(u)
    assert support.contains(np.asarray(x, np.float64))
    # A simplex has a density with respect to all its numbers but the last.
    matrix = jax.jacfwd(lambda u: support.forward(u)[0])(u)[: len(u)]
    assert abs(np.linalg.slogdet(np.asarray(matrix, np.float64))[1] - float(log_det)) < 1e-4
    np.testing.assert_allclose(support.inverse(x), u, atol=2e-3)
    assert support_named(support.to_json()) == support


def test_layouts_name_check_and_come_back():
    event = {"w": np.array([0.2, 0.3, 0.5]), "s": 1.0, "m": np.zeros((2, 2))}
    layout = layout_of(event, {"w": "simplex", "s": "positive"})
    assert layout.dim == 7
    assert layout.names() == ("m[0,0]", "m[0,1]", "m[1,0]", "m[1,1]", "s", "w[0]", "w[1]", "w[2]")
    again = Layout.from_json(layout.to_json())
    u = jnp.arange(7.0) / 4 - 0.7
    found, _ = again.constrain(u)
    assert {k: v.shape for k, v in found.items()} == {"w": (3,), "s": (), "m": (2, 2)}
    np.testing.assert_allclose(layout.unconstrain(found), u, atol=1e-4)
    nested = layout_of([1.0, (np.zeros(2), {"a": 2.0})], "real")
    assert Layout.from_json(nested.to_json()).tree == nested.tree
    assert layout_of(2, names=["height", "b"]).names() == ("height", "b")


# Weights


def test_smoothed_weights_find_the_tail():
    rng = np.random.default_rng(0)
    for k in (0.2, 0.5, 0.9):
        found = smoothed_weights(np.log(stats.genpareto(k).rvs(20_000, random_state=rng)))
        assert abs(found.k - k) < 0.15
        assert abs(np.exp(found.log_weights).sum() - 1) < 1e-9
    assert smoothed_weights(np.zeros(100)).k == -np.inf
    assert smoothed_weights(np.where(np.arange(1000) < 10, 0.0, -np.inf)).k == np.inf
    # What rounding leaves of equal weights, and ties at the beginning of the tail.
    assert smoothed_weights(2.4e-7 * rng.integers(-3, 4, 20_000)).k == -np.inf
    tied = smoothed_weights(np.round(rng.normal(size=20_000), 1))
    assert np.isfinite(tied.k)
    assert tied.k < 0.5
    assert smoothed_weights(np.where(np.arange(1000) < 4, 0.0, -100.0)).k == np.inf
    ratios = rng.normal(size=5000)
    assert smoothed_weights(ratios).k > smoothed_weights(-ratios[ratios > -9] * 0.1).k
    log_z = importance_log_z(ratios - 0.5, 0.3)
    assert abs(log_z.value) < 4 * log_z.standard_error < 0.2
    assert np.isnan(importance_log_z(ratios, 0.9).standard_error)
    assert abs(effective_share(ratios) - np.exp(-1)) < 0.1
    counts = np.bincount(systematic(np.array([0.5, 0.0, 0.25, 0.25]), 1000, rng), minlength=4)
    np.testing.assert_allclose(counts, [500, 0, 250, 250], atol=1)


def test_chains_are_judged():
    rng = np.random.default_rng(0)
    noise, x = rng.normal(size=(4, 4000, 2)), np.zeros((4, 4000, 2))
    for i in range(1, 4000):
        x[:, i] = [0.0, 0.9] * x[:, i - 1] + noise[:, i]
    found = effective_draws(x)
    assert abs(found[0] / 16_000 - 1) < 0.1
    assert abs(found[1] / (16_000 / 19) - 1) < 0.25
    assert split_r_hat(x).max() < 1.02
    assert split_r_hat(x + np.arange(4.0)[:, None, None]).min() > 1.04


# A fit


def of_rate(p):
    """log Z = log of the normal's mass, 1, times that of a gamma density without its constant, 2."""
    return normal(p["m"], 1.0, 2.0).sum() + 2 * jnp.log(p["s"]) - p["s"]


@pytest.fixture(scope="module")
def post():
    example = {"m": np.zeros(2), "s": 1.0}
    return pf.fit_posterior(
        of_rate, example, support={"s": "positive"}, steps=500, architecture=SMALL, draws=8000
    )


def test_a_fit_finds_evidence_and_means(post):
    assert post.verdict == "trustworthy", post.verdict
    assert abs(post.log_z.value - np.log(2)) < 5 * post.log_z.standard_error + 1e-3
    assert [stage.name for stage in post.history] == [
        "starts", "affine", "flow", "probes", "repeat",
    ]  # fmt: skip
    found = post.expect(lambda p: {"m": p["m"], "s2": p["s"] ** 2})
    np.testing.assert_allclose(found.value["m"], [1.0, 1.0], atol=5 * 2 / np.sqrt(8000))
    assert abs(found.value["s2"] - 12) < 5 * found.standard_error["s2"] < 2
    draws = post.sample(4000)
    assert {k: v.shape for k, v in draws.items()} == {"m": (4000, 2), "s": (4000,)}
    assert stats.kstest(draws["s"], stats.gamma(3).cdf).pvalue > 1e-4
    assert (
        stats.kstest(post.sample(4000, "flow", seed=1)["m"][:, 0], stats.norm(1, 2).cdf).pvalue
        > 1e-4
    )
    weighted, log_weights = post.sample(2000, "weighted")
    assert abs(np.exp(log_weights) @ weighted["s"] - 3) < 0.2
    exact = stats.norm(1, 2).logpdf(draws["m"]).sum(1) + stats.gamma(3).logpdf(draws["s"])
    assert np.abs(post.log_prob(draws) - exact).mean() < 0.1
    assert post.log_prob({"m": np.ones(2), "s": 2.0}).shape == ()


def test_chains_and_bridges_of_a_fit(post):
    chains = post.mcmc(2000, seed=3)
    assert chains.r_hat.max() < 1.02
    assert chains.effective.min() > 800
    assert min(chains.acceptance) > 0.6
    assert stats.kstest(chains.draws["s"][::3], stats.gamma(3).cdf).pvalue > 1e-4
    rng = np.random.default_rng(0)
    draws = {"m": rng.normal(1, 2, (4000, 2)), "s": rng.gamma(3, 1, 4000)}
    found = evidence(post, draws)
    assert abs(found.value - np.log(2)) < 5 * found.standard_error < 0.05
    with pytest.raises(pf.InputError, match="outside the supports"):
        evidence(post, {**draws, "s": -draws["s"]})


def test_a_posterior_comes_back_from_a_file(post, tmp_path):
    pf.save(tmp_path / "p.safetensors", post)
    again = pf.load(tmp_path / "p.safetensors")
    assert again.verdict == post.verdict
    assert str(again.facts) == str(post.facts)
    np.testing.assert_array_equal(again.sample(50)["s"], post.sample(50)["s"])
    np.testing.assert_array_equal(again.sample(50, "flow")["m"], post.sample(50, "flow")["m"])
    with pytest.raises(pf.InputError, match="does not hold the log-density"):
        again.sample(10, "mcmc")
    with pytest.raises(pf.InputError, match="is another one"):
        again.with_log_density(lambda p: of_rate(p) - p["s"])
    whole = again.with_log_density(of_rate)
    assert len(whole.sample(9000)["s"]) == 9000


def test_other_libraries_take_the_draws(post, monkeypatch):
    figure = post.plot(500)
    assert len(figure.axes) == 9
    with pytest.raises(pf.InputError, match="'t' is unknown; known: m"):
        post.plot(numbers=["t"])
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(pf.InputError, match="pip install arviz"):
        post.to_arviz()
    old = ModuleType("arviz")
    old.__version__, old.from_dict = "0.23.4", lambda **groups: groups
    monkeypatch.setitem(sys.modules, "arviz", old)
    found = post.to_arviz(400)
    assert found["posterior"]["m"].shape == (4, 100, 2)
    assert found["sample_stats"]["log_weight"].shape == (4, 100)
    assert found["posterior_attrs"]["verdict"].startswith("trustworthy")
    new = ModuleType("arviz")
    new.__version__ = "1.0.0"
    new.from_dict = lambda groups: {k: SimpleNamespace(attrs={}, data=v) for k, v in groups.items()}
    monkeypatch.setitem(sys.modules, "arviz", new)
    tree = post.to_arviz(400)
    assert tree["posterior"].data["s"].shape == (4, 100)
    assert tree["posterior"].attrs["log_z"] == post.log_z.value


def test_a_function_on_the_host_is_as_good():
    calls = []

    def value_and_grad(u):
        calls.append(u.dtype)
        if u[0] > 4:
            raise FloatingPointError("no such place")
        return 1e6 - 0.5 * ((u - 1) @ (u - 1)), 1 - u

    found = pf.fit_posterior(
        Target(2, value_and_grad=value_and_grad), steps=125, architecture=SMALL, draws=1000,
        stages=("starts", "affine"),
    )  # fmt: skip
    # In float64 on the host: a million nats cost no digit of the evidence.
    assert abs(found.log_z.value - 1e6 - LOG_2PI) < 0.02
    assert set(calls) == {np.dtype(np.float64)}
    assert np.abs(found.sample(1000).mean(0) - 1).max() < 0.2
    assert "NaN or infinite" in str(found.verdict) or found.facts.invalid == 0


# What is wrong is seen


def two_modes(x):
    return jnp.logaddexp(normal(x, -6.0).sum(), normal(x, 6.0).sum()) - jnp.log(2.0)


def test_a_missed_mode_is_red():
    found = pf.fit_posterior(
        two_modes, 2, steps=250, architecture=SMALL, draws=2000,
        stages=("starts", "affine", "probes"),
    )  # fmt: skip
    assert found.verdict == "do not trust", found.verdict
    assert "modes that climbs found lie where the flow never draws" in found.verdict.reasons[0]
    assert 0.3 < found.facts.probes.missed < 0.7
    # All that looks at the flow's draws alone is green.
    assert found.facts.effective > 0.9
    assert found.facts.k < 0.5


def test_particles_have_both_modes():
    target = target_of(two_modes, 2)
    reference = Frame(np.zeros(2), 10 * np.eye(2))
    made = tempered(target, reference, np.random.default_rng(0), 2000)
    assert abs(made.log_z) < 0.15
    assert abs((made.x[:, 0] > 0).mean() - 0.5) < 0.1
    assert abs(made.x[made.x[:, 0] > 0].std() - 1) < 0.1


@pytest.mark.nightly
def test_particles_replace_what_misses_a_mode():
    found = pf.fit_posterior(two_modes, 2, architecture=SMALL)
    assert found.verdict != "do not trust", found.verdict
    assert "smc" in [stage.name for stage in found.history]
    assert abs(found.log_z.value) < 0.02
    assert abs(found.expect(lambda x: (x[0] > 0) * 1.0).value - 0.5) < 0.03


def test_gaussians_fit_themselves():
    matrix = np.array([[2.0, 0, 0], [1.5, 0.1, 0], [0, 3, 20]])
    inverse = jnp.asarray(np.linalg.inv(matrix), jnp.float32)
    target = target_of(lambda x: -0.5 * ((inverse @ (x - 4.0)) ** 2).sum(), 3)
    rng = np.random.default_rng(0)
    found = frames(target, climb(target, starting_points(3, rng)), rng)
    assert len(found) == 2
    np.testing.assert_allclose(found[0].shift, 4.0, atol=0.05)
    np.testing.assert_allclose(
        found[0].scale @ found[0].scale.T, matrix @ matrix.T, rtol=0.05, atol=0.3
    )
    best = refined(target, Frame(np.zeros(3), np.eye(3)), rng, rounds=40)
    log_z = np.log(np.abs(np.linalg.det(matrix))) + 1.5 * LOG_2PI
    assert abs(best.bound - log_z) < 0.1


def test_infinite_mass_is_seen():
    rng = np.random.default_rng(0)

    def without_log_det(u):
        return -jnp.exp(u[0]) + normal(u[1])

    names = ("log rate", "m")
    wrong = Target(2, without_log_det, names=names)
    right = Target(2, lambda u: without_log_det(u) + u[0], names=names)
    heavy = Target(2, lambda u: -jnp.log1p(u**2).sum(), names=names)
    frame = Frame(np.zeros(2), np.eye(2))
    assert improper_axes(wrong, frame) == ("log rate",)
    assert improper_axes(right, frame) == improper_axes(heavy, frame) == ()
    assert len(climb(right, starting_points(2, rng)).ends) > 200


FINE = Facts(
    20_000, 0.95, 0.4, 0.0, 0.0, Probes(1, 0, 0.0, 0.0, 0.0, ()), LogZ(0.0, 0.01, ""), None, 10
)


@pytest.mark.parametrize(
    ("word", "reason", "changed"),
    [
        ("trustworthy", "are worth 19,000", {}),
        ("trustworthy", "agrees on log Z", {"again": LogZ(0.01, 0.01, "")}),
        ("usable with weights", "is near, not on it", {"effective": 0.5}),
        ("do not trust", "the fit is not done", {"effective": 0.005}),
        ("do not trust", "heavier tails", {"k": 0.75}),
        ("usable with weights", "but far out", {"k": 0.75, "effective": 0.995}),
        ("do not trust", "heavier tails", {"k": 1.2, "effective": 0.995}),
        ("usable with weights", "left out: mass", {"invalid": 0.001}),
        ("do not trust", "left out: mass", {"invalid": 0.01}),
        ("do not trust", "of the mass at least", {"probes": Probes(3, 2, 0.5, 0.0, 0.0, ())}),
        ("usable with weights", "of the mass", {"probes": Probes(3, 2, 0.005, 0.0, 0.0, ())}),
        ("do not trust", "chains", {"probes": Probes(1, 0, 0.0, 0.1, 0.0, ())}),
        ("usable with weights", "chains", {"probes": Probes(1, 0, 0.0, 0.0, 0.1, ())}),
        ("do not trust", "along a: its mass", {"probes": Probes(1, 0, 0.0, 0.0, 0.0, ("a",))}),
        ("do not trust", "a second fit finds", {"again": LogZ(0.5, 0.01, "")}),
        ("usable with weights", "a second fit finds", {"again": LogZ(0.08, 0.01, "")}),
        ("trustworthy", "it misses what this one has", {"again": LogZ(-0.5, 0.01, "")}),
        ("usable with weights", "32 bits", {"size": 1e6}),
        ("usable with weights", "was not probed", {"probes": None}),
        ("usable with weights", "last draws of the fit", {"left_out": 0.05}),
    ],
)
def test_verdicts_say_why(word, reason, changed):
    from dataclasses import replace

    found = verdict_of(replace(FINE, **changed))
    assert found == word
    assert any(reason in text for text in found.reasons), found
    assert str(found).startswith(word)


# Input that is wrong


def raising(x):
    raise RuntimeError("no data\nand more")


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("not finite at any of 256 starting points", lambda: pf.fit_posterior(lambda x: x.sum() * jnp.nan, 2)),
        (r"an array of shape \(2,\).*sum it", lambda: pf.fit_posterior(lambda x: -(x**2), 2)),
        ("raised RuntimeError: no data$", lambda: pf.fit_posterior(raising, 2)),
        ("not a function in JAX", lambda: pf.fit_posterior(lambda x: float(np.sum(x)), 2)),
        ("cannot be differentiated", lambda: pf.fit_posterior(lambda x: -jnp.round(x**2).sum(), 2)),
        (
            "cannot be differentiated",
            lambda: pf.fit_posterior(
                lambda x: jax.pure_callback(np.sum, jax.ShapeDtypeStruct((), x.dtype), x), 2
            ),
        ),
        ("rises without bound", lambda: pf.fit_posterior(lambda x: 0.5 * (x**2).sum(), 2)),
        ("rises without bound", lambda: pf.fit_posterior(lambda x: x.sum(), 2)),
        ("dim=0: a posterior needs", lambda: pf.fit_posterior(normal, 0)),
        ("needs at least 1 number", lambda: pf.fit_posterior(normal, {})),
        ("is not a number", lambda: pf.fit_posterior(normal, {"a": "b"})),
        ("give the number of parameters", lambda: pf.fit_posterior(normal)),
        pytest.param(
            "a function of one event", lambda: pf.fit_posterior(3, 2), marks=pytest.mark.mistyped
        ),
        ("a: the example -1.0 is outside", lambda: pf.fit_posterior(normal, {"a": -1.0}, support={"a": "positive"})),
        ("'b': no such parameter; known: a", lambda: pf.fit_posterior(normal, {"a": 1.0}, support={"b": "real"})),
        ("'half' is unknown; known: real", lambda: pf.fit_posterior(normal, 2, support="half")),
        ("vectors of 2 or more", lambda: pf.fit_posterior(normal, {"a": 1.0}, support={"a": "simplex"})),
        ("lower one first", lambda: pf.fit_posterior(normal, 2, support="interval:3,1")),
        ("1 names for 2 numbers", lambda: pf.fit_posterior(normal, 2, names=["a"])),
        ("stages: 'burn' is unknown", lambda: pf.fit_posterior(normal, 2, stages=["burn"])),
        ("steps=0", lambda: pf.fit_posterior(normal, 2, steps=0)),
        ("either log_density or value_and_grad", lambda: Target(2)),
        ("a gradient of shape", lambda: pf.fit_posterior(Target(2, value_and_grad=lambda u: (0, 0)))),
        ("raised RuntimeError: no data$", lambda: pf.fit_posterior(Target(2, value_and_grad=raising))),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(message, call):
    with pytest.raises(pf.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_angle_is_cut_where_it_has_no_mode():
    def log_density(p):
        return 8 * jnp.cos(p["turn"] - 3.1)

    found = pf.fit_posterior(
        log_density, {"turn": 0.0}, support={"turn": "angle"}, steps=125, draws=1000,
        architecture=pf.architectures.NSF(layers=1, width=4, bins=4), stages=("starts", "affine"),
    )  # fmt: skip
    exact = np.log(2 * np.pi * np.i0(8.0))
    assert abs(found.log_z.value - exact) < 0.05
    assert abs(found.expect(lambda p: jnp.cos(p["turn"] - 3.1)).value - 0.935) < 0.02
