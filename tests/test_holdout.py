"""Which rows are held out: at random, the last ones, or whole groups."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import pushforward as pf
from pushforward.architectures.typed import Typed
from pushforward.cli.app import app
from pushforward.draws import key_of
from pushforward.fitting.fit_typed import fit_typed
from pushforward.training.batches import MOST_HELD, holdout
from pushforward.training.holdout import group_codes, held_out
from pushforward.trust.holdout import mean_error

KEY = key_of(0)
SMALL = pf.architectures.RealNVP(layers=2, width=8)
SHORT = pf.Training(max_epochs=1)


def test_at_random_as_before():
    for one, other in zip(held_out(100, 0.1, KEY), holdout(100, 0.1, KEY), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_last_rows():
    train, held = held_out(100, 0.1, KEY, "last")
    assert sorted(held) == [*range(90, 100)]
    assert sorted(train) == [*range(90)]
    # The first of them are a sample.
    assert list(train) != sorted(train)
    train, held = held_out(1_000_000, 0.1, KEY, "last")
    assert train.max() == 899_999
    assert len(held) == MOST_HELD
    assert held.min() >= 900_000


@pytest.mark.parametrize("sizes", [[10] * 20, [500, 3, 2], [1] * 50, [1, 400]])
def test_whole_groups(rng, sizes):
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    train, held = held_out(len(codes), 0.1, KEY, "random", codes)
    assert not set(codes[train]) & set(codes[held])
    assert sorted([*train, *held]) == [*range(len(codes))]
    assert 0 < len(held) <= max(0.2 * len(codes), min(sizes))


def test_labels_of_any_kind():
    for labels in (list("aab"), np.array([2.5, 2.5, 1]), pl.Series("g", ["x", "x", "y"])):
        codes = group_codes(labels, 3)
        assert codes[0] == codes[1] != codes[2]
    for labels, message in (
        (["a", None, "b"], "row 2 has no label"),
        (pl.Series("who", [1.0, 1.0, None]), "groups by 'who': row 3"),
        (["a", "a", "a"], "every row has the label a; at least 2 groups"),
        (["a", "b"], "3 labels"),
    ):
        with pytest.raises(pf.InputError, match=message):
            group_codes(labels, 3)
    with pytest.raises(pf.InputError, match="exclude each other"):
        held_out(3, 0.1, KEY, "last", np.arange(3))
    with pytest.raises(pf.InputError, match="validation=0 holds nothing out"):
        held_out(3, 0.0, KEY, "last")
    with pytest.raises(pf.InputError, match="holdout='first' is unknown"):
        held_out(3, 0.1, KEY, "first")


def test_errors_of_groups(rng):
    """The error of a mean over groups of equal rows is that of as many rows as there are groups."""
    of_groups = rng.normal(size=200)
    values, groups = np.repeat(of_groups, 30), np.repeat(np.arange(200), 30)
    assert mean_error(values, groups) == pytest.approx(mean_error(of_groups), rel=1e-9)
    assert mean_error(values) < mean_error(values, groups) / 5
    assert mean_error(values[:30], groups[:30]) is None


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A file whose rows hang together by a column of text."""
    rng = np.random.default_rng(0)
    person = np.repeat([f"p{i:02d}" for i in range(30)], 20)
    level = np.repeat(rng.normal(size=30) * 5, 20)
    frame = pl.DataFrame(
        {
            "person": person,
            "a": level + 0.1 * rng.normal(size=600),
            "b": rng.normal(size=600),
        }
    )
    path = tmp_path_factory.mktemp("holdout") / "walk.csv"
    frame.write_csv(path)
    return frame, path


def test_the_estimator_says_how(walk):
    frame, _ = walk
    X = frame.select("a", "b").to_numpy()
    density = pf.FlowDensity(SMALL, training=SHORT, random_state=0)
    trust = density.fit(X, groups=frame["person"]).model_.trust
    assert trust["holdout"] == {"way": "groups", "by": "groups by 'person'", "held": 3, "of": 30}
    # Of rows that were independent it would be a quarter of that.
    assert trust["nats_error"] > 0.1


def test_typed_tables(walk):
    frame, _ = walk
    small = Typed(width=8, blocks=1, context=8, context_blocks=1)
    how = {"architecture": small, "training": SHORT, "measures": False}
    trust = fit_typed(frame.drop("person"), groups=frame["person"], **how).trust
    assert trust["holdout"]["held"] == 3
    assert trust["rows"] == 60
    trust = fit_typed(frame.drop("person"), holdout="last", **how).trust
    assert trust["holdout"] == {"way": "last"}


def test_the_command_line(walk, tmp_path):
    _, path = walk
    run = CliRunner()
    fit = ["fit", str(path), "-o", str(tmp_path / "m"), "--flow", "realnvp", "--max-epochs", "1"]
    fit += ["--set", "width=8", "--set", "layers=2", "--force"]
    done = run.invoke(app, [*fit, "--holdout-by", "person"])
    assert done.exit_code == 0, done.output
    assert "held out (all of 3 of 30 groups by 'person')" in done.stderr
    model = pf.load(tmp_path / "m").model_
    assert model.columns.names == ("a", "b")
    shown = run.invoke(app, ["inspect", str(tmp_path / "m")]).output
    assert "density of 60 held-out rows (all of 3 of 30 groups by 'person')" in shown
    for options, message in (
        (["--holdout-by", "persons"], "person"),
        (["--holdout-by", "person", "--holdout", "last"], "exclude each other"),
    ):
        failed = run.invoke(app, [*fit, *options]).exception
        assert isinstance(failed, pf.InputError)
        assert message in str(failed)
