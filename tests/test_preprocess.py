"""Standardisation, the lattice of integer columns, and the tables that have no density."""

import json
import math
import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pushforward.data.dependence import check_dependence
from pushforward.data.preprocess import Preprocessing
from pushforward.errors import InputError, InputWarning


def line(call, *args):
    with pytest.raises(InputError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one(column):
    return Preprocessing.fit(np.asarray(column, float)[:, None], ["x"])


class TestScale:
    def test_of_a_normal_column_is_its_deviation(self, rng):
        pre = one(rng.normal(3, 2, 20_000))
        assert pre.center[0] == pytest.approx(3, abs=0.05)
        assert pre.scale[0] == pytest.approx(2, rel=0.03)

    def test_survives_outliers(self, rng):
        clean = rng.normal(size=1000)
        dirty = np.append(clean, [1e12, -1e9, 3e14])
        assert one(dirty).scale[0] == pytest.approx(one(clean).scale[0], rel=0.05)

    @pytest.mark.parametrize("zeros", [600, 800, 930, 985, 998, 999])
    def test_of_columns_that_are_mostly_zero(self, zeros, rng):
        column = np.concatenate([np.zeros(zeros), rng.uniform(2, 8, 1000 - zeros)])
        pre = one(column)
        assert 0.05 < pre.scale[0] < 20
        assert np.abs(pre.encode(column[:, None])).max() < 1e3

    def test_rounding_noise_is_no_spread(self, rng):
        column = np.concatenate([0.3 + 5e-17 * rng.integers(0, 3, 900), rng.normal(size=100)])
        assert one(column).scale[0] > 1e-3

    @pytest.mark.parametrize("size", [1e300, 4e307, 1e-300, 1e-310])
    def test_extreme_sizes(self, size):
        column = np.array([-1.0, -0.3, 0.2, 0.9, 1.0]) * size
        with np.errstate(all="raise", under="ignore"):
            pre = one(column)
            u = pre.encode(column[:, None])
        assert np.abs(u).max() < 3
        np.testing.assert_allclose(pre.decode(u)[:, 0], column, rtol=1e-12)
        assert math.isfinite(pre.log_det)

    def test_timestamps_keep_their_digits(self, rng):
        column = 1.7e9 + rng.uniform(0, 1e-3, 500)
        pre = one(column)
        assert 1e-4 < pre.scale[0] < 1e-3
        exact = (column - 1.7e9) - (pre.center[0] - 1.7e9)
        np.testing.assert_array_equal(pre.encode(column[:, None])[:, 0] * 1.0, exact / pre.scale[0])

    def test_log_det_is_the_density_of_a_change_of_units(self, rng):
        values = rng.normal(size=(100, 2))
        in_metres = Preprocessing.fit(values)
        in_millimetres = Preprocessing.fit(values * [1000, 1])
        assert in_millimetres.log_det == pytest.approx(in_metres.log_det - math.log(1000))


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
        pre = one(column)
        assert (pre.grid[0], pre.offset[0]) == (grid, offset)
        assert pre.lattice == (grid > 0,)

    def test_decode_stays_within_what_was_seen(self):
        pre = Preprocessing.fit(np.array([[0.0, 0.5], [1, 2.5], [0, 1.5], [1, 9.5]]), ["flag", "x"])
        decoded = pre.decode(pre.encode(np.array([[-3.0, -3.0], [0.4, 0.4], [7.0, 70.0]])))
        np.testing.assert_allclose(decoded, [[0, -3], [0, 0.4], [1, 70]], atol=1e-12)

    def test_decode_rounds_to_the_lattice(self, rng):
        values = np.column_stack([rng.integers(-4, 9, 200) * 5 + 2, rng.normal(size=200)])
        pre = Preprocessing.fit(values, ["n", "x"])
        u = pre.encode(values)
        noise = rng.uniform(-0.499, 0.499, values.shape)
        decoded = pre.decode(u + pre.jitter * noise)
        np.testing.assert_array_equal(decoded[:, 0], values[:, 0])
        np.testing.assert_allclose(decoded[:, 1], values[:, 1], rtol=1e-12, atol=1e-14)
        assert pre.jitter.tolist() == [5 / pre.scale[0], 0]
        assert (pre.lower[0], pre.upper[0]) == (values[:, 0].min(), values[:, 0].max())


def tables(elements):
    return arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(1, 3)), elements=elements)


def fitted(values):
    try:
        return Preprocessing.fit(values)
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
        assert Preprocessing.from_json(json.loads(json.dumps(pre.to_json()))) == pre

    @settings(max_examples=150, deadline=None)
    @given(tables(st.integers(-(2**40), 2**40).map(float) | st.integers(-2, 2).map(float)))
    def test_integers_come_back_exactly(self, values):
        pre = fitted(values)
        assert all(pre.lattice)
        np.testing.assert_array_equal(pre.decode(pre.encode(values)), values)


class TestMistakes:
    def test_shapes(self, rng):
        assert line(one, [1.0]) == "1 row given; at least 2 are needed to fit"
        assert "0 rows given" in line(Preprocessing.fit, np.empty((0, 2)))
        assert "given shape (3,)" in line(Preprocessing.fit, np.zeros(3))
        assert "1 names for 2 columns" in line(Preprocessing.fit, np.eye(2), ["a"])
        assert "must differ" in line(Preprocessing.fit, np.eye(2), ["a", "a"])
        assert "row 2, column 'x'" in line(one, [1, np.nan])
        pre = Preprocessing.fit(rng.normal(size=(5, 2)), ["a", "b"])
        for call in (pre.encode, pre.decode):
            assert "2 columns ('a', 'b') are expected; given shape (4, 3)" in line(
                call, np.zeros((4, 3))
            )

    def test_constant(self):
        values = np.column_stack([np.ones(4), np.arange(4), np.zeros(4)])
        assert "columns 'a', 'c' are constant" in line(Preprocessing.fit, values, ["a", "b", "c"])
        assert "column 'x' is constant" in line(one, [2, 2])

    def test_equal_columns(self, rng):
        x = rng.normal(size=(50, 3))
        values = np.column_stack([x, x[:, 1]])
        assert "columns 'b' and 'd' are equal" in line(Preprocessing.fit, values, list("abcd"))

    @pytest.mark.parametrize(
        ("a", "b"), [(1.8, 32), (-1, 1), (1e-9, 0), (1 / 3, 1e3), (1, 1.7e9), (-1e200, 7)]
    )
    def test_affine_copies(self, a, b, rng):
        x = rng.normal(size=5000)
        values = np.column_stack([rng.normal(size=5000), x, a * x + b])
        message = line(Preprocessing.fit, values, ["n", "celsius", "fahrenheit"])
        assert "'celsius' and 'fahrenheit' are the same up to shift and scale" in message

    def test_copies_in_single_precision(self, rng):
        x = rng.normal(size=5000).astype(np.float32)
        message = line(Preprocessing.fit, np.column_stack([x, np.float32(1.8) * x + 32]))
        assert "'x0' and 'x1' are the same up to shift and scale" in message

    def test_close_columns_are_no_copies(self, rng):
        x = rng.normal(size=5000)
        x[0] = 1e6
        Preprocessing.fit(np.column_stack([x, x + 1e-6 * rng.normal(size=5000)]))
        late = x.copy()
        late[-2] += 0.5
        Preprocessing.fit(np.column_stack([x, late]))
        Preprocessing.fit(np.array([[0.0, 5.0], [1.0, 9.0]]))
        ticks = 1.7e9 + rng.integers(0, 9, (500, 2)) * 2.4e-7
        Preprocessing.fit(ticks)

    def test_beyond_arithmetic(self, rng):
        column = rng.normal(size=50)
        column[20] = 1e300
        assert "column 'x' holds 1e+300 in row 21" in line(one, column)
        assert "rescale it" in line(one, [1e308, -1e308])


def told(values, names=None):
    """What a fit says of a table: an error's line or the warnings'."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            Preprocessing.fit(values, names)
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
        pre = Preprocessing.fit(table[:1000])
        pre = replace(pre, lower=tuple(table.min(0)), upper=tuple(table.max(0)))
        table[:, 29] = table[:, 0] + table[:, 7]
        tracemalloc.start()
        with pytest.warns(InputWarning, match="'x0', 'x7', 'x29' are linearly dependent"):
            check_dependence(pre, table)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < table.nbytes / 2


class TestMatch:
    pre = Preprocessing.fit(np.random.default_rng(11).normal(size=(9, 2)), ["height", "weight"])

    def test_by_name(self):
        assert self.pre.match(["weight", "age", "height"]).tolist() == [2, 0]
        message = line(self.pre.match, ["Height", "age"])
        assert "no columns 'height', 'weight' (did you mean 'Height'?)" in message
        assert "it holds 'Height', 'age'" in message

    def test_by_count(self):
        assert self.pre.match(None, 2).tolist() == [0, 1]
        assert "the model has 2 columns ('height', 'weight'); given 3" in line(
            self.pre.match, None, 3
        )


class TestJson:
    def test_damaged(self):
        good = one([1, 2, 4]).to_json()
        assert Preprocessing.from_json(good) == one([1, 2, 4])
        for change in (
            {"scale": [0.0]},
            {"scale": [1.0, 2.0]},
            {"center": ["x"]},
            {"grid": [math.inf]},
            {"lower": None},
        ):
            assert "damaged" in line(Preprocessing.from_json, {**good, **change})
        assert "damaged" in line(Preprocessing.from_json, {"names": ["x"]})
