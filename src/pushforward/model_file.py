"""One safe model file: arrays in the safetensors format, everything else in a JSON header. Loading executes no code.

The header is the string "pushforward" in the file's safetensors metadata. Its last entry, "sha256", is the checksum of
the whole file with 64 zeros in its place: every byte counts.
"""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path, tree_map_with_path

from pushforward.errors import InputError

FORMAT = "pushforward"
SCHEMA = 2
"""What this version writes, and the newest that it reads."""
Skeleton = Callable[[dict[str, Any]], eqx.Module]
"""From a header to the structure of its model; runs under `eqx.filter_eval_shape`, so that nothing is computed."""

_RESERVED = ("format", "schema", "version", "sha256")
_UNSEALED = "0" * 64
# As it stands in the file: JSON in a string of JSON.
_SEAL = r"\"sha256\": \""
# safetensors itself refuses longer ones.
_LONGEST_HEADER = 100_000_000
_DTYPES = ("float32", "float64", "int32", "int64", "uint32", "bool")


def write_model(
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    model: eqx.Module,
    *,
    skeleton: Skeleton | None = None,
    force: bool = True,
) -> None:
    """Write a model to one file, all or nothing: a crash or a full disk leaves what was there before.

    Arguments:
        path: the file. A link stays a link.
        header: what `skeleton` needs to build the model's structure again, and anything else worth keeping; JSON-able
            (NumPy numbers and arrays become plain ones). "format", "schema", "version" and "sha256" are set here.
        model: its arrays are stored under their place in the tree, such as ".bijection.layer.log_scale".
        skeleton: the one that will read the file, to check that it builds this model's structure; default None.
        force: whether an existing file may be replaced; default True.

    Raises `InputError` where the file cannot be written or the skeleton builds another structure, `TypeError` for a
    header or an array that cannot be stored.
    """
    from safetensors.numpy import save

    from pushforward import __version__

    target = check_target(path, force)
    own = {"format": FORMAT, "schema": SCHEMA, "version": __version__}
    rest = {key: value for key, value in header.items() if key not in _RESERVED}
    text = json.dumps({**own, **rest, "sha256": _UNSEALED}, default=plain)
    arrays = _arrays(model)
    if skeleton is not None:
        # A reader gets the header as text.
        kinds = [array.dtype for array in arrays.values()]
        with jax.enable_x64(any(kind.itemsize == 8 for kind in kinds)):
            built = _built(skeleton, json.loads(text), path)
            wrong = _difference(built, {k: (v.dtype, v.shape) for k, v in arrays.items()})
        # The structure holds the settings that are not arrays.
        ours: Any = jax.tree.structure(model)
        if wrong or ours != jax.tree.structure(built):
            reason = wrong or "its settings differ"
            raise InputError(f"{path}: the model is not what its header would build ({reason})")
    data = bytearray(save(arrays, {FORMAT: text}))
    at = data.rindex((_SEAL + _UNSEALED).encode(), 0, 8 + _length(data)) + len(_SEAL)
    data[at : at + 64] = hashlib.sha256(data).hexdigest().encode()
    _replace(target, data)


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a model file, without its arrays: cheap, as the checksum is not verified.

    Raises `InputError` for anything but a complete model file of a known schema.
    """
    with _opened(path) as file:
        return _read_head(file, path)[0]


def read_model(
    path: str | os.PathLike[str], skeleton: Skeleton, *, kind: str | None = None
) -> tuple[dict[str, Any], Any]:
    """The header and the model of a file.

    Arguments:
        path: the file.
        skeleton: from the header to the model's structure. Its errors count as damage to the header.
        kind: what the header's "kind" must be; default None for any.

    Returns the header, and the skeleton's model with the file's arrays; 64-bit arrays remain so, whatever JAX's
    settings are.

    Raises `InputError`, one line that names the file, where it is missing, not a model file, of another kind,
    truncated, written by a newer version, or changed since it was written (the checksum, or the arrays' names, types or
    shapes, differ).
    """
    with _opened(path) as file:
        header, data = _read_head(file, path)
        data += file.read()
    _check_seal(data, header, path)
    if kind is not None and header.get("kind") != kind:
        raise InputError(f"{path}: holds a model of kind {header.get('kind')!r}, not {kind!r}")
    arrays = _decoded(data, path)
    # 64-bit arrays are kept, whatever the precision of the process.
    with jax.enable_x64(any(array.dtype.itemsize == 8 for array in arrays.values())):
        model = _built(skeleton, header, path)
        wrong = _difference(model, {k: (v.dtype, v.shape) for k, v in arrays.items()})
        if wrong:
            raise InputError(f"{path}: is damaged: {wrong}")
        filled = tree_map_with_path(
            lambda at, leaf: jnp.asarray(arrays[keystr(at)]) if _is_gap(leaf) else leaf, model
        )
    return header, filled


def check_target(path: str | os.PathLike[str], force: bool = True) -> Path:
    """The real file behind a path, if a model can be written there; to be called before training, not after. With
    `force` (default) an existing file may be replaced.

    Raises `InputError` where the file exists and may not be replaced or is not a regular file, or its directory is
    missing or not writable.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError(f"{path}: is a directory; name a file")
    if target.exists():
        # Replacing would destroy a device such as /dev/null.
        if not target.is_file():
            raise InputError(f"{path}: is not a regular file; a model cannot be written to it")
        if not force:
            raise InputError(f"{path}: exists already; choose another name or allow replacing it")
    if not target.parent.is_dir():
        raise InputError(f"{path}: the directory {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the directory {target.parent} is not writable")
    return target


def keep_permissions(file: Path, target: Path) -> None:
    """Give a file the permissions of the one that it is to replace, if there is one."""
    if target.exists():
        wanted, found = (stat.S_IMODE(path.stat().st_mode) for path in (target, file))
        # Only where they differ: some file systems refuse to change any.
        if wanted != found:
            file.chmod(wanted)


def plain(value: Any) -> Any:
    """NumPy and JAX numbers and arrays as plain data, for `json.dumps(default=...)`. Raises `TypeError` for others."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | jax.Array):
        return np.asarray(value).tolist()
    raise TypeError(f"a header cannot hold a {type(value).__name__}: {value!r}")


def _is_gap(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _arrays(model: eqx.Module) -> dict[str, np.ndarray]:
    arrays = {}
    for place, leaf in tree_flatten_with_path(model)[0]:
        if eqx.is_array(leaf):
            if leaf.dtype.name not in _DTYPES:
                raise TypeError(f"arrays of type {leaf.dtype} are not stored in model files")
            # The format has only contiguous arrays, rows first.
            arrays[keystr(place)] = np.ascontiguousarray(leaf).reshape(leaf.shape)
    return arrays


def _built(skeleton: Skeleton, header: dict[str, Any], path: Any) -> Any:
    try:
        # The file is not at fault for what JAX is set to refuse (`JAX_NUMPY_RANK_PROMOTION=raise`).
        with jax.numpy_rank_promotion("allow"):
            return eqx.filter_eval_shape(lambda: skeleton(header))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as e:
        # Whatever a header makes an architecture do, users see one line; developers see the cause.
        raise InputError(f"{path}: is damaged: its header builds no model ({_brief(e)})") from e


def _difference(model: Any, stored: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> str:
    """How the arrays of a file differ from the gaps of a model; empty where they fit."""
    leaves = tree_flatten_with_path(model)[0]
    wanted = {keystr(at): (leaf.dtype, leaf.shape) for at, leaf in leaves if _is_gap(leaf)}
    for name in wanted.keys() - stored.keys():
        return f"array {name} is missing"
    for name in stored.keys() - wanted.keys():
        return f"array {name} has no place in the model"
    for name, (dtype, shape) in wanted.items():
        if stored[name] != (dtype, shape):
            found = f"{stored[name][0]}{list(stored[name][1])}"
            return f"array {name} is {found}, not {dtype}{list(shape)}"
    return ""


def _replace(target: Path, data: bytes | bytearray) -> None:
    # In the same directory, so that the rename is atomic, and under a fresh name, so that two writers do not mix.
    part = target.with_name(f".pushforward-{secrets.token_hex(8)}.part")
    try:
        try:
            with open(part, "xb") as file:
                keep_permissions(part, target)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from None
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power failure, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        # A pipe would block in `open`.
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason})") from None
    what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
    raise InputError(f"{path}: is {what}; the name of a model file is expected")


def _length(data: bytes | bytearray) -> int:
    """The length of the safetensors header, from the first eight bytes."""
    return int.from_bytes(data[:8], "little")


def _read_head(file: BinaryIO, path: Any) -> tuple[dict[str, Any], bytes]:
    """Our header, and the bytes read so far."""
    foreign = InputError(f"{path}: is not a pushforward model file, or its beginning is damaged")
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise InputError(f"{path}: is empty")
    start = file.read(8)
    if size < 8 or _length(start) > _LONGEST_HEADER:
        raise foreign
    data = start + file.read(_length(start))
    if len(data) < 8 + _length(start):
        # The first bytes tell a truncated file of ours from a foreign one.
        cut = data[8:].startswith(b'{"__metadata__":{"pushforward":')
        raise InputError(f"{path}: is damaged: it ends within its header") if cut else foreign
    try:
        index = json.loads(data[8:])
        header = json.loads(index.pop("__metadata__")[FORMAT])
        ours = header["format"] == FORMAT
        schema, version = header["schema"], header["version"]
        end = 8 + _length(start) + max((a["data_offsets"][1] for a in index.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise foreign from None
    if not ours or type(schema) is not int or schema < 1:
        raise foreign
    if schema > SCHEMA:
        from pushforward import __version__

        raise InputError(
            f"{path}: was written by pushforward {version} with schema {schema}; this is version {__version__}, which "
            f"reads schemas up to {SCHEMA}: upgrade pushforward"
        )
    if size < end:
        raise InputError(f"{path}: is damaged: {size} of {end} bytes are there")
    if size > end:
        raise InputError(f"{path}: is damaged: {size - end} bytes too many")
    return header, data


def _check_seal(data: bytes, header: Mapping[str, Any], path: Any) -> None:
    sealed = header.get("sha256")
    mark = (_SEAL + str(sealed)).encode()
    at = data.rfind(mark, 0, 8 + _length(data)) + len(_SEAL)
    good = isinstance(sealed, str) and len(sealed) == 64 and at >= len(_SEAL)
    if good:
        digest = hashlib.sha256(data[:at] + _UNSEALED.encode() + data[at + 64 :]).hexdigest()
        good = digest == sealed
    if not good:
        raise InputError(
            f"{path}: is damaged: its checksum does not fit, so it was changed after it was written"
        )


def _decoded(data: bytes, path: Any) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is damaged: {_brief(error)}") from None


def _brief(error: Exception) -> str:
    """An error in one short line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
