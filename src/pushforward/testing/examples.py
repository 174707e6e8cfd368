"""Tiny instances of every bijection class, every base and every architecture."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward import bijections as b
from pushforward.architectures import MAF, Architecture, Facts, registered
from pushforward.bijections import AbstractBijection, images
from pushforward.distributions import BASES, UniformTorus
from pushforward.fields import MLPField
from pushforward.networks import (
    MLP,
    CausalTransformer,
    DeepSets,
    ImageNetwork,
    LipschitzMLP,
    MaskedMLP,
    PeriodicMLP,
)
from pushforward.rows import Shape
from pushforward.testing.subjects import Subject, bijection_subject
from pushforward.transformers import Affine, CircularSpline, RationalQuadratic

TINY = {
    **{"layers": 3, "width": 16, "depth": 2, "bins": 4},
    **{"units": 4, "components": 3, "polynomials": 2, "degree": 3, "nodes": 8},
    # Of images.
    **{"steps": 1, "blocks": 1, "flows": 2, "patch": 2, "hidden": 8, "reach": 1, "probes": 16},
}
"""Values of architecture fields of these names. In three layers each of three coordinates has its turn."""
IMAGE = (4, 4, 1)
"""The shape of images that architectures of them are checked at."""

CASES: tuple[tuple[int, int | None], ...] = ((1, 2), (2, None), (3, 2))
"""Event sizes and condition sizes that every architecture is checked at."""


def example_bijections() -> dict[str, Subject]:
    """At least one tiny subject for every bijection class that `pushforward.bijections` exports."""
    key = jax.random.key(0)

    def masked(d: int, size: int, condition: int = 0) -> MaskedMLP:
        return MaskedMLP(d, size, condition=condition, width=8, depth=2, key=key)

    def mlp(features: int, out: tuple[int, ...], depth: int = 2) -> MLP:
        return MLP(features, out, width=8, depth=depth, key=key)

    def last(part: Any) -> Any:
        return part.hidden, part.last_bias

    affine, spline = Affine(), RationalQuadratic(bins=4)
    made = b.Autoregressive(masked(3, 2, 2), affine, (2,))
    angles = PeriodicMLP(1, (12, 1), condition=2, width=8, depth=2, key=key)
    field = MLPField(3, width=8, key=key)
    contraction = LipschitzMLP(2, 2, width=8, depth=2, condition=2, key=key)
    skewed = np.exp(np.random.default_rng(0).normal(size=(200, 2))) - 1

    def amortized(bijection: AbstractBijection, where: Any = None, rank: int = 0) -> b.Amortized:
        return b.Amortized(bijection, 2, where=where, rank=rank, key=key)

    maps: dict[str, AbstractBijection] = {
        "ActLinear": b.ActLinear(3, key=key),
        "ActNorm": b.ActNorm(2),
        "Amortized planar": amortized(b.Planar(2, key=key)),
        "Amortized radial": amortized(b.Radial(2, key=key)),
        "Amortized sylvester": amortized(b.Sylvester(3, 2, key=key)),
        "Amortized elementwise": amortized(b.Elementwise(spline, 2)),
        "Amortized coupling": amortized(b.Coupling(mlp(1, (2, 2)), affine, 1)),
        "Amortized autoregressive": amortized(
            b.Autoregressive(masked(3, 2), affine), lambda b: last(b.network), 1
        ),
        "Amortized continuous": amortized(b.FlowMap(field), lambda b: last(b.field), 1),
        "Autoregressive": made,
        "Autoregressive spline": b.Autoregressive(masked(3, 11), spline),
        "BatchNorm": b.BatchNorm(2),
        "BlockAutoregressive": b.BlockAutoregressive(3, 4, condition_shape=(2,), key=key),
        "Chain": b.Chain([b.Elementwise(affine, 2), b.LULinear(2)]),
        "FlowMap": b.FlowMap(MLPField(3, width=8, condition=2, key=key)),
        "Coupling": b.Coupling(mlp(3, (2, 2)), affine, 1, (2,)),
        "Cylinder": b.Cylinder(
            b.Coupling(angles, CircularSpline(4), 1, (2,)),
            b.Elementwise(affine, 1, network=mlp(6, (2, 1), 1), condition_shape=(6,)),
            angles=(True, False, True),
        ),
        "Embedded": b.Embedded(
            b.Coupling(mlp(3, (2, 2)), affine, 1, (2,)), DeepSets(2, 2, width=4, key=key), (3, 2)
        ),
        "Elementwise": b.Elementwise(spline, (2, 2)),
        "Elementwise conditional": b.Elementwise(
            affine, 2, network=mlp(2, (2, 2), 1), condition_shape=(2,)
        ),
        "Householder": b.Householder(3, key=key),
        "Invert": b.Invert(made),
        "LULinear": b.LULinear(3),
        "Margins": b.Margins(2, knots=3).following(skewed),
        "Permutation": b.Permutation(np.array([2, 0, 1])),
        "Planar": b.Planar(2, (2,), key=key),
        "Power": b.Power(2),
        "QRLinear": b.QRLinear(3, key=key),
        "Radial": b.Radial(3, (2,), key=key),
        "Recurrent": b.Recurrent(3, 8, (2,), key=key),
        "Residual": b.Residual(contraction, condition_shape=(2,)),
        "Reverse": b.Reverse(2),
        "Reshape": b.Reshape((2, 2)),
        "Chain of two shapes": b.Chain(
            [b.Autoregressive(masked(4, 2), affine), b.Reshape((2, 2)), b.Power((2, 2))]
        ),
        "Sigmoid": b.Sigmoid(2, -1.0, 3.0),
        "Softplus": b.Softplus(2),
        "SoftTails": b.SoftTails(2, start=1.0),
        "SoftTails root": b.SoftTails(2, start=1.0, root=True),
        "Sylvester": b.Sylvester(3, 2, condition_shape=(2,), key=key),
        "Sylvester householder": b.Sylvester(2, 2, "householder", 2, key=key),
        "Sylvester triangular": b.Sylvester(3, 2, "triangular", key=key),
        "Stack": b.Stack(lambda k: b.ActNorm(2), 3, key=key),
    }
    return {
        **{name: bijection_subject(name, bijection) for name, bijection in maps.items()},
        **_example_maps_of_images(key),
    }


def _example_maps_of_images(key: PRNGKeyArray) -> dict[str, Subject]:
    """The same for `pushforward.bijections.images`; images of 4 x 4 pixels have 16 coordinates."""
    image, knots = (4, 4, 1), (0.0, 0.1, 0.4, 1.0)

    def coupling(event: Shape, seen: int) -> images.ImageCoupling:
        network = ImageNetwork(
            (*event[:2], seen), (2, event[2] - seen), width=4, condition_shape=(2,), key=key
        )
        return images.ImageCoupling(event, network, Affine())

    board, squeeze = images.Checker(image), images.Squeeze(image)
    last, exchange = coupling((2, 2, 2), 1), images.PerPixel(b.Reverse(2), (2, 2))
    patches = CausalTransformer(4, 4, (2, 4), width=8, condition_shape=(2,), key=key)
    maps: dict[str, AbstractBijection] = {
        "Checker": b.Chain([b.Power((4, 2, 2)), board]),
        "ImageCoupling": coupling((2, 2, 3), 1),
        "MultiScale": images.MultiScale(
            [b.Chain([coupling((2, 2, 4), 2), squeeze]), b.Chain([last, exchange, last])]
        ),
        "PerPixel": images.PerPixel(b.ActLinear(3, key=key), (2, 2)),
        "Pixels": b.Chain([b.Power((2, 2, 1)), images.Pixels((2, 2, 1), levels=4, alpha=0.05)]),
        "Squeeze": b.Chain([b.Power((2, 2, 4)), squeeze]),
        "CausalPatches": images.CausalPatches(image, 2, patches, Affine(), backwards=True),
    }
    # Convolutions have a reverse rule of their own.
    modes = {"CausalPatches": "forward", "PerPixel": "forward", "Pixels": "forward"}
    found = {
        name: bijection_subject(name, bijection, mode=modes.get(name, "reverse"))
        for name, bijection in maps.items()
    }
    pixels = images.CausalPixels(
        (2, 4, 1),
        knots,
        levels=4,
        patch=2,
        width=8,
        hidden=8,
        reach=1,
        condition_shape=(2,),
        key=key,
    )
    found["CausalPixels"] = bijection_subject("CausalPixels", pixels, support=(0.0, 1.0))
    return found


def exported_bijections() -> set[str]:
    """Names of the concrete bijection classes that `pushforward.bijections` exports."""
    kinds = {
        name: kind
        for module in (b, images)
        for name in module.__all__
        if isinstance(kind := getattr(module, name), type)
    }
    return {n for n, kind in kinds.items() if issubclass(kind, AbstractBijection)} - {
        "AbstractBijection"
    }


def example_bases() -> dict[str, Subject]:
    """Every registered base distribution, with two coordinates."""
    subjects = [
        Subject(f"base {name}", make((2,), jax.random.key(0)), support=SUPPORTS.get(name))
        for name, make in BASES.items()
    ]
    return {subject.name: subject for subject in subjects}


SUPPORTS: dict[str, tuple[float, float]] = {}
"""Sides of the box outside which a registered base's density is 0, if there is one."""


def tiny(architecture: type[Architecture]) -> Architecture:
    """The architecture's smallest useful configuration: its defaults, with the fields that `TINY` names made small."""
    own = {field.name for field in fields(architecture)}
    return architecture(**{name: value for name, value in TINY.items() if name in own})


NETWORK_FIELDS = {"residual"}
"""Fields that change networks only; the variants of one architecture, `maf`, stand for all."""


def variants(architecture: type[Architecture]) -> Iterator[tuple[str, Architecture]]:
    """The tiny configuration with one change at a time: each flag negated, each choice set to each other word."""
    start, hints = tiny(architecture), get_type_hints(architecture)
    for field in fields(architecture):
        value = getattr(start, field.name)
        if isinstance(value, bool) and (field.name not in NETWORK_FIELDS or architecture is MAF):
            yield f"{field.name}={not value}", replace(start, **{field.name: not value})
        for word in get_args(hints[field.name]):
            if isinstance(value, str) and word != value:
                yield f"{field.name}={word}", replace(start, **{field.name: word})


def architecture_subject(
    name: str, architecture: Architecture, event: int, condition: int | None, **options: Any
) -> Subject:
    """A built architecture, named by architecture, event and condition; `options` of the `Subject`."""
    flow = architecture.build(event, condition, key=jax.random.key(7))
    size = "" if condition is None else f" given {condition}"
    # A density of angles integrates to 1 over a turn.
    support = (-math.pi, math.pi) if isinstance(flow.base, UniformTorus) else None
    one_order = Facts.of(architecture).one_order
    return Subject(f"{name} d={event}{size}", flow, one_order=one_order, support=support, **options)


def example_architectures() -> dict[str, tuple[str, Architecture, int, int | None]]:
    """Every registered architecture of vectors at every case, and each variant at 3 coordinates given 2, ready to be
    built."""
    found: dict[str, tuple[str, Architecture, int, int | None]] = {}
    for name, kind in registered(images=False).items():
        cases = [(name, tiny(kind), *case) for case in CASES]
        cases += [(f"{name} {what}", changed, 3, 2) for what, changed in variants(kind)]
        for case in cases:
            size = "" if case[3] is None else f" given {case[3]}"
            found[f"{case[0]} d={case[2]}{size}"] = case
    return found
