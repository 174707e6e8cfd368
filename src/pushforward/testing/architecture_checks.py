"""The promises of every architecture, beyond those of its density and its map."""

import equinox as eqx
import numpy as np

from pushforward.testing.contract import Check
from pushforward.testing.subjects import Subject


def no_copies(subject: Subject) -> str | None:
    """No latent coordinate is an unchanged copy of a data coordinate."""
    z = subject.inverse.value.reshape(-1, subject.size)
    x = subject.forward.value.reshape(-1, subject.size)
    same = (z[:, :, None] == x[:, None, :]).all(axis=0)
    if same.any():
        i, j = map(int, np.argwhere(same)[0])
        return f"latent coordinate {i} is a copy of data coordinate {j}"
    return None


def interaction(subject: Subject) -> str | None:
    """Every latent coordinate depends on every data coordinate: masks alternate until all have had their turn.

    Unless the class is declared as one layer in one order, `one_order = True`; then not all of them do.
    """
    reached = (subject.inverse.jacobian != 0).any(axis=0)
    if subject.one_order and subject.size > 1:
        lie = "declared to be of one order, but every latent coordinate depends on every data coordinate"
        return lie if reached.all() else None
    if reached.all():
        return None
    i, j = map(int, np.argwhere(~reached)[0])
    return (
        f"latent coordinate {i} never depends on data coordinate {j} "
        f"({(~reached).sum()} of {reached.size} pairs)"
    )


def condition_everywhere(subject: Subject) -> str | None:
    """Every latent coordinate depends on every feature of the condition."""
    if subject.inverse.by_condition is None:
        return None
    reached = (subject.inverse.by_condition != 0).any(axis=0)
    if reached.all():
        return None
    i, j = map(int, np.argwhere(~reached)[0])
    return f"latent coordinate {i} does not depend on condition feature {j}"


def hashable(subject: Subject) -> str | None:
    """All but the arrays has a hash, so that a program compiled for one model serves the next of the same form."""
    static = eqx.partition(subject.initial, eqx.is_array)[1]
    try:
        hash(static)
    except TypeError as error:
        return f"the model without its arrays has no hash: {error}"
    return None


ARCHITECTURE_CHECKS: dict[str, Check[Subject]] = {
    "no copies": no_copies,
    "interaction": interaction,
    "condition everywhere": condition_everywhere,
    "hashable": hashable,
}
"""The checks of every architecture, by name, in addition to those of its density and its bijection."""
