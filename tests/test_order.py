"""Rows in an order: neighbours that are alike are told of."""

import numpy as np
import pytest

from pushforward.trust.order import format_order, order_report


def test_shuffled_rows_have_none(rng):
    assert order_report(rng.normal(size=(5000, 5)), "abcde") == {}
    assert order_report(rng.integers(0, 2, (300, 3)).astype(float), "abc") == {}
    assert order_report(rng.normal(size=(6, 1)), "a") == {}
    assert format_order({}) == []


@pytest.mark.parametrize("kind", ["sorted", "walk", "groups", "alternating"])
def test_rows_in_an_order(rng, kind):
    n = 2000
    column = {
        "sorted": np.sort(rng.normal(size=n)),
        "walk": rng.normal(size=n).cumsum(),
        "groups": np.repeat(rng.normal(size=n // 20), 20) + rng.normal(size=n),
        "alternating": np.arange(n) % 2 + 0.1 * rng.normal(size=n),
    }[kind]
    report = order_report(np.c_[rng.normal(size=n), column], ["a", "b"])
    assert report["column"] == "b"
    assert (report["correlation"] < 0) == (kind == "alternating")
    assert "in column 'b'" in format_order(report)[0]
