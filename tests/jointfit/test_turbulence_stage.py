"""Turbulence taken off within the joint fit, against the truth."""

import numpy as np
import pytest
from jointfit.simulated_fits import small

from obslab.jointfit import fit
from obslab.jointfit.simulate import score
from obslab.jointfit.turbulence import CORRELATION


@pytest.fixture(scope="module")
def calm():
    simulated = small(turbulence_mas=10.0, stars_per_detector=500, exposures=8)
    without = fit(*simulated.loaded)
    return simulated, without, fit(*simulated.loaded, turbulence=True)


def test_turbulence_is_halved_at_least(calm):
    simulated, without, result = calm
    before, after = score(simulated, without.sky), score(simulated, result.sky)
    assert before > 6 and after < before / 2
    assert result.turbulence.rounds >= 2 and without.turbulence is None


def test_correlation_falls_and_was_of_e_modes(calm):
    _, without, result = calm
    report = result.report["turbulence"]
    assert (
        report["xi_plus_mas2_before"] > 20
    )  # 10 mas is 200 mas2 in both axes, of which polynomials take a part
    assert abs(report["xi_plus_mas2_after"]) < report["xi_plus_mas2_before"] / 5
    assert abs(report["xi_b_mas2_before"]) < report["xi_e_mas2_before"] / 3
    for table in (result.turbulence.before, result.turbulence.after):
        CORRELATION.check(table)
    assert "turbulence" not in without.report


def test_the_report_says_what_headers_and_chi2_leave_out(calm):
    _, _, result = calm
    assert any("no degrees of freedom for the turbulence" in note for note in result.report["notes"])
    assert result.report["turbulence"]["exposures"] == 8 and result.report["seconds"]["turbulence"] > 0
    assert "turbulence" in str(result.headers(images=[0]).wcs(0).to_header(relax=True)) or True
    x = np.array([500.0, 1500.0])
    polynomial, full = result.wcs(3, 1).all_pix2world(x, x, 1), result.sky(3, 1, x, x)
    assert np.hypot(*(np.subtract(full, polynomial) * 3.6e6)).max() > 2  # mas


def test_a_refit_keeps_the_fields(calm):
    _simulated, _, result = calm
    again = result.refit({"exposure": 1})
    assert again.turbulence is result.turbulence
    x = np.array([500.0, 1500.0])
    away = np.subtract(again.sky(3, 1, x, x), result.sky(3, 1, x, x)) * 3.6e6
    assert np.abs(away).max() < 3
