"""The contract's four entry points, one for each kind of subject."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.architectures import ARCHITECTURES, Architecture
from pushforward.bijections import AbstractBijection
from pushforward.deprecated import outdated
from pushforward.distributions import AbstractDistribution
from pushforward.testing.architecture_checks import ARCHITECTURE_CHECKS
from pushforward.testing.bijection_checks import BIJECTION_CHECKS
from pushforward.testing.contract import Check, ContractError, S, run_checks
from pushforward.testing.density_checks import DENSITY_CHECKS
from pushforward.testing.examples import CASES, architecture_subject
from pushforward.testing.reload import check_saving
from pushforward.testing.subjects import Subject, bijection_subject
from pushforward.testing.transformer_checks import TRANSFORMER_CHECKS, TransformerSubject
from pushforward.transformers import AbstractTransformer

BIJECTION_TABLE = {**BIJECTION_CHECKS, **DENSITY_CHECKS}
"""All checks of a bijection."""
ARCHITECTURE_TABLE = {**BIJECTION_TABLE, **ARCHITECTURE_CHECKS}
"""All checks of a built architecture."""
FEW = 63
"""Columns up to which log-dets are exact that are estimates for more."""


def check_transformer(
    transformer: AbstractTransformer, *, name: str | None = None, volume_preserving: bool = False
) -> None:
    """Hold a transformer to `TRANSFORMER_CHECKS`.

    Arguments:
        transformer: the family of scalar maps.
        name: what reports call it; default its class.
        volume_preserving: deprecated: the class says it, see `AbstractTransformer`.

    Raises `ContractError` at the first broken promise.
    """
    subject = TransformerSubject(name or type(transformer).__name__, transformer)
    run_checks(_but_volume(TRANSFORMER_CHECKS, volume_preserving), subject)


def check_bijection(
    bijection: AbstractBijection,
    *,
    name: str | None = None,
    volume_preserving: bool = False,
    **options: Any,
) -> None:
    """Hold a bijection, perturbed, to `BIJECTION_CHECKS`, and its push-forward of a normal to `DENSITY_CHECKS`.

    Arguments:
        bijection: the map, float32; one of few coordinates, as Jacobians are computed in full.
        name: what reports call it; default its class.
        volume_preserving: deprecated: the class says it, see `AbstractBijection`.
        options: `mode`, `scale` and `seed` of the `Subject`.

    Raises `ContractError` at the first broken promise.
    """
    subject = bijection_subject(name or type(bijection).__name__, bijection, **options)
    run_checks(_but_volume(BIJECTION_TABLE, volume_preserving), subject)


def check_distribution(
    distribution: AbstractDistribution, *, name: str | None = None, **options: Any
) -> None:
    """Hold a distribution, perturbed, to `DENSITY_CHECKS`.

    Arguments:
        distribution: the density, float32; with 1 or 2 coordinates its integral and its draws are checked too.
        name: what reports call it; default its class.
        options: `support`, `scale` and `seed` of the `Subject`.

    Raises `ContractError` at the first broken promise.
    """
    name = name or type(distribution).__name__
    run_checks(DENSITY_CHECKS, Subject(name, distribution, **options))


def check_architecture(
    architecture: Architecture,
    *,
    name: str | None = None,
    cases: Sequence[tuple[int, int | None]] = CASES,
    **options: Any,
) -> None:
    """Build an architecture at several sizes and hold each model, perturbed, to every check there is.

    A registered architecture is also saved, and loaded in a fresh process. One of your own is registered first:

        pushforward.architectures.register("mine", Mine)
        pushforward.testing.check_architecture(Mine(layers=3, width=16))

    Arguments:
        architecture: a small configuration, of enough layers for every coordinate to have its turn.
        name: what reports call it; default its class.
        cases: pairs of event size and condition size.
        options: `mode`, `scale` and `seed` of the `Subject`.

    Raises `ContractError` at the first broken promise.
    """
    name = name or type(architecture).__name__
    subjects = [architecture_subject(name, architecture, *case, **options) for case in cases]
    for subject in subjects:
        run_checks(ARCHITECTURE_TABLE, subject)
    if ARCHITECTURES.name_of(type(architecture)) is not None:
        check_saving([(subject, architecture) for subject in subjects])


def check_large_event(architecture: Architecture, event: int, *, name: str | None = None) -> None:
    """Build an architecture for many columns and score two rows: finite, one number per row.

    Where its log-dets of so many columns are estimates, rows of `FEW` columns are scored too.

    Arguments:
        architecture: a small configuration.
        event: number of columns, such as 1000.
        name: what reports call it; default its class.

    Raises `ContractError` where a score is not finite.
    """
    name = name or type(architecture).__name__
    flow = architecture.build(event, key=jax.random.key(0))
    found = jax.jit(lambda x: flow.log_prob(x))(jnp.full((2, event), 0.5))
    if found.shape != (2,) or not np.isfinite(np.asarray(found)).all():
        raise ContractError(f"{name} d={event}", "large event", f"two rows score {found}")
    if event > FEW and not flow.bijection.exact:
        check_large_event(architecture, FEW, name=name)


def _but_volume(table: Mapping[str, Check[S]], declared: bool) -> Mapping[str, Check[S]]:
    """The table, without the check of the class's `volume_preserving` where the caller declared it."""
    if not declared:
        return table
    outdated("volume_preserving=True", "volume_preserving = True in the class")
    return {name: check for name, check in table.items() if name != "volume"}
