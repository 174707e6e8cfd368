"""Kinds of columns: units, lattices, bounds, angles, constants; and the tables that have no density."""

import json
import math
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from one_line import line
from pushforward.columns import KINDS, Angle, Bounded, Columns, Constant, Continuous, Whole, guess
from pushforward.columns.dependence import check_dependence
from pushforward.columns.kinds import column_from_json, declared_column
from pushforward.errors import InputError, InputWarning


def one(column):
    return Columns.fit(np.asarray(column, float)[:, None], ["x"])


class TestScale:
    def test_of_a_normal_column_is_its_deviation(self, rng):
        pre = one(rng.normal(3, 2, 20_000))
        assert pre.kinds[0].center == pytest.approx(3, abs=0.05)
        assert pre.kinds[0].scale == pytest.approx(2, rel=0.03)

    def test_survives_outliers(self, rng):
        clean = rng.normal(size=1000)
        dirty = np.append(clean, [1e12, -1e9, 3e14])
        assert one(dirty).kinds[0].scale == pytest.approx(one(clean).kinds[0].scale, rel=0.05)

    @pytest.mark.parametrize("zeros", [600, 800, 930, 985, 998, 999])
    def test_of_columns_that_are_mostly_zero(self, zeros, rng):
        column = np.concatenate([np.zeros(zeros), rng.uniform(2, 8, 1000 - zeros)])
        pre = one(column)
        assert 0.05 < pre.kinds[0].scale < 20
        assert np.abs(pre.encode(column[:, None])).max() < 1e3

    def test_rounding_noise_is_no_spread(self, rng):
        column = np.concatenate([0.3 + 5e-17 * rng.integers(0, 3, 900), rng.normal(size=100)])
        assert one(column).kinds[0].scale > 1e-3

    @pytest.mark.parametrize("size", [1e300, 4e307, 1e-300, 1e-310])
    def test_extreme_sizes(self, size):
        column = np.array([-1.0, -0.3, 0.2, 0.9, 1.0]) * size
        with np.errstate(all="raise", under="ignore"):
            pre = one(column)
            u = pre.encode(column[:, None])
        assert np.abs(u).max() < 3
        np.testing.assert_allclose(pre.decode(u)[:, 0], column, rtol=1e-12)
        assert np.isfinite(pre.log_det(column[:, None])).all()

    def test_timestamps_keep_their_digits(self, rng):
        column = 1.7e9 + rng.uniform(0, 1e-3, 500)
        pre = one(column)
        assert 1e-4 < pre.kinds[0].scale < 1e-3
        exact = (column - 1.7e9) - (pre.kinds[0].center - 1.7e9)
        np.testing.assert_array_equal(
            pre.encode(column[:, None])[:, 0] * 1.0, exact / pre.kinds[0].scale
        )

    def test_log_det_is_the_density_of_a_change_of_units(self, rng):
        values = rng.normal(size=(100, 2))
        in_metres = Columns.fit(values)
        in_millimetres = Columns.fit(values * [1000, 1])
        assert in_millimetres.log_det(values * [1000, 1]) == pytest.approx(
            in_metres.log_det(values) - math.log(1000)
        )


class TestLattice:
    @pytest.mark.parametrize(
        ("column", "grid", "offset"),
        [
            ([0, 1, 1, 0], 1, 0),
            ([5, 15, 15, -25], 10, 5),
            ([3, 7, 7], 4, 3),
            ([2, 4, 9], 1, 0),
            ([10, 20, 50], 1, 0),
            (np.arange(40) * 3600 + 7, 3600, 7),
            (10**15 + np.array([3, 8, 21]), 1, 0),
            ([2.0**53, 0, 1], 1, 0),
            ([2.0**54, 0, 1], 0, 0),
            ([0.5, 1, 1], 0, 0),
            ([0.25, 0.25, 0.5], 0, 0),
        ],
    )
    def test_spacing(self, column, grid, offset):
        kind = one(column).kinds[0]
        if grid == 0:
            assert isinstance(kind, Continuous)
        else:
            assert (kind.grid, kind.offset) == (grid, offset)

    def test_decode_stays_within_what_was_seen(self):
        pre = Columns.fit(np.array([[0.0, 0.5], [1, 2.5], [0, 1.5], [1, 9.5]]), ["flag", "x"])
        decoded = pre.decode(pre.encode(np.array([[-3.0, -3.0], [0.4, 0.4], [7.0, 70.0]])))
        np.testing.assert_allclose(decoded, [[0, -3], [0, 0.4], [1, 70]], atol=1e-12)

    def test_decode_rounds_to_the_lattice(self, rng):
        values = np.column_stack([rng.integers(-4, 9, 200) * 5 + 2, rng.normal(size=200)])
        pre = Columns.fit(values, ["n", "x"])
        u = pre.encode(values)
        noise = rng.uniform(-0.499, 0.499, values.shape)
        decoded = pre.decode(u + pre.noise * noise)
        np.testing.assert_array_equal(decoded[:, 0], values[:, 0])
        np.testing.assert_allclose(decoded[:, 1], values[:, 1], rtol=1e-12, atol=1e-14)
        assert pre.noise.tolist() == [5 / pre.kinds[0].scale, 0]
        assert (pre.kinds[0].lower, pre.kinds[0].upper) == (values[:, 0].min(), values[:, 0].max())


def tables(elements):
    return arrays(np.float64, st.tuples(st.integers(3, 30), st.integers(1, 3)), elements=elements)


def fitted(values):
    try:
        return Columns.fit(values)
    except InputError:
        assume(False)


class TestRoundTrip:
    @settings(max_examples=150, deadline=None)
    @given(tables(st.floats(-1e300, 1e300)))
    def test_any_numbers(self, values):
        pre = fitted(values)
        u = pre.encode(values)
        assert np.isfinite(u).all()
        size = np.abs(values).max(axis=0)
        error = np.abs(pre.decode(u) / 4 - values / 4) / np.maximum(size, 1e-300)
        assert error.max() < 1e-14
        assert Columns.from_json(json.loads(json.dumps(pre.to_json()))) == pre

    @settings(max_examples=150, deadline=None)
    @given(tables(st.integers(-(2**40), 2**40).map(float) | st.integers(-2, 2).map(float)))
    def test_integers_come_back_exactly(self, values):
        pre = fitted(values)
        assert all(pre.whole)
        np.testing.assert_array_equal(pre.decode(pre.encode(values)), values)


class TestMistakes:
    @pytest.mark.mistyped
    def test_one_axis(self):
        assert "given shape (3,)" in line(Columns.fit, np.zeros(3))

    def test_shapes(self, rng):
        assert "1 row given; at least 3 are needed" in line(one, [1.0])
        assert "0 rows given" in line(Columns.fit, np.empty((0, 2)))
        assert "1 names for 2 columns" in line(Columns.fit, np.eye(2), ["a"])
        assert "must differ" in line(Columns.fit, np.eye(2), ["a", "a"])
        assert "row 2, column 'x'" in line(one, [1, np.nan, 3])
        pre = Columns.fit(rng.normal(size=(5, 2)), ["a", "b"])
        for call in (pre.encode, pre.decode):
            assert "2 columns ('a', 'b') are expected; given shape (4, 3)" in line(
                call, np.zeros((4, 3))
            )

    def test_constant(self):
        values = np.column_stack([np.ones(4), np.zeros(4)])
        assert "columns 'a', 'c' are constant" in line(Columns.fit, values, ["a", "c"])
        assert "column 'x' is constant" in line(one, [2, 2, 2])

    def test_equal_columns(self, rng):
        x = rng.normal(size=(50, 3))
        values = np.column_stack([x, x[:, 1]])
        assert "columns 'b' and 'd' are equal" in line(Columns.fit, values, list("abcd"))

    @pytest.mark.parametrize(
        ("a", "b"), [(1.8, 32), (-1, 1), (1e-9, 0), (1 / 3, 1e3), (1, 1.7e9), (-1e200, 7)]
    )
    def test_affine_copies(self, a, b, rng):
        x = rng.normal(size=5000)
        values = np.column_stack([rng.normal(size=5000), x, a * x + b])
        message = line(Columns.fit, values, ["n", "celsius", "fahrenheit"])
        assert "'celsius' and 'fahrenheit' are the same up to shift and scale" in message

    def test_copies_in_single_precision(self, rng):
        x = rng.normal(size=5000).astype(np.float32)
        message = line(Columns.fit, np.column_stack([x, np.float32(1.8) * x + 32]))
        assert "'x0' and 'x1' are the same up to shift and scale" in message

    def test_close_columns_are_no_copies(self, rng):
        x = rng.normal(size=5000)
        x[0] = 1e6
        Columns.fit(np.column_stack([x, x + 1e-6 * rng.normal(size=5000)]))
        late = x.copy()
        late[-2] += 0.5
        Columns.fit(np.column_stack([x, late]))
        Columns.fit(np.array([[0.0, 5.0], [1.0, 9.0], [0.5, 9.0]]))
        ticks = 1.7e9 + rng.integers(0, 9, (500, 2)) * 2.4e-7
        Columns.fit(ticks)

    def test_beyond_arithmetic(self, rng):
        column = rng.normal(size=50)
        column[20] = 1e300
        assert "column 'x' holds 1e+300 in row 21" in line(one, column)
        assert "rescale it" in line(one, [1e308, -1e308, 0])


def told(values, names=None):
    """What a fit says of a table: an error's line or the warnings'."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            Columns.fit(values, names)
        except InputError as error:
            return [str(error)]
    return [str(warning.message) for warning in caught]


class TestDependence:
    """Columns that follow from others: named exactly, and no others called so."""

    @pytest.mark.parametrize("kind", [np.float64, np.float32])
    def test_totals_are_named(self, kind, rng):
        a, b, c = rng.normal(size=(3, 400)).astype(kind)
        table = np.column_stack([c, a, c**2, b, kind(3) * a - b / kind(7) + kind(2), a * c])
        (message,) = told(table)
        assert message == (
            "columns 'x1', 'x3', 'x4' are linearly dependent: the density is singular, and its nats have no meaning; "
            "drop one of them"
        )

    def test_parts_of_one(self, rng):
        shares = rng.dirichlet(np.ones(14), 500)
        table = np.column_stack([rng.normal(size=500), shares])
        (message,) = told(table, ["x", *(f"part{i}" for i in range(14))])
        named = ", ".join(f"'part{i}'" for i in range(14))
        assert message.startswith(
            f"columns {named} are linearly dependent: the density is singular"
        )

    def test_whatever_their_sizes_and_outliers(self, rng):
        a, b = rng.standard_cauchy((2, 5000)) * [[1e-3], [1e6]]
        assert (
            "'x0', 'x1', 'x2' are linearly dependent" in told(np.stack([a, b, 1e9 * a - b], 1))[0]
        )
        money = np.round(rng.gamma(2, 50, (2, 500)), 2)
        assert "singular" in told(np.stack([*money, np.round(money.sum(0), 2)], 1))[0]

    def test_whole_numbers_are_warned_of(self, rng):
        """Their cells are filled: the density is proper, and one of them says nothing new."""
        a, b = rng.poisson(5, (2, 300))
        idle = rng.normal(size=300)
        (message,) = told(np.stack([idle, a, b, a + b, rng.poisson(3, 300)], 1))
        assert message.startswith("columns 'x1', 'x2', 'x3' are linearly dependent whole numbers")
        (message,) = told(np.eye(3)[rng.integers(0, 3, 300)])
        assert message.startswith("columns 'x0', 'x1', 'x2' are linearly dependent whole numbers")
        # One that is no whole number makes it singular: given the others it is a point.
        for mixed in (np.stack([idle, a, idle + a], 1), np.stack([a, b, 0.5 * a + 0.25 * b], 1)):
            assert "'x0', 'x1', 'x2' are linearly dependent: the density is sing" in told(mixed)[0]

    def test_rounded_decimals_are_warned_of(self, rng):
        a, b = rng.normal(size=(2, 500))
        for table in (
            np.stack([a, b, np.round(a + b, 2)], 1),
            np.round(np.stack([a, b, a + b], 1), 2),
            np.round(rng.dirichlet([3, 2, 1], 500), 3),
        ):
            (message,) = told(table)
            assert message.startswith(
                "columns 'x0', 'x1', 'x2' are linearly dependent but for the ro"
            )

    def test_correlated_columns_are_no_relation(self, rng):
        a, b, c = rng.normal(size=(3, 2000))
        for close in (0.99, 0.9999, 1 - 1e-9):
            rest = math.sqrt(1 - close**2)
            table = np.stack([a, b, close * (a + b) + rest * c], 1)
            assert told(table) == told(table.astype(np.float32)) == []
            assert told(np.round(table, 3 if close < 0.9999 else 12)) == []
        late = np.stack([a, b, a + b], 1)
        late[1234, 2] += 1e-6
        assert told(late) == []
        assert told(np.cumsum(rng.normal(size=(500, 40)), 1)) == []

    @pytest.mark.parametrize("rows", [6, 8, 20, 21, 22, 24, 60])
    def test_few_rows_say_nothing(self, rows, rng):
        """As many rows as columns lie in a plane, whatever they are."""
        table = rng.normal(size=(rows, 20))
        for values in (table, np.round(table, 1), np.round(table, 3), table.astype(np.float32)):
            assert told(values) == []

    def test_memory_is_that_of_blocks(self, rng):
        table = rng.normal(size=(100_000, 30))
        units = (
            Columns.fit(table[:1000])._units(table)._replace(lower=table.min(0), upper=table.max(0))
        )
        table[:, 29] = table[:, 0] + table[:, 7]
        tracemalloc.start()
        with pytest.warns(InputWarning, match="'x0', 'x7', 'x29' are linearly dependent"):
            check_dependence(units, table)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < table.nbytes / 2


class TestJson:
    def test_damaged(self):
        good = one([1, 2, 4]).to_json()
        assert Columns.from_json(good) == one([1, 2, 4])
        for change in (
            {"scale": 0.0},
            {"center": "x"},
            {"grid": math.inf},
            {"lower": None},
            {"kind": "category"},
            {"kind": ["whole"]},
        ):
            kinds = [{**good["kinds"][0], **change}]
            assert "damaged" in line(Columns.from_json, {**good, "kinds": kinds})
        for change in ({"kinds": []}, {"kinds": None}, {"names": []}, {"reasons": ["a", "b"]}):
            assert "damaged" in line(Columns.from_json, {**good, **change})
        assert "damaged" in line(Columns.from_json, {"names": ["x"]})
        assert "damaged" in line(Columns.from_json, 3)
        bounds = {**Bounded(0, 1).fit(np.array([0.5, 0.7])).to_json(), "low": 2.0}
        assert "damaged" in line(Columns.from_json, {"names": ["x"], "kinds": [bounds]})

    def test_earlier_files(self, rng):
        """They hold a list for each unit."""
        values = np.column_stack([rng.normal(size=50), rng.poisson(3, 50)])
        now = Columns.fit(values, ["x", "n"])
        keys = ("center", "scale", "lower", "upper")
        lists = {key: [getattr(kind, key) for kind in now.kinds] for key in keys}
        lists |= {"grid": [0.0, now.kinds[1].grid], "offset": [0.0, now.kinds[1].offset]}
        old = Columns.from_json({"names": ["x", "n"], **lists})
        assert (old.names, old.kinds, old.reasons) == (now.names, now.kinds, ())
        turned = Columns.from_json(
            {"names": ["x", "n"], **lists, "scale": [1.0, 1.0], "angles": True}
        )
        assert [type(kind) for kind in turned.kinds] == [Angle, Angle]
        lists["scale"].pop()
        assert "damaged" in line(Columns.from_json, {"names": ["x", "n"], **lists})


# Each kind as it is fitted, with values that it may hold.
KINDS_AND_VALUES = {
    "continuous": (Continuous(), st.floats(-1e6, 1e6)),
    "whole": (Whole(), st.integers(-(10**6), 10**6).map(float)),
    "angle": (Angle(360), st.floats(0, 359.99)),
    "angle in whole numbers": (Angle(24), st.integers(0, 23).map(float)),
    "bounded": (Bounded(-1, 3), st.floats(-0.999, 2.999)),
    "bounded below": (Bounded(low=2), st.floats(2.001, 1e6)),
    "bounded above": (Bounded(high=2), st.floats(-1e6, 1.999)),
    "constant": (Constant(), st.just(7.5)),
}


def check_there_and_back(kind, x):
    fitted = kind.fit(x)
    back = fitted.decode(fitted.encode(x))
    np.testing.assert_allclose(back, x, rtol=1e-9, atol=1e-9 * max(1, np.ptp(x)))


def check_log_det(kind, x):
    """Against central differences; a constant has no slope and takes nothing from the density."""
    fitted, step = kind.fit(x), 1e-6
    found = np.broadcast_to(fitted.log_det(x), x.shape)
    if isinstance(kind, Constant):
        assert (found == 0).all()
        return
    # Away from the values themselves, which an angle's seam may be.
    slope = (fitted.encode(x + step) - fitted.encode(x - step)) / (2 * step)
    np.testing.assert_allclose(found, np.log(slope), atol=1e-6)


def check_json(kind, x):
    fitted = kind.fit(x)
    assert column_from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


@pytest.mark.parametrize("name", KINDS_AND_VALUES)
class TestKinds:
    """The contract of every kind."""

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_there_and_back(self, name, data):
        kind, values = KINDS_AND_VALUES[name]
        x = np.array(data.draw(st.lists(values, min_size=3, max_size=30)))
        assert kind.objection(x) is None
        check_there_and_back(kind, x)
        check_json(kind, x)

    def test_log_det_is_the_derivative(self, name, rng):
        kind, _ = KINDS_AND_VALUES[name]
        x = rng.uniform(*{"bounded above": (-9, 1.9)}.get(name, (2.1, 2.9)), 99)
        if "whole" in name:
            x = rng.integers(1, 20, 99).astype(float)
        check_log_det(kind, np.full(99, 7.5) if name == "constant" else x)

    def test_registry(self, name):
        kind, _ = KINDS_AND_VALUES[name]
        assert KINDS[kind.kind] is type(kind)
        assert set(KINDS) == {kind.kind for kind, _ in KINDS_AND_VALUES.values()}


class TestFaults:
    """Each check finds the fault that is seeded for it."""

    def test_a_wrong_way_back(self, monkeypatch):
        monkeypatch.setattr(Bounded, "decode", lambda self, u: 1 / (1 + np.exp(-u)))
        with pytest.raises(AssertionError):
            check_there_and_back(Bounded(0, 1), np.array([0.2, 0.3, 0.9]))

    def test_a_log_det_without_the_scale(self, monkeypatch):
        whole = Bounded.log_det
        monkeypatch.setattr(
            Bounded, "log_det", lambda self, x: whole(self, x) + math.log(self.scale)
        )
        with pytest.raises(AssertionError):
            check_log_det(Bounded(low=0), np.array([0.2, 3.0, 9.0]))

    def test_a_log_det_of_one_bound_only(self, monkeypatch):
        monkeypatch.setattr(
            Bounded, "log_det", lambda self, x: -np.log(x - self.low) - math.log(self.scale)
        )
        check_log_det(Bounded(low=0), np.array([0.2, 3.0, 9.0]))
        with pytest.raises(AssertionError):
            check_log_det(Bounded(0, 10), np.array([0.2, 3.0, 9.0]))

    def test_a_unit_that_json_loses(self, monkeypatch):
        plain = Angle.to_json
        monkeypatch.setattr(Angle, "to_json", lambda self: {**plain(self), "grid": 0.0})
        with pytest.raises(AssertionError):
            check_json(Angle(360), np.array([10.0, 20, 20]))


class TestGuess:
    @pytest.mark.parametrize(
        ("column", "kind", "reason"),
        [
            ([0.5, 1, 2], Continuous, "holds 0.5"),
            ([1, 1, 2], Whole, "holds whole numbers only"),
            ([2013, 2013, 2013], Constant, "every row holds 2013"),
            ([2.0**54, 1, 2], Continuous, "holds 1.80144e+16, beyond 2**53"),
        ],
    )
    def test_reasons(self, column, kind, reason):
        found, why = guess(np.array(column, float))
        assert (type(found), why) == (kind, reason)

    def test_overruled(self, rng):
        values = np.column_stack([rng.poisson(3, 50), rng.uniform(0, 9, 50), rng.uniform(0, 6, 50)])
        declared = {"a": Continuous(), "b": "bounded:0,", "c": "angle"}
        columns = Columns.fit(values, list("abc"), declared=declared)
        assert [kind.kind for kind in columns.kinds] == ["continuous", "bounded", "angle"]
        assert columns.reasons == ("declared",) * 3
        assert columns.angles == (False, False, True)
        assert not columns.noise.any()


class TestDeclared:
    """Kinds that the data contradict: one line, which names the first row that does."""

    @pytest.mark.parametrize(
        ("kind", "column", "says"),
        [
            ("whole", [1, 2.5, 3.5], "is declared whole, but row 2 holds 2.5, no whole number"),
            ("whole", [1, 2, 2.0**60], "row 3 holds 1.15292e+18, beyond 2**53"),
            ("bounded:0,1", [0.5, 1.2, -1], "is declared bounded:0,1, but row 2 holds 1.2, beyond"),
            ("bounded:0,", [0.5, 2, 0], "row 3 holds 0, a bound itself"),
            ("bounded:,1", [0.5, 1, 0], "row 2 holds 1, a bound itself"),
            ("angle", [0, 3, 200], "row 3 holds 200 beyond a turn"),
            ("angle:360", [-90, 3, 200], "row 3 holds 200 beside -90"),
            ("constant", [1, 1, 2], "row 3 holds 2, not the 1 of row 1"),
        ],
    )
    def test_contradicted(self, kind, column, says):
        values = np.array(column, float)[:, None]
        message = line(lambda: Columns.fit(values, ["x"], declared={"x": kind}))
        assert message.startswith("column 'x' is declared ")
        assert says in message

    def test_unknown(self):
        values = np.random.default_rng(0).normal(size=(9, 2))

        def told(**declared):
            return line(lambda: Columns.fit(values, ["height", "age"], declared=declared))

        assert "no column 'Age' (did you mean 'age'?)" in told(Age="whole")
        assert "kind 'integer' of a column is unknown; known are continuous" in told(age="integer")
        assert "at least one bound is expected" in told(age="bounded")
        assert "'whole:3' of a column is not understood" in told(age="whole:3")
        assert "not understood" in told(age="angle:")
        assert "'x' is not a number" in told(age="bounded:x,1")
        assert "not below" in told(age="bounded:2,1")
        assert "period above 0" in told(age="angle:-1")

    @pytest.mark.parametrize(
        "text", ["whole", "angle", "angle:24", "bounded:0,1", "bounded:0,", "bounded:,-2.5"]
    )
    def test_words_there_and_back(self, text):
        assert declared_column(text).declaration == text

    def test_a_condition_has_no_bounds(self):
        values = np.random.default_rng(0).uniform(size=(9, 1))
        message = line(
            lambda: Columns.fit(values, ["x"], declared={"x": Bounded(0, 1)}, modelled=False)
        )
        assert "column 'x' of the condition cannot be bounded" in message


class TestAngles:
    @pytest.mark.parametrize(
        ("column", "grid", "first"),
        [
            ([10, 20, 20, 360], 10, 10),
            ([0, 10, 20, 20, 350], 10, 0),
            ([-170, 180, 20, 20], 10, -170),
        ],
    )
    def test_a_lattice_closes_after_a_turn(self, column, grid, first):
        """Draws are numbers of the data's own convention: north is 360 where it is in the data, else 0."""
        kind = Angle(360).fit(np.array(column, float))
        assert kind.grid == grid
        assert kind.noise == pytest.approx(grid * math.pi / 180)
        drawn = kind.decode(np.linspace(-3.5, 3.5, 999))
        np.testing.assert_array_equal(np.unique(drawn), first + grid * np.arange(36))

    def test_no_lattice_of_radians(self):
        assert Angle().fit(np.array([0.0, 1, 2, 2])).noise == 0

    def test_whole_turns_come_off(self, rng):
        for period in (2 * math.pi, 360, 24):
            x = rng.uniform(0, period, 50)
            kind = Angle(period).fit(x)
            for turns in (1, -1, 5):
                np.testing.assert_allclose(
                    np.cos(kind.encode(x + turns * period)), np.cos(kind.encode(x)), atol=1e-9
                )
            assert (np.abs(kind.encode(np.array([1e300, -1e308]))) <= math.pi).all()


class TestSupport:
    def test_draws_never_leave_the_bounds(self):
        u = np.array([-1e18, -800, -40, -1, 0, 1, 40, 800, 1e18])
        for kind in (Bounded(0, 1), Bounded(low=-3), Bounded(high=1e9), Bounded(5, 5.5)):
            low, high = -np.inf if kind.low is None else kind.low, kind.high or np.inf
            x = kind.decode(u)
            assert np.isfinite(x).all()
            assert ((x > low) & (x < high)).all()
            assert (np.diff(x) >= 0).all()

    def test_constants_are_carried_through(self, rng):
        values = np.column_stack([np.full(50, 3.0), rng.normal(size=50), np.full(50, 2.5)])
        columns = Columns.fit(values, list("abc"))
        u = columns.encode(values)
        assert u.shape == (50, 1)
        assert columns.noise.shape == (1,)
        np.testing.assert_allclose(columns.decode(u), values, rtol=1e-12)
        assert columns.log_det(values) == pytest.approx(-math.log(columns.kinds[1].scale))
        assert columns.whole == (True, False, False)

    def test_impossible_rows_are_found(self, rng):
        values = np.column_stack([np.full(50, 3.0), rng.uniform(0, 1, 50)])
        columns = Columns.fit(values, ["a", "share"], declared={"share": Bounded(0, 1)})
        asked = np.array([[3, 0.5], [3, 1.5], [4, 0.5], [3, 0.0]])
        assert np.isneginf(columns.log_det(asked)).tolist() == [False, True, True, True]
        assert np.isfinite(columns.encode(asked)).all()
        rows, what = columns.outside(asked)
        assert rows.tolist() == [False, True, True, True]
        assert what == "column 'share' holds 1.5, not real numbers between 0 and 1"
        assert not columns.outside(values)[0].any()

    def test_a_condition_s_angles_are_cosines_and_sines(self):
        values = np.array([[0.0, 5], [90, 6], [350, 9]])
        columns = Columns.fit(values, ["wind", "n"], declared={"wind": "angle:360"}, modelled=False)
        assert columns.features_width == 3
        seen = columns.features(np.array([[90.0, 5], [450, 5]]))
        np.testing.assert_allclose(seen[0], seen[1], atol=1e-12)
        np.testing.assert_allclose(np.square(seen[:, 1:]).sum(1), 1)
