"""Stiff problems: steps, calls and errors beside SciPy's Radau, and a gradient beside differences.

Van der Pol's oscillator with mu = 1,000 (time in units of mu, to t = 2: two jumps), Robertson's kinetics to t = 1e5
and HIRES to its end (Hairer & Wanner 1996, IV.10), float64, rtol = atol (Robertson: atol = 1e-4 rtol). Errors are the
largest relative ones at the end, to a solve of SciPy's at 1e-10. "Steps at equal error" is the ratio of accepted steps,
ours over SciPy's, where the curves of log steps over log error overlap, its median. The gradient is that of van der
Pol's position at t = 1.2, after a jump, with respect to 1 / mu^2 and the position at the start, beside central
differences of SciPy's at 1e-10.
"""

from __future__ import annotations

import argparse
from typing import Any

import harness
import numpy as np

TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
RATES = (
    [-1.71, 0.43, 8.32, 0, 0, 0, 0, 0],
    [1.71, -8.75, 0, 0, 0, 0, 0, 0],
    [0, 0, -10.03, 0.43, 0.035, 0, 0, 0],
    [0, 8.32, 1.71, -1.12, 0, 0, 0, 0],
    [0, 0, 0, 0, -1.745, 0.43, 0.43, 0],
    [0, 0, 0, 0.69, 1.71, -0.43, 0.69, 0],
    [0, 0, 0, 0, 0, 0, -1.81, 0],
    [0, 0, 0, 0, 0, 0, 1.81, 0],
)


def van_der_pol(xp: Any, t: Any, y: Any, eps: Any = 1e-6) -> Any:
    return xp.stack([y[1], ((1 - y[0] ** 2) * y[1] - y[0]) / eps])


def robertson(xp: Any, t: Any, y: Any) -> Any:
    slow, fast = 0.04 * y[0] - 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return xp.stack([-slow, slow - fast, fast])


def hires(xp: Any, t: Any, y: Any) -> Any:
    met = 280 * y[5] * y[7]
    changes = xp.asarray([0.0, 0, 0, 0, 0, -1, 1, -1])
    return xp.asarray(RATES) @ y + changes * met + xp.asarray([7e-4, *[0.0] * 7])


PROBLEMS = {
    "van der Pol": (van_der_pol, [2.0, -0.66], 2.0, 1.0),
    "Robertson": (robertson, [1.0, 0.0, 0.0], 1e5, 1e-4),
    "HIRES": (hires, [1.0, *[0.0] * 6, 0.0057], 321.8122, 1.0),
}


def by_scipy(field: Any, y: Any, end: float, rtol: float, atol: float) -> Any:
    import jax
    import jax.numpy as jnp
    from scipy.integrate import solve_ivp

    matrix = jax.jit(jax.jacfwd(lambda y, t: field(jnp, t, y)))
    return solve_ivp(
        lambda t, y: field(np, t, y),
        (0.0, end),
        y,
        "Radau",
        rtol=rtol,
        atol=atol,
        jac=lambda t, y: np.asarray(matrix(y, t)),
    )


def run(problems: list[str]) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    import pushforward as pf

    jax.config.update("jax_enable_x64", True)
    curves: dict[str, Any] = {}
    for name in problems:
        field, start, end, share = PROBLEMS[name]
        y = np.asarray(start)
        truth = by_scipy(field, y, end, 1e-10, 1e-10 * share).y[:, -1]
        for tol in TOLERANCES:
            own = pf.ode.solve(
                lambda t, y, field=field: field(jnp, t, y),
                jnp.asarray(y),
                0.0,
                end,
                method="radau5",
                rtol=tol,
                atol=tol * share,
                max_steps=20_000,
            )
            peer = by_scipy(field, y, end, tol, tol * share)
            curves[f"{name} {tol:g}"] = [
                *(int(own.stats.accepted), int(own.stats.rejected), int(own.stats.evaluations)),
                float(np.abs(own.y1 / truth - 1).max()),
                *(len(peer.t) - 1, peer.nfev),
                float(np.abs(peer.y[:, -1] / truth - 1).max()),
            ]
    return {"curves": curves, "gradient": gradient()}


def gradient() -> dict[str, Any]:
    """With respect to eps and the first component of the start, through a jump; and by differences."""
    import jax
    import jax.numpy as jnp

    import pushforward as pf

    given, last = np.asarray([1e-6, 2.0]), 1.2

    def end(p: Any, tol: float) -> Any:
        def field(t: Any, y: Any) -> Any:
            return van_der_pol(jnp, t, y, p[0])

        start = jnp.stack([p[1], jnp.asarray(-0.66)])
        options = {"method": "radau5", "rtol": tol, "atol": tol, "max_steps": 8192}
        return pf.ode.solve(field, start, 0.0, last, **options).y1[0]

    def by_differences(i: int) -> float:
        step, ends = 1e-3 * given[i], []
        for sign in (1, -1):
            p = given.copy()
            p[i] += sign * step
            field = lambda xp, t, y, p=p: van_der_pol(xp, t, y, p[0])  # noqa: E731
            start = np.asarray([p[1], -0.66])
            ends.append(by_scipy(field, start, last, 1e-10, 1e-10).y[0, -1])
        return float((ends[0] - ends[1]) / (2 * step))

    found = {f"{tol:g}": np.asarray(jax.grad(end)(given, tol)).tolist() for tol in (1e-5, 1e-7)}
    return {"differences": [by_differences(0), by_differences(1)], **found}


def equal(curves: dict[str, Any], name: str) -> float:
    """The median ratio of accepted steps where errors are equal."""
    points = np.asarray([curves[f"{name} {tol:g}"] for tol in TOLERANCES])
    own, peer = (
        np.log(points[np.argsort(points[:, error])][:, [error, steps]])
        for error, steps in ((3, 0), (6, 4))
    )
    low, high = max(own[0, 0], peer[0, 0]), min(own[-1, 0], peer[-1, 0])
    at = np.linspace(low, high, 50)
    return float(np.exp(np.median(np.interp(at, *own.T) - np.interp(at, *peer.T))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="*", choices=list(PROBLEMS), default=list(PROBLEMS))
    names = parser.parse_args().problems
    answer = harness.worker("stiff.py", problems=names)
    if answer is None:
        raise SystemExit("the worker failed")
    harness.record("stiff", **answer)
    rows = []
    for name in names:
        ratio = equal(answer["curves"], name)
        for tol in TOLERANCES:
            own, again, calls, error, steps, peer_calls, peer_error = answer["curves"][
                f"{name} {tol:g}"
            ]
            rows.append(
                [
                    *(name, f"{tol:g}", f"{own} + {again}", str(calls), f"{error:.1e}"),
                    *(str(steps), str(peer_calls), f"{peer_error:.1e}", f"{ratio:.2f}"),
                ]
            )
    header = [
        "problem",
        "rtol",
        "steps + rejected",
        "calls",
        "error",
        "SciPy Radau: steps",
        "calls",
    ]
    print(harness.table([*header, "error", "steps at equal error"], rows), end="\n\n")
    gradients = answer["gradient"]
    rows = [[name, *(f"{v:.7g}" for v in values)] for name, values in gradients.items()]
    print(harness.table(["van der Pol, gradient at rtol", "by 1 / mu^2", "by the start"], rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
