"""Tables larger than memory: one pass of statistics, batches by row number, fits that resume to the same bits."""

import hashlib
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import pushforward as pf
from pushforward.cli.app import app
from pushforward.cli.numeric import counted_column_of
from pushforward.cli.streaming import first_rows
from pushforward.columns import Columns
from pushforward.data import statistics
from pushforward.data.statistics import Means, hashed, measured, sampled
from pushforward.data.stream import Stream
from pushforward.errors import InputError
from pushforward.fitting.fit_table import fit_table
from pushforward.fitting.streamed import LaneBatches
from pushforward.training.batches import Batch
from pushforward.training.lanes import Lanes

SMALL = pf.architectures.RealNVP(layers=2, width=8)


def table(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return pl.DataFrame(
        {
            "a": a,
            "b": a**2 + 0.1 * rng.standard_t(3, size=n),
            "n": 7 + 5 * rng.integers(0, 40, n),
            "m": rng.integers(0, 40, n) + np.where(np.arange(n) == n // 2, 0.5, 0.0),
        }
    )


def written(frame, folder: Path, sizes):
    """The frame in files of these numbers of rows."""
    start = 0
    for i, size in enumerate(sizes):
        path = folder / f"day={i}" / f"part-{i}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame[start : start + size].write_parquet(path)
        start += size
    assert start == len(frame)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(table(), tmp_path_factory.mktemp("rows"), [900, 1, 1500, 0, 599])


def in_order(folder):
    return np.concatenate([block for _, block in Stream(folder).open().blocks()])


class TestStatistics:
    def test_extremes_and_grids_are_exact_and_the_rest_is_near(self, folder):
        found = measured(Stream(folder).open(), 0, most=400)
        exact = Columns.fit(in_order(folder), ["a", "b", "n", "m"])
        some = Columns.fit(found.values, ["a", "b", "n", "m"])
        for one, other in zip(exact.kinds, some.kinds, strict=True):
            assert type(one) is type(other)
            assert (one.lower, one.upper) == (other.lower, other.upper)
            assert other.center == pytest.approx(one.center, abs=0.2 * one.scale)
        assert some.kinds[2].grid == exact.kinds[2].grid == 5
        assert some.kinds[3].kind == "continuous"
        # A sample alone does not know.
        alone = found.values[found.ranked]
        assert not np.array_equal(alone.min(0), in_order(folder).min(0))

    def test_the_divisor_of_all_rows(self, tmp_path):
        n = np.full(2000, 6.0)
        n[[0, 1000, 1999]] = 12, 18, 8
        written(pl.DataFrame({"n": n}), tmp_path, [2000])
        found = measured(Stream(tmp_path).open(), 0, most=4)
        assert np.gcd.reduce(np.diff(np.unique(found.values[:, 0])).astype(int)) == 2

    def test_halves_merge(self):
        whole = sampled(10_000, 300, seed=3)
        assert len(set(whole.tolist())) == 300
        halves = np.arange(5000), np.arange(5000, 10_000)
        least = [half[np.argsort(hashed(half, 3))[:300]] for half in halves]
        both = np.concatenate(least)
        np.testing.assert_array_equal(both[np.argsort(hashed(both, 3))[:300]], whole)
        assert set(sampled(10_000, 300, seed=4).tolist()) != set(whole.tolist())

    def test_blocks_of_hashes_do_not_matter(self, monkeypatch):
        whole = sampled(10_000, 300, seed=0)
        monkeypatch.setattr(statistics, "HASHED", 700)
        np.testing.assert_array_equal(sampled(10_000, 300, seed=0), whole)

    def test_rows_are_held_out_of_the_passes(self, folder):
        found = measured(Stream(folder).open(), 0, most=400)
        train, held, rows, left_out = found.split(0.1, 150, "random")
        assert (len(held), len(train), rows) == (150, 250, 3000)
        np.testing.assert_array_equal(np.sort(found.numbers[held]), left_out)
        train, held, rows, left_out = found.split(0.1, 150, "last")
        assert rows == 2700
        assert len(left_out) == 0
        assert found.numbers[held].min() >= 2700 > found.numbers[train].max()

    def test_places_that_differ_are_told_of(self, rng):
        means = Means()
        sorted_rows = np.sort(rng.normal(size=(40 * 8192, 1)), 0)
        for block in np.array_split(sorted_rows, 4):
            means.see(block)
        assert means.share(sorted_rows)[0] > 0.9
        even = Means()
        even.see(rng.permutation(sorted_rows))
        assert even.share(sorted_rows)[0] < 0.01


class TestBadInput:
    def test_a_bad_cell_names_file_and_row(self, tmp_path):
        frame = table()
        frame[2000, "b"] = float("nan")
        written(frame, tmp_path, [1500, 1500])
        with pytest.raises(InputError, match=r"part-1\.parquet: .*row 501, column 'b'"):
            measured(Stream(tmp_path).open(), 0)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (pl.DataFrame({"a": [1.0]}), "lacks column 'b', which .*1.parquet has"),
            (
                pl.DataFrame({"a": ["x"], "b": [1.0]}),
                "'a' holds text, in .*1.parquet it holds numbers",
            ),
            (
                pl.DataFrame({"a": [1.0], "b": [1.0], "c": [1.0]}),
                "has column 'c', which .*1.parquet lacks",
            ),
        ],
    )
    def test_files_that_disagree(self, tmp_path, other, message):
        pl.DataFrame({"a": [1.0], "b": [2.0]}).write_parquet(tmp_path / "1.parquet")
        other.write_parquet(tmp_path / "2.parquet")
        with pytest.raises(InputError, match=f"2.parquet: .*{message}"):
            Stream(tmp_path).open()

    def test_files_that_are_none(self, tmp_path):
        with pytest.raises(InputError, match="the pattern matches no tables"):
            Stream(f"{tmp_path}/*.parquet").open()
        (tmp_path / "1.parquet").write_bytes(b"")
        with pytest.raises(InputError, match=r"1\.parquet: is empty"):
            Stream(tmp_path).open()
        (tmp_path / "1.parquet").write_bytes(b"PAR1 and nothing")
        with pytest.raises(InputError, match=r"1\.parquet: cannot be read as Parquet"):
            Stream(tmp_path).open()
        pl.DataFrame({"a": pl.Series([], dtype=pl.Float64)}).write_parquet(tmp_path / "1.parquet")
        with pytest.raises(InputError, match="has no rows"):
            Stream(tmp_path).open()

    def test_a_file_that_changes(self, tmp_path):
        written(table(), tmp_path, [1500, 1500])
        files = Stream(tmp_path).open()
        files.read(1400, 1600)
        table(1500, seed=1).write_parquet(tmp_path / "day=1" / "part-1.parquet")
        files.read(0, 1500)
        with pytest.raises(InputError, match=r"part-1\.parquet: was changed"):
            files.read(1400, 1600)
        assert Stream(tmp_path).open().marks() != files.marks()

    def test_arguments_for_rows_in_memory(self, folder):
        with pytest.raises(InputError, match="names: not expected with a Stream"):
            fit_table(Stream(folder), names=["a"])


def test_folders_give_columns_where_they_are_named(folder):
    files = Stream(folder, columns=["a"], condition=["day"]).open()
    assert files.every == ("a", "day")
    np.testing.assert_array_equal(files.read(899, 902)[:, 1], [0, 1, 2])
    with pytest.raises(InputError, match="'minute'"):
        Stream(folder, condition=["minute"]).open()


def test_values_that_repeat_are_found_in_the_first_rows(folder):
    assert counted_column_of(first_rows(Stream(folder).open()), {}) == "n"
    assert counted_column_of(first_rows(Stream(folder, columns=["a", "b"]).open()), {}) is None


def test_batches_are_the_rows_of_lanes(folder):
    """Read ahead or not, whatever comes before."""
    files, values = Stream(folder).open(), in_order(folder)
    lanes = Lanes(3000, 16, seed=2, held=np.arange(5, 3000, 50), keep=0.5)

    def read(start, stop):
        return Batch(files.read(start, stop))

    parts, steps = 2, lanes.steps // 2
    batches = LaneBatches(lanes, parts, steps, read, "")
    for epoch, first, last in ((0, 0, 8), (0, 8, 16), (3, 5, 9), (0, steps - 3, steps), (1, 0, 4)):
        number, part = divmod(epoch, parts)
        expected = values[
            lanes.numbers(number, part * steps + first, part * steps + last).reshape(-1)
        ]
        found = batches.rows(epoch, first, last, 8, 0, 16).x
        assert found.shape == (8 * 16, 4)
        np.testing.assert_array_equal(found[: len(expected)], expected)
        # Of a host that serves some places of each batch.
        some = batches.rows(epoch, first, last, 8, 5, 11).x.reshape(8, 6, 4)
        np.testing.assert_array_equal(some, found.reshape(8, 16, 4)[:, 5:11])
    batches.close()


def bits(model) -> str:
    leaves = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model.flow)]
    return hashlib.sha256(b"".join(leaves)).hexdigest()


class TestFit:
    @pytest.fixture(autouse=True)
    def small_sample(self, monkeypatch):
        """As of a large table: most rows are read while steps run."""
        monkeypatch.setattr(statistics, "SAMPLE", 1000)
        monkeypatch.setattr(statistics, "HELD_BYTES", 1000)

    def fitted(self, source, **others):
        training = pf.Training(batch=16, max_epochs=4, learning_rate=1e-3)
        return fit_table(
            Stream(source), architecture=SMALL, training=training, trust=False, **others
        )

    def test_files_resumed_fits_and_the_number_of_them(self, folder, tmp_path, monkeypatch):
        whole = self.fitted(folder)
        assert whole.summary["rows"] == 2700
        assert whole.columns.kinds[0].lower == in_order(folder)[:, 0].min()
        # The same rows in other files.
        other = written(table(), tmp_path / "other", [1, 2000, 999])
        np.testing.assert_array_equal(in_order(other), in_order(folder))
        with monkeypatch.context() as held:
            # Whether rows are held in memory or read again does not show.
            held.setattr(statistics, "HELD_BYTES", 1 << 29)
            assert bits(self.fitted(other)) == bits(whole)
        # Stopped and resumed.
        seen = []

        def stop(step):
            seen.append(step)
            return sum(s.step > 0 for s in seen) == 1

        path = tmp_path / "checkpoint"
        first = self.fitted(folder, progress=stop, checkpoint=path)
        assert first.summary["stopped"] == "interrupted"
        assert bits(first) != bits(whole)
        resumed = self.fitted(folder, checkpoint=path, resume=True)
        assert resumed.summary["stopped"] == "finished"
        assert bits(resumed) == bits(whole)
        # Another table is noticed.
        table(3000, seed=1).write_parquet(other / "day=0" / "part-0.parquet")
        with pytest.raises(InputError, match="belongs to another fit: data"):
            self.fitted(other, checkpoint=path, resume=True)

    def test_the_command_line(self, folder, tmp_path):
        run = CliRunner()
        fit = ["fit", str(folder), "-o", str(tmp_path / "m"), "--flow", "realnvp", "--force"]
        fit += ["--max-epochs", "1", "--set", "width=8", "--set", "layers=2", "--train", "batch=64"]
        done = run.invoke(app, [*fit, "--holdout", "last", "--columns", "a,b"])
        assert done.exit_code == 0, done.output
        assert "looking at all rows once" in done.stderr
        model = pf.load(tmp_path / "m").model_
        assert model.columns.names == ("a", "b")
        assert model.trust["holdout"] == {"way": "last"}
        pattern = ["fit", f"{folder}/**/*.parquet", *fit[2:], "--condition", "day", "--ignore", "n"]
        assert run.invoke(app, [*pattern, "--train", "validation=0"]).exit_code == 0
        model = pf.load(tmp_path / "m").model_
        assert model.columns.names == ("a", "b", "m")
        assert model.condition.names == ("day",)
        for options, message in (
            (["--holdout-by", "n"], "--no-stream reads all of it into memory"),
            (["--flow", "typed"], "typed tables are not streamed"),
        ):
            failed = run.invoke(app, [*fit, *options]).exception
            assert isinstance(failed, InputError)
            assert message in str(failed)

    def test_in_memory_if_asked(self, folder, tmp_path):
        run = CliRunner()
        fit = ["fit", str(folder), "-o", str(tmp_path / "m"), "--flow", "realnvp", "--no-stream"]
        fit += ["--max-epochs", "1", "--set", "width=8", "--set", "layers=2", "--train", "batch=64"]
        done = run.invoke(app, [*fit, "--train", "validation=0"])
        assert done.exit_code == 0, done.output
        model = pf.load(tmp_path / "m").model_
        assert model.summary["rows"] == 3000
