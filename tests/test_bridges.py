"""Models of NumPyro, PyMC and Stan as targets: the same numbers as a density written by hand."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

from pushforward.errors import InputError
from pushforward.inference.bridges import from_numpyro, from_pymc, from_stan
from pushforward.inference.bridges.stan import in_arrays

Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SIGMA = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def log_density(mu, log_tau, t):
    """Eight schools, not centred, with the log-det of tau's logarithm."""
    tau = np.exp(log_tau)
    half_cauchy = math.log(2) + stats.cauchy.logpdf(tau, 0, 5)
    return float(
        stats.norm.logpdf(mu, 0, 5)
        + half_cauchy
        + log_tau
        + stats.norm.logpdf(t).sum()
        + stats.norm.logpdf(Y, mu + tau * t, SIGMA).sum()
    )


def points(n=5):
    rng = np.random.default_rng(0)
    return {
        "mu": rng.normal(size=n),
        "tau": np.exp(rng.normal(size=n)),
        "t": rng.normal(size=(n, 8)),
    }


def agrees(target, order):
    """Values, gradients, draws and the way back of a target whose vectors hold mu, log tau and t in some order."""
    drawn = points()
    own = {"mu": drawn["mu"][:, None], "tau": np.log(drawn["tau"])[:, None], "t": drawn["t"]}
    u = np.concatenate([own[name] for name in order], axis=1)
    expected = [
        log_density(*row) for row in zip(drawn["mu"], np.log(drawn["tau"]), drawn["t"], strict=True)
    ]
    values, gradients = target.rows(u)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    i, h = order.index("tau") + 7 * (order.index("t") < order.index("tau")), 1e-3
    above, below = (
        [
            log_density(*row)
            for row in zip(drawn["mu"], np.log(drawn["tau"]) + step, drawn["t"], strict=True)
        ]
        for step in (h, -h)
    )
    slopes = (np.array(above) - np.array(below)) / (2 * h)
    np.testing.assert_allclose(gradients[:, i], slopes, rtol=1e-2, atol=1e-2)
    found = target.draws(u)
    for name, value in drawn.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5)
    theta = drawn["mu"][:, None] + drawn["tau"][:, None] * drawn["t"]
    np.testing.assert_allclose(found["theta"], theta, rtol=1e-4)
    np.testing.assert_allclose(target.unconstrain(drawn), u, atol=1e-5)
    assert len(target.names) == 10
    with pytest.raises(InputError, match="tau is missing"):
        target.unconstrain({"mu": drawn["mu"], "t": drawn["t"]})


def test_numpyro():
    numpyro = pytest.importorskip("numpyro")
    dist = numpyro.distributions

    def model(y):
        mu = numpyro.sample("mu", dist.Normal(0, 5))
        tau = numpyro.sample("tau", dist.HalfCauchy(5))
        t = numpyro.sample("t", dist.Normal(0, 1).expand([8]).to_event(1))
        theta = numpyro.deterministic("theta", mu + tau * t)
        numpyro.sample("y", dist.Normal(theta, SIGMA).to_event(1), obs=y)

    target = from_numpyro(model, Y)
    order = list(dict.fromkeys(name.split("[")[0] for name in target.names))
    agrees(target, order)

    def counted():
        numpyro.sample("k", dist.Poisson(3.0))

    with pytest.raises(InputError, match=r"discrete parameters \(k\)"):
        from_numpyro(counted)

    def nowhere():
        x = numpyro.sample("x", dist.Normal(0, 1))
        numpyro.factor("nan", x * np.nan)

    with pytest.raises(InputError, match="NumPyro found no start"):
        from_numpyro(nowhere)


def test_pymc():
    pymc = pytest.importorskip("pymc")
    precise = jax.config.values["jax_enable_x64"]
    with pymc.Model() as model:
        mu, tau = pymc.Normal("mu", 0, 5), pymc.HalfCauchy("tau", 5)
        t = pymc.Normal("t", 0, 1, shape=8)
        theta = pymc.Deterministic("theta", mu + tau * t)
        pymc.Normal("y", theta, SIGMA, observed=Y)
    target = from_pymc(model)
    assert jax.config.values["jax_enable_x64"] == precise
    agrees(target, ["mu", "tau", "t"])
    with pymc.Model() as nested:
        pymc.Uniform("x", 0, pymc.HalfNormal("s", 1))
    # Halfway to an end that is a parameter itself.
    u = from_pymc(nested).unconstrain({"s": [2.0, 4.0], "x": [1.0, 2.0]})
    np.testing.assert_allclose(u, [[math.log(2), 0], [math.log(4), 0]], atol=1e-6)
    with pymc.Model() as counted:
        pymc.Poisson("k", 3.0)
    with pytest.raises(InputError, match=r"discrete parameters \(k\)"):
        from_pymc(counted)


class Stub:
    """The methods of a BridgeStan model, of eight schools."""

    def param_unc_num(self):
        return 10

    def param_unc_names(self):
        return ["mu", "tau", *(f"t.{i}" for i in range(1, 9))]

    def param_names(self, *, include_tp=False, include_gq=False):
        return self.param_unc_names() + [f"theta.{i}" for i in range(1, 9)] * include_tp

    def param_constrain(self, u, *, include_tp=False, include_gq=False):
        mu, tau, t = u[0], np.exp(u[1]), u[2:]
        return np.concatenate([[mu, tau], t, mu + tau * t])

    def param_unconstrain(self, theta):
        return np.concatenate([theta[:1], np.log(theta[1:2]), theta[2:]])

    def log_density_gradient(self, u, *, propto, jacobian):
        assert jacobian
        assert not propto
        if u[0] > 100:
            raise RuntimeError("rejected")
        h = 1e-4 * np.eye(10)
        value = [log_density(v[0], v[1], v[2:]) for v in (u, *(u + h), *(u - h))]
        return value[0], (np.array(value[1:11]) - np.array(value[11:])) / 2e-4


def test_stan():
    target = from_stan(Stub())
    agrees(target, ["mu", "tau", "t"])
    assert np.isnan(target.values(np.full((1, 10), 101.0))).all()


def test_matrices_of_stan():
    """The first index is the fastest."""
    names = [f"m.{i}.{j}" for j in (1, 2, 3) for i in (1, 2)]
    found = in_arrays(np.arange(12.0).reshape(2, 6), names)
    assert found["m"].shape == (2, 2, 3)
    np.testing.assert_array_equal(found["m"][0], [[0, 2, 4], [1, 3, 5]])
