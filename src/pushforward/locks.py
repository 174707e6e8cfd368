"""Locks of the operating system on files: they die with their process, so that a kill leaves nothing to clean up."""

import os
from pathlib import Path
from typing import IO, Any


def try_lock(file: IO[Any], *, shared: bool = False) -> bool | None:
    """Lock an open file until it is closed, without waiting.

    Arguments:
        file: opened for writing, as some network file systems ask for that.
        shared: whether others may hold a shared lock beside it; default False, nobody.

    Returns whether the lock is held: False where another holds one, None where there are no locks (a system that is not
    POSIX, a file system without them).

    ```python
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file, open(file.name, "a") as again:
    ...     try_lock(file), try_lock(again), try_lock(again, shared=True)
    (True, False, False)

    ```
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_there(file: IO[Any], path: Path) -> bool:
    """Whether an open file still has its name: another process may have removed it before the lock was held."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
