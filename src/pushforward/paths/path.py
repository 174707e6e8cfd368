"""Probability paths: how a latent event turns into a data event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from pushforward.errors import InputError


@dataclass(frozen=True)
class Path:
    """A path from latent (t = 0) to data (t = 1).

        x_t = signal(t) x + noise(t) z,    dx_t/dt = signal'(t) x + noise'(t) z

    Arguments:
        signal, noise: functions of time, from 0 to 1 and from 1 to 0.

    Sources: Lipman et al. 2023, arXiv 2210.02747; Albergo & Vanden-Eijnden 2023, arXiv 2209.15571.

    ```python
    >>> import jax.numpy as jnp
    >>> from pushforward.paths import PATHS
    >>> x, velocity = PATHS["linear"].at(0.25, jnp.zeros((1, 2)), jnp.ones((1, 2)))
    >>> x.tolist(), velocity.tolist()
    ([[0.25, 0.25]], [[1.0, 1.0]])

    ```
    """

    signal: Callable[[Array], Array]
    noise: Callable[[Array], Array]

    def at(self, t: ArrayLike, z: Array, x: Array) -> tuple[Array, Array]:
        """The event at a time and its velocity there, both of x's shape.

        Arguments:
            t: between 0 and 1, a number or one per row, `(n,)`.
            z: `(n, *event)` latent events.
            x: `(n, *event)` data events.

        Raises `InputError` for shapes that do not match, and a time outside [0, 1]; under `jit` the event is NaN there.
        """
        if jnp.shape(z) != jnp.shape(x):
            raise InputError(
                f"z has shape {jnp.shape(z)}, but x {jnp.shape(x)}: events of one shape were expected"
            )
        if jnp.ndim(t) and jnp.size(t) != jnp.shape(x)[0]:
            raise InputError(
                f"t has shape {jnp.shape(t)}, but x {jnp.shape(x)}: a time per row was expected, or one number"
            )
        t = jnp.asarray(t, x.dtype)
        outside = (t < 0) | (t > 1)
        if not isinstance(t, jax.core.Tracer) and bool(outside.any()):
            worst = float(np.asarray(t)[np.asarray(outside)].ravel()[0])
            raise InputError(f"t={worst:g}: a path has times from 0 (latent) to 1 (data)")
        t = jnp.where(outside, jnp.nan, t)
        if t.ndim:
            t = t.reshape(-1, *[1] * (x.ndim - 1))
        along = (t,), (jnp.ones_like(t),)
        signal, signal_slope = jax.jvp(self.signal, *along)
        noise, noise_slope = jax.jvp(self.noise, *along)
        return signal * x + noise * z, signal_slope * x + noise_slope * z


def _linear_signal(t: Array) -> Array:
    """`t`"""
    return t


def _linear_noise(t: Array) -> Array:
    """`1 - t`"""
    return 1 - t


def _vp_signal(t: Array) -> Array:
    """`sin(pi t / 2)`"""
    return jnp.sin(0.5 * jnp.pi * t)


def _vp_noise(t: Array) -> Array:
    """`cos(pi t / 2)`"""
    return jnp.cos(0.5 * jnp.pi * t)


PATHS: Mapping[str, Path] = MappingProxyType(
    {"linear": Path(_linear_signal, _linear_noise), "vp": Path(_vp_signal, _vp_noise)}
)
"""The paths by name. "linear" is straight at constant speed, the literature's "OT path". "vp" keeps the variance of
standardised data, `signal^2 + noise^2 = 1`: a quarter of a circle at constant speed; the paths of variance-preserving
diffusions are the same in other parametrisations of time."""
