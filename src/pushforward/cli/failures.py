"""Failures other than mistakes in the input that one line explains better than a traceback: too little memory, and
JAX settings in the environment."""

import os
import re

_DEVICES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_DEFAULT_DEVICE")
_STRICT = "JAX_NUMPY_RANK_PROMOTION"
_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
# The words of JAX and NumPy; the last two are for sizes beyond any address.
_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|Out of memory|Unable to allocate|array is too big|Maximum allowed dimension"
)
_SIZE = re.compile(r"allocat\w* (\d+(?:\.\d+)?) ?(?:bytes|([KMGTPE])?i?B)")


def settle() -> None:
    """Let JAX broadcast whatever the environment says, as that setting is for authors of JAX code, not for users of a
    command. Call this before JAX is imported."""
    if _STRICT in os.environ:
        os.environ[_STRICT] = "allow"


def line_of(error: Exception) -> str | None:
    """The failure in one line, with what to do about it; None if it takes a traceback."""
    return _memory(error) or _environment(error)


def _memory(error: Exception) -> str | None:
    text = str(error)
    if not (isinstance(error, MemoryError) or _MEMORY.search(text)):
        return None
    found = _SIZE.search(text)
    asked = ""
    if found is not None:
        size = float(found[1]) * 2.0 ** _UNITS.get(found[2] or "", 0)
        asked = f": {_shown(size)} were asked for at once"
    return (
        f"out of memory{asked}; take a smaller flow (--set: fewer bins or layers, a smaller width), fewer columns or "
        "rows, or a machine with more memory"
    )


def _shown(size: float) -> str:
    """A number of bytes, human-readable."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.4g} TB"


def _environment(error: Exception) -> str | None:
    text = str(error)
    variables = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    for name, value in variables.items():
        if name in _DEVICES:
            continue
        if name in text or name.lower() in text:
            return f"{name}={value}: JAX does not take this ({_brief(error)}); unset it"
        if name.startswith("JAX_TRANSFER_GUARD") and "Disallowed" in text:
            return f"{name}={value}: every command moves rows to the device and back; unset it"
    chosen = [f"{name}={variables[name]}" for name in _DEVICES if variables.get(name)]
    if not chosen:
        return None
    # The message for a missing device depends on the device, and may be empty, so try one.
    try:
        import jax

        jax.numpy.zeros(1).block_until_ready()
    except Exception as fault:
        reason = f" ({_brief(fault)})" if str(fault) else ""
        return f"{', '.join(chosen)}: JAX finds no such device here{reason}; unset it, or set JAX_PLATFORMS=cpu"
    return None


def _brief(error: Exception) -> str:
    """The first line of an error, without JAX's suggestions in brackets."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(" (")[0][:160]
