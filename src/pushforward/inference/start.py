"""Where a fit starts: many climbs, the shape of the density at their ends, and the best Gaussian of these."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import logsumexp

from pushforward.bijections.base import AbstractBijection, Condition, Key, Mapped
from pushforward.errors import InputError
from pushforward.inference.target import FEW, Rows, Target
from pushforward.rows import Shape

EVALUATIONS = 150
MEMORY = 8
MOST_MODES = 64
HESSIANS = 6000
"""Gradients spent on second derivatives."""
FLATTEST = 1e-5
"""The least second derivative that is believed: standard deviations of 300."""


class Located(AbstractBijection):
    """A fixed Gaussian's frame, `x = shift + scale z`: it is stored, and no fit changes it.

    Arguments:
        shift: `(d,)`.
        scale: `(d, d)`, a Cholesky factor.
    """

    shift: Float[Array, " d"]
    scale: Float[Array, "d d"]
    undone: Float[Array, "d d"]
    log_scale: Float[Array, ""]
    event_shape: Shape = eqx.field(static=True)
    condition_shape = None

    def __init__(self, shift: np.ndarray, scale: np.ndarray):
        scale = np.asarray(scale, np.float64)
        self.shift, self.scale = jnp.asarray(shift, float), jnp.asarray(scale, float)
        # No linear algebra within programs: the inverse is kept.
        self.undone = jnp.asarray(np.linalg.inv(scale), float)
        self.log_scale = jnp.asarray(np.linalg.slogdet(scale)[1], float)
        self.event_shape = (len(scale),)

    def forward_rows(self, z: Array, condition: Condition, key: Key) -> Mapped:
        x = self.shift[None] + z @ self.scale.T
        return x, jnp.broadcast_to(self.log_scale, z.shape[:1])

    def inverse_rows(self, x: Array, condition: Condition, key: Key) -> Mapped:
        z = (x - self.shift[None]) @ self.undone.T
        return z, jnp.broadcast_to(-self.log_scale, x.shape[:1])


@dataclass(frozen=True)
class Frame:
    """A Gaussian: its mean, a factor of its covariance, and how much mass of p weights of its draws find there.

    Attributes:
        shift, scale: mean `(d,)` and factor `(d, d)`.
        log_mass: of the density in its reach, by importance weights, in nats.
        bound: the evidence lower bound of the Gaussian, without its worst tenth of draws.
    """

    shift: np.ndarray
    scale: np.ndarray
    log_mass: float = -np.inf
    bound: float = -np.inf

    def draws(self, rng: np.random.Generator, n: int, wide: float = 1.0) -> np.ndarray:
        """`n` draws, `wide` times as wide."""
        found: np.ndarray = self.shift + wide * rng.normal(size=(n, len(self.shift))) @ self.scale.T
        return found

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-density in nats."""
        z = np.linalg.solve(self.scale, (x - self.shift).T)
        log_scale = np.linalg.slogdet(self.scale)[1]
        found: np.ndarray = -0.5 * (z**2).sum(0) - log_scale - 0.5 * len(z) * np.log(2 * np.pi)
        return found

    def distance(self, x: np.ndarray) -> np.ndarray:
        """Standard deviations from the mean, per root of the dimension."""
        z = np.linalg.solve(self.scale, (x - self.shift).T)
        found: np.ndarray = np.sqrt((z**2).mean(0))
        return found


@dataclass(frozen=True)
class Climbs:
    """The ends of all climbs.

    Attributes:
        ends: `(n, d)`, best first, those alone at which the density is finite.
        values: log-densities there.
        invalid: share of the starting points at which value or gradient is not finite.
    """

    ends: np.ndarray
    values: np.ndarray
    invalid: float


def lower_factor(factor: np.ndarray) -> np.ndarray:
    """The Cholesky factor of `A A'` for a matrix A `(d, n)`, `n >= d`, where that product would lose digits."""
    lower: np.ndarray = np.linalg.qr(factor.T)[1].T
    diagonal = np.diag(lower)
    lower = lower * np.where(diagonal < 0, -1.0, 1.0)
    lower += np.diag(np.where(np.abs(diagonal) < 1e-12, 1e-12, 0.0))
    return lower


def starting_points(d: int, rng: np.random.Generator, n: int = FEW) -> np.ndarray:
    """Half within 2 of the origin of unconstrained space, the rest up to 10 and 50 away."""
    reach = np.repeat([2.0, 10.0, 50.0], [n - 2 * (n // 4), n // 4, n // 4])
    points: np.ndarray = rng.uniform(-1, 1, (n, d)) * reach[:, None]
    return points


def climb(target: Target, u: np.ndarray) -> Climbs:
    """Climb from all points at once by L-BFGS with backtracking.

    Raises `InputError` where nothing is finite, where the density is the same everywhere or not differentiable, and
    where it rises without bound.
    """
    values, gradients = target.rows(u)
    if (values == np.inf).any():
        raise InputError(_unbounded(target, u[int(np.argmax(values == np.inf))]))
    valid = np.isfinite(values) & np.isfinite(gradients).all(1)
    if not valid.any():
        first = np.round(u[0, :4], 2).tolist()
        raise InputError(
            f"the log-density or its gradient is not finite at any of {len(u)} starting points (the first is "
            f"{values[0]} at {first}, unconstrained): check its formula, and support="
        )
    if not gradients[valid].any() and np.ptp(values[valid]) > 0:
        raise InputError(
            "the gradient of the log-density is 0 everywhere though its values differ: it cannot be differentiated "
            "(rounding or comparisons?); give Target(dim, value_and_grad=...)"
        )
    invalid = float(1 - valid.mean())
    u, values, gradients = u[valid], values[valid], gradients[valid]
    u, values, rising = _ascend(target.rows, u, values, gradients)
    # A density of finite mass may have a far mode, but no climb goes to infinity.
    far = (np.abs(u).max(1) > 1e6) & rising
    if far.any() or (values == np.inf).any():
        raise InputError(_unbounded(target, u[int(np.argmax(np.where(far, values, -np.inf)))]))
    order = np.argsort(-values)
    return Climbs(u[order], values[order], invalid)


def _unbounded(target: Target, at: np.ndarray) -> str:
    assert target.names is not None
    i = int(np.argmax(np.abs(at)))
    return (
        f"the log-density rises without bound (at {target.names[i]} = {at[i]:.3g}, unconstrained): it is not the "
        "logarithm of a density; check its sign, and that every parameter has a prior"
    )


def _ascend(
    rows: Callable[[np.ndarray], Rows], u: np.ndarray, f: np.ndarray, g: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ends of climbs, their values, and whether each still rose."""
    n, d = u.shape
    steps, bends = np.zeros((MEMORY, n, d)), np.zeros((MEMORY, n, d))
    weight = np.zeros((MEMORY, n))
    length = np.ones(n)
    gain, still = np.full(n, np.inf), np.ones(n, bool)
    ahead = g / np.maximum(np.linalg.norm(g, axis=1), 1e-30)[:, None]
    for number in range(EVALUATIONS):
        norm = np.linalg.norm(ahead, axis=1)
        most = np.maximum(10.0, 2 * np.linalg.norm(u, axis=1))
        move = (length * np.minimum(1.0, most / np.maximum(norm, 1e-30)))[:, None] * ahead
        trial = np.where(still[:, None], u + move, u)
        ft, gt = rows(trial)
        slope = (g * move).sum(1)
        if (ft == np.inf).any():
            u[ft == np.inf], f[ft == np.inf] = trial[ft == np.inf], np.inf
            break
        with np.errstate(invalid="ignore"):
            good = np.isfinite(ft) & np.isfinite(gt).all(1) & (ft >= f + 1e-4 * slope) & still
        s, y = trial - u, g - gt
        curved = (s * y).sum(1)
        kept = good & (curved > 1e-9 * np.linalg.norm(s, axis=1) * np.linalg.norm(y, axis=1))
        for memory, new in ((steps, s), (bends, y)):
            memory[1:, kept] = memory[:-1, kept]
            memory[0, kept] = new[kept]
        weight[1:, kept] = weight[:-1, kept]
        weight[0, kept] = 1 / curved[kept]
        gain = np.where(good, 0.5 * np.minimum(gain, 1e30) + 0.5 * (ft - f), gain)
        u, f, g = (np.where(good[:, None], a, b) if a.ndim > 1 else np.where(good, a, b)
                   for a, b in ((trial, u), (ft, f), (gt, g)))  # fmt: skip
        # Where the density bends upwards nothing says how far it goes: ever further.
        length = np.where(good, np.where(kept, 1.0, length * 4), length * 0.3)
        still &= (length > 1e-6) & (gain > 1e-4)
        # The last few are where it is flat, or rises for ever.
        if still.mean() < (0.1 if number > 50 else 1e-9):
            break
        ahead = _direction(g, steps, bends, weight)
    return u, f, still & (gain > 1e-2)


def _direction(
    g: np.ndarray, steps: np.ndarray, bends: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """The two loops of L-BFGS, for all climbs."""
    q, alphas = g.copy(), []
    for s, y, w in zip(steps, bends, weight, strict=True):
        alpha = w * (s * q).sum(1)
        q -= alpha[:, None] * y
        alphas.append(alpha)
    curved = (bends[0] ** 2).sum(1) * weight[0]
    plain = 1 / np.maximum(np.linalg.norm(g, axis=1), 1e-30)
    q *= np.where(curved > 0, 1 / np.maximum(curved, 1e-30), np.minimum(plain, 1.0))[:, None]
    for s, y, w, alpha in reversed(list(zip(steps, bends, weight, alphas, strict=True))):
        q += (alpha - w * (y * q).sum(1))[:, None] * s
    uphill = (q * g).sum(1) > 0
    return np.where(uphill[:, None], q, g)


def frames(target: Target, climbs: Climbs, rng: np.random.Generator) -> list[Frame]:
    """Gaussians at the ends of climbs, one a mode, the mass in their reach, and the standard normal as the last."""
    d = target.dim
    most = max(1, min(MOST_MODES, HESSIANS // (2 * d)))
    scale = np.maximum(1.0, np.abs(climbs.ends).max(1))
    found: list[Frame] = []
    left = np.ones(len(climbs.ends), bool)
    while left.any() and len(found) < most:
        # Second derivatives for several at once; ends that turn out to be one mode are few.
        chosen = _apart(climbs.ends, np.flatnonzero(left), scale, min(most - len(found), 16))
        for frame in _laplace(target, climbs.ends[chosen]):
            if all(other.distance(frame.shift[None])[0] > 0.5 for other in found):
                found.append(frame)
        for frame in found:
            left &= frame.distance(climbs.ends) > 0.5
        left[chosen] = False
    found.append(Frame(np.zeros(d), np.eye(d)))
    return _measured(target, found, rng)


def refined(target: Target, frame: Frame, rng: np.random.Generator, rounds: int = 16) -> Frame:
    """The Gaussian moved and stretched until its scores are those of the density, by linear regression of gradients on
    draws, `grad log p(x) ~ -P (x - m)`: each move is kept if the evidence bound rises."""
    d, damping = target.dim, 0.5
    n = FEW * max(1, -(-2 * (d + 1) // FEW))
    best = _measured(target, [frame], rng)[0]
    for _ in range(rounds):
        e = rng.normal(size=(n, d))
        values, g = target.rows(best.shift + e @ best.scale.T)
        ok = np.isfinite(values) & np.isfinite(g).all(1)
        if ok.sum() < 2 * (d + 1):
            break
        # In the frame's units; a few steep draws must not decide.
        g = g[ok] @ best.scale
        size = np.linalg.norm(g, axis=1)
        g *= np.minimum(1.0, 5 * np.median(size) / np.maximum(size, 1e-30))[:, None]
        found = np.linalg.lstsq(np.column_stack([np.ones(len(g)), e[ok]]), g, rcond=None)[0]
        values, axes = np.linalg.eigh(-0.5 * (found[1:] + found[1:].T))
        values = np.clip(values, 0.05, 20.0) ** damping
        move = np.clip(axes @ ((axes.T @ found[0]) / values), -3, 3)
        root = (axes / np.sqrt(values)) @ axes.T
        shift = best.shift + damping * best.scale @ move
        factor = best.scale @ root
        trial = _measured(target, [Frame(shift, lower_factor(factor))], rng)[0]
        if trial.bound > best.bound:
            gained, best, damping = trial.bound - best.bound, trial, min(1.0, 1.5 * damping)
            if gained < 0.01:
                break
        else:
            damping *= 0.4
            if damping < 0.05:
                break
    return best


def _apart(ends: np.ndarray, left: np.ndarray, scale: np.ndarray, n: int) -> np.ndarray:
    """Up to n of the ends that are left, best first, no two at the same place."""
    chosen: list[int] = []
    for i in left:
        if all(np.abs(ends[i] - ends[j]).max() > 1e-2 * scale[i] for j in chosen):
            chosen.append(int(i))
            if len(chosen) == n:
                break
    return np.asarray(chosen)


def _laplace(target: Target, ends: np.ndarray) -> list[Frame]:
    """Gaussians by second derivatives at each end: central differences of gradients."""
    d = target.dim
    steps = 1e-2 * np.ones((len(ends), d))
    for _ in range(2):
        # The second time with steps in proportion to the standard deviations.
        at = ends[:, None, None] + np.stack([np.eye(d), -np.eye(d)])[None] * steps[:, None, None]
        g = target.rows(at.reshape(-1, d))[1].reshape(len(ends), 2, d, d)
        with np.errstate(invalid="ignore"):
            slopes = -(g[:, 0] - g[:, 1]) / (2 * steps[:, :, None])
        precision = np.nan_to_num(0.5 * (slopes + slopes.transpose(0, 2, 1)), posinf=0, neginf=0)
        diagonal = np.maximum(np.diagonal(precision, axis1=1, axis2=2), FLATTEST)
        steps = np.clip(0.1 / np.sqrt(diagonal), 1e-4, 10.0)
    out = []
    for end, matrix in zip(ends, precision, strict=True):
        values, axes = np.linalg.eigh(matrix)
        root = (axes / np.sqrt(np.clip(values, FLATTEST, 1e12))) @ axes.T
        out.append(Frame(end, lower_factor(root)))
    return out


def _measured(target: Target, found: list[Frame], rng: np.random.Generator) -> list[Frame]:
    n = FEW
    draws = np.stack([frame.draws(rng, n) for frame in found])
    values = target.values(draws.reshape(-1, target.dim)).reshape(len(found), n)
    out = []
    for frame, x, value in zip(found, draws, values, strict=True):
        lw = np.where(np.isfinite(value), value, -np.inf) - frame.log_prob(x)
        finite = np.sort(lw[np.isfinite(lw)])
        bound = float(finite[len(finite) // 10 :].mean()) if len(finite) > n // 2 else -np.inf
        mass = float(logsumexp(lw) - np.log(n)) if len(finite) else -np.inf
        out.append(Frame(frame.shift, frame.scale, mass, bound))
    return out
