"""Images in the IDX format: what is read, and what is told of files that cannot be."""

import gzip
import struct

import numpy as np
import pytest

from pushforward.data.images import mnist, read_idx
from pushforward.errors import InputError


def idx(array):
    kinds = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = bytes([0, 0, kinds[array.dtype.name], array.ndim])
    return (
        head
        + struct.pack(f">{array.ndim}i", *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.fixture
def folder(tmp_path, rng):
    """A set of five and three images, one of the files not compressed."""
    for share, n in (("train", 5), ("t10k", 3)):
        images = rng.integers(256, size=(n, 4, 6)).astype(np.uint8)
        (tmp_path / f"{share}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{share}-labels-idx1-ubyte").write_bytes(idx(np.arange(n, dtype=np.uint8)))
    return tmp_path


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
def test_every_type_is_read(dtype, tmp_path, rng):
    array = (100 * rng.normal(size=(2, 3, 4))).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(idx(array))
    found = read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == dtype
    assert found.dtype.isnative


def test_a_set_is_found_in_the_folder_or_in_one_named_mnist(folder, tmp_path, monkeypatch):
    found = mnist(folder)
    assert found.train.shape == (5, 4, 6)
    assert found.test.shape == (3, 4, 6)
    assert found.test_labels.tolist() == [0, 1, 2]
    inside = tmp_path / "all" / "mnist"
    inside.mkdir(parents=True)
    for path in folder.glob("*ubyte*"):
        (inside / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("PUSHFORWARD_DATA", str(inside.parent))
    np.testing.assert_array_equal(mnist().train, found.train)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: content[:-1], "has 3[0-9]? bytes|bytes, but"),
        (lambda content: content + b"\0", "bytes, but"),
        (lambda content: b"\x89PNG" + content, "does not begin as an IDX"),
        (lambda content: b"", "does not begin as an IDX"),
        (lambda content: gzip.compress(content)[:-9], "is damaged"),
        (lambda content: b"\x1f\x8b" + content, "is damaged"),
        (lambda content: content[:2] + b"\x0a" + content[3:], "does not begin as an IDX"),
        (lambda content: content[:4] + b"\xff" + content[5:], "bytes, but"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(spoil, words, tmp_path):
    path = tmp_path / "spoilt"
    path.write_bytes(spoil(idx(np.arange(12, dtype=np.uint8).reshape(3, 4))))
    with pytest.raises(InputError, match=words) as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_is_missing_is_named(folder, monkeypatch):
    monkeypatch.delenv("PUSHFORWARD_DATA", raising=False)
    with pytest.raises(InputError, match="set PUSHFORWARD_DATA to a folder"):
        mnist()
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz is missing: put it into"):
        mnist(folder)
    with pytest.raises(InputError, match="cannot be read"):
        read_idx(folder / "nothing")


def test_labels_that_do_not_fit_are_refused(folder):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(4, dtype=np.uint8)))
    with pytest.raises(InputError, match=r"t10k images .* \(3, 4, 6\), their labels \(4,\)"):
        mnist(folder)
