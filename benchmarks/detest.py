"""DETEST, and the event tests of SciPy and torchdiffeq: calls and errors beside SciPy's methods.

The 25 non-stiff problems of Hull, Enright, Fellen & Sedgwick 1972 to t = 20, float64, rtol = atol. Errors are root mean
squares of `(y - ref) / (1 + |ref|)` at the end, over the tolerance; the reference is SciPy's DOP853 at 1e-13. Calls are
summed over the problems; "within" counts those with an error below the tolerance or at most ten times SciPy's. Events:
SciPy's rational problem (events of states and of time) and torchdiffeq's (constant, sine, exponential, a time), the
largest error of an event's time and of the state there, relative, over the tolerance.
"""

from __future__ import annotations

import math
from typing import Any

import harness
import numpy as np

TOLERANCES = (1e-6, 1e-9)
PEERS = {"dopri5": "RK45", "dopri8": "DOP853"}
# By how much SciPy may be more exact on a problem, unless the error is below the tolerance.
NEAR = 10
MASSES = (9.54786104043e-4, 2.85583733151e-4, 4.37273164546e-5, 5.17759138449e-5, 2.77777777778e-6)
SUN, GRAVITY = 1.00000597682, 2.95912208286
PLANETS = (
    [3.42947415189, 6.64145542550, 11.2630437207, -30.1552268759, -21.1238353380],
    [3.35386959711, 5.97156957878, 14.6952576794, 1.65699966404, 28.4465098142],
    [1.35494901715, 2.18231499728, 6.27960525067, 1.43785752721, 15.3882659679],
    [-0.557160570446, -0.415570776342, -0.325325669158, -0.0240476254170, -0.176860753121],
    [0.505696783289, 0.365682722812, 0.189706021964, -0.287659532608, -0.216393453025],
    [0.230578543901, 0.169143213293, 0.0877265322780, -0.117219543175, -0.0148647893090],
)


def problems(xp: Any) -> dict[str, tuple[Any, list[float]]]:
    """Field and start of each, for NumPy or JAX."""

    def vector(*parts: Any) -> Any:
        return xp.stack(parts)

    def chain(rates: Any) -> Any:
        # y_1' = -r_1 y_1, y_i' = r_(i-1) y_(i-1) - r_i y_i, and the last one only gains.
        rates = xp.asarray(rates)

        def field(t: Any, y: Any) -> Any:
            lost = rates * y[:-1]
            nothing = xp.zeros(1)
            return xp.concatenate([nothing, lost]) - xp.concatenate([lost, nothing])

        return field

    def diffusing(t: Any, y: Any) -> Any:
        nothing = xp.zeros(1)
        return xp.concatenate([nothing, y[:-1]]) - 2 * y + xp.concatenate([y[1:], nothing])

    def planets(t: Any, y: Any) -> Any:
        at, speed, masses = y[:15].reshape(3, 5), y[15:], xp.asarray(MASSES)
        far = xp.sqrt((at**2).sum(0)) ** 3
        apart = at[:, None, :] - at[:, :, None]
        close = xp.sqrt((apart**2).sum(0) + xp.eye(5)) ** 3
        pulls = (masses * (apart / close - (at / far)[:, None, :]) * (1 - xp.eye(5))).sum(2)
        force = GRAVITY * (pulls - (SUN + masses) * at / far)
        return xp.concatenate([speed, force.reshape(-1)])

    def orbit(t: Any, y: Any) -> Any:
        return xp.concatenate([y[2:], -y[:2] / (y[:2] ** 2).sum() ** 1.5])

    def b4(t: Any, y: Any) -> Any:
        r = xp.sqrt(y[0] ** 2 + y[1] ** 2)
        return vector(-y[1] - y[0] * y[2] / r, y[0] - y[1] * y[2] / r, y[0] / r)

    def orbiting(eps: float) -> tuple[Any, list[float]]:
        return orbit, [1 - eps, 0.0, 0.0, math.sqrt((1 + eps) / (1 - eps))]

    one = [1.0, *[0.0] * 9]
    return {
        "A1": (lambda t, y: -y, [1.0]),
        "A2": (lambda t, y: -(y**3) / 2, [1.0]),
        "A3": (lambda t, y: y * xp.cos(t), [1.0]),
        "A4": (lambda t, y: y / 4 * (1 - y / 20), [1.0]),
        "A5": (lambda t, y: (y - t) / (y + t), [4.0]),
        "B1": (
            lambda t, y: vector(2 * (y[0] - y[0] * y[1]), -(y[1] - y[0] * y[1])),
            [1.0, 3.0],
        ),
        "B2": (
            lambda t, y: vector(-y[0] + y[1], y[0] - 2 * y[1] + y[2], y[1] - y[2]),
            [2.0, 0.0, 1.0],
        ),
        "B3": (lambda t, y: vector(-y[0], y[0] - y[1] ** 2, y[1] ** 2), [1.0, 0.0, 0.0]),
        "B4": (b4, [3.0, 0.0, 0.0]),
        "B5": (
            lambda t, y: vector(y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]),
            [0.0, 1.0, 1.0],
        ),
        "C1": (chain(np.ones(9)), one),
        "C2": (chain(np.arange(1.0, 10)), one),
        "C3": (diffusing, one),
        "C4": (diffusing, [1.0, *[0.0] * 50]),
        "C5": (planets, [v for row in PLANETS for v in row]),
        **{f"D{i + 1}": orbiting(eps) for i, eps in enumerate((0.1, 0.3, 0.5, 0.7, 0.9))},
        "E1": (
            lambda t, y: vector(y[1], -(y[1] / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * y[0])),
            [0.6713967071418030, 0.09540051444747446],
        ),
        "E2": (lambda t, y: vector(y[1], (1 - y[0] ** 2) * y[1] - y[0]), [2.0, 0.0]),
        "E3": (
            lambda t, y: vector(y[1], y[0] ** 3 / 6 - y[0] + 2 * xp.sin(2.78535 * t)),
            [0.0, 0.0],
        ),
        "E4": (lambda t, y: vector(y[1], 0.032 - 0.4 * y[1] ** 2), [30.0, 0.0]),
        "E5": (lambda t, y: vector(y[1], xp.sqrt(1 + y[1] ** 2) / (25 - t)), [0.0, 0.0]),
    }


def rational(xp: Any, t: Any, y: Any) -> Any:
    return xp.stack([y[1] / t, y[1] * (y[0] + 2 * y[1] - 1) / (t * (y[0] - 1))])


def event_errors(method: str, tol: float) -> float:
    """The largest relative error of a time or a state at an event, over the tolerance."""
    import jax.numpy as jnp
    from scipy.optimize import brentq

    import pushforward as pf

    def known(t: float) -> Any:
        return np.asarray([t / (t + 10), 10 * t / (t + 10) ** 2])

    cases = []
    for g in (
        lambda t, y: y[0] - y[1] ** 0.7,
        lambda t, y: y[1] ** 0.6 - y[0],
        lambda t, y: t - 7.4,
    ):
        field, start = (lambda t, y: rational(jnp, t, y)), known(5.0)
        cases.append((field, start, (5.0, 8.0), g, known))
    for field, truth, g in (
        (lambda t, y: 0.2 + 0 * y, lambda t: 3 + 0.2 * (t - 1), lambda t, y: y[0] - 4.0),
        (lambda t, y: y, lambda t: np.exp(t - 1), lambda t, y: y[0] - 100.0),
        (lambda t, y: jnp.cos(t) + 0 * y, lambda t: np.sin(t), lambda t, y: y[0] + 0.5),
        (lambda t, y: -y, lambda t: np.exp(1 - t), lambda t, y: t - 4.25),
    ):
        whole = lambda t, truth=truth: np.asarray([truth(t)])  # noqa: E731
        cases.append((field, whole(1.0), (1.0, 8.0), g, whole))
    errors = []
    for field, start, (t0, t1), g, truth in cases:
        times = np.linspace(t0, t1, 200)
        signs = np.sign([float(g(t, truth(t))) for t in times])
        i = int(np.flatnonzero(signs[1:] != signs[:-1])[0])
        right = brentq(lambda t, g=g, truth=truth: float(g(t, truth(t))), times[i], times[i + 1])
        found = pf.ode.solve(
            *(field, jnp.asarray(start), t0, t1),
            **{"events": pf.ode.Event(g), "method": method, "rtol": tol, "atol": tol},
        )
        assert found.event_times is not None
        ends = np.asarray([float(found.event_times[0]), *np.asarray(found.y1)])
        exact = np.asarray([right, *truth(right)])
        errors.append(float(np.abs(ends / exact - 1).max()) / tol)
    return max(errors)


def run() -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    from scipy.integrate import solve_ivp

    import pushforward as pf

    jax.config.update("jax_enable_x64", True)
    plain, compiled = problems(np), problems(jnp)
    truth = {
        name: solve_ivp(field, (0, 20), y, "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        for name, (field, y) in plain.items()
    }

    def error(y: Any, name: str) -> float:
        off = (np.asarray(y) - truth[name]) / (1 + np.abs(truth[name]))
        return float(np.sqrt(np.square(off).mean()))

    # One program for all problems of a size, which receives the problem's number.
    sizes: dict[int, list[str]] = {}
    for name, (_, y) in compiled.items():
        sizes.setdefault(len(y), []).append(name)
    found: dict[str, Any] = {}
    for method, peer_method in PEERS.items():
        own: dict[float, dict[str, tuple[int, float, str]]] = {tol: {} for tol in TOLERANCES}
        peer: dict[float, dict[str, tuple[int, float, str]]] = {tol: {} for tol in TOLERANCES}
        for names in sizes.values():
            fields = [compiled[name][0] for name in names]

            def solved(i: Any, y: Any, tol: float, method: str, fields: Any = fields) -> Any:
                options = {"method": method, "rtol": tol, "atol": tol}
                end = pf.ode.solve(
                    lambda t, y: jax.lax.switch(i, fields, t, y), y, 0.0, 20.0, **options
                )
                return end.stats.evaluations, end.y1

            program = jax.jit(solved, static_argnums=(2, 3))
            for tol in TOLERANCES:
                for i, name in enumerate(names):
                    calls, y = program(i, jnp.asarray(compiled[name][1]), tol, method)
                    own[tol][name] = int(calls), error(y, name) / tol, name
                    field, start = plain[name]
                    other = solve_ivp(field, (0, 20), start, peer_method, rtol=tol, atol=tol)
                    peer[tol][name] = other.nfev, error(other.y[:, -1], name) / tol, name
        for tol in TOLERANCES:
            near = sum(own[tol][n][1] <= max(NEAR * peer[tol][n][1], 1.0) for n in compiled)
            both = [summary(list(solves[tol].values())) for solves in (own, peer)]
            found[f"{method} {tol:g}"] = [*both, near, event_errors(method, tol)]
    return found


def summary(solves: list[tuple[int, float, str]]) -> list[Any]:
    """Calls, the geometric mean of errors over the tolerance, the worst and its problem."""
    errors = [error for _, error, _ in solves]
    worst = max(solves, key=lambda solve: solve[1])
    mean = float(np.exp(np.mean(np.log(np.maximum(errors, 1e-6)))))
    return [sum(calls for calls, _, _ in solves), mean, worst[1], worst[2]]


def main() -> None:
    answer = harness.worker("detest.py")
    if answer is None:
        raise SystemExit("the worker failed")
    harness.record("detest", **answer)
    rows = []
    for key, (own, peer, near, events) in answer.items():
        method, tol = key.split()
        cells = [
            f"{own[0]}",
            f"{own[1]:.2g}",
            f"{own[2]:.3g} ({own[3]})",
            f"{near}/25",
            f"{events:.2g}",
        ]
        rows.append(
            [
                *(method, tol, *cells, PEERS[method], str(peer[0]), f"{peer[1]:.2g}"),
                f"{peer[2]:.3g} ({peer[3]})",
            ]
        )
    header = [
        "method",
        "tolerance",
        "calls",
        "error / tol, mean",
        "worst",
        "within",
        "events, worst",
    ]
    print(harness.table([*header, "SciPy", "calls", "error / tol", "worst"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
