"""Tables in many files: which they are, and what commands make of them."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import polars as pl
import pyarrow.parquet
import pytest

import pushforward as pf
from one_line import line
from pushforward.architectures import RealNVP
from pushforward.architectures.typed import Typed
from pushforward.data import arrays, output_folder
from pushforward.data.footer import row_groups
from pushforward.data.output_folder import open_folder
from pushforward.data.parts import holds_tables, in_parts, parts_of, share_of
from pushforward.data.tables import open_blocks, read_table
from pushforward.data.workspace import Workspace, sweep
from pushforward.fitting.fit_table import fit_table
from pushforward.models.table_file import save_table_model
from pushforward.models.typed_file import save_typed_table
from test_cli import mistake, start

fit_typed_module = importlib.import_module("pushforward.fitting.fit_typed")
PARTS = ("day=1/p2.parquet", "day=1/p10.csv", "day=2/a.npy", "day=2/b.tsv", "day=10/c.npz")


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


# Never puts the third file in place.
STUCK = """
import sys, time
from pushforward.data import writers
put, count = writers.put_in_place, 0
def stuck(*paths):
    global count
    count += 1
    if count == 3:
        time.sleep(600)
    put(*paths)
writers.put_in_place = stuck
from pushforward.cli import main
sys.exit(main())
"""


def numbers(n, seed=0):
    x = np.random.default_rng(seed).normal(5.0, 2.0, n)
    return pl.DataFrame({"x": x, "y": x**2 + np.random.default_rng(seed + 1).normal(0, 1, n)})


def put(frame, path):
    """Write a frame in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, frame.to_numpy())
    elif path.suffix == ".npz":
        np.savez(path, **{name: frame[name].to_numpy() for name in frame.columns})
    elif path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Parts of every format, all of their rows in one file, a flow of them and a typed model."""
    folder = tmp_path_factory.mktemp("parts")
    every = numbers(600)
    for i, name in enumerate(PARTS):
        put(every[120 * i : 120 * (i + 1)], folder / "data" / name)
    put(every, folder / "all.parquet")
    tiny = {"architecture": RealNVP(layers=1, width=8), "training": pf.Training(max_epochs=1)}
    model = fit_table(every.to_numpy(), names=every.columns, trust=False, **tiny)
    save_table_model(model, folder / "m.st")
    labels = every.with_columns(kind=pl.Series(["a", "b", None] * 200))
    training = pf.Training(max_steps=30, batch=64)
    small = {"width": 16, "blocks": 1, "context": 8, "context_blocks": 1, "components": 2}
    with pytest.MonkeyPatch.context() as patch:
        # What compiles longest, and is not read.
        for measure in ("agreement", "privacy"):
            patch.setattr(fit_typed_module, f"{measure}_report", lambda *_, **__: {})
        typed = fit_typed_module.fit_typed(
            labels, architecture=Typed(**small), training=training, seed=0
        )
    save_typed_table(typed, folder / "t.st")
    for i in range(3):
        put(labels[200 * i : 200 * (i + 1)], folder / "typed" / f"p{i}.csv")
    put(labels, folder / "labels.csv")
    return folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    """The working directory is a copy of all that."""
    folder = shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


def scores(folder, names=PARTS):
    """All rows of the results, in order."""
    return np.concatenate([read_table(Path(folder) / name).values for name in names])


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


class TestScore:
    def test_parts_are_the_rows_of_one_file(self, run):
        one = run("score", "m.st", "all.parquet", "-o", "all.npy")
        result = run("score", "m.st", "data/", "-o", "out")
        assert result.code == 0, result.err
        assert (scores("out") == np.load("all.npy")).all()
        assert files("out") == sorted((*PARTS, ".pushforward"))
        first, *progress, last = result.err.splitlines()
        assert first == "5 parts"
        assert any("part 3 of 5" in line for line in progress)
        # What is said of all rows is what is said of one file, but for where the least is.
        assert last.split(" (row")[0] == one.err.splitlines()[-1].split(" (row")[0]
        assert " of data/day=" in last

    def test_typed_tables_and_given_columns(self, run):
        options = ("--given", "x", "--per-column")
        one = run("score", "t.st", "labels.csv", "-o", "all.csv", *options)
        result = run("score", "t.st", "typed/p*.csv", "-o", "out", *options)
        assert result.code == one.code == 0, result.err
        parts = [read_table(f"out/p{i}.csv") for i in range(3)]
        found, expected = np.concatenate([part.values for part in parts]), read_table("all.csv")
        assert parts[0].names == expected.names
        np.testing.assert_allclose(found, expected.values, rtol=1e-5, atol=1e-5)

    def test_done_parts_are_skipped(self, run):
        assert run("score", "m.st", "data", "-o", "out", "--quiet").code == 0
        Path("out", PARTS[1]).unlink()
        # An input that has changed since.
        put(numbers(7), Path("data", PARTS[0]))
        os.utime(Path("data", PARTS[0]), (time.time() + 1,) * 2)
        before = {name: Path("out", name).stat().st_mtime_ns for name in PARTS[2:]}
        result = run("score", "m.st", "data", "-o", "out")
        assert result.err.startswith("5 parts, 3 done already\n")
        assert {name: Path("out", name).stat().st_mtime_ns for name in PARTS[2:]} == before
        assert len(read_table(Path("out", PARTS[0])).values) == 7

    def test_workers_divide_the_files(self, run):
        for worker in ("2/2", "1/2"):
            assert run("score", "m.st", "data", "-o", "out", "--part", worker).code == 0
        assert run("score", "m.st", "data", "-o", "whole", "--quiet").code == 0
        assert (scores("out") == scores("whole")).all()
        assert files("out") == files("whole")
        assert "--part 3/2" in mistake(run("score", "m.st", "data", "-o", "o", "--part", "3/2"))
        line = mistake(run("score", "m.st", "all.parquet", "-o", "o.csv", "--part", "1/2"))
        assert "all.parquet is one file" in line

    def test_results_of_another_run_are_no_results(self, run):
        assert run("score", "t.st", "typed", "-o", "out", "--quiet").code == 0
        other = ("score", "t.st", "typed", "-o", "out", "--given", "x")
        assert "another run wrote (--given differs)" in mistake(run(*other))
        assert "(the input differs)" in mistake(
            run("score", "t.st", "typed/../labels.csv*", "-o", "out")
        )
        before = Path("out/p0.csv").read_bytes()
        # A run that replaces them and is killed at once leaves none that would pass for its own.
        with open_folder(Path("out"), {"model": "another"}, force=True):
            pass
        Path("out/.pushforward").write_text("")
        assert "out/p0.csv: exists already" in mistake(run(*other))
        assert run(*other, "--force", "--quiet").code == 0
        assert Path("out/p0.csv").read_bytes() != before

    def test_two_runs_at_once(self, run, here, monkeypatch):
        monkeypatch.setattr(output_folder, "PATIENCE", 0.1)
        words = ("score", "m.st", "data", "-o", "out")
        assert run(*words, "--part", "1/2").code == 0
        record = (here / "out/.pushforward").read_text()
        for share, more in (((1, 1), ("--part", "2/2")), ((1, 2), ()), ((1, 2), ("--part", "1/2"))):
            with open_folder(here / "out", json.loads(record), share):
                assert "another run is writing there" in mistake(run(*words, *more))
        with open_folder(here / "out", json.loads(record), (1, 2)):
            assert run(*words, "--part", "2/2").code == 0
        assert files("out") == sorted((*PARTS, ".pushforward"))

    def test_bad_input(self, run, here):
        assert "matches no tables" in mistake(run("score", "m.st", "data/*.xyz", "-o", "out"))
        assert "name a folder" in mistake(run("score", "m.st", "data"))
        assert "all.parquet: is a file; name a folder" in mistake(
            run("score", "m.st", "data", "-o", "all.parquet")
        )
        assert "lies in data" in mistake(run("score", "m.st", "data", "-o", "data/out"))
        put(numbers(3), here / "data/day=1/p2.csv")
        (here / "data/day=1/p2.pq").write_bytes(b"")
        line = mistake(run("score", "m.st", "data", "-o", "out"))
        assert (
            "data/day=1/p2.pq: would be scored into out/day=1/p2.parquet, as data/day=1/p2.parquet"
            in line
        )
        (here / "data/day=1/p2.pq").unlink()
        empty = here / "data/day=3/empty.csv"
        empty.parent.mkdir()
        empty.write_bytes(b"")
        assert "data/day=3/empty.csv: is empty" in mistake(
            run("score", "m.st", "data", "-o", "out")
        )
        put(numbers(3).clear(), empty.with_suffix(".parquet"))
        empty.unlink()
        assert "empty.parquet: has no rows" in mistake(run("score", "m.st", "data", "-o", "out"))
        for frame, words in (
            (numbers(3).drop("y"), "lacks column 'y', which data/day=1/p2.csv has"),
            (numbers(3).with_columns(pl.col("y").cast(pl.String)), "column 'y' holds text, in"),
        ):
            put(frame, empty.with_suffix(".parquet"))
            put(numbers(3), here / "data/day=1/p1.parquet")
            line = mistake(run("score", "m.st", "data/**/*.parquet", "-o", "out"))
            assert "data/day=3/empty.parquet: " in line
            assert words.replace("p2.csv", "p1.parquet") in line
        assert files("out") == [".pushforward"]

    def test_a_damaged_part_stops_and_what_is_done_stays(self, run, here):
        path = here / "data" / PARTS[3]
        path.write_text(path.read_text().replace("\n", "\nNA\t1\n", 1))
        result = run("score", "m.st", "data", "-o", "out")
        assert result.code == 2
        assert result.err.splitlines()[-1].startswith(
            f"pushforward: data/{PARTS[3]}: at least 1 cell missing"
        )
        assert files("out") == sorted((*PARTS[:3], ".pushforward"))


class TestSample:
    def test_parts_are_the_rows_of_one_file(self, run):
        words = ("sample", "m.st", "-n", "20000", "--seed", "3")
        assert run(*words, "-o", "one.parquet").code == 0
        assert "3 parts" in run(*words, "-o", "out", "--parts", "3").err
        for worker in ("2/2", "1/2"):
            result = run(*words, "-o", "shared", "--parts", "3", "--part", worker)
            assert result.code == 0, result.err
        one = pl.read_parquet("one.parquet")
        for folder in ("out", "shared"):
            assert files(folder) == [".pushforward", *(f"part-{i}.parquet" for i in (1, 2, 3))]
            assert pl.read_parquet(f"{folder}/*.parquet").equals(one)
        Path("out/part-2.parquet").unlink()
        result = run(*words, "-o", "out", "--parts", "3")
        assert "in 1 part in out, 2 parts done before" in result.err
        assert pl.read_parquet("out/*.parquet").equals(one)
        other = ("sample", "m.st", "-n", "20000", "-o", "out", "--parts", "3")
        assert "(--seed differs)" in mistake(run(*other))
        assert "20,000 rows are 3 blocks" in mistake(run(*words, "-o", "o", "--parts", "4"))
        assert "Say so by --parts" in mistake(run(*words, "-o", "o.csv", "--part", "1/2"))

    def test_typed_draws_given_cells(self, run):
        pl.DataFrame({"kind": ["a", "b"], "x": [None, 5.0]}).write_parquet("given.parquet")
        words = ("sample", "t.st", "-n", "5000", "--given", "given.parquet")
        assert run(*words, "-o", "one.parquet", "--quiet").code == 0
        assert run(*words, "-o", "out", "--parts", "2", "--quiet").code == 0
        parts = [pl.read_parquet(f"out/part-{i}.parquet") for i in (1, 2)]
        assert [len(part) for part in parts] == [4096, 5904]
        assert pl.concat(parts).equals(pl.read_parquet("one.parquet"))
        line = mistake(run(*words, "-o", "o", "--parts", "2", "--where", "x>5"))
        assert "--parts 2: does not go with --where" in line


class TestFolders:
    def test_columns_that_only_folders_name(self, here):
        part = parts_of("data/day=10/*.npz")[0]
        assert part.folders["day"] == "10"
        x = numbers(600)["x"].to_numpy()[480:]
        blocks = open_blocks(part.path, ["day", "x"], 50, constants=part.folders)
        found = np.concatenate([*blocks])
        assert blocks.names == ("day", "x")
        assert (found == np.stack([np.full(120, 10.0), x], axis=1)).all()
        # A column of the file comes first, and what nobody knows is missing.
        own = open_blocks(part.path, ["x"], constants={"x": "7"})
        assert (next(iter(own))[:, 0] == x).all()
        assert "no column 'z'" in line(open_blocks, part.path, ["z", "x"], constants=part.folders)
        text = line(open_blocks, part.path, ["day", "x"], constants={"day": "mon"})
        assert "its folder says day=mon; a number is expected" in text
        missing = open_blocks(part.path, ["day", "x"], constants={"day": None})
        assert "column 'day' (missing)" in line(list, missing)

    def test_typed_models_read_them_too(self, run):
        frame = pl.read_csv("typed/p0.csv")
        put(frame.drop("x").head(20), Path("flat/x=4.5/p.csv"))
        put(frame.with_columns(x=4.5).head(20), Path("full/p.csv"))
        for folder in ("flat", "full"):
            result = run("score", "t.st", folder, "-o", f"{folder}-out", "--quiet")
            assert result.code == 0, result.err
        assert (scores("flat-out/x=4.5", ["p.csv"]) == scores("full-out", ["p.csv"])).all()


class TestRowGroups:
    @pytest.mark.parametrize("compression", ["zstd", "uncompressed"])
    def test_footers_and_slices(self, tmp_path, monkeypatch, compression):
        frame = numbers(1000).with_columns(
            name=pl.lit("é" * 300), flag=pl.col("x") > 5, list=pl.concat_list("x", "y")
        )
        path = tmp_path / "t.parquet"
        frame.write_parquet(path, row_group_size=130, compression=compression)
        groups = row_groups(path)
        assert groups is not None
        assert groups[:2] == [130, 130]
        assert sum(groups) == 1000
        # Written by another engine.
        other = tmp_path / "o.parquet"
        pyarrow.parquet.write_table(frame.to_arrow(), other, row_group_size=300)
        assert row_groups(other) == [300, 300, 300, 100]
        # Short groups go together, and slices end where groups do; long ones are cut.
        for cells, most, slices in (
            (600, 1 << 20, [(0, 300), (300, 300), (600, 300), (900, 100)]),
            (1300, 1 << 20, [(0, 600), (600, 400)]),
            (200, 200, [(0, 100), (100, 100), (200, 100), (300, 100)]),
        ):
            monkeypatch.setattr(arrays, "CELLS_AT_ONCE", cells)
            monkeypatch.setattr(arrays, "CELLS_OF_A_GROUP", most)
            assert arrays._slices(other, 1000, 2)[:4] == slices
            found = np.concatenate([*open_blocks(other, ["x", "y"])])
            assert (found == frame.select("x", "y").to_numpy()).all()

    def test_what_is_no_footer(self, tmp_path):
        path = put(numbers(100), tmp_path / "t.parquet")
        whole = path.read_bytes()
        for damaged in (b"", whole[:-4], whole[:-8] + b"\xff\xff\xff\x7fPAR1", whole[-60:]):
            path.write_bytes(damaged)
            assert row_groups(path) is None


class TestKills:
    def test_a_killed_scorer_loses_nothing(self, run, here):
        """Only the file in progress is done again; what the killed process left of it is swept."""
        assert run("score", "m.st", "data", "-o", "whole", "--quiet").code == 0
        process = start("score", "m.st", "data", "-o", "out", program=("-c", STUCK), cwd=here)
        try:
            # Once something is written, the lock is held; what has none yet may be swept, and is made again.
            while not (left := [*Path("out/day=2").glob(".pushforward-*/*.*")]):
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            # Another process does not take it for what a killed one left.
            sweep(Path("out/day=2"))
            assert left[0].exists()
        finally:
            process.kill()
            process.communicate()
        before = {name: Path("out", name).stat().st_mtime_ns for name in PARTS[:2]}
        assert set(files("out")) & set(PARTS) == set(PARTS[:2])
        result = run("score", "m.st", "data", "-o", "out")
        assert result.err.startswith("5 parts, 2 done already\n")
        assert {name: Path("out", name).stat().st_mtime_ns for name in PARTS[:2]} == before
        assert files("out") == files("whole")
        assert (scores("out") == scores("whole")).all()

    def test_workspaces(self, tmp_path):
        alive, dead = (Workspace(tmp_path / "t.csv") for _ in range(2))
        # As if its process were gone.
        dead._lock.close()
        (tmp_path / ".pushforward-early").mkdir()
        (tmp_path / ".pushforward-old").mkdir()
        (tmp_path / ".pushforward-old" / "of-0.4.csv").write_text("a\n")
        sweep(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([alive.path, tmp_path / ".pushforward-old"])
        alive.remove()
        assert not alive.path.exists()


class TestDask:
    @pytest.fixture(autouse=True)
    def here_and_now(self):
        with dask.config.set(scheduler="synchronous"):
            yield

    @pytest.mark.parametrize("as_bytes", [False, True])
    def test_scores_are_those_of_the_command(self, run, as_bytes):
        assert run("score", "m.st", "all.parquet", "-o", "all.npy", "--quiet").code == 0
        frame = dd.from_pandas(pl.read_parquet("all.parquet").to_pandas(), npartitions=4)
        # Engines leave empty partitions, and columns in another order.
        frame = frame[["y", "x"]].partitions[[0, 1, 2, 3]]
        frame = dd.concat([frame, frame.partitions[:1].query("x > 1e9")])
        found = pf.dask.score(frame, Path("m.st").read_bytes() if as_bytes else "m.st")
        assert (found.name, found.dtype, found.npartitions) == ("log_prob", np.float64, 5)
        assert (found.compute().to_numpy() == np.load("all.npy")[:, 0]).all()

    def test_scores_of_typed_tables(self, run):
        assert run("score", "t.st", "labels.csv", "-o", "all.npy", "--quiet").code == 0
        pl.read_csv("labels.csv").write_parquet("labels.parquet")
        frame = dd.read_parquet("labels.parquet").repartition(npartitions=2)
        found = pf.dask.score(frame, "t.st").compute()
        np.testing.assert_allclose(found, np.load("all.npy")[:, 0], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("name", ["m.st", "t.st"])
    def test_draws_are_those_of_the_command(self, run, name):
        words = ("sample", name, "-n", "9000", "--seed", "3", "-o", "one.parquet", "--quiet")
        assert run(*words).code == 0
        drawn = pf.dask.sample(name, 9000, 3, npartitions=2)
        found, one = drawn.compute(), pl.read_parquet("one.parquet")
        assert list(drawn.dtypes) == list(found.dtypes)
        assert pl.from_pandas(found.reset_index(drop=True)).equals(one)
        # More partitions than blocks.
        assert len(pf.dask.sample(name, 10, 3, npartitions=3).compute()) == 10

    def test_bad_input(self, here):
        frame = dd.from_pandas(pl.read_parquet("all.parquet").to_pandas(), npartitions=2)
        assert "lacks column 'y'" in line(pf.dask.score, frame[["x"]], "m.st")
        assert "none.st: no such file" in line(pf.dask.score, frame, "none.st")
        assert "n=0" in line(pf.dask.sample, "m.st", 0, 1, 1)
        broken = pf.dask.score(frame.assign(y=frame.y.where(frame.x < 9)), "m.st")
        assert "column 'y'" in line(broken.compute)


@pytest.mark.nightly
def test_a_killed_dask_worker_loses_nothing(here):
    """Each row once and the mean to the digit, while one of two workers is killed between partitions."""
    from distributed import Client, LocalCluster

    table = pl.concat([numbers(2000, seed) for seed in range(40)]).with_row_index("id")
    for i in range(40):
        put(table[2000 * i : 2000 * (i + 1)], here / "many" / f"p{i:02}.parquet")
    model = (here / "m.st").read_bytes()
    with dask.config.set(scheduler="synchronous"):
        expected = pf.dask.score(dd.read_parquet("many/*.parquet"), model).compute().to_numpy()
    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        frame = dd.read_parquet("many/*.parquet")
        scored = frame.assign(log_prob=pf.dask.score(frame, model))
        job = client.compute(scored.to_parquet("scored", compute=False))
        while len([*Path("scored").glob("*.parquet")]) < 3:
            assert job.status != "error", job.exception()
            time.sleep(0.02)
        before = len([*Path("scored").glob("*.parquet")])
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        job.result(timeout=300)
    assert before < 40
    found = pl.read_parquet("scored/*.parquet").sort("id")
    assert found["id"].to_list() == list(range(80_000))
    assert (found["log_prob"].to_numpy() == expected).all()


@pytest.mark.nightly
@pytest.mark.parametrize("engine", ["ray", "pyspark", "duckdb"])
def test_recipes(engine, tmp_path):
    """Those of docs/guide-scale.md, where the engine is installed."""
    pytest.importorskip(engine)
    page = (Path(__file__).parents[1] / "docs" / "guide-scale.md").read_text()
    code = page.partition(f'title="recipe_{engine}.py"\n')[2].partition("```")[0]
    every = numbers(600).select(pl.col("x").alias("hour"), "y", pl.col("x").alias("air"))
    every = every.rename({"y": "delay"}).with_columns(pl.col("air") ** 2)
    tiny = {"architecture": RealNVP(layers=1, width=8), "training": pf.Training(max_epochs=1)}
    model = fit_table(every.to_numpy(), names=every.columns, **tiny)
    save_table_model(model, tmp_path / "m.safetensors")
    for i in range(3):
        put(every[200 * i : 200 * (i + 1)], tmp_path / f"rides/day={i}/p.parquet")
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=env)
    found = pl.read_parquet(
        tmp_path / ("scored.parquet" if engine == "duckdb" else "scored/*.parquet")
    )
    found = found.sort("hour")
    expected = model.log_prob(found.select("hour", "delay", "air").to_numpy())
    np.testing.assert_allclose(found["log_prob"], expected, rtol=1e-5)
