"""Posteriors in files."""

import os
from dataclasses import asdict, fields
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pushforward.architectures import Architecture
from pushforward.bijections import Chain
from pushforward.distributions import Flow
from pushforward.errors import InputError
from pushforward.inference.layout import Layout
from pushforward.inference.probes import Probes
from pushforward.inference.start import Located
from pushforward.inference.verdict import Facts, Verdict
from pushforward.inference.weights import LogZ
from pushforward.model_file import read_model, write_model
from pushforward.rows import precision_of
from pushforward.saving import architecture_from_json, architecture_to_json

KIND = "posterior"


class _Held(eqx.Module):
    # Names of fields are names of arrays in files.
    flow: Flow
    u: Array
    log_p: Array
    log_q: Array


class Stored(NamedTuple):
    """What a file holds of a posterior: all but its log-density. Fields as of `Posterior`."""

    flow: Flow
    verdict: Verdict
    facts: Facts
    history: tuple[tuple[str, str, float], ...]
    u: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    names: tuple[str, ...]
    layout: Layout | None


def save_posterior(post: Stored, path: str | os.PathLike[str], force: bool = True) -> None:
    """Write a posterior to one safetensors file, all or nothing.

    Raises `InputError` where the file cannot be written, and for a flow of an architecture that is not registered.
    """
    architecture: Architecture | None = post.flow.architecture
    if architecture is None:
        raise InputError(f"{path}: this posterior's flow does not know its architecture")
    header = {
        "kind": KIND,
        "architecture": architecture_to_json(architecture),
        "dim": len(post.names),
        "double": precision_of(post.flow) == np.float64,
        "draws": len(post.u),
        "names": list(post.names),
        "layout": None if post.layout is None else post.layout.to_json(),
        "verdict": asdict(post.verdict),
        "facts": _finite(asdict(post.facts)),
        "history": [list(stage) for stage in post.history],
    }
    # 64 bits stay 64 bits.
    with jax.enable_x64(True):
        log_p, log_q = (jnp.asarray(a, jnp.float64) for a in (post.log_p, post.log_q))
    held = _Held(post.flow, jnp.asarray(post.u.astype(np.float32)), log_p, log_q)
    write_model(path, header, held, skeleton=_skeleton, force=force)


def load_posterior(path: str | os.PathLike[str]) -> Stored:
    """Read what `save_posterior` wrote. Raises `InputError` as `read_model`."""
    header, held = read_model(path, _skeleton, kind=KIND)
    facts = dict(header["facts"])
    probes = facts["probes"]
    if probes is not None:
        probes = Probes(**{**probes, "improper": tuple(probes["improper"])})
    again = facts["again"]
    known = {field.name for field in fields(Facts)}
    facts |= {
        "probes": probes,
        "log_z": _log_z(facts["log_z"]),
        "again": None if again is None else _log_z(again),
    }
    figures = {k: _number(v) for k, v in facts.items() if k in known}
    layout = None if header["layout"] is None else Layout.from_json(header["layout"])
    verdict = Verdict(header["verdict"]["word"], tuple(header["verdict"]["reasons"]))
    return Stored(
        held.flow,
        verdict,
        Facts(**figures),
        tuple((name, text, seconds) for name, text, seconds in header["history"]),
        np.asarray(held.u, np.float64),
        np.asarray(held.log_p),
        np.asarray(held.log_q),
        tuple(header["names"]),
        layout,
    )


def _skeleton(header: dict[str, Any]) -> _Held:
    d, n = header["dim"], header["draws"]
    if not (type(d) is int and type(n) is int and d > 0 and n > 0):
        raise InputError(f"numbers are expected, not {d!r} and {n!r}")
    architecture = architecture_from_json(header["architecture"])
    # The arrays of draws are 64 bits wide, those of the flow as they were.
    with jax.enable_x64(bool(header["double"])):
        flow = located_flow(architecture, np.zeros(d), np.eye(d))
    logs = jnp.zeros(n, jnp.float64)
    return _Held(flow, jnp.zeros((n, d), jnp.float32), logs, logs)


def located_flow(architecture: Architecture, shift: np.ndarray, scale: np.ndarray) -> Flow:
    """A fresh flow of an architecture in a Gaussian's frame."""
    flow = architecture.build(len(shift), key=jax.random.key(0))
    return Flow(flow.base, Chain([flow.bijection, Located(shift, scale)]), architecture)


def _finite(facts: Any) -> Any:
    """NaN and infinities as text: JSON has none."""
    if isinstance(facts, dict):
        return {key: _finite(value) for key, value in facts.items()}
    if isinstance(facts, (list, tuple)):
        return [_finite(value) for value in facts]
    if isinstance(facts, (float, np.floating)) and not np.isfinite(facts):
        return str(float(facts))
    return facts


def _number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def _log_z(values: Any) -> LogZ:
    value, error, how = values
    return LogZ(float(value), float(error), str(how))
