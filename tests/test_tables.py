"""Reading and writing tables: every format, streaming, and the line each mistake gets."""

import errno
import gzip
import io
import os
import re
import shlex
import sys
import threading
import tracemalloc
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from one_line import line
from pushforward.cli.options import column_list
from pushforward.data import arrays, delimited
from pushforward.data.frames import frame_names, read_frame
from pushforward.data.source import columns_option, names_in_line, names_line
from pushforward.data.tables import (
    check_output,
    open_blocks,
    open_writer,
    read_table,
    write_table,
)
from pushforward.errors import InputError, InputWarning

RNG = np.random.default_rng(7)
AWKWARD = np.array(
    [[0.1, 1e300, -0.0], [1 / 3, 5e-324, 1e16], [-2.5e-17, 1.7e9 + 1e-6, 123456789.125]]
)


def drain(path, *args, **kwargs):
    return np.concatenate(list(open_blocks(path, *args, **kwargs)))


def parquet(**columns):
    """The bytes of a Parquet file."""
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


@pytest.fixture
def text(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(delimited, "CHUNK_BYTES", 512)


@pytest.mark.parametrize("suffix", [".csv", ".TSV", ".parquet", ".npy", ".npz"])
class TestRoundTrip:
    def test_exact(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        write_table(path, ["a", "b,c", 'd "e"'], AWKWARD)
        table = read_table(path)
        assert table.values.tobytes() == AWKWARD.tobytes()
        assert table.names == (("x0", "x1", "x2") if suffix == ".npy" else ("a", "b,c", 'd "e"'))
        assert table.named == (suffix != ".npy")
        assert os.listdir(tmp_path) == [path.name]

    def test_float32(self, tmp_path, suffix, rng):
        path = tmp_path / f"t{suffix}"
        values = rng.normal(size=(50, 2)).astype(np.float32)
        write_table(path, ["a", "b"], values)
        read = read_table(path).values
        # Text holds the digits float32 needs, not those of the same number as float64.
        np.testing.assert_array_equal(read.astype(np.float32), values)
        assert read.dtype == np.float64

    def test_integers(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        write_table(path, ["a", "b"], np.array([[1.0, 0.5], [-3.0, 2.0]]), [True, False])
        assert read_table(path).integer == ((False, False) if suffix == ".npy" else (True, False))

    @pytest.mark.parametrize("block_rows", [1, 7, 100, 333, 10_000])
    def test_blocks(self, tmp_path, suffix, block_rows, small_chunks, monkeypatch, rng):
        monkeypatch.setattr("pushforward.data.arrays.CELLS_AT_ONCE", 150)
        monkeypatch.setattr("pushforward.data.writers.CELLS_PER_PART", 150)
        path = tmp_path / f"t{suffix}"
        values = rng.normal(size=(333, 3))
        with open_writer(path, ["a", "b", "c"]) as writer:
            for block in np.array_split(values, [5, 5, 100, 101]):
                writer.write(block)
        reader = open_blocks(path, block_rows=block_rows)
        for _ in range(2):
            blocks = list(reader)
            assert {len(block) for block in blocks[:-1]} <= {block_rows}
            assert 1 <= len(blocks[-1]) <= block_rows
            np.testing.assert_array_equal(np.concatenate(blocks), values)
            assert reader.fraction == pytest.approx(1.0, abs=0.01)
        assert reader.total_rows == (None if suffix in (".csv", ".TSV") else 333)
        np.testing.assert_array_equal(read_table(path).values, values)

    def test_columns_in_the_order_asked_for(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        names = ["x0", "x1", "x2"]
        write_table(path, names, AWKWARD)
        np.testing.assert_array_equal(read_table(path, ["x2", "x0"]).values, AWKWARD[:, [2, 0]])
        message = line(read_table, path, ["X2", "x9"])
        assert "'x0', 'x1', 'x2'" in message
        assert "did you mean 'x2'?" in message
        assert "asked for twice" in line(read_table, path, ["x1", "x1"])
        assert "no columns were chosen" in line(read_table, path, [])

    def test_bad_cells(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        values = np.arange(12.0).reshape(6, 2)
        values[2, 1], values[4, 0] = np.nan, -np.inf
        write_table(path, ["a", "b"], values)
        b = "x1" if suffix == ".npy" else "b"
        message = line(read_table, path)
        assert message.endswith(
            f"2 cells missing, NaN or infinite, the first in row 3, column '{b}' (missing); "
            "fill or drop such rows first"
        )
        assert (
            f"at least 1 cell missing, NaN or infinite, the first in row 3, column '{b}'"
            in line(drain, path, [b])
        )

    def test_no_rows(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        write_table(path, ["a", "b"], np.empty((0, 2)))
        assert "no rows" in line(read_table, path)

    def test_damaged(self, text, suffix):
        path = text(b"PK\x03\x04\x00\xff\x00garbage" * 9, f"t{suffix}")
        assert str(path) in line(read_table, path)
        path = text(b"", f"t{suffix}")
        assert "is empty" in line(read_table, path)

    def test_a_crash_leaves_the_old_file(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        write_table(path, ["a", "b", "c"], AWKWARD)
        before = path.read_bytes()
        writer = open_writer(path, ["a"])

        def interrupted():
            with writer:
                writer.write(np.zeros((10, 1)))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == [path.name]
        with pytest.raises(ValueError, match="closed"):
            writer.write(np.zeros((1, 1)))


class TestNamesOfFiles:
    """A file's name is a name: no pattern, no folder of partitions, no address."""

    @pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npy", ".npz"])
    @pytest.mark.parametrize(
        "stem",
        ["d[1]", "d*", "d?", "run[0]/d", "k=3/d", "~/d", "~root/d", "file:d", "a b%20#1", "{d,1}"],
    )
    def test_are_taken_literally(self, tmp_path, monkeypatch, stem, suffix):
        monkeypatch.setattr("pushforward.data.writers.CELLS_PER_PART", 2)
        monkeypatch.chdir(tmp_path)
        for decoy in ("d1", "d", "run0/d"):
            (tmp_path / decoy).parent.mkdir(exist_ok=True)
            write_table(f"{decoy}{suffix}", ["a", "b"], np.full((5, 2), 9.0))
        path = tmp_path / f"{stem}{suffix}"
        path.parent.mkdir(exist_ok=True)
        for name in (path, path.relative_to(tmp_path)):
            write_table(name, ["a", "b"], AWKWARD[:, :2])
            table = read_table(name)
            np.testing.assert_array_equal(table.values, AWKWARD[:, :2])
            assert len(table.names) == 2
        assert not list(tmp_path.rglob(".pushforward*"))

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
    def test_in_another_encoding(self, tmp_path):
        path = tmp_path / "gr\udcf6sse.parquet"
        path.write_bytes(parquet(a=[1.0, 2.0]))
        assert read_table(path).values.tolist() == [[1.0], [2.0]]
        assert "not UTF-8" in line(check_output, path, force=True)


class TestText:
    def test_what_counts_as_a_number(self, text):
        path = text('\ufeffa,b,c\r\n 1 ,true,1e3\r\n\r\n"2",False,+.5\r\n\r\n\r\n')
        table = read_table(path)
        np.testing.assert_array_equal(table.values, [[1, 1, 1000], [2, 0, 0.5]])
        assert table.names == ("a", "b", "c")
        assert table.integer == (True, True, False)

    def test_no_newline_at_the_end(self, text):
        np.testing.assert_array_equal(read_table(text("a,b\n1,2\n3,4")).values, [[1, 2], [3, 4]])

    def test_quoted_newlines_across_chunks(self, text, small_chunks):
        rows = [f'{i},"note, {i}\n\nmore ""{i}""",{i / 7}' for i in range(300)]
        path = text('a,"the\nnote",b\n' + "\n".join(rows) + "\n")
        values = drain(path, ["b", "a"], block_rows=13)
        np.testing.assert_array_equal(values[:, 1], np.arange(300))
        np.testing.assert_array_equal(values[:, 0], np.arange(300) / 7)

    def test_inch_marks_join_no_rows(self, text):
        path = text('a,pipe\n1,5" pipe\n2,6" pipe\n3,x\n')
        assert read_table(path, ["a"]).values.tolist() == [[1], [2], [3]]

    @pytest.mark.parametrize("quote", ["", '"'])
    @pytest.mark.parametrize("size", [131_073, 140_000, 3_000_000])
    @pytest.mark.parametrize("row", [0, 50, 700])
    def test_long_cells_in_a_column_not_asked_for(self, text, monkeypatch, quote, size, row):
        monkeypatch.setattr(delimited, "CHUNK_BYTES", 1 << 18)
        rows = [f"{i},y,{i / 7}" for i in range(800)]
        rows[row] = f"{row},{quote}{'x' * size}{quote},{row / 7}"
        path = text("a,note,b\n" + "\n".join(rows) + "\n")
        values = read_table(path, ["b", "a"]).values
        np.testing.assert_array_equal(values, [[i / 7, i] for i in range(800)])
        # Cells that polars does not take as they stand are parsed one by one.
        path = text("a,note,b\n" + "\n".join([*rows, " 800 ,y,NA"]) + "\n")
        assert read_table(path, ["a"]).values[-1, 0] == 800
        message = line(read_table, path, ["a", "note"])
        assert len(message) < 400
        if row == 0:
            assert "(row 1: 'xxxxxxxxxxxxxxxxxxxxx...')" in message

    def test_a_long_name(self, text):
        name = "x" * 140_000
        assert read_table(text(f"a,{name}\n1,2\n"), ["a"]).values.tolist() == [[1]]

    def test_text_columns(self, text):
        path = text("a,kind,b,day\n1,red,2,2024-01-01\n3,blue,4,2024-01-02\n")
        message = line(read_table, path)
        assert message == (
            f"{path}: column 'kind' is not numeric (row 1: 'red'), nor is 'day'; "
            "choose numeric columns: --columns a,b"
        )
        # Where columns were chosen already, another choice may not be what is wanted.
        assert line(read_table, path, ["day", "b"]).endswith(
            "(row 1: '2024-01-01'); numeric: 'a', 'b'"
        )
        assert read_table(path, ["b"]).values.tolist() == [[2], [4]]
        assert "no column is numeric" in line(read_table, text("k\nred\n"))

    def test_text_far_down(self, text, small_chunks):
        path = text("a,b\n" + "1,2\n" * 700 + "3,oops\n")
        assert "column 'b' is not numeric (row 701: 'oops')" in line(drain, path)
        assert "--columns a" in line(read_table, path)

    @pytest.mark.parametrize("word", ["", " ", "NA", "null", "N/A", "NaN"])
    def test_missing_words(self, text, word):
        message = line(read_table, text(f"a,b\n1,2\n3,{word}\n"))
        assert "1 cell missing, NaN or infinite, the first in row 2, column 'b'" in message

    def test_blank_line_in_one_column_is_a_missing_cell(self, text):
        assert "row 2, column 'a' (missing)" in line(read_table, text("a\n1\n\n3\n\n\n"))

    @pytest.mark.parametrize(
        ("row", "cells"), [("1,2", "2 cells"), ("1,2,3,4", "4 cells"), ("1", "1 cell")]
    )
    def test_ragged(self, text, row, cells, small_chunks):
        for before in (1, 400):
            path = text("a,b,c\n" + "1,2,3\n" * before + row + "\n1,2,3\n")
            for columns in (None, ["a"]):
                message = line(drain, path, columns)
                assert f"line {before + 2} has {cells}, the header has 3" in message
        assert "line 2 has" in line(read_table, text(f"a,b,c\n{row}\n"))

    def test_a_short_and_a_long_line_do_not_make_up_for_each_other(self, text):
        path = text("a,b,note\n" + "1,2,ok\n" * 300 + "9999,1,2,ok\n1,2\n")
        assert "line 302 has 4 cells" in line(read_table, path, ["a", "b"])

    def test_lines_that_end_in_cr_alone(self, text):
        assert "CR alone" in line(read_table, text("a,b\r1,2\r3,4\r"))

    def test_whole_numbers_that_floats_merge(self, text):
        ids = "".join(f"{2**60 + i},{i}\n" for i in range(40))
        assert "column 'id'" in line(read_table, text("id,x\n" + ids))
        # Nanoseconds of days are told apart well enough.
        apart = "".join(f"{1_700_000_000_000_000_000 + i * 10**13},{i}\n" for i in range(40))
        assert len(np.unique(read_table(text("id,x\n" + apart)).values[:, 0])) == 40

    def test_headers(self, text):
        assert "'a' occurs more than once" in line(read_table, text("a,b,a\n1,2,3\n"))
        assert "header but no rows" in line(read_table, text("a,b\n\n"))
        assert "is empty" in line(read_table, text("\ufeff\n\n"))
        message = line(read_table, text(",a,b\n0,1,2\n"))
        assert "column 1 has no name" in message
        assert "--columns a,b" in message
        assert "column 1 has no name" in line(read_table, text("  \n1\n"))
        assert "--columns 'a b,c'" in line(read_table, text("a b,k,c\n1,x,2\n"))
        assert "the first line holds numbers" in line(read_table, text("0.5,2\n1,2\n"))
        assert read_table(text("0,1\n5,6\n")).names == ("0", "1")
        years = text("2019,2020, 2021\n5,6,7\n")
        assert line(read_table, years).endswith("choose them: --columns 2019,2020,2021")
        assert read_table(years, ["2019", "2020", "2021"]).values.tolist() == [[5, 6, 7]]
        assert read_table(years, ["2021", "2019"]).values.tolist() == [[7, 5]]
        assert "the first line holds numbers" in line(read_table, years, ["a", "2020"])
        assert "not UTF-8" in line(read_table, text("a,b\n1,2\n".encode("utf-16")))
        assert "not UTF-8" in line(read_table, text("größe,b\n1,2\n".encode("latin-1")))
        assert "never closed" in line(read_table, text('a,b\n1,"2\n3,4\n'))

    @pytest.mark.parametrize(
        ("names", "option"),
        [
            (["x,y", "b"], """--columns '"x,y",b'"""),
            (['5" pipe', "b"], """--columns '"5"" pipe",b'"""),
            ([" a", "b "], """--columns '" a","b "'"""),
            (["a b", "$c"], "--columns 'a b,$c'"),
            (["it's", "b"], """--columns 'it'"'"'s,b'"""),
        ],
    )
    def test_columns_that_are_suggested_are_those_that_are_read(self, tmp_path, names, option):
        for suffix in (".csv", ".tsv", ".parquet"):
            path = tmp_path / f"t{suffix}"
            if suffix == ".parquet":
                frame = pl.DataFrame({"kind": ["red"], names[0]: [1.5], names[1]: [2.5]})
                frame.write_parquet(path)
            else:
                write_table(path, ["kind", *names], np.array([[0, 1.5, 2.5]]))
                path.write_text(path.read_text().replace("\n0.0", "\nred"))
            message = line(read_table, path)
            assert message.endswith(option)
            # As a shell and the command line take it.
            chosen = column_list("--columns", shlex.split(option)[1])
            assert chosen == tuple(names)
            table = read_table(path, chosen)
            assert (table.names, table.values.tolist()) == (tuple(names), [[1.5, 2.5]])

    def test_many_columns_are_suggested_in_part(self):
        option = columns_option([f"c{i}" for i in range(41)])
        assert option.endswith("c39,...")
        assert columns_option([f"c{i}" for i in range(40)]).endswith("c39")

    @pytest.mark.parametrize(
        ("content", "name", "words"),
        [
            ("a;b\n1,5;2\n", "t.csv", "separated by semicolons, not commas; save it with commas"),
            ("a\tb\n1\t2\n", "t.csv", "separated by tabs, not commas; save it as .tsv"),
            ("a,b\n1,2\n", "t.tsv", "separated by commas, not tabs; save it as .csv"),
        ],
    )
    def test_other_delimiter(self, text, content, name, words):
        assert words in line(read_table, text(content, name))

    def test_latin1_in_a_column_not_asked_for(self, text):
        path = text("a,b\n1,größe\n2,x\n".encode("latin-1"))
        assert read_table(path, ["a"]).values.tolist() == [[1], [2]]

    def test_memory_does_not_grow_with_rows(self, text, monkeypatch):
        monkeypatch.setattr(delimited, "CHUNK_BYTES", 1 << 14)
        peaks = []
        for rows in (4_000, 40_000):
            path = text("a,b\n" + "0.123456789,1\n" * rows)
            tracemalloc.start()
            assert sum(len(block) for block in open_blocks(path, block_rows=500)) == rows
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.2 * peaks[0]
        assert peaks[1] < 40_000 * 14


class TestPrecision:
    """A table in memory has the precision of its file, and is there once."""

    @pytest.mark.parametrize("suffix", ["parquet", "npy", "npz"])
    def test_single_precision_stays(self, tmp_path, suffix, monkeypatch):
        monkeypatch.setattr(arrays, "CELLS_AT_ONCE", 1 << 14)
        rows = np.random.default_rng(0).normal(size=(300_000, 2)).astype(np.float32)
        path = tmp_path / f"t.{suffix}"
        if suffix == "parquet":
            pl.DataFrame(rows, schema=["a", "b"]).write_parquet(path)
        elif suffix == "npy":
            np.save(path, rows)
        else:
            np.savez(path, rows)
        tracemalloc.start()
        found = read_table(path, single=True).values
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, rows)
        # Beside the table chunks in double precision.
        assert peak < 1.5 * rows.nbytes

    def test_what_single_precision_does_not_hold(self, tmp_path):
        pl.DataFrame({"a": [2**24 + 1, 5], "b": [0.5, 1.5]}).write_parquet(tmp_path / "t.parquet")
        assert read_table(tmp_path / "t.parquet", single=True).values[0, 0] == 2**24 + 1
        small = pl.DataFrame(
            {"a": [1, 2], "b": [True, False]}, schema={"a": pl.Int16, "b": pl.Boolean}
        )
        small.write_parquet(tmp_path / "s.parquet")
        assert read_table(tmp_path / "s.parquet", single=True).values.dtype == np.float32

    def test_text_is_in_memory_once(self, text):
        path = text("a,b\n" + "0.5,1.25\n" * 400_000)
        tracemalloc.start()
        values = read_table(path).values
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert values.dtype == np.float64
        assert values.shape == (400_000, 2)
        told: list[Any] = []
        read_table(path, progress=told.append)
        assert told[-1] == "400,000 rows, 100%"
        assert peak < 2.5 * values.nbytes + (16 << 20)


class TestBlanksInNames:
    """What stands in a frame's names comes back from every format, and is found without its blanks too."""

    NAMES = (" a", "b ", "c\u00a0", "d\ne", '" f', "a")

    @pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npz"])
    def test_round_trip(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        values = np.arange(12.0).reshape(2, 6)
        write_table(path, self.NAMES, values)
        table = read_table(path, self.NAMES)
        assert table.values.tolist() == values.tolist()
        if suffix in (".parquet", ".npz"):
            assert read_table(path).names == self.NAMES
        else:
            assert read_table(path).names == (" a", "b ", "c\u00a0", "d e", '" f', "a")
        for wanted, place in (("b", 1), (" b", 1), ("c", 2), ("d e", 3), (" a", 0), ("a", 5)):
            assert read_table(path, [wanted]).values.tolist() == values[:, [place]].tolist()
            assert table.select([wanted]).values.tolist() == values[:, [place]].tolist()
        # Two are alike but for their blanks.
        assert "no column 'a '" in line(read_table, path, ["a "])
        assert "'b ' is asked for twice" in line(read_table, path, ["b", "b "])

    def test_headers(self, text):
        content = ' a,"b ","c, d" , e ,"f"""\n1,2,3,4,5\n'
        table = read_table(text(content))
        assert table.names == ("a", "b ", "c, d", "e", 'f"')
        wanted = ["a ", "b", "e", ' f"']
        assert read_table(text(content), wanted).values.tolist() == [[1, 2, 4, 5]]

    @pytest.mark.parametrize("names", [("a",), ("", "a"), ("", "", "b"), ('"', ","), (" ", "\t")])
    def test_a_line_of_names_is_read_back(self, names):
        for delimiter in (",", "\t"):
            again = names_in_line(names_line(names, delimiter), delimiter)
            assert [name.strip() for name in again] == [name.strip() for name in names]


class TestRowIndex:
    """The row index that pandas stores with a filtered frame is none of its columns."""

    @pytest.mark.parametrize("levels", [1, 2])
    def test_is_left_out(self, tmp_path, levels):
        frame = pl.DataFrame({"a": [1.5, 2.5], "b": [3, 4]})
        index = {f"__index_level_{i}__": [7, 9] for i in range(levels)}
        path = tmp_path / "t.parquet"
        frame.with_columns(
            **{name: pl.Series(level) for name, level in index.items()}
        ).write_parquet(path)
        table = read_table(path)
        assert table.names == ("a", "b")
        assert table.values.tolist() == [[1.5, 3], [2.5, 4]]
        assert drain(path).shape == (2, 2)
        assert read_table(path, ["__index_level_0__", "a"]).values.tolist() == [[7, 1.5], [9, 2.5]]
        pl.DataFrame(index).write_parquet(path)
        assert "holds a row index only" in line(read_table, path)

    def test_of_words_and_in_text(self, tmp_path, text):
        path = tmp_path / "t.parquet"
        pl.DataFrame({"a": [1.5], "__index_level_0__": ["x"]}).write_parquet(path)
        assert read_table(path).values.tolist() == [[1.5]]
        assert read_table(text("a,__index_level_0__,b\n1,7,2\n")).values.tolist() == [[1, 2]]


class TestStandardStreams:
    def give(self, monkeypatch, content):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    def test_read(self, monkeypatch, small_chunks, rng):
        values = rng.normal(size=(200, 2))
        rows = "".join(f"{a!r},{b!r}\n" for a, b in values.tolist())
        self.give(monkeypatch, f"a,b\n{rows}".encode())
        reader = open_blocks("-", block_rows=9)
        np.testing.assert_array_equal(np.concatenate(list(reader)), values)
        assert (reader.total_rows, reader.fraction) == (None, None)
        assert "only once" in line(list, reader)
        self.give(monkeypatch, b"")
        assert line(read_table, "-").startswith("standard input: is empty")

    def test_write(self, capfdbinary, monkeypatch):
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
        write_table("-", ["a", "b,c"], np.array([[1.0, 0.1]]), [True, False])
        assert out.getvalue() == b'a,"b,c"\n1,0.1\n'


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
class TestFullDisk:
    """A disk that is full in the middle: an error with the file's name, and nothing left."""

    @staticmethod
    @contextmanager
    def room(size):
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    @pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npy", ".npz"])
    @pytest.mark.parametrize("rows", [200, 10_000])
    @pytest.mark.parametrize("room", [0, 1000])
    def test_names_the_file_and_leaves_nothing(
        self, tmp_path, monkeypatch, suffix, rows, room, rng
    ):
        monkeypatch.setattr("pushforward.data.writers.CELLS_PER_PART", 500)
        path, values = tmp_path / f"t{suffix}", rng.normal(size=(rows, 2))
        with pytest.raises(OSError, match="File too large") as caught, self.room(room):
            write_table(path, ["a", "b"], values)
        assert caught.value.filename == str(path)
        assert os.listdir(tmp_path) == []

    def test_where_only_the_last_step_has_no_room(self, tmp_path, monkeypatch, rng):
        monkeypatch.setattr("pushforward.data.writers.CELLS_PER_PART", 500)
        values = rng.normal(size=(2000, 1))
        # The parts of a Parquet file have room; the rows of an archive have, and its own index has not.
        for name, room in (("t.parquet", 12_000), ("t.npz", 8 * 2000 + 128 + 40)):
            path = tmp_path / name
            write_table(path, ["a"], np.zeros((1, 1)))
            before = path.read_bytes()
            with pytest.raises(OSError, match="File too large") as caught, self.room(room):
                write_table(path, ["a"], values)
            assert caught.value.filename == str(path)
            assert path.read_bytes() == before
        assert sorted(os.listdir(tmp_path)) == ["t.npz", "t.parquet"]

    def test_standard_output_without_a_buffer_takes_all(self, monkeypatch):
        class Slow(io.RawIOBase):
            """Takes seven bytes at a time, as a pipe may under `python -u`."""

            text = b""

            def writable(self):
                return True

            def write(self, data):
                self.text += bytes(data[:7])
                return min(7, len(data))

        out = Slow()
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
        write_table("-", ["first", "second"], AWKWARD[:, :2])
        assert out.text.count(b"\n") == 4
        assert out.text.endswith(b"\n")


class TestPipes:
    """What can be read only once."""

    @pytest.fixture
    def pipe(self, tmp_path):
        def write(name, content):
            path = tmp_path / name
            os.mkfifo(path)
            # Opening a pipe waits for the other end.
            threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
            return path

        return write

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_named_pipe_is_read_once(self, pipe, small_chunks, rng):
        values = rng.normal(size=(200, 2))
        rows = "".join(f"{a!r}\t{b!r}\n" for a, b in values.tolist())
        path = pipe("t.tsv", f"a\tb\n{rows}".encode())
        reader = open_blocks(path, ["b", "a"], block_rows=9)
        np.testing.assert_array_equal(np.concatenate(list(reader)), values[:, ::-1])
        assert (reader.total_rows, reader.fraction) == (None, None)
        assert "only once" in line(list, reader)
        assert read_table(pipe("u.csv", b"a\n1\n")).values.tolist() == [[1]]
        assert "is empty; a header line" in line(read_table, pipe("v.csv", b""))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    @pytest.mark.parametrize("suffix", [".parquet", ".npy", ".npz"])
    def test_formats_that_cannot_be_piped(self, tmp_path, suffix):
        path = tmp_path / f"t{suffix}"
        os.mkfifo(path)
        message = line(read_table, path)
        assert "is a pipe or a device" in message
        assert "give - as the file" in message

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_are_not_written_over(self, tmp_path):
        os.mkfifo(tmp_path / "t.csv")
        (tmp_path / "null.npy").symlink_to(os.devnull)
        for name in ("t.csv", "null.npy"):
            assert "not a regular file" in line(check_output, tmp_path / name, force=True)

    def test_standard_input_that_is_closed(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(OSError, match="standard input is closed"):
            read_table("-")

    def test_a_disk_that_fails_is_told_with_the_file_s_name(self, text, monkeypatch):
        def fail(*_):
            raise OSError(errno.EIO, "Input/output error")
            yield

        path = text("a\n1\n")
        opened = open_blocks(path)
        monkeypatch.setattr(delimited, "record_chunks", fail)
        message = f"{path}: cannot be read (Input/output error)"
        assert line(list, opened) == line(read_table, path) == message


class TestArrays:
    def test_npy_shapes_and_types(self, tmp_path):
        path = tmp_path / "t.npy"
        np.save(path, np.asfortranarray(AWKWARD))
        np.testing.assert_array_equal(read_table(path).values, AWKWARD)
        np.save(path, np.array([True, False]))
        table = read_table(path)
        assert (table.values.tolist(), table.integer) == ([[1], [0]], (True,))
        for array, words in [
            (np.zeros((2, 2), complex), "complex"),
            (np.array(["a"]), "text"),
            (np.zeros((2, 2, 2)), "(2, 2, 2); rows by columns"),
            (np.float64(3), "shape ()"),
            (np.zeros((0, 3)), "no rows"),
            (np.zeros(3, [("a", float)]), "real numbers are expected"),
            (np.array(["2020-01-01"], "M8[D]"), "dates"),
        ]:
            np.save(path, array)
            assert words in line(read_table, path)
        np.save(path, np.array([{}], object), allow_pickle=True)
        assert "never unpickled" in line(read_table, path)

    def test_cut_short(self, tmp_path):
        path = tmp_path / "t.npy"
        np.save(path, np.zeros((100, 3)))
        path.write_bytes(path.read_bytes()[:-8])
        assert "cannot be read as NPY" in line(read_table, path)

    def test_npz(self, tmp_path):
        path = tmp_path / "t.npz"
        np.savez(path, train=AWKWARD, test=AWKWARD[:1], one=AWKWARD[:, 0])
        message = line(read_table, path)
        assert "train (3, 3), test (1, 3), one (3,)" in message
        assert message.endswith(f"choose one: {path}:train")
        np.testing.assert_array_equal(read_table(f"{path}:train").values, AWKWARD)
        assert read_table(f"{path}:one").names == ("one",)
        assert "no array 'x'; it holds train" in line(read_table, f"{path}:x")
        np.savez_compressed(path, np.asfortranarray(AWKWARD))
        np.testing.assert_array_equal(read_table(path, ["x1"]).values, AWKWARD[:, [1]])
        np.savez(path, a=np.arange(3), k=np.array(["x", "y", "z"]), b=np.ones(3))
        assert "'k' is not numeric (type <U1)" in line(read_table, path)
        table = read_table(path, ["b", "a"])
        assert (table.values.tolist(), table.integer) == ([[1, 0], [1, 1], [1, 2]], (False, True))
        np.savez(path, a=np.array([{}, {}], object))
        assert "object" in line(read_table, path)

    def test_damaged_npz_content(self, tmp_path):
        path = tmp_path / "t.npz"
        np.savez(path, a=np.arange(1000.0))
        data = bytearray(path.read_bytes())
        data[500] ^= 0xFF
        path.write_bytes(data)
        assert "cannot be read as NPZ" in line(read_table, path)

    def test_stand_in_names_say_where_columns_stand(self, tmp_path):
        """A model fitted to some columns of a nameless file finds them in it again, whatever their order."""
        path = tmp_path / "t.npy"
        np.save(path, np.arange(12.0).reshape(4, 3))
        for wanted in (["x1", "x0"], ["x2", "x0", "x1"], ["x2"]):
            values = read_table(path, wanted, by_position=True).values
            np.testing.assert_array_equal(values[0], [int(name[1]) for name in wanted])
        assert "no column 'x3'" in line(read_table, path, ["x3", "x0"], by_position=False)

    def test_unnamed_by_position(self, tmp_path):
        path = tmp_path / "t.npy"
        np.save(path, AWKWARD)
        assert open_blocks(path, ["a", "b", "c"], by_position=True).names == ("a", "b", "c")
        assert "holds 3 columns without names; 2 are expected ('a', 'b')" in line(
            open_blocks, path, ["a", "b"], by_position=True
        )
        assert "no columns 'a', 'b'" in line(open_blocks, path, ["a", "b"])

    def test_parquet_types(self, tmp_path):
        path = tmp_path / "t.parquet"
        frame = pl.DataFrame({"i": [1, 2], "f": [0.5, 1.5], "b": [True, False], "s": ["x", "y"]})
        frame = frame.with_columns(pl.date(2024, 1, 1).alias("day"), m=pl.lit(None))
        frame.write_parquet(path)
        message = line(read_table, path)
        assert "column 's' is not numeric (type String), nor is 'day'" in message
        assert message.endswith("--columns i,f,b,m")
        table = read_table(path, ["b", "i", "f"])
        assert table.values.tolist() == [[1, 1, 0.5], [0, 2, 1.5]]
        assert table.integer == (True, True, False)
        assert "2 cells missing, NaN or infinite, the first in row 1" in line(
            read_table, path, ["m"]
        )

    def test_huge_integers_are_not_flagged(self, tmp_path):
        path = tmp_path / "t.parquet"
        pl.DataFrame({"id": [2**60 + 1, 5]}).write_parquet(path)
        assert read_table(path).integer == (False,)

    def test_pyarrow_is_not_needed(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        for suffix in (".csv", ".parquet"):
            write_table(tmp_path / f"t{suffix}", ["a", "b", "c"], AWKWARD)
            np.testing.assert_array_equal(read_table(tmp_path / f"t{suffix}").values, AWKWARD)


class TestPaths:
    def test_sources(self, tmp_path, text):
        assert "no such file" in line(read_table, tmp_path / "no.csv")
        assert "is a directory" in line(read_table, tmp_path)
        message = line(read_table, text("a\n1\n", "t.xlsx"))
        assert "unknown format '.xlsx'; known are .csv, .tsv, .parquet, .npy, .npz" in message
        assert "t.csv.GZ: is packed; unpack it" in line(read_table, text("a\n1\n", "t.csv.GZ"))
        assert "at least 1" in line(open_blocks, text("a\n1\n"), block_rows=0)

    def test_targets(self, tmp_path, text, monkeypatch):
        check_output("-")
        check_output(tmp_path / "new.csv")
        old = text("a\n1\n", "old.csv")
        assert "exists already" in line(check_output, old)
        check_output(old, force=True)
        assert "does not exist" in line(check_output, tmp_path / "no" / "t.csv")
        assert "unknown format ''" in line(check_output, tmp_path / "t")
        (tmp_path / "d.csv").mkdir()
        assert "is a directory" in line(check_output, tmp_path / "d.csv")
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert "not writable" in line(check_output, tmp_path / "new.csv")

    def test_a_link_stays_a_link(self, tmp_path):
        real, link = tmp_path / "real.csv", tmp_path / "link.csv"
        real.write_text("a\n1\n")
        link.symlink_to(real)
        write_table(link, ["b"], np.ones((1, 1)))
        assert link.is_symlink()
        assert real.read_text() == "b\n1.0\n"

    def test_writer_arguments(self, tmp_path):
        path = tmp_path / "t.csv"
        assert "distinct column names" in line(open_writer, path, ["a", "a"])
        assert "1 integer flags for 2 columns" in line(open_writer, path, ["a", "b"], [True])
        assert "rows of 2 columns are expected" in line(
            write_table, path, ["a", "b"], np.zeros((2, 3))
        )
        values = np.array([[1.0], [np.nan]])
        assert "row 2 holds nan" in line(write_table, path, ["a"], values, [True])
        assert not re.findall("t.csv|pushforward", " ".join(os.listdir(tmp_path)))

    def test_select(self, text):
        table = read_table(text("a,b\n1,0.5\n")).select(["b"])
        assert (table.names, table.integer, table.values.tolist()) == (("b",), (False,), [[0.5]])
        assert "no column 'c'" in line(table.select, ["c"])


class TestFrames:
    """Tables whose cells stay as they stand."""

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a,b,c\n1,2,\n,,\n\n", None),
            ('a,b,c\n1,2,\n"x,y",7,""\n"v\nw",,\n', None),
            ("a,b,c\n1,2,3\n4,5\n", "1 row has fewer cells than the header, the first is row 2"),
            ('a,b,c\r\n"x\ny,",,\r\n\r\n"4"\r\n5,6\r\n', "2 rows have .* the first is row 3"),
        ],
    )
    def test_short_rows_are_counted(self, text, said, tmp_path):
        path = tmp_path / "x.csv"
        path.write_bytes(text.encode())
        if said is None:
            read_frame(path)
        else:
            with pytest.warns(InputWarning, match=said) as caught:
                read_frame(path)
            assert len(caught) == 1

    @pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst"])
    def test_packed_or_not_is_the_same(self, suffix, tmp_path):
        path = tmp_path / f"x{suffix}"

        def pack(text):
            data = text.encode()
            if suffix == ".csv.gz":
                data = gzip.compress(data)
            elif suffix == ".csv.zst":
                # One block that is stored as it is.
                head = bytes([0x20, len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little")
                data = b"\x28\xb5\x2f\xfd" + head + data
            path.write_bytes(data)

        pack('a ,"b,c",d\n1,"x\ny",\n,"5"" pipe",2\n')
        frame = read_frame(path)
        assert frame.columns == frame_names(path)
        assert frame.rows() == [("1", "x\ny", None), (None, '5" pipe', "2")]
        for text, message in [
            ("a,b,a\n1,2,3\n", "'a' occurs more than once"),
            ("a;b\n1;2\n", "seems to be separated by semicolons"),
            ("1.5,2\n1,2\n", "the first line holds numbers"),
            ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, the header has 2"),
        ]:
            pack(text)
            with pytest.raises(InputError, match=message):
                read_frame(path)
