"""K indices against MagPy's, which are those of the Finnish Meteorological Institute's own program."""

import numpy as np
import pytest
from scipy.signal import lfilter

from obslab import conrad
from obslab.telemetry.activity import k_index
from obslab.telemetry.activity.kindex import NIEMEGK_NT
from obslab.telemetry.datasets import samples_schema

pytestmark = pytest.mark.long

INTERVAL_NS = 3 * 3600 * 1_000_000_000
CURVE_NT = 0.5  # theirs is of hourly means and coefficients cut to 0.1 nT


def dataset(time, cadence_s, **components):
    return samples_schema(dict.fromkeys(components, "nT")).build(
        {"station": "WIC", "instrument": "lemi036", "cadence_s": cadence_s}, time=time, **components
    )


def matched(ours, theirs):
    """K of both for the intervals that MagPy gives, and the larger range of ours."""
    time_ns = ours.time.values.astype(np.int64) + INTERVAL_NS // 2
    rows = np.isin(time_ns, theirs["time_ns"])
    assert time_ns[rows].tolist() == theirs["time_ns"]
    larger = np.maximum(ours.range_x.values, ours.range_y.values)
    return ours.k.values[rows], np.array(theirs["k"]), larger[rows]


def curves_apart(ours, theirs):
    rows = np.isin(ours.sq_time.values.astype(np.int64), theirs["sq_time_ns"])
    assert rows.sum() == len(theirs["sq_time_ns"])
    return max(np.abs(ours[name].values[rows] - np.array(theirs[name])).max() for name in ("sq_x", "sq_y"))


def test_the_storm_has_the_same_k_in_every_interval(magpy):
    theirs = magpy("oracle_k.py", 500, 15.865)
    tracks = [conrad.day(date).tracks[0] for date in conrad.DAYS]
    values = np.concatenate([track.values for track in tracks])
    seconds = dataset(
        np.concatenate([track.time_ns for track in tracks]).astype("datetime64[ns]"),
        1.0,
        **{name: values[:, n] for n, name in enumerate("hez")},
    )
    found = k_index(seconds, 500, 15.865, sq=True)
    ours, wanted, _ = matched(found, theirs)
    assert ours.tolist() == wanted.tolist()
    assert ours.size == 16
    assert curves_apart(found, theirs) < CURVE_NT


def test_a_month_of_quiet_and_disturbed_days_has_the_same_k_but_at_the_limits(magpy, tmp_path):
    rng = np.random.default_rng(5)
    hour = np.arange(32 * 1440) / 60
    angle = 2 * np.pi * (hour - 11.5) / 24
    activity = np.repeat(np.exp(rng.normal(0, 1.2, 64)), 720)
    irregular = lfilter([1], [1, -(1 - 1 / 90)], rng.normal(size=(2, hour.size))) * activity
    x = (20_000 + 15 * np.cos(angle) + 5 * np.cos(2 * angle) + irregular[0]).round(2)
    y = (1_500 + 20 * np.sin(angle) + 6 * np.sin(2 * angle) + 0.8 * irregular[1]).round(2)
    time = np.datetime64("2024-03-01", "ns") + np.arange(hour.size) * np.timedelta64(60, "s")
    np.savez(tmp_path / "minutes.npz", time=time, x=x, y=y)
    theirs = magpy("oracle_k.py", 500, 15, tmp_path / "minutes.npz")
    found = k_index(dataset(time, 60.0, x=x, y=y, z=y), 500, 15, sq=True)
    ours, wanted, range_nt = matched(found, theirs)
    assert ours.size == 240
    assert set(ours) >= set(range(9))
    assert curves_apart(found, theirs) < CURVE_NT
    differ = ours != wanted
    limit_nt = np.abs(range_nt[:, None] - np.array(NIEMEGK_NT)).min(axis=1)
    assert (limit_nt[differ] < CURVE_NT).all()
    assert differ.sum() <= 5
