"""Checkpoints: the whole state of a fit in one file, so that a killed fit resumes as if nothing had happened."""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward.errors import InputError, warn
from pushforward.locks import try_lock
from pushforward.training.devices import Devices
from pushforward.training.hosts import agreed, agreed_text, hosts_of, leads, together


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a fit saves its state. The file stays when the fit ends, for the caller to delete once the
    model is safe; resuming a finished fit returns its model at once.

    Arguments:
        path: the file. It is replaced as a whole, so that a kill leaves the last complete state.
        every: seconds between two writes, the most that a kill can lose; 0 writes after every segment of steps.
            Default 30.
        resume: whether to go on from the file if it exists; with False, the default, an existing file is an error.

    ```python
    >>> from pathlib import Path
    >>> import pushforward as pf
    >>> pf.Checkpoint(Path("fit.checkpoint"), every=60.0, resume=True).every
    60.0

    ```
    """

    path: Path
    every: float = 30.0
    resume: bool = False


class CheckpointFile:
    """An open checkpoint: holds the lock, reads and writes the state.

    Of several hosts the first reads and writes, and sends the others what it has read: only it needs the file.
    """

    def __init__(
        self, checkpoint: Checkpoint, fingerprint: dict[str, str], devices: Devices | None = None
    ):
        self._checkpoint, self._fingerprint, self._devices = checkpoint, fingerprint, devices
        self._written = time.perf_counter()
        self._warned = False

    def due(self) -> bool:
        """Whether the interval has passed since the last write."""
        return time.perf_counter() - self._written >= self._checkpoint.every

    def write(self, arrays: Any, progress: dict[str, Any]) -> None:
        """Replace the file by this state: a tree of arrays, and JSON-able progress.

        A disk that is full or gone costs the checkpoint, not the fit: it warns once, and the next write is tried.
        """
        if not leads(self._devices):
            return
        try:
            self._replace(arrays, progress)
        except OSError as error:
            path, reason = self._checkpoint.path, error.strerror or error
            _removed(_part(path))
            if not self._warned:
                warn(
                    f"the checkpoint {path} cannot be written ({reason}): the fit goes on without it, and a kill would "
                    "lose it"
                )
            self._warned = True
        self._written = time.perf_counter()

    def _replace(self, arrays: Any, progress: dict[str, Any]) -> None:
        from safetensors.numpy import save

        leaves = {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(arrays))}
        header = {"pushforward_checkpoint": json.dumps([self._fingerprint, progress])}
        part = _part(self._checkpoint.path)
        with open(part, "wb") as file:
            file.write(save(leaves, header))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._checkpoint.path)

    def read(self, arrays: Any) -> tuple[Any, dict[str, Any]] | None:
        """The state in the file, with the structure of `arrays`, or None where there is no file to resume from.

        Raises `InputError` where the file is damaged or belongs to another fit.
        """
        found = None
        with together(self._devices) as first:
            if first:
                found = self._read(arrays)
        if hosts_of(self._devices) == 1:
            return found
        progress = agreed_text(self._devices, "" if found is None else json.dumps(found[1]))
        if not progress:
            return None
        mine = arrays if found is None else found[0]
        return jax.tree.map(jax.numpy.asarray, agreed(self._devices, mine)), json.loads(progress)

    def _read(self, arrays: Any) -> tuple[Any, dict[str, Any]] | None:
        from safetensors import SafetensorError, safe_open

        path = self._checkpoint.path
        if not (self._checkpoint.resume and path.exists()):
            return None
        leaves, tree = jax.tree.flatten(arrays)
        try:
            with safe_open(path, framework="numpy") as file:
                fingerprint, progress = json.loads(file.metadata()["pushforward_checkpoint"])
                stored = [file.get_tensor(f"{i:04d}") for i in range(len(leaves))]
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            message = f"{path} is not a usable checkpoint ({error}); delete it to start over"
            raise InputError(message) from None
        differ = [k for k, value in self._fingerprint.items() if fingerprint.get(k) != value]
        if differ:
            raise InputError(
                f"{path} belongs to another fit: {' and '.join(differ)} differ; "
                "run it as before, or delete the checkpoint to start over"
            )
        return jax.tree.unflatten(tree, [jax.numpy.asarray(a) for a in stored]), progress


@contextlib.contextmanager
def open_checkpoint(
    checkpoint: Checkpoint | None, fingerprint: dict[str, str], devices: Devices | None = None
) -> Iterator[CheckpointFile | None]:
    """Lock the checkpoint for this process while a fit runs, of several hosts for the first.

    Raises `InputError` where another process holds it, or where it exists and is not to be resumed.
    """
    if checkpoint is None:
        yield None
        return
    path = checkpoint.path
    lock_path = path.with_name(path.name + ".lock")
    with contextlib.ExitStack() as kept:
        with together(devices) as first:
            if first:
                if path.exists() and not checkpoint.resume:
                    raise InputError(f"{path} exists: resume from it, or delete it to start over")
                try:
                    lock = kept.enter_context(open(lock_path, "a"))
                except OSError as error:
                    message = f"the checkpoint {path} cannot be written: {error.strerror}"
                    raise InputError(message) from None
                if try_lock(lock) is False:
                    raise InputError(
                        f"another process is writing the checkpoint {path}; wait for it or stop it"
                    )
                kept.callback(_removed, _part(path))
                kept.callback(_removed, lock_path)
        yield CheckpointFile(checkpoint, fingerprint, devices)


def _part(path: Path) -> Path:
    """Where a checkpoint is written before it replaces the last one."""
    return path.with_name(path.name + ".part")


def _removed(path: Path) -> None:
    # On a disk that has become read-only the file stays; that must not cost the fit.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def digest(*parts: Any) -> str:
    """A short fingerprint of arrays and of whatever prints unambiguously."""
    state = hashlib.sha256()
    for part in parts:
        array = isinstance(part, np.ndarray)
        state.update(repr((part.shape, part.dtype) if array else part).encode())
        state.update(np.ascontiguousarray(part).tobytes() if array else b"")
    return state.hexdigest()[:16]


def spelled(loss: Any) -> list[Any]:
    """A fingerprint of a loss that is the same in every process."""
    parts: list[Any] = [re.sub(r" at 0x[0-9a-f]+", "", repr(loss))]
    for leaf in jax.tree.leaves(loss):
        code = getattr(leaf, "__code__", None)
        if code is not None:
            cells = [cell.cell_contents for cell in leaf.__closure__ or ()]
            parts += [leaf.__module__, leaf.__qualname__, code.co_code, code.co_names]
            # What it calls counts by name alone: the same function prints differently in another process.
            parts += [v for v in (*code.co_consts, *cells) if isinstance(v, str | float | int)]
            parts += [np.asarray(v) for v in cells if eqx.is_array(v)]
        elif eqx.is_array_like(leaf):
            parts.append(np.asarray(leaf))
    return parts
