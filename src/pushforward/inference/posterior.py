"""A fitted posterior: a flow, draws of it with weights, and what they say of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from pushforward.distributions import Flow
from pushforward.draws import key_of
from pushforward.errors import InputError, check_choice, check_count, warn
from pushforward.inference.layout import Layout
from pushforward.inference.mcmc import Chains, run_chains
from pushforward.inference.output import arviz_of, corner_plot
from pushforward.inference.posterior_file import Stored, load_posterior, save_posterior
from pushforward.inference.reverse_kl import draws_of, log_prob_of
from pushforward.inference.target import (
    Target,
    layout_constrain,
    layout_unconstrain,
    target_with,
)
from pushforward.inference.verdict import Facts, Verdict
from pushforward.inference.weights import LogZ, Smoothed, smoothed_weights, systematic
from pushforward.rows import Numbers, broadcasting

HOW = ("flow", "weighted", "resampled", "mcmc")


class Stage(NamedTuple):
    """What one stage of a fit did.

    Attributes:
        name: "starts", "affine", "flow", "probes", "smc", "likelihood" or "repeat".
        text: in words.
        seconds: wall time, compilation included.
    """

    name: str
    text: str
    seconds: float


class Expectation(NamedTuple):
    """A posterior expectation.

    Attributes:
        value: as the function returns it.
        standard_error: of the same structure.
        k: the heaviest tail of weight times function, see `smoothed_weights`: above 0.7 neither can be trusted.
    """

    value: Any
    standard_error: Any
    k: float


@dataclass(frozen=True, eq=False)
class Posterior:
    """What `fit_posterior` returns: `print` shows its verdict.

    Attributes:
        flow: q, the density of the unconstrained vector.
        verdict: whether to trust it, with reasons.
        log_z: the logarithm of the evidence, its standard error in nats, and how it was found.
        facts: the figures that the verdict rests on.
        history: what each stage did.
        u, log_p, log_q: the draws of q that were judged, `(n, d)`, with the log-densities of target and flow.
        names: of the numbers of u.
        layout: the parameters and their supports; None for a target that has its own.
        target: the density; None after `load`, until `with_log_density` gives it back.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> post = pf.fit_posterior(lambda x: -0.5 * ((x - 3.0) ** 2).sum(), 2, steps=125)
    >>> round(float(post.expect(lambda x: x[0]).value), 1)
    3.0
    >>> post.sample(100).shape
    (100, 2)

    ```
    """

    flow: Flow
    verdict: Verdict
    log_z: LogZ
    facts: Facts
    history: tuple[Stage, ...]
    u: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    names: tuple[str, ...]
    layout: Layout | None
    target: Target | None
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        error = self.log_z.standard_error
        return f"Posterior of {len(self.names)} numbers, log Z = {self.log_z.value:.4f} +- {error:.4f}\n{self.verdict}"

    @property
    def dim(self) -> int:
        """The length of the unconstrained vector."""
        return len(self.names)

    @property
    def weights(self) -> Smoothed:
        """Smoothed weights of the judged draws, and their k."""
        if "weights" not in self._cache:
            self._cache["weights"] = smoothed_weights(self.log_p - self.log_q)
        found: Smoothed = self._cache["weights"]
        return found

    def sample(self, n: int, how: str = "resampled", *, seed: int = 0) -> Any:
        """Draws, as the log-density takes events, with the draws on the first axis.

        Arguments:
            n: how many.
            how: "flow": independent draws of the flow as they are. "resampled" (default): chosen with replacement, by
                smoothed weights, from as many draws as were judged, or as n are. "weighted": n draws of the flow, and
                their smoothed log-weights, whose exponentials sum to 1. "mcmc": chains that have the posterior as their
                limit, see `mcmc`.
            seed: of the draws.

        Returns the draws; for "weighted" a pair. Raises `InputError` for an unknown `how`, and for new weights and
        chains without the log-density, see `with_log_density`.
        """
        check_count("n", n)
        check_choice("how", how, HOW)
        if how == "flow":
            return self._draws(draws_of(self.flow, key_of(seed), n)[0])
        if how == "mcmc":
            return self.mcmc(n, seed=seed).draws
        u, log_weights = self.u, self.weights.log_weights
        if n > len(u) or (how == "weighted" and seed):
            u, log_p, log_q = judged(self._known(), self.flow, key_of(seed), max(n, 1000))
            log_weights = smoothed_weights(log_p - log_q).log_weights
        if how == "resampled":
            rng = np.random.default_rng(seed)
            # Systematic choice leaves equal ones side by side.
            return self._draws(u[rng.permutation(systematic(np.exp(log_weights), n, rng))])
        log_weights = log_weights[:n]
        return self._draws(u[:n]), log_weights - np.logaddexp.reduce(log_weights)

    def expect(self, function: Callable[[Any], Any]) -> Expectation:
        """The posterior mean of a function of one event, by the smoothed weights of the judged draws.

        Arguments:
            function: in JAX, from an event to a number, an array, or a container of them.

        Its standard error is that of a self-normalised estimate, in the function's units.
        """
        events = jax.tree.map(jnp.asarray, self._draws(self.u))
        with broadcasting():
            found = jax.jit(jax.vmap(function))(events)
        log_weights = self.weights.log_weights
        w = np.exp(log_weights)
        worst = [self.weights.k]

        def mean(leaf: Any) -> np.ndarray:
            return np.asarray(np.tensordot(w, np.asarray(leaf, np.float64), axes=1))

        def error(leaf: Any) -> np.ndarray:
            apart = np.asarray(leaf, np.float64) - mean(leaf)[None]
            flat = np.abs(apart).reshape(len(w), -1)
            for column in flat.T[:64]:
                if column.any():
                    with np.errstate(divide="ignore"):
                        worst.append(smoothed_weights(self.log_p - self.log_q + np.log(column)).k)
            return np.asarray(np.sqrt(np.tensordot(w**2, apart**2, axes=1)))

        values, errors = jax.tree.map(mean, found), jax.tree.map(error, found)
        return Expectation(values, errors, max(worst))

    def log_prob(self, theta: Any) -> np.ndarray:
        """Log-densities of the flow in nats, with respect to the parameters, normalised.

        Arguments:
            theta: one event as the log-density takes it, or events with leading axes.

        Raises `InputError` for a target with supports of its own, whose log-dets are not known: `flow.log_prob` scores
        unconstrained rows.
        """
        if self.layout is None:
            raise InputError(
                "the supports of this target are its own: score unconstrained rows by flow.log_prob(u)"
            )
        layout = self.layout
        leaves = layout.leaves(theta)
        first, shape = layout.parts[0], np.shape(leaves[0])
        batch = shape[: len(shape) - len(first.shape)]
        rows = [
            np.reshape(leaf, (-1, *part.shape))
            for part, leaf in zip(layout.parts, leaves, strict=True)
        ]
        order = jax.tree.leaves(layout.tree)
        tree = jax.tree.unflatten(jax.tree.structure(layout.tree), [rows[i] for i in order])
        u = layout_unconstrain(layout)(tree)
        with broadcasting():
            log_det = jax.vmap(lambda v: layout.constrain(v)[1])(jnp.asarray(u))
        found: np.ndarray = log_prob_of(self.flow, u) - np.asarray(log_det, np.float64)
        return found.reshape(batch)

    def mcmc(self, n: int = 4000, *, chains: int = 4, seed: int = 0) -> Chains:
        """Markov chains with the posterior as their limit: independence Metropolis with the flow's draws, alternated
        with Hamiltonian Monte Carlo in the flow's latent space, where the posterior is nearly normal.

        They mend a flow that is near, not one that misses a mode. Warns where split R-hat says that chains disagree.

        Arguments:
            n: draws of all chains together, rounded up to as many from each.
            chains: how many; default 4.
            seed: of all randomness.
        """
        check_count("n", n)
        check_count("chains", chains, 2)
        found = run_chains(self._known(), self.flow, -(-n // chains), chains, seed)
        if not found.r_hat.max() < 1.02:
            warn(
                f"the chains do not agree (split R-hat {found.r_hat.max():.3f}, above 1.02): take more draws, and see "
                "the verdict"
            )
        draws = self._draws(found.u.reshape(-1, self.dim)[:n])
        return replace(found, draws=draws)

    def plot(self, n: int = 2000, *, numbers: Any = None) -> Any:
        """A matplotlib figure: the margin of each number and each pair of resampled draws.

        Arguments:
            n: draws that are shown.
            numbers: names of those shown; default the first 6.

        Raises `InputError` without matplotlib, and for an unknown name.
        """
        return corner_plot(
            self.columns(self.sample(min(n, len(self.u)))), numbers, self.verdict.word
        )

    def to_arviz(self, n: int = 4000, *, chains: int = 4) -> Any:
        """Resampled draws as ArviZ takes them: InferenceData with ArviZ 0.x, a DataTree with 1.x.

        Log-weights, `lp` and `log_q` of the draws are in `sample_stats`, the evidence, k and the verdict in the
        attributes. Draws are independent, and stand as `chains` chains as ArviZ wants some.

        Raises `InputError` without ArviZ.
        """
        each = max(1, n // chains)
        rng = np.random.default_rng(0)
        weights = np.exp(self.weights.log_weights)
        chosen = rng.permutation(systematic(weights, each * chains, rng))
        draws = self._draws(self.u[chosen])
        if not isinstance(draws, dict):
            draws = self.columns(draws) if self.layout is not None else {"u": draws}
        stats = {
            "lp": self.log_p[chosen],
            "log_q": self.log_q[chosen],
            "log_weight": self.weights.log_weights[chosen],
        }
        attributes = {
            "inference_library": "pushforward",
            "log_z": self.log_z.value,
            "log_z_standard_error": self.log_z.standard_error,
            "pareto_k": self.weights.k,
            "verdict": str(self.verdict),
        }
        return arviz_of(draws, stats, attributes, chains, each)

    def columns(self, draws: Any) -> dict[str, np.ndarray]:
        """Draws as one column for each number of an event, by name."""
        leaves = jax.tree.leaves(draws) if self.layout is None else self.layout.leaves(draws)
        rows = np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in leaves], axis=1)
        names = self.names if self.layout is None else self.layout.names()
        if len(names) != rows.shape[1]:
            names = tuple(f"x[{i}]" for i in range(rows.shape[1]))
        return dict(zip(names, rows.T, strict=True))

    def save(self, path: str | PathLike[str], *, force: bool = True) -> None:
        """Write the posterior to one file: flow, judged draws, verdict, layout; not the log-density. `pushforward.load`
        reads it. `force=False` keeps a file that is there."""
        stored = Stored(
            self.flow, self.verdict, self.facts, self.history,
            self.u, self.log_p, self.log_q, self.names, self.layout,
        )  # fmt: skip
        save_posterior(stored, path, force)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Posterior":
        """The posterior that `save` wrote, without its log-density. Raises `InputError` for a file that is missing,
        damaged or of another kind."""
        of = load_posterior(path)
        history = tuple(Stage(*stage) for stage in of.history)
        return cls(
            of.flow, of.verdict, of.facts.log_z, of.facts, history,
            of.u, of.log_p, of.log_q, of.names, of.layout, None,
        )  # fmt: skip

    def with_log_density(self, log_density: Callable[..., Any] | Target) -> "Posterior":
        """The same posterior with the log-density that a file does not hold, for new weights and chains: the function
        of one event that was fitted, or the target.

        Raises `InputError` where it gives other log-densities than those that are stored.
        """
        if isinstance(log_density, Target):
            target = log_density
        elif self.layout is None:
            raise InputError("this posterior was fitted to a Target: give one")
        else:
            target = target_with(log_density, self.layout)
        if target.dim != self.dim:
            raise InputError(f"a target of {self.dim} numbers was expected, not {target.dim}")
        with np.errstate(invalid="ignore"):
            apart = np.abs(target.values(self.u[:100]) - self.log_p[:100])
        if not np.nanmedian(apart) <= 1e-3 * (1 + np.nanmedian(np.abs(self.log_p[:100]))):
            raise InputError(
                f"this log-density is another one: at the stored draws it differs by {np.nanmedian(apart):.3g} nats"
            )
        return replace(self, target=target)

    def _draws(self, u: np.ndarray) -> PyTree:
        if self.target is not None:
            return self.target.draws(u)
        if self.layout is None:
            return u
        return layout_constrain(self.layout)(u)

    def _known(self) -> Target:
        if self.target is None:
            raise InputError(
                "a file does not hold the log-density: give it back with post.with_log_density(log_density)"
            )
        return self.target

    def unconstrained(self, draws: Any) -> np.ndarray:
        """Draws of the parameters as unconstrained rows `(n, d)`. Raises `InputError` for a target that cannot."""
        if self.layout is not None:
            return layout_unconstrain(self.layout)(draws)
        if self.target is not None and self.target.unconstrain is not None:
            return np.asarray(self.target.unconstrain(draws))
        rows: Numbers = draws
        found = np.asarray(rows)
        if found.ndim != 2 or found.shape[1] != self.dim:
            raise InputError(
                f"unconstrained rows of shape (n, {self.dim}) were expected, not {found.shape}"
            )
        return found


def judged(
    target: Target, flow: Flow, key: Any, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`n` draws of a flow, and the log-densities of target (-inf where it is NaN or infinite) and flow."""
    u, log_q = draws_of(flow, key, n)
    log_p = target.values(u)
    return u, np.where(np.isfinite(log_p), log_p, -np.inf), log_q
