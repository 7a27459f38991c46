"""Image-to-image fits: transforms between pixels of two images against the truth."""

import json

import numpy as np
import pytest
from jointfit.simulated_fits import CLEAN, base, rms, small

from obslab.jointfit import fit, read_transform
from obslab.jointfit.projection import frames, to_plane, unit_vectors
from obslab.jointfit.transforms import TransformError


@pytest.fixture(scope="module")
def between():
    simulated = small(**CLEAN, exposures=5, stars_per_detector=300, dither_deg=0.02)
    return simulated, fit(simulated.measured, None, simulated.exposures, projector="identity", held=2)


def true_pixels(simulated, a, b, x, y):
    """Where pixels of image ``a`` fall on image ``b``: the truth's mapping, undone by Newton's method."""
    ra, dec = simulated.truth.sky(*a, x, y)
    at = np.array([x, y], float)
    frame = frames(ra, dec)
    for _ in range(20):
        away = np.array(to_plane(frame, unit_vectors(*simulated.truth.sky(*b, *at))))
        by_x = np.array(to_plane(frame, unit_vectors(*simulated.truth.sky(*b, at[0] + 1, at[1])))) - away
        by_y = np.array(to_plane(frame, unit_vectors(*simulated.truth.sky(*b, at[0], at[1] + 1)))) - away
        step = np.linalg.solve(np.stack([by_x.T, by_y.T], -1), away.T[:, :, None])[:, :, 0].T
        at = at - step
    assert np.abs(step).max() < 1e-6
    return at


def grid(simulated, low=100, high=1950):
    nodes = np.linspace(low, high, 6)
    return tuple(axis.ravel() for axis in np.meshgrid(nodes, nodes))


def test_a_transform_is_the_true_one_within_the_expected_error(between):
    simulated, result = between
    pulls, away = [], []
    for a, b in (((0, 0), (2, 0)), ((4, 3), (1, 3)), ((2, 1), (3, 1))):
        x, y = grid(simulated)
        there = true_pixels(simulated, a, b, x, y)
        inside = ((there > 100) & (there < 1950)).all(0)
        off = np.array(result.transform(a, b)(x, y)) - there
        pulls.append((off / result.transform_error(a, b, x, y).T)[:, inside])
        away.append(off[:, inside])
    # six cubics of ten coefficients: 60 independent numbers
    assert rms(np.concatenate(pulls, 1)) == pytest.approx(1, abs=0.25)
    assert rms(np.concatenate(away, 1)) < 0.02  # pixel, 5 mas


def test_the_held_image_is_the_plane(between):
    simulated, result = between
    held = int(np.flatnonzero(result.layout.held_inner)[0])
    exposure, detector = (
        int(result.measured.exposure.values[held]),
        int(result.measured.detector.values[held]),
    )
    assert exposure == 2
    mine = result.residuals.isel(measured=result.measured.image.values == held)
    assert mine.xi.values == pytest.approx(mine.x.values, abs=1e-9)
    assert result.fitted.attrs["coordinates"] == "pixels of the held image"
    assert result.report["unit"] == "pixel" and result.report["chi2_per_degree"] == pytest.approx(1, abs=0.06)
    x, y = grid(simulated)
    same = result.transform((exposure, detector), (exposure, detector))
    assert np.abs(np.array(same(x, y)) - [x, y]).max() < 1e-9


def test_there_and_back_is_where_it_was(between):
    simulated, result = between
    x, y = grid(simulated, 300, 1700)
    there = result.transform((0, 2), (3, 2))
    back = result.transform((3, 2), (0, 2))
    assert np.abs(np.array(back(*there(x, y))) - [x, y]).max() < 3 * max(
        there.error_pixel, back.error_pixel, 1e-6
    )
    assert there.error_pixel < 1e-3


def test_a_file_holds_a_transform(between, tmp_path):
    _simulated, result = between
    there = result.transform((0, 1), (4, 1))
    there.write(tmp_path / "there.json")
    again = read_transform(tmp_path / "there.json")
    assert again == there and again(12.5, 900.0) == there(12.5, 900.0)
    said = json.loads((tmp_path / "there.json").read_text())
    assert said["convention"] == "FITS pixels, the first is 1" and said["source"] == "e000_c01"
    u, v = (np.array([700.0, 800.0]) - said["mid"]) / said["half"]
    by_hand = sum(c * u**i * v**j for c, (i, j) in zip(said["x_coefficients"], said["powers"], strict=True))
    assert by_hand == pytest.approx(there(700.0, 800.0)[0], abs=1e-9)
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(TransformError, match=r"other\.json holds no transform"):
        read_transform(tmp_path / "other.json")


def test_images_of_different_detectors_are_joined_by_dithers():
    simulated, result = base()  # dithers of a third of a detector, and a reference: through the sky
    a, b = (0, 0), (1, 1)
    x, y = np.array([1900.0, 2000.0]), np.array([900.0, 1100.0])
    there = np.array(result.transform(a, b)(x, y))
    assert (
        np.abs(there - true_pixels(simulated, a, b, x, y)).max() < 0.1
    )  # pixel: off the second detector's edge


def test_images_that_no_star_joins_with_the_held_one_are_named():
    simulated = small(**CLEAN, exposures=4, stars_per_detector=200, dither_deg=0.004)
    result = fit(simulated.measured, None, simulated.exposures, projector="identity")
    note = next(
        note for note in result.report["notes"] if note.startswith("no chain of 10 shared stars joins")
    )
    assert "(3 separate sets)" in note and "and 7 more" in note
    x, y = grid(simulated)
    there = np.array(
        result.transform((0, 3), (1, 3))(x, y)
    )  # one detector's images are joined by their stars
    assert rms(there - true_pixels(simulated, (0, 3), (1, 3), x, y)) < 0.05


def test_what_a_fit_between_images_does_not_know_is_said(between):
    simulated, result = between
    with pytest.raises(ValueError, match=r"knows no sky; use result.transform\(a, b\)"):
        result.sky(0, 0, 1.0, 1.0)
    with pytest.raises(ValueError, match="between images has no reference"):
        fit(*simulated.loaded, projector="identity")
    with pytest.raises(ValueError, match="there is no image of exposure 9"):
        result.transform((9, 0), (0, 0))
    with pytest.raises(ValueError, match="turbulence is of the sky"):
        fit(simulated.measured, None, simulated.exposures, projector="identity", turbulence=True)
