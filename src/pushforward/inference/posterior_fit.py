"""From a log-density to a posterior with a verdict."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from pushforward.architectures import NSF, Architecture, RealNVP
from pushforward.bijections import Chain
from pushforward.distributions import Flow
from pushforward.draws import key_of
from pushforward.errors import InputError, check_count
from pushforward.inference.posterior import Posterior, Stage, judged
from pushforward.inference.probes import BEYOND, Probes, missed_mass, probe
from pushforward.inference.reverse_kl import ReverseKL, log_prob_of
from pushforward.inference.smc import reference_of, tempered
from pushforward.inference.start import (
    Climbs,
    Frame,
    Located,
    climb,
    frames,
    lower_factor,
    refined,
    starting_points,
)
from pushforward.inference.target import Target, check_target, target_of
from pushforward.inference.verdict import Facts, verdict_of
from pushforward.inference.weights import (
    LogZ,
    effective_share,
    importance_log_z,
    smoothed_weights,
)
from pushforward.training import Training, fit

STAGES = ("starts", "affine", "probes", "smc", "repeat")
"""The stages that can be left out."""
REPEATED = 250
LIKELIHOOD_STEPS = 2000
_RANK = ("trustworthy", "usable with weights", "do not trust")


def fit_posterior(
    log_density: Callable[..., Any] | Target,
    event: Any = None,
    *,
    support: Any = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    steps: int | None = None,
    draws: int = 20_000,
    architecture: Architecture | None = None,
    stages: Collection[str] = STAGES,
    progress: Callable[[Stage], bool | None] | None = None,
) -> Posterior:
    """A posterior from a log-density: a flow, weighted draws, the evidence, and a verdict on all three.

    256 climbs from wide starts find modes; the best Gaussian becomes the frame of a flow, which is fitted by reverse KL
    with path gradients until fresh draws gain nothing. Then p is probed where the flow is not: at all modes, by chains,
    along the axes. Where these find mass, particles of tempered sequential Monte Carlo replace the fit, and a flow is
    fitted to them by maximum likelihood. Draws of the flow are weighted, and a second seed repeats a short fit.

    Cost: 15 to 40 seconds of one core where a gradient is cheap, most of it compilation; minutes where particles are
    needed in tens of dimensions.

    Arguments:
        log_density: from one event to its unnormalised log-density in nats, a number, in JAX. Or a `Target`, which may
            call anything that gives values and gradients.
        event: how many numbers an event has, which is then a vector; or an example of an event: a number, an array, or
            a dictionary, list or tuple of these. None with a `Target`.
        support: where they may lie: "real" (default), "positive", "interval:low,high", "angle", "ordered", "simplex" or
            an object of `pushforward.inference`; one for all, or a dictionary by the event's keys. Its log-dets are
            added for you: `log_density` is that of the event itself.
        names: of the numbers of an event that is a vector.
        seed: of all randomness.
        steps: of the flow's fit, of 256 draws each; default None: 500 to 3,500, as long as they gain.
        draws: that are judged and kept.
        architecture: of the flow; default `RealNVP(layers=10, width=32)`, and splines for a single number.
        stages: those of "starts", "affine", "probes", "smc" and "repeat" that are not left out; default all.
        progress: called after each stage with what it did; True ends the fit, and what there is is judged.

    Raises `InputError`, in one line, for a log-density that raises, returns anything but a number, cannot be
    differentiated, is nowhere finite or rises without bound, and for a support that the example contradicts.

    Agrawal & Domke 2024 (arXiv 2412.08824) for the recipe.

    ```python
    >>> import jax.numpy as jnp, pushforward as pf
    >>> def log_density(p):
    ...     return -0.5 * (p["mean"] - 1.0) ** 2 - p["rate"]
    >>> example = {"mean": 0.0, "rate": 1.0}
    >>> post = pf.fit_posterior(log_density, example, support={"rate": "positive"}, steps=250)
    >>> bool(abs(post.log_z.value - 0.5 * jnp.log(2 * jnp.pi)) < 0.05)
    True
    >>> sorted(post.sample(10))
    ['mean', 'rate']

    ```
    """
    check_count("draws", draws, 1000)
    if steps is not None:
        check_count("steps", steps)
    for name in stages:
        if name not in STAGES:
            raise InputError(f"stages: {name!r} is unknown; known: {', '.join(STAGES)}")
    run = _Run(target_of(log_density, event, support, names), seed, draws, progress)
    return run.posterior(architecture, steps, stages)


@dataclass
class _Candidate:
    """A flow with what was found of it."""

    flow: Flow
    u: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    facts: Facts

    def rank(self) -> int:
        return _RANK.index(verdict_of(self.facts).word)


class _Run:
    """One fit, stage by stage."""

    def __init__(
        self,
        target: Target,
        seed: int,
        draws: int,
        progress: Callable[[Stage], bool | None] | None,
    ):
        self.target, self.draws, self.progress = target, draws, progress
        self.key, self.rng = key_of(seed), np.random.default_rng([seed, 7])
        self.history: list[Stage] = []
        self.asked = False
        self.began = time.perf_counter()

    def done(self, name: str, text: str) -> None:
        """Record a stage."""
        now = time.perf_counter()
        stage = Stage(name, text, now - self.began)
        self.began = now
        self.history.append(stage)
        if self.progress is not None:
            self.asked = bool(self.progress(stage)) or self.asked

    def posterior(
        self, architecture: Architecture | None, steps: int | None, stages: Collection[str]
    ) -> Posterior:
        check_target(self.target, self.rng.uniform(-1, 1, self.target.dim))
        found = self.starts("starts" in stages)
        best = max(found, key=lambda frame: frame.bound)
        if "affine" in stages and not self.asked:
            best = refined(self.target, best, self.rng)
            self.done("affine", f"the best Gaussian has an evidence bound of {best.bound:.2f} nats")
        chosen = architecture or _default(self.target.dim)
        located = Located(best.shift, best.scale)
        start = chosen.build(self.target.dim, key=jax.random.fold_in(self.key, 1))
        fitting = ReverseKL(self.target, start, located)
        probing = found[:-1] if "probes" in stages and not self.asked else None
        modes = probing if "smc" in stages else None
        flow, left_out = self.reverse_kl(fitting, start, steps, modes)
        kept = self.judge(flow, left_out, probing, best, None)
        probes = kept.facts.probes
        short = probes is not None and (probes.missed > 1e-3 or probes.outside > 0.05)
        if short and "smc" in stages and not self.asked and len(found) > 1:
            particles = self.particles(found[:-1], steps, probing, best)
            kept = min((particles, kept), key=_Candidate.rank)
        elif "repeat" in stages and not self.asked and kept.rank() < 2:
            kept.facts = replace(kept.facts, again=self.repeat(fitting, chosen))
        verdict = verdict_of(kept.facts)
        assert self.target.names is not None
        return Posterior(
            kept.flow, verdict, kept.facts.log_z, kept.facts, tuple(self.history),
            kept.u, kept.log_p, kept.log_q, self.target.names, self.target.layout, self.target,
        )  # fmt: skip

    def starts(self, asked: bool) -> list[Frame]:
        """Gaussians at the ends of climbs; the standard normal alone if not asked for."""
        if not asked:
            nothing = Climbs(np.zeros((0, self.target.dim)), np.zeros(0), 0.0)
            return frames(self.target, nothing, self.rng)
        points = starting_points(self.target.dim, self.rng)
        climbs = climb(self.target, points)
        layout = self.target.layout
        if layout is not None and (turned := layout.turned(climbs.ends[0])) != layout:
            self.target = self.target.turned(turned)
            climbs = climb(self.target, points)
        found = frames(self.target, climbs, self.rng)
        self.done("starts", f"{len(points)} climbs found {len(found) - 1} modes or more")
        return found

    def reverse_kl(
        self, fitting: ReverseKL, start: Flow, steps: int | None, modes: list[Frame] | None
    ) -> tuple[Flow, float]:
        def misses(flow: Flow) -> bool:
            # What misses a fifth of the mass after a round will not find it: particles will.
            whole = _whole(flow, fitting.frame)
            _, log_p, log_q = judged(self.target, whole, jax.random.fold_in(self.key, 9), 4096)
            log_weights = log_p - log_q
            limit, log_z = log_weights.max() + BEYOND, importance_log_z(log_weights, 0.0).value
            score = partial(log_prob_of, whole)
            return missed_mass(self.target, modes or [], score, limit, self.rng)[1] > log_z - 1.6

        halt = misses if modes and len(modes) > 1 else None
        flow, rounds = fitting.fit(start, jax.random.fold_in(self.key, 2), steps, halt)
        total = sum(one.steps for one in rounds)
        last = rounds[-1]
        self.done(
            "flow",
            f"{total} steps, evidence bound {last.bound:.4f} nats, fresh draws are worth "
            f"{100 * last.effective:.0f} %, {100 * last.left_out:.2g} % of draws left out",
        )
        return _whole(flow, fitting.frame), last.left_out

    def judge(
        self,
        flow: Flow,
        left_out: float,
        found: list[Frame] | None,
        frame: Frame,
        near: np.ndarray | None,
    ) -> _Candidate:
        """Weights of fresh draws, and what probes say. `near` are rows where chains begin; None for draws of q."""
        u, log_p, log_q = judged(self.target, flow, jax.random.fold_in(self.key, 3), self.draws)
        raw = self.target.values(u[np.isneginf(log_p)]) if np.isneginf(log_p).any() else np.zeros(0)
        invalid = float((np.isnan(raw) | (raw == np.inf)).sum() / len(u))
        log_weights = log_p - log_q
        alive = np.isfinite(log_weights).sum() >= 25
        k = smoothed_weights(log_weights).k if alive else np.inf
        log_z = (
            importance_log_z(log_weights, k) if alive else LogZ(np.nan, np.nan, "no draw counts")
        )
        probes: Probes | None = None
        if found is not None and alive:
            begin = u if near is None else near
            probes = probe(
                self.target, found, frame, partial(log_prob_of, flow), begin,
                log_weights, log_p, self.rng,
            )  # fmt: skip
            self.done(
                "probes",
                f"{probes.missed_modes} of {probes.modes} modes and {100 * probes.outside:.2g} % of chains lie where "
                "the flow never draws",
            )
        finite = np.abs(log_p[np.isfinite(log_p)])
        facts = Facts(
            len(u), effective_share(log_weights), k, invalid, left_out, probes, log_z, None,
            float(np.median(finite)) if len(finite) else np.nan,
        )  # fmt: skip
        return _Candidate(flow, u, log_p, log_q, facts)

    def particles(
        self, found: list[Frame], steps: int | None, probing: list[Frame] | None, frame: Frame
    ) -> _Candidate:
        """A flow fitted by maximum likelihood to particles of p."""
        d = self.target.dim
        n = 16_384 if d > 8 else 8_192
        made = tempered(self.target, reference_of(found), self.rng, n)
        self.done(
            "smc",
            f"{n:,} particles in {made.stages} stages, log Z {made.log_z:.3f}, {100 * made.acceptance:.0f} % of the "
            "last moves taken",
        )
        centred = (made.x - made.x.mean(0)).T / np.sqrt(n)
        own = Frame(made.x.mean(0), lower_factor(centred))
        rows = np.linalg.solve(own.scale, (made.x - own.shift).T).T
        coupled = NSF(layers=4, width=64, autoregressive=d == 1)
        flow = coupled.build(d, key=jax.random.fold_in(self.key, 4))
        training = Training(max_steps=steps or LIKELIHOOD_STEPS, patience=1.0)
        fitted = fit(
            flow, rows.astype(np.float32), key=jax.random.fold_in(self.key, 5), training=training
        )
        located = Located(own.shift, own.scale)
        whole = _whole(fitted.model, located)
        self.done("likelihood", f"a flow was fitted to the particles: {-fitted.best_loss:.3f} nats")
        return self.judge(whole, 0.0, probing, own, made.x)

    def repeat(self, fitting: ReverseKL, architecture: Architecture) -> LogZ | None:
        """The evidence by a short fit with another seed."""
        start = architecture.build(self.target.dim, key=jax.random.fold_in(self.key, 6))
        flow, _ = fitting.fit(start, jax.random.fold_in(self.key, 7), REPEATED)
        whole = _whole(flow, fitting.frame)
        key = jax.random.fold_in(self.key, 8)
        _, log_p, log_q = judged(self.target, whole, key, 4096)
        log_weights = log_p - log_q
        if np.isfinite(log_weights).sum() < 25:
            return None
        log_z = importance_log_z(log_weights, smoothed_weights(log_weights).k)
        self.done("repeat", f"another seed, {REPEATED} steps: log Z {log_z.value:.3f}")
        return log_z


def _whole(flow: Flow, frame: Located) -> Flow:
    return Flow(flow.base, Chain([flow.bijection, frame]), flow.architecture)


def _default(d: int) -> Architecture:
    return RealNVP(layers=10, width=32) if d > 1 else NSF(layers=3, width=16)
