"""Tables in many files: which they are, and what commands make of them."""

import os
from pathlib import Path

import pytest

from pushforward.data.parts import holds_tables, in_parts, parts_of, share_of
from pushforward.errors import InputError


def line(call, *args, **kwargs):
    """The message of the InputError, which must be one line."""
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path):
    """A folder as engines leave it: parts in folders, and much beside them that is no part."""
    data = tmp_path / "data [x]"
    for name in (
        *("day=10/p.csv", "day=2/p10.csv", "day=2/p2.csv", "day=2/p02.parquet", "top.NPY"),
        *("_SUCCESS", "_temporary/p.csv", ".pushforward-ab/p.csv", "day=2/.p.csv", "README.md"),
    ):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a\n1\n")
    return data


def places(source):
    return [part.relative.as_posix() for part in parts_of(source)]


class TestPartsOf:
    def test_folder_in_natural_order(self, folder):
        every = ["day=2/p2.csv", "day=2/p02.parquet", "day=2/p10.csv", "day=10/p.csv", "top.NPY"]
        assert places(folder) == every
        assert in_parts(folder)
        assert holds_tables(folder)
        assert parts_of(folder)[0].folders == {"day": "2"}

    def test_patterns(self, folder):
        named = str(folder).replace("[", "[[]")
        assert in_parts(f"{named}/**/*.csv")
        assert places(f"{named}/**/*.csv") == ["day=2/p2.csv", "day=2/p10.csv", "day=10/p.csv"]
        assert places(f"{named}/day=2/*.csv") == ["p2.csv", "p10.csv"]
        # Of a folder that a pattern names, all that is in it.
        assert places(f"{named}/day=1*") == ["day=10/p.csv"]
        assert places(f"{named}/*") == places(folder)

        # A pattern of one file whose name has wildcards in it.
        assert places(f"{named}/top.NPY") == ["top.NPY"]

    def test_a_file_is_no_pattern(self, folder):
        path = folder / "p[1].csv"
        path.write_text("a\n1\n")
        assert not in_parts(path)
        assert [part.path for part in parts_of(path)] == [path]

    def test_links(self, folder):
        (folder / "day=3").symlink_to(folder / "day=10", target_is_directory=True)
        (folder / "day=10" / "round").symlink_to(folder, target_is_directory=True)
        (folder / "away").symlink_to(folder.parent / "other", target_is_directory=True)
        (folder.parent / "other").mkdir()
        (folder.parent / "other" / "z.csv").write_text("a\n1\n")
        found = parts_of(folder)
        assert len({os.path.realpath(part.path) for part in found}) == len(found) == 6
        assert "away/z.csv" in places(folder)

    def test_nothing(self, folder, tmp_path):
        assert "matches no tables; known are .csv" in line(parts_of, str(tmp_path / "*.parquet"))
        text = line(parts_of, str(folder.parent / "data*" / "README*"))
        assert "matches no tables, but 1 other file" in text
        (tmp_path / "empty").mkdir()
        assert "the folder holds no tables" in line(parts_of, tmp_path / "empty")
        assert not holds_tables(tmp_path / "empty")
        assert "matches no tables" in line(parts_of, str(tmp_path / "none" / "*.csv"))
        assert "no such file or folder" in line(parts_of, tmp_path / "none")

    def test_shares_are_all(self, folder):
        parts = parts_of(folder)
        shares = [share_of(parts, f"{i}/3") for i in (1, 2, 3)]
        assert sorted(p.path for share in shares for p in share) == sorted(p.path for p in parts)
        assert share_of(parts, None) == parts
        for wrong in ("0/3", "4/3", "3", "a/b", "1/0"):
            assert f"--part {wrong}: I/N is expected" in line(share_of, parts, wrong)
        assert isinstance(parts[0].path, Path)
