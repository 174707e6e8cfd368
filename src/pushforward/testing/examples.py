"""Tiny instances of everything that is discovered: one of each bijection class, every base, every architecture."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import jax
import numpy as np

from pushforward import bijections as b
from pushforward.architectures import ARCHITECTURES, MAF, Architecture, Facts
from pushforward.bijections import AbstractBijection
from pushforward.distributions import BASES, UniformTorus
from pushforward.fields import MLPField
from pushforward.networks import MLP, LipschitzMLP, MaskedMLP, PeriodicMLP
from pushforward.testing.subjects import Subject, bijection_subject
from pushforward.transformers import Affine, CircularSpline, RationalQuadratic

TINY = {
    **{"layers": 3, "width": 16, "depth": 2, "bins": 4},
    **{"units": 4, "components": 3, "polynomials": 2, "degree": 3, "nodes": 8},
}
"""What architecture fields of these names are set to. Three layers: three coordinates then all have their turn."""

CASES: tuple[tuple[int, int | None], ...] = ((1, 2), (2, None), (3, 2))
"""Event sizes and condition sizes that every architecture is checked at."""


def example_bijections() -> dict[str, Subject]:
    """At least one tiny subject for every bijection class that `pushforward.bijections` exports."""
    key = jax.random.key(0)

    def masked(d: int, size: int, condition: int = 0) -> MaskedMLP:
        return MaskedMLP(d, size, condition=condition, width=8, depth=2, key=key)

    affine, spline = Affine(), RationalQuadratic(bins=4)
    made = b.Autoregressive(masked(3, 2, 2), affine, (2,))
    coupled = b.Coupling(MLP(1, (2, 2), width=8, depth=2, key=key), affine, 1)

    def amortized(name: str, bijection: AbstractBijection, **options) -> Subject:
        return bijection_subject(f"Amortized {name}", b.Amortized(bijection, 2, key=key, **options))

    subjects = [
        bijection_subject("ActNorm", b.ActNorm(2)),
        amortized("planar", b.Planar(2, key=key)),
        amortized("radial", b.Radial(2, key=key)),
        amortized("sylvester", b.Sylvester(3, 2, key=key)),
        amortized("elementwise", b.Elementwise(spline, 2)),
        amortized("coupling", coupled),
        amortized(
            "autoregressive",
            b.Autoregressive(masked(3, 2), affine),
            where=lambda b: (b.network.hidden, b.network.last_bias),
            rank=1,
        ),
        amortized(
            "continuous",
            b.FlowMap(MLPField(3, width=8, key=key)),
            where=lambda b: (b.field.hidden, b.field.last_bias),
            rank=1,
        ),
        bijection_subject("Autoregressive", made),
        bijection_subject("Autoregressive spline", b.Autoregressive(masked(3, 11), spline)),
        bijection_subject("BatchNorm", b.BatchNorm(2)),
        bijection_subject(
            "BlockAutoregressive", b.BlockAutoregressive(3, 4, condition_shape=(2,), key=key)
        ),
        bijection_subject("Chain", b.Chain([b.Elementwise(affine, 2), b.LULinear(2)])),
        bijection_subject("FlowMap", b.FlowMap(MLPField(3, width=8, condition=2, key=key))),
        bijection_subject(
            "Coupling", b.Coupling(MLP(3, (2, 2), width=8, depth=2, key=key), affine, 1, (2,))
        ),
        bijection_subject(
            "Cylinder",
            b.Cylinder(
                b.Coupling(
                    PeriodicMLP(1, (12, 1), condition=2, width=8, depth=2, key=key),
                    CircularSpline(4),
                    1,
                    (2,),
                ),
                b.Elementwise(
                    affine,
                    1,
                    network=MLP(6, (2, 1), width=8, depth=1, key=key),
                    condition_shape=(6,),
                ),
                angles=(True, False, True),
            ),
        ),
        bijection_subject("Elementwise", b.Elementwise(spline, (2, 2))),
        bijection_subject(
            "Elementwise conditional",
            b.Elementwise(
                affine, 2, network=MLP(2, (2, 2), width=8, depth=1, key=key), condition_shape=(2,)
            ),
        ),
        bijection_subject("Householder", b.Householder(3, key=key)),
        bijection_subject("Invert", b.Invert(made)),
        bijection_subject("LULinear", b.LULinear(3)),
        bijection_subject("Margins", b.Margins(2, knots=3).following(_skewed())),
        bijection_subject("Permutation", b.Permutation(np.array([2, 0, 1]))),
        bijection_subject("Planar", b.Planar(2, (2,), key=key)),
        bijection_subject("Power", b.Power(2)),
        bijection_subject("QRLinear", b.QRLinear(3, key=key)),
        bijection_subject("Radial", b.Radial(3, (2,), key=key)),
        bijection_subject("Recurrent", b.Recurrent(3, 8, (2,), key=key)),
        bijection_subject(
            "Residual",
            b.Residual(
                LipschitzMLP(2, 2, width=8, depth=2, condition=2, key=key), condition_shape=(2,)
            ),
        ),
        bijection_subject("Reverse", b.Reverse(2)),
        bijection_subject("Reshape", b.Reshape((2, 2))),
        bijection_subject(
            "Chain of two shapes",
            b.Chain([b.Autoregressive(masked(4, 2), affine), b.Reshape((2, 2)), b.Power((2, 2))]),
        ),
        bijection_subject("Sigmoid", b.Sigmoid(2, -1.0, 3.0)),
        bijection_subject("Softplus", b.Softplus(2)),
        bijection_subject("SoftTails", b.SoftTails(2, start=1.0)),
        bijection_subject("SoftTails root", b.SoftTails(2, start=1.0, root=True)),
        bijection_subject("Sylvester", b.Sylvester(3, 2, condition_shape=(2,), key=key)),
        bijection_subject("Sylvester householder", b.Sylvester(2, 2, "householder", 2, key=key)),
        bijection_subject("Sylvester triangular", b.Sylvester(3, 2, "triangular", key=key)),
        bijection_subject("Stack", b.Stack(lambda k: b.ActNorm(2), 3, key=key)),
    ]
    return {subject.name: subject for subject in subjects}


def _skewed() -> np.ndarray:
    """Rows whose margins are not normal."""
    return np.exp(np.random.default_rng(0).normal(size=(200, 2))) - 1


def exported_bijections() -> set[str]:
    """Names of the concrete bijection classes that `pushforward.bijections` exports."""
    exported = {name: getattr(b, name) for name in b.__all__}
    return {
        name
        for name, value in exported.items()
        if isinstance(value, type)
        and issubclass(value, AbstractBijection)
        and value is not AbstractBijection
    }


def example_bases() -> dict[str, Subject]:
    """Every registered base distribution, with two coordinates."""
    subjects = [
        Subject(f"base {name}", make((2,), jax.random.key(0)), support=SUPPORTS.get(name))
        for name, make in BASES.items()
    ]
    return {subject.name: subject for subject in subjects}


SUPPORTS: dict[str, tuple[float, float]] = {}
"""Sides of the box outside which a registered base's density is 0, where it has one."""


def tiny(architecture: type[Architecture]) -> Architecture:
    """The architecture's smallest useful configuration: its defaults, with the fields that `TINY` names made small."""
    own = {field.name for field in fields(architecture)}
    return architecture(**{name: value for name, value in TINY.items() if name in own})


NETWORK_FIELDS = {"residual"}
"""Fields that change the networks alone, whose variants one architecture, `maf`, stands for."""


def variants(architecture: type[Architecture]) -> Iterator[tuple[str, Architecture]]:
    """The tiny configuration with each of its yes-or-no fields turned round, and each other word of a field that takes
    one of several, one at a time."""
    start, hints = tiny(architecture), get_type_hints(architecture)
    for field in fields(architecture):
        value = getattr(start, field.name)
        if isinstance(value, bool) and (field.name not in NETWORK_FIELDS or architecture is MAF):
            yield f"{field.name}={not value}", replace(start, **{field.name: not value})
        for word in get_args(hints[field.name]):
            if isinstance(value, str) and word != value:
                yield f"{field.name}={word}", replace(start, **{field.name: word})


def architecture_subject(
    name: str, architecture: Architecture, event: int, condition: int | None, **options
) -> Subject:
    """A built architecture as a subject named by the architecture, its event and its condition."""
    flow = architecture.build(event, condition, key=jax.random.key(7))
    size = "" if condition is None else f" given {condition}"
    # A density of angles is one over a turn.
    support = (-math.pi, math.pi) if isinstance(flow.base, UniformTorus) else None
    one_order = Facts.of(architecture).one_order
    return Subject(f"{name} d={event}{size}", flow, one_order=one_order, support=support, **options)


def example_architectures() -> dict[str, tuple[str, Architecture, int, int | None]]:
    """Every registered architecture at every case, and each variant at 3 coordinates given 2, ready to be built."""
    found: dict[str, tuple[str, Architecture, int, int | None]] = {}
    for name, kind in ARCHITECTURES.items():
        cases = [(name, tiny(kind), *case) for case in CASES]
        cases += [(f"{name} {what}", changed, 3, 2) for what, changed in variants(kind)]
        for case in cases:
            size = "" if case[3] is None else f" given {case[3]}"
            found[f"{case[0]} d={case[2]}{size}"] = case
    return found
