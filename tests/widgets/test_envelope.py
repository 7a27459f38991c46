import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from obslab_widgets.envelope import envelope

NS = 1_000_000_000


def seconds(*values):
    return np.array(values, dtype=np.int64) * NS


@given(
    values=st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=400),
    bins=st.integers(1, 50),
)
def test_the_extremes_of_every_bin_survive_at_their_own_times(values, bins):
    heights = np.array(values)
    times = np.arange(heights.size, dtype=np.int64) * NS
    end_ns = heights.size * NS
    kept_times, kept = envelope(times, heights, 1.0, 0, end_ns, bins)
    # Every point that is drawn is a sample ...
    places = kept_times // NS
    assert np.array_equal(kept, heights[places])
    assert (np.diff(kept_times) > 0).all()
    # ... and each bin still reaches as low and as high as it did.
    cell = np.clip(times / end_ns * bins, -1, bins).astype(int)
    for number in np.unique(cell):
        inside, drawn = heights[cell == number], kept[cell[places] == number]
        assert drawn.min() == inside.min() and drawn.max() == inside.max()


def test_a_single_spike_in_a_day_survives_on_a_narrow_plot():
    values = np.zeros(86_400)
    values[54_321] = 7.0
    times = np.arange(86_400, dtype=np.int64) * NS
    kept_times, kept = envelope(times, values, 1.0, 0, 86_400 * NS, 300)
    assert kept_times[kept == 7.0].tolist() == [54_321 * NS]
    assert kept.size <= 2 * 300


def test_few_samples_are_left_as_they_are():
    times, values = envelope(seconds(0, 1, 2), np.array([3.0, 1.0, 2.0]), 1.0, 0, 3 * NS, 100)
    assert times.tolist() == seconds(0, 1, 2).tolist() and values.tolist() == [3.0, 1.0, 2.0]


def test_a_line_breaks_where_samples_are_missing():
    times, values = envelope(seconds(0, 1, 4, 5), np.ones(4), 1.0, 0, 6 * NS, 100)
    assert np.isnan(values).tolist() == [False, False, True, False, False]
    assert times[2] == 4 * NS


def test_a_line_breaks_at_values_that_are_missing():
    values = np.array([1.0, np.nan, np.nan, 2.0, 3.0])
    _, drawn = envelope(seconds(0, 1, 2, 3, 4), values, 1.0, 0, 5 * NS, 100)
    assert np.isnan(drawn).sum() == 1 and drawn[0] == 1.0 and np.isnan(drawn[1]) and drawn[2] == 2.0


def test_jitter_of_less_than_half_a_cadence_is_no_gap():
    times = np.array([0, 1.4, 2.0, 3.4]) * NS
    _, values = envelope(times.astype(np.int64), np.ones(4), 1.0, 0, 4 * NS, 100)
    assert not np.isnan(values).any()


def test_gaps_stay_visible_when_points_are_thinned_out():
    times = np.concatenate([np.arange(1000), np.arange(2000, 3000)]) * NS
    _, values = envelope(times.astype(np.int64), np.sin(times / 1e10), 1.0, 0, 3000 * NS, 40)
    assert np.isnan(values).sum() == 1


def test_nothing_gives_nothing():
    for values in (np.array([]), np.array([np.nan, np.nan])):
        times, drawn = envelope(seconds(*range(values.size)), values, 1.0, 0, NS, 10)
        assert times.size == drawn.size == 0
