"""A cache of compiled programs: each command is a process, and spends most of its time compiling."""

import os

from platformdirs import user_cache_path

_OWN = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
"""If the user has set one of these, JAX's cache is left as configured."""
_LARGEST = 512 * 2**20
"""Bytes, for some hundreds of fits. The least recently used programs are deleted first."""
_SOONEST = 0.1
"""Seconds of compiling below which a program is not worth a file."""


def keep_programs() -> None:
    """Have JAX cache compiled programs in the user's cache folder, where every file is safe to delete.

    Programs are reused by the same version of JAX on the same kind of processor only. Call this before JAX is imported.
    """
    if any(name in os.environ for name in _OWN):
        return
    folder = user_cache_path("pushforward", appauthor=False) / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that is not writable: no cache
    if not os.access(folder, os.W_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_LARGEST))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(_SOONEST))
