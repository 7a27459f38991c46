"""Jumps that spots show by themselves, and drift against INTERMAGNET's limit, on simulated spots."""

import numpy as np
import pytest
from telemetry.spot_tables import SIGMA, at_days, drifting, simulated, spot_table, wic_spots

from obslab.telemetry.baseline import drift, find_jumps, fit
from obslab.telemetry.baseline.datasets import DRIFT, JUMPS

SIGMAS = np.array([SIGMA[name] for name in "hdz"])


def test_a_jump_is_found_where_it_is():
    table, days = simulated(np.random.default_rng(1), step_day=200, step=1.0)  # 10 sigma of h and d, 5 of z
    jumps = JUMPS.check(find_jumps(table))
    assert set(jumps.component.values[:2]) == {"h", "d"}
    place = np.searchsorted(days, 200)
    for row in range(2):
        sign = 1 if jumps.component.values[row] == "h" else -1
        size = sign * 10 * SIGMAS["hd".index(str(jumps.component.values[row]))]
        assert abs(jumps["size"].values[row] - size) < 4 * jumps.error.values[row]
        near = np.searchsorted(table.time.values, jumps.after.values[row])
        assert abs(near - place) <= 1  # one spot that errs by 2 sigma hides on which side of it the jump was
        assert jumps.before.values[row] < jumps.time.values[row] < jumps.after.values[row]
    assert (np.diff(jumps.significance.values) <= 0).all()


def test_smooth_drift_noise_and_single_wrong_spots_are_no_jumps():
    rng = np.random.default_rng(2)
    for _ in range(10):
        table, _ = simulated(rng)
        base = table.base.values.copy()
        base[rng.integers(80, size=3)] += 30 * SIGMAS
        assert find_jumps(table.assign(base=(("spot", "component"), base))).sizes["jump"] == 0


def test_the_real_spots_of_wic_have_no_jump_but_one_put_in_is_found():
    table = wic_spots()
    assert find_jumps(table).sizes["jump"] == 0
    base = table.base.values.copy()
    base[60:, 2] -= 2.0
    jumps = find_jumps(table.assign(base=(("spot", "component"), base)))
    assert jumps.component.values.tolist() == ["z"]
    assert jumps["size"].values[0] == pytest.approx(-2.0, abs=0.5)  # Z itself rises by 0.4 nT there
    assert abs(jumps.time.values[0] - table.time.values[60]) < np.timedelta64(10, "D")


def test_spots_that_a_fit_rejected_for_a_jump_still_show_it():
    days = np.arange(40.0)
    base = drifting(days)
    base[35:, 0] += 8.0
    base += SIGMAS / 3 * np.random.default_rng(0).normal(size=base.shape)
    found = fit(spot_table(at_days(days), base), method="polynomial", degree=1)
    assert found.rejected.sizes["spot"] >= 4
    assert find_jumps(found.spots).component.values[0] == "h"


def test_few_spots_have_no_jumps():
    for count in (1, 2, 5):
        days = np.arange(float(count))
        assert find_jumps(spot_table(at_days(days), drifting(days))).sizes["jump"] == 0


@pytest.mark.parametrize(("yearly", "over"), [(4.8, False), (5.2, True)])
def test_drift_is_flagged_against_five_nt_a_year(yearly, over):
    days = np.linspace(0, 200, 40)
    years = days / 365.25
    degrees = np.degrees(yearly / 21_000)
    base = np.stack([yearly * years, 4 - degrees * years, 0 * years], axis=1)
    found = DRIFT.check(fit(spot_table(at_days(days), base), method="polynomial", degree=1).drift)
    assert found.per_year_nt.values == pytest.approx([yearly, -yearly, 0.0], abs=1e-6)
    assert found.over_limit.values.tolist() == [over, over, False]
    assert found.attrs["limit_nt_per_year"] == 5.0


def test_a_step_is_no_drift_but_counts_in_the_range():
    days = np.linspace(0, 200, 60)
    base = np.stack([10.0 * (days >= 100), 4 + 0 * days, 0 * days], axis=1)
    found = fit(spot_table(at_days(days), base), method="polynomial", degree=1, steps=[at_days(100)])
    assert found.drift.per_year_nt.values[0] == pytest.approx(0.0, abs=1e-6)
    assert found.drift.range_nt.values[0] == pytest.approx(10.0, abs=1e-6)
    assert found.steps["size"].values == pytest.approx([10.0, 0.0, 0.0], abs=1e-9)


def test_degrees_become_nt_with_the_field_given():
    days = np.linspace(0, 100, 20)
    base = np.stack([4 + 0.001 * days, 64 - 0.001 * days, 0.01 * days], axis=1)
    baseline = fit(spot_table(at_days(days), base, frame="dif"), method="polynomial", degree=1).baseline
    found = drift(baseline, h_nt=10_000.0, f_nt=50_000.0)
    yearly = np.radians(0.36525)
    assert found.per_year_nt.values == pytest.approx([10_000 * yearly, -50_000 * yearly, 3.6525], rel=1e-6)
    nobody_knows = fit(
        spot_table(at_days(days), base, frame="dif").assign_attrs(mean_h_nt=np.nan, mean_f_nt=np.nan),
        method="polynomial",
        degree=1,
    ).drift
    assert np.isnan(nobody_knows.per_year_nt.values).tolist() == [True, True, False]
