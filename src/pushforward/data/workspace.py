"""Hidden folders in which files are made before they are put in place; those of killed processes are swept."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pushforward.data.targets import put_in_place, real_path
from pushforward.locks import is_there, try_lock

PREFIX, LOCK = ".pushforward-", "lock"


class Workspace:
    """A hidden folder beside a file that is to be written: on the same file system, so that the rename is atomic.

    It is locked as long as its process lives. What killed processes left in the same place is removed first, once for
    each folder that this process writes to.

    Arguments:
        target: the file.
    """

    def __init__(self, target: Path) -> None:
        _sweep_once(target.parent)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
            lock = self.path / LOCK
            try:
                self._lock = open(lock, "x")  # noqa: SIM115 - closed by `remove`
            except FileNotFoundError:
                # Another process has just swept it: it had no lock yet.
                continue
            if try_lock(self._lock) is not False and is_there(self._lock, lock):
                return
            self._lock.close()

    def remove(self) -> None:
        """Remove the folder with what is in it."""
        # Some systems remove no open file. Whoever sweeps now does the same.
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the workspaces in a folder whose processes are gone."""
    for path in folder.glob(PREFIX + "*"):
        if path.is_symlink() or not path.is_dir():
            continue
        # Whatever cannot be removed is not in the way.
        with contextlib.suppress(OSError):
            _removed_if_dead(path)


@cache
def _sweep_once(folder: Path) -> None:
    # A folder of 100,000 parts would be listed as often.
    sweep(folder)


def _removed_if_dead(path: Path) -> None:
    try:
        lock = open(path / LOCK, "r+")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        # Killed before it had a lock; of a version without locks it would not be empty.
        path.rmdir()
        return
    with lock:
        if try_lock(lock):
            shutil.rmtree(path)


@contextlib.contextmanager
def written(target: Path) -> Iterator[Path]:
    """Where to write a file, which is then put in place; an error leaves what was there."""
    target = real_path(target)
    workspace = Workspace(target)
    try:
        file = workspace.path / target.name
        yield file
        put_in_place(file, target)
    finally:
        workspace.remove()
