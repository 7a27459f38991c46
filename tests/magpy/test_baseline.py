"""Baselines against MagPy: the same spots, least squares with the same knots, the same curves."""

import numpy as np
import pytest
from telemetry.spot_tables import spot_table

from obslab.telemetry import ibfv
from obslab.telemetry.baseline import fit

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def theirs(magpy):
    return {key: np.array(value) for key, value in magpy("oracle_baseline.py").items()}


@pytest.mark.parametrize("curve", ["cubic", "spline"])
def test_without_weights_and_rejection_the_curve_is_that_of_magpy(theirs, curve):
    time = (theirs["time_s"] * 1e9).astype("datetime64[ns]")
    count = len(time)
    table = spot_table(time, theirs["spots"].T, np.full((count, 3), np.nan))
    span = time[-1] - time[0]
    knots = time[0] + (theirs["knots"] * span.astype(float)).astype("timedelta64[ns]")
    found = fit(
        table, method="polynomial", knots=knots if curve == "spline" else 0, reject_sigma=None
    ).baseline
    at = time[0] + (theirs["at"] * span.astype(float)).astype("timedelta64[ns]")
    # MagPy interpolates its curve linearly between points 0.2 days or more apart.
    ours = found.values(at).T
    assert ours == pytest.approx(theirs[curve], abs=1e-3)
    assert ours[1] == pytest.approx(theirs[curve][1], abs=2e-5)


def test_with_them_it_stays_within_the_scatter_of_the_spots(theirs):
    time = (theirs["time_s"] * 1e9).astype("datetime64[ns]")
    ours = fit(spot_table(time, theirs["spots"].T, np.full((len(time), 3), np.nan)))
    at = time[0] + (theirs["at"] * (time[-1] - time[0]).astype(float)).astype("timedelta64[ns]")
    off = np.abs(ours.baseline.values(at).T - theirs["spline"])
    assert (off.mean(axis=1) < list(ours.rms.values())).all()


def test_what_dourbes_observed_in_2020_gives_what_it_adopted(theirs):
    # Its comments: polynomials of the lowest order that fits, with the spots of the months around.
    year = ibfv.read(str(theirs["dou"]))
    scale = np.array([1 / 60, 1 / 60, 1.0])
    noon = np.timedelta64(12, "h")
    base = year.observed[:, :3] * scale
    table = spot_table(
        year.observed_day.astype("datetime64[ns]") + noon, base, np.full(base.shape, np.nan), frame="dif"
    )
    found = fit(table, method="polynomial", degree=3, begin="2020-01-01", end="2021-01-01")
    off = (
        found.baseline.values(year.adopted_day.astype("datetime64[ns]") + noon) / scale - year.adopted[:, :3]
    )
    # Minutes of arc, and nT: a third of the scatter of one spot (0.14', 0.045', 0.6 nT) in D and F.
    assert (np.sqrt((off**2).mean(axis=0)) < [0.1, 0.02, 0.2]).all()
