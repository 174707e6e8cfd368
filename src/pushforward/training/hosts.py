"""Several hosts that run one fit: the first decides, the others hear of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from pushforward.errors import InputError
from pushforward.training.devices import Devices

LONGEST = 2000
"""Bytes of a message that travels."""


def hosts_of(devices: Devices | None) -> int:
    """How many processes run a fit on these devices."""
    return 1 if devices is None else jax.process_count()


def leads(devices: Devices | None) -> bool:
    """Whether this process decides, writes and talks."""
    return hosts_of(devices) == 1 or jax.process_index() == 0


def agreed(devices: Devices | None, tree: PyTree) -> PyTree:
    """The arrays of the first host, on every host, as NumPy arrays; the tree itself where there is one.

    Whatever hosts might see differently, such as the time, Ctrl-C or a loss on other processors, has to pass here:
    hosts that decide differently wait for each other for ever.
    """
    if hosts_of(devices) == 1:
        return tree
    from jax.experimental.multihost_utils import broadcast_one_to_all

    arrays, rest = eqx.partition(tree, _travels)
    arrays = jax.tree.map(np.asarray, arrays)
    # Without 64 bits JAX would round what has them: they go as pairs of words.
    words = jax.tree.map(lambda a: np.atleast_1d(a).view(np.uint32) if _wide(a) else a, arrays)

    def back(sent: Any, own: np.ndarray) -> np.ndarray:
        got = np.asarray(sent)
        return np.ascontiguousarray(got).view(own.dtype).reshape(own.shape) if _wide(own) else got

    return eqx.combine(jax.tree.map(back, broadcast_one_to_all(words), arrays), rest)


def agreed_numbers(devices: Devices | None, *numbers: float) -> list[float]:
    """The numbers of the first host."""
    return [float(number) for number in agreed(devices, np.array(numbers, np.float64))]


def agreed_text(devices: Devices | None, text: str) -> str:
    """The text of the first host."""
    if hosts_of(devices) == 1:
        return text
    data = text.encode()
    length = int(agreed(devices, np.asarray(len(data), np.int32)))
    sent = np.zeros(length, np.uint8)
    if leads(devices):
        sent[:] = np.frombuffer(data, np.uint8)
    return bytes(agreed(devices, sent)).decode()


_met = False


@contextmanager
def together(devices: Devices | None) -> Iterator[bool]:
    """For what may fail on one host: an `InputError` of any is raised on all. Yields whether this is the first."""
    if hosts_of(devices) == 1:
        yield True
        return
    message = ""
    try:
        yield leads(devices)
    except InputError as error:
        message = str(error)
    _hear(message)


@contextmanager
def told() -> Iterator[None]:
    """For all that comes before a fit, and the fit: an `InputError` of one host is raised on the others where they
    meet first, which is in `together`."""
    try:
        yield
    except InputError as error:
        if not _met:
            _hear(str(error))
        raise


def _hear(message: str) -> None:
    """Raise the first message that any host has."""
    from jax.experimental.multihost_utils import process_allgather

    global _met
    _met = True
    sent = np.zeros(LONGEST, np.uint8)
    data = np.frombuffer(message.encode(), np.uint8)[:LONGEST]
    sent[: len(data)] = data
    for i, own in enumerate(np.asarray(process_allgather(sent))):
        if text := bytes(own).rstrip(b"\0").decode(errors="ignore"):
            raise InputError(text if i == 0 else f"host {i}: {text}")


def check_alike(devices: Devices | None, what: str, digest: str) -> None:
    """Raises `InputError` on every host where the digests of hosts differ."""
    if hosts_of(devices) == 1:
        return
    from jax.experimental.multihost_utils import process_allgather

    every = np.asarray(process_allgather(np.frombuffer(digest.encode(), np.uint8)))
    if others := [i for i, own in enumerate(every) if not np.array_equal(own, every[0])]:
        said = ", ".join(map(str, others))
        raise InputError(
            f"{what} of host {said} differ from those of host 0: give all hosts the same"
        )


def _wide(array: np.ndarray) -> bool:
    return array.dtype.itemsize == 8


def _travels(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and not jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )
