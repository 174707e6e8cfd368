"""How far a typed table can be trusted: conditionals that follow from the joint, agreement with them, privacy."""

import itertools
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward.architectures.typed import Typed
from pushforward.cli import main
from pushforward.columns.marginal import Marginal
from pushforward.columns.typed_columns import TypedColumns
from pushforward.errors import InputError, InputWarning
from pushforward.fitting.fit_typed import fit_typed
from pushforward.heads import Cell
from pushforward.models import exact
from pushforward.models.exact import exact_log_prob
from pushforward.models.typed_file import save_typed_table
from pushforward.trust import privacy
from pushforward.trust.agreement import (
    agreement_report,
    agreement_warnings,
    format_agreement,
)
from pushforward.trust.privacy import format_privacy, privacy_report, privacy_warnings

SMALL = {
    "width": 24,
    "blocks": 1,
    "context": 16,
    "context_blocks": 1,
    "components": 4,
    "dropout": 0.0,
}


def table(n=600, seed=0):
    """Labels and whole numbers, some of them rare."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, n), rng.integers(0, 3, n)
    names = np.array(["x", "y", "z", *[f"rare{i}" for i in range(40)]])
    rare = rng.uniform(size=n) < 0.08
    return pl.DataFrame(
        {
            "a": a == 1,
            "b": names[np.where(rare, 3 + np.arange(n) % 40, b)],
            "w": np.where(rng.uniform(size=n) < 0.05, rng.integers(5, 18, n), (a + b) % 4),
            "d": np.array(["low", "mid", "high"])[(a + b + rng.integers(0, 2, n)) % 3],
        }
    )


@pytest.fixture(scope="module")
def fitted():
    return fit_typed(
        table(), architecture=Typed(**SMALL), training=pf.Training(max_steps=80, batch=64), seed=0
    )


@pytest.fixture(scope="module")
def joint(fitted):
    """All rows and their probabilities. "new" stands for all labels without a level."""
    columns = dict(zip(fitted.columns.names, fitted.columns.modelled, strict=True))
    # The sums below are over rare values too.
    assert columns["b"].labels.others > 20
    assert columns["w"].labels.others > 5
    labels = {name: [*columns[name].labels.levels, "new"] for name in "bd"}
    rows = pl.DataFrame(
        list(itertools.product([False, True], labels["b"], range(-60, 100), labels["d"])),
        schema=list("abwd"),
        orient="row",
    )
    p = np.exp(fitted.log_prob(rows))
    for name in "bd":
        p *= np.where(rows[name] == "new", columns[name].labels.unseen, 1)
    assert p.sum() == pytest.approx(1.0, abs=2e-3)
    return rows.with_columns(p=pl.Series(p))


def marginal(fitted, joint, names):
    """The joint summed over all columns but these: rows, and log-probabilities of one label each."""
    found = joint.group_by(names).agg(pl.col("p").sum().log()).filter(pl.col("p") > -9)
    log_p = found["p"].to_numpy().copy()
    for column in fitted.columns.modelled:
        if column.name in names and column.name in "bd":
            log_p -= np.where(found[column.name] == "new", np.log(column.labels.unseen), 0.0)
    return found.drop("p"), log_p


class TestExact:
    @pytest.mark.parametrize("given", [[], ["d"]])
    def test_is_what_the_joint_says(self, fitted, joint, given):
        frames, parts = [], []
        for names in (["a"], ["w"], ["a", "b"]):
            rows, log_p = marginal(fitted, joint, [*names, *given])
            if given:
                others, log_q = marginal(fitted, joint, given)
                of_given = dict(zip(others[given[0]], log_q, strict=True))
                log_p = log_p - np.array([of_given[value] for value in rows[given[0]]])
            frames.append(rows)
            parts.append(log_p)
        # Rows with gaps of all patterns side by side.
        order = np.random.default_rng(0).permutation(sum(map(len, parts)))
        rows = pl.concat(frames, how="diagonal")[order]
        log_p = np.concatenate(parts)[order]
        found = exact_log_prob(fitted, rows, given, draws=2000, absent=True)
        assert (found.error < 0.1).all()
        drawn = found.error > 0
        np.testing.assert_allclose(found.log_prob[~drawn], log_p[~drawn], atol=1e-4)
        one_pass = fitted.log_prob(rows, given, absent=True)
        scores, direct = (
            (values - log_p)[drawn] / found.error[drawn] for values in (found.log_prob, one_pass)
        )
        # About 30 rows: over eight seeds this was 0.6 to 1.2, and 83 to 100 % of rows within two errors.
        assert np.sqrt(np.square(scores).mean()) < 1.6
        assert np.abs(scores).max() < 5
        # One pass differs by more than that: there is something to repair.
        assert np.sqrt(np.square(direct).mean()) > 4

    def test_nothing_is_drawn_where_nothing_has_to_be(self, fitted):
        rows = table(30, seed=3)
        for given, targets in ([[], None], [[], ["d"]], [["d"], ["w"]]):
            found = exact_log_prob(fitted, rows, given, targets=targets, draws=7)
            assert (found.error == 0).all()
            assert (found.effective_draws == 7).all()
        np.testing.assert_allclose(
            exact_log_prob(fitted, rows).log_prob, fitted.log_prob(rows), rtol=1e-5
        )

    def test_repeats_and_reports(self, fitted):
        rows, seen = table(700, seed=4), list[int]()
        first = exact_log_prob(fitted, rows, ["a"], draws=16, progress=seen.append)
        again = exact_log_prob(fitted, rows, ["a"], draws=16)
        assert (first.log_prob == again.log_prob).all()
        assert seen == [256, 512, 700]
        other = exact_log_prob(fitted, rows, ["a"], draws=16, seed=1)
        assert np.abs(first.log_prob - other.log_prob).max() > 0

    def test_few_effective_draws_are_warned_of(self, fitted):
        rows = table(20, seed=4)
        with pytest.warns(InputWarning, match="20 of 20 rows have fewer than 5 effective draws"):
            exact_log_prob(fitted, rows, targets=["a"], draws=4)
        with pytest.raises(InputError, match="draws=1"):
            exact_log_prob(fitted, rows, draws=1)

    def test_draws_have_the_share_of_the_marginal(self, fitted, monkeypatch):
        monkeypatch.setattr(exact, "FLOOR", 0.5)
        n, rng = 40_000, np.random.default_rng(0)
        same = Cell(np.zeros(n, np.int32), np.zeros(n), np.zeros(n), np.zeros(n))
        places = [column.name for column, _ in fitted.columns.places]
        for name in "bw":
            labels = fitted.columns.modelled["abwd".index(name)].labels
            values = exact._values(fitted.columns, places.index(name), same, rng)
            shares = np.bincount(labels.codes(values), minlength=labels.size) / n
            expected = 0.5 * np.exp(labels.log_prob) + 0.5 * (np.arange(labels.size) == 0)
            np.testing.assert_allclose(shares, expected, atol=0.01)

    def test_values_off_the_atoms(self):
        rng = np.random.default_rng(0)
        values = np.concatenate([rng.integers(0, 3, 300), [3, 5, 9, 14]]).astype(float)
        column = Marginal.fit(values, step=1.0)
        drawn = column.unseen(rng.uniform(size=100_000))
        assert not column.is_atom(drawn).any()
        lattice = np.arange(-60.0, 100.0)
        lattice = lattice[~column.is_atom(lattice)]
        found = (drawn[:, None] == lattice).mean(0)
        np.testing.assert_allclose(found, np.exp(column.log_share(lattice)), atol=0.01)

    def test_estimator(self, fitted):
        density = pf.TableDensity()
        density.model_ = fitted
        rows = table(40, seed=5).select("a", "b").filter(pl.col("b").is_in(["x", "y", "z"]))
        found = density.log_prob(rows, ["b"], targets=["a"], exact=400)
        assert np.abs(found - density.log_prob(rows, ["b"], targets=["a"])).max() < 1
        expected = exact_log_prob(fitted, rows, ["b"], targets=["a"], draws=400, absent=True)
        assert (found == expected.log_prob).all()


class TestAgreement:
    def test_is_that_of_many_draws(self, fitted):
        cells = fitted.columns.encode(fitted.columns.read(table(200, seed=6)))
        few, many = agreement_report(fitted, cells), agreement_report(fitted, cells, draws=300)
        assert few["rows"] == 200
        for name in ("marginal", "conditional"):
            assert many[name]["error"] < 0.3 * few[name]["error"]
            assert few[name]["mean"] == pytest.approx(many[name]["mean"], abs=0.03)
            assert many[name]["size"] - 0.01 < few[name]["size"] < many[name]["size"] + 0.08
            assert many[name]["size"] > 2 * many[name]["error"]
        assert 10 < few["effective_draws"] <= 16

    def test_is_stored_and_shown(self, fitted):
        stored = fitted.trust["agreement"]
        assert stored["rows"] == 60
        lines = format_agreement(stored)
        assert lines[0] == (
            "conditionals reached by different routes agree within "
            f"{stored['marginal']['size']:.2f} nats per row"
        )
        assert agreement_warnings(stored) == agreement_warnings({}) == format_agreement({}) == []
        large = {**stored, "marginal": {"size": 3.1, "mean": -3.0, "error": 0.5}}
        assert "differ by 3.1 nats per row" in agreement_warnings(large)[0]


def points(n, seed):
    """Kinds with ties, points, gaps."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pl.DataFrame(
        {
            "x": x,
            "g": np.where(x > 0, "up", "down"),
            "price": np.round(rng.uniform(1, 4, n) * 10) / 10,
            "gap": pl.Series([None if u < 0.3 else int(20 * u) for u in rng.uniform(size=n)]),
        }
    )


@pytest.fixture(scope="module")
def measured():
    """The report of a model that draws the rows it is given."""
    columns = TypedColumns.fit(points(2000, 0))
    train, held = (columns.read(points(2000, seed)) for seed in (0, 1))

    def report(rows):
        model = SimpleNamespace(columns=columns, drawn=lambda *a, **k: columns.read(rows))
        return privacy_report(model, train, held, least=5)

    return report, columns


class TestPrivacy:
    @pytest.mark.mistyped
    def test_draws_like_held_out_rows(self, measured):
        found = measured[0](points(2000, 2))
        assert abs(found["closer"] - 0.5) < 3 * found["closer_error"] < 0.06
        assert found["equal"] == found["equal_held_out"] == 0.0
        np.testing.assert_allclose(found["distance"][1:], found["distance_held_out"][1:], rtol=0.3)
        assert privacy_warnings(found) == []

    @pytest.mark.mistyped
    def test_copies_are_found(self, measured):
        found = measured[0](pl.concat([points(2000, 0)[:200], points(1800, 2)]))
        assert found["equal"] == 0.1
        assert found["closer"] > 0.58
        first, second = privacy_warnings(found)
        assert "10.0% of draws equal a training row, of held-out rows 0.0%" in first
        assert "closer to a training row" in second

    @pytest.mark.mistyped
    def test_rows_held_out_are_no_copies(self, measured):
        found = measured[0](points(2000, 1))
        assert found["equal"] == 0.0
        assert found["closer"] == 0.0

    def test_equal_rows_of_any_kind(self, measured):
        """Without the column of real numbers, rows recur: each in as many of the training as by hand."""
        columns = TypedColumns.fit(points(2000, 0), ignore=["x"])
        train, held = points(2000, 0), points(500, 1)
        names = ["g", "price", "gap"]
        known = set(train.select(names).rows())
        by_hand = np.mean([row in known for row in held.select(names).rows()])
        share, error = privacy._share(
            columns, columns.read(held), privacy._comparable(columns, columns.read(train))
        )
        assert share == by_hand
        assert 0.1 < share < 0.9
        assert error == pytest.approx(np.sqrt(share * (1 - share) / 500), rel=0.05)

    def test_distance(self, measured):
        columns = measured[1]
        rows, others = (points(n, seed) for n, seed in ((40, 3), (90, 4)))
        found, which = privacy._closest(
            *(privacy._points(columns, columns.read(frame)) for frame in (rows, others))
        )

        def place(name, value):
            of = next(c for c in columns.modelled if c.name == name).numbers.encode(
                np.array([value], float)
            )
            return float(of.z[0] + of.width[0] / 2)

        def distance(a, b):
            total = float(a["g"] != b["g"])
            for name in ("x", "price", "gap"):
                if (a[name] is None) or (b[name] is None):
                    total += (a[name] is None) != (b[name] is None)
                else:
                    total += abs(place(name, a[name]) - place(name, b[name]))
            return total

        for i in range(0, 40, 9):
            row = rows.row(i, named=True)
            by_hand = [distance(row, other) for other in others.iter_rows(named=True)]
            assert found[i] == pytest.approx(min(by_hand), rel=1e-4)
            assert which[i] == int(np.argmin(by_hand))

    def test_distance_on_a_circle_and_at_the_end_of_bounds(self):
        rng = np.random.default_rng(0)
        share = np.where(rng.uniform(size=300) < 0.3, 1.0, rng.uniform(0, 1, 300))
        frame = pl.DataFrame({"wind": rng.uniform(0, 360, 300), "share": share})
        columns = TypedColumns.fit(frame, declared={"wind": "circular:360", "share": "bounded:0,1"})

        def distance(a, b):
            pair = ({"wind": [x], "share": [y]} for x, y in (a, b))
            rows = (columns.read(pl.DataFrame(row)) for row in pair)
            return privacy._closest(*(privacy._points(columns, row) for row in rows))[0][0]

        assert distance((359.5, 0.5), (0.5, 0.5)) < 0.1
        assert 3.0 < distance((0.0, 0.5), (180.0, 0.5)) < np.pi + 0.3
        assert 1.0 < distance((9.0, 1.0), (9.0, 0.5)) < 20

    def test_is_stored_and_shown(self, fitted):
        stored = fitted.trust["privacy"]
        assert (stored["train"], stored["held_out"], stored["least"]) == (540, 60, 5)
        text = "\n".join(format_privacy(stored, fitted.columns))
        assert "equal to a training row: " in text
        assert "each seen at least 5 times" in text
        assert "not differential privacy" in text
        assert len(format_privacy({}, fitted.columns)) == 2


class TestCommandLine:
    def test_score_exactly(self, fitted, tmp_path, capsys):
        model, data, out = (tmp_path / name for name in ("m.safetensors", "d.parquet", "s.csv"))
        save_typed_table(fitted, model)
        table(50, seed=7).write_parquet(data)
        words = ["score", str(model), str(data), "-o", str(out), "--given", "a", "--exact", "16"]
        assert main(words) == 0
        found = pl.read_csv(out)
        assert found.columns == ["log_prob", "error", "effective_draws"]
        expected = exact_log_prob(fitted, table(50, seed=7), ["a"], draws=16)
        np.testing.assert_allclose(found["log_prob"], expected.log_prob, rtol=1e-5)
        assert "50 rows, mean" in capsys.readouterr().err
        assert main([*words, "--per-column", "--force"]) == 2
        assert "--exact: takes --given, not --per-column" in capsys.readouterr().err
        assert main(["inspect", str(model)]) == 0
        shown = capsys.readouterr().out
        assert "agreement  conditionals reached by different routes agree within" in shown
        assert "privacy    equal to a training row" in shown
