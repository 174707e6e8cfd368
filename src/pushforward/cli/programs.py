"""Compiled programs, kept between commands: each command is a process of its own, and compiling is most of its time."""

import os

from platformdirs import user_cache_path

_OWN = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
"""If the user has set one of these, JAX's cache is left as configured."""
_LARGEST = 512 * 2**20
"""Bytes: some hundreds of fits. The programs that were not used for the longest time are deleted first."""
_SOONEST = 0.1
"""Seconds: what compiles sooner is not worth a file."""


def keep_programs() -> None:
    """Have JAX keep what it compiles in the user's cache folder; a file there is safe to delete.

    A program is used again by the same version of JAX on the same kind of processor only. To be called before JAX is
    imported; what the environment says of JAX's cache is left as it is.
    """
    if any(name in os.environ for name in _OWN):
        return
    folder = user_cache_path("pushforward", appauthor=False) / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written to: programs are compiled anew, as without a cache
    if not os.access(folder, os.W_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_LARGEST))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(_SOONEST))
