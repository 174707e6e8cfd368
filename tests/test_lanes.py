"""The order in which a table that is streamed is passed over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pushforward as pf
from pushforward.training.lanes import LANES, Lanes, kept_share, largest_piece


@st.composite
def orders(draw):
    rows = draw(st.integers(300, 30_000))
    some = np.random.default_rng(draw(st.integers(0, 9)))
    held = np.sort(some.choice(rows, draw(st.integers(0, rows // 10)), replace=False))
    return Lanes(
        rows,
        batch=LANES * draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**32 - 1)),
        held=held,
        keep=draw(st.sampled_from([1.0, 0.5, 0.1])),
        window=draw(st.sampled_from([40, 256])),
    )


@given(orders(), st.integers(0, 3))
def test_a_pass(lanes, number):
    every = lanes.numbers(number, 0, lanes.steps)
    assert every.shape == (lanes.steps, lanes.batch)
    # Each row at most once, none that is held out.
    assert len(np.unique(every)) == every.size
    assert not np.isin(every, lanes.held).any()
    assert 0 <= every.min() <= every.max() < lanes.rows
    # Little is dropped: a piece of each lane, and of each what does not fill a batch.
    usable = lanes.keep * (lanes.rows - len(lanes.held))
    slack = np.ptp(lanes._counts[:-1]) * len(lanes._counts) / lanes.lanes
    assert every.size >= usable - lanes.lanes * (2 * lanes.piece + lanes.batch + slack)


@given(orders(), st.data())
def test_hosts_and_resumed_fits_see_the_same(lanes, data):
    steps = lanes.steps
    whole = lanes.numbers(1, 0, steps)
    hosts = data.draw(st.sampled_from([2, 4, 8]))
    begin = data.draw(st.integers(0, steps - 1))
    end = data.draw(st.integers(begin + 1, steps))
    again = Lanes(lanes.rows, lanes.batch, lanes.seed, lanes.held, lanes.keep, window=lanes.window)
    of_hosts = [again.numbers(1, begin, end, range(h, LANES, hosts)) for h in range(hosts)]
    own = lanes.batch // LANES
    merged = np.empty((end - begin, LANES, own), np.int64)
    for h, rows in enumerate(of_hosts):
        merged[:, h::hosts] = rows.reshape(end - begin, -1, own)
    np.testing.assert_array_equal(merged.reshape(end - begin, -1), whole[begin:end])


def test_passes_differ_and_seeds_do():
    lanes = Lanes(5000, 64, seed=0)
    first = lanes.numbers(0, 0, 10)
    for other in (lanes.numbers(1, 0, 10), Lanes(5000, 64, seed=1).numbers(0, 0, 10)):
        assert np.isin(other, first).mean() < 0.5


def test_a_batch_comes_from_many_places():
    """In a sorted table a batch of 512 has rows of nearly every thirtieth."""
    lanes = Lanes(4_000_000, 512, seed=0, keep=1 / 8)
    batches = lanes.numbers(0, 0, 40)
    places = [len(np.unique(batch // (4_000_000 // 30))) for batch in batches]
    assert np.mean(places) > 27
    # Over a pass that thins, every piece is seen.
    every = lanes.numbers(0, 0, lanes.steps)
    assert len(np.unique(every // lanes.piece)) == len(np.unique(np.arange(4_000_000) // 8192))


def test_mistakes():
    with pytest.raises(pf.InputError, match="multiple of 8"):
        Lanes(1000, 100, 0)
    with pytest.raises(pf.InputError, match="take a smaller one"):
        Lanes(1000, 2048, 0)


def test_the_share_that_is_kept():
    assert kept_share(10**6, 10**7) == 1
    assert kept_share(4_000_000, 1500 * 512) == 1 / 8
    # A window fits the memory.
    for width in (1, 8, 63, 1000):
        for keep in (1.0, 1 / 16):
            assert 256 * largest_piece(width, keep) * keep * width * 4 <= 2**29
