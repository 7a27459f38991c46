"""Frames: exact formulas against values worked by hand, round trips, and F that no frame may change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from obslab.errors import FrameError
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.frames import (
    dif_of_xyz,
    frame_of,
    hdz_of_xyz,
    rotated,
    rotation,
    small_angle_declination,
    to_dif,
    to_hdz,
    to_xyz,
    total_field,
    turned,
    xyz_of_dif,
    xyz_of_hdz,
)

ROUND_TRIP_NT = 1e-9
VECTORS = arrays(np.float64, (5, 3), elements=st.floats(-70_000, 70_000))
ANGLES = st.floats(-360, 360)


def length(xyz):
    return np.sqrt((np.asarray(xyz) ** 2).sum(axis=-1))


def samples(names="xyz", n=4, **more):
    values = {
        "x": 20_000.0,
        "y": 1_500.0,
        "z": 44_000.0,
        "h": 21_000.0,
        "e": 480.0,
        "f": 48_600.0,
        "s": 48_590.0,
    }
    values |= {"d": 260.0, "i": 3_862.0}
    units = {name: "arcmin" if name in "di" else "nT" for name in names}
    drift = np.arange(n) * 0.5
    return samples_schema(units).build(
        {"station": "WIC", "instrument": "lemi036", "orientation": "?"},
        time=np.datetime64("2024-05-10T17:00", "ns") + np.arange(n) * np.timedelta64(1, "s"),
        **{name: values[name] + drift for name in names},
        **more,
    )


def test_a_right_triangle_is_what_it_is_in_every_frame():
    """3-4-5 and 5-12-13, in units of 1,000 nT: H = 5, D = atan2(4, 3), F = 13, I = atan2(12, 5)."""
    xyz = np.array([3000.0, 4000.0, 12_000.0])
    d, i = 53.13010235415598, 67.38013505195957  # degrees, from a table of Pythagorean triangles
    np.testing.assert_allclose(hdz_of_xyz(xyz), [5000, d, 12_000], rtol=1e-15)
    np.testing.assert_allclose(dif_of_xyz(xyz), [d, i, 13_000], rtol=1e-15)
    np.testing.assert_allclose(xyz_of_hdz([5000, d, 12_000]), xyz, rtol=1e-15)
    np.testing.assert_allclose(xyz_of_dif([d, i, 13_000]), xyz, rtol=1e-15)


def test_declination_has_the_sign_of_y_in_all_quadrants():
    corners = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) * 1000.0
    np.testing.assert_allclose(hdz_of_xyz(corners)[:, 1], [45, 135, -135, -45])


@given(VECTORS)
def test_there_and_back_is_the_same_to_a_billionth_of_a_nanotesla(xyz):
    assert np.abs(xyz_of_hdz(hdz_of_xyz(xyz)) - xyz).max() < ROUND_TRIP_NT
    assert np.abs(xyz_of_dif(dif_of_xyz(xyz)) - xyz).max() < ROUND_TRIP_NT


@given(VECTORS, ANGLES, ANGLES, ANGLES)
def test_no_frame_and_no_rotation_changes_the_total(xyz, declination, inclination, roll):
    turn = {"declination_deg": declination, "inclination_deg": inclination, "roll_deg": roll}
    total = length(xyz)
    assert np.abs(dif_of_xyz(xyz)[:, 2] - total).max() < ROUND_TRIP_NT
    assert np.abs(np.hypot(*hdz_of_xyz(xyz).T[[0, 2]]) - total).max() < ROUND_TRIP_NT
    assert np.abs(length(rotated(xyz, **turn)) - total).max() < ROUND_TRIP_NT
    back = rotated(rotated(xyz, **turn), **turn, inverse=True)
    assert np.abs(back - xyz).max() < ROUND_TRIP_NT


@given(ANGLES, ANGLES, ANGLES)
def test_a_rotation_is_orthogonal_and_right_handed(declination, inclination, roll):
    matrix = rotation(declination, inclination, roll)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize(
    ("axis", "angles", "points"),
    [
        (0, (90.0, 0.0, 0.0), "east"),
        (0, (0.0, 90.0, 0.0), "down"),
        (1, (90.0, 0.0, 0.0), "south"),
        (1, (0.0, 0.0, 90.0), "down"),
        (2, (0.0, 90.0, 0.0), "south"),
        (2, (0.0, 0.0, 90.0), "west"),
    ],
)
def test_the_axes_of_a_turned_sensor_point_where_the_angles_say(axis, angles, points):
    where = {"east": (0, 1, 0), "down": (0, 0, 1), "south": (-1, 0, 0), "west": (0, -1, 0)}[points]
    np.testing.assert_allclose(rotated(np.eye(3)[axis], *angles), where, atol=1e-15)


def test_a_sensor_along_the_field_reads_it_with_one_axis():
    xyz = np.array([[20_000.0, 1_500.0, 44_000.0]])
    (d, i, f), *_ = dif_of_xyz(xyz)
    np.testing.assert_allclose(rotated(xyz, d, i, inverse=True), [[f, 0, 0]], atol=ROUND_TRIP_NT)


def test_the_small_angle_declination_is_off_by_a_third_of_the_cube():
    h, e = 20_000.0, 500.0
    exact = np.rad2deg(np.arctan2(e, h))
    off_rad = np.deg2rad(small_angle_declination(h, e, 3.0) - 3.0 - exact)
    assert off_rad == pytest.approx((e / h) ** 3 / 3, rel=1e-3)


def test_what_is_missing_stays_missing():
    xyz = np.array([[np.nan, 1.0, 2.0], [1.0, 2.0, np.nan]])
    hdz, dif = hdz_of_xyz(xyz), dif_of_xyz(xyz)
    assert np.isnan(hdz).tolist() == [[True, True, False], [False, False, True]]
    assert np.isnan(dif).tolist() == [[True, True, True], [False, True, True]]
    assert np.isnan(xyz_of_dif(dif)).tolist() == [[True, True, True], [True, True, True]]
    assert np.isnan(rotated(xyz, 10.0)).any(axis=1).all()


def test_a_dataset_goes_round_all_frames_and_keeps_the_rest():
    given_ = samples("xyzs", quality=np.array([99, 98, 97, 96]))
    there = to_hdz(to_dif(given_))
    back = to_xyz(there)
    assert [frame_of(one) for one in (given_, there, back)] == ["xyz", "hdz", "xyz"]
    assert (there.orientation, back.orientation) == ("HDZ", "XYZ")
    assert (there.h.units, there.d.units, to_dif(there).i.units) == ("nT", "arcmin", "arcmin")
    for name in "xyz":
        np.testing.assert_allclose(back[name], given_[name], atol=ROUND_TRIP_NT)
    for name in ("s", "quality"):
        assert back[name].identical(given_[name])
    assert back.attrs == {**given_.attrs, "orientation": "XYZ"}
    assert given_.orientation == "?", "the input is as it was"


def test_angles_of_a_dataset_are_in_arcmin_also_when_they_came_in_degrees():
    dif = samples("dif")
    degrees = dif.assign(
        {name: ("time", dif[name].values / 60, {"units": "deg"}) for name in "di"},
    )
    for convert in (to_xyz, to_hdz, to_dif):
        for name, column in convert(dif).data_vars.items():
            np.testing.assert_allclose(convert(degrees)[name], column, rtol=1e-13)
            assert convert(degrees)[name].units == column.units
    assert to_hdz(dif).d.values == pytest.approx(dif.d.values)


def test_the_total_is_that_of_the_components():
    expected = np.hypot(np.hypot(20_000, 1_500), 44_000)
    for convert in (to_xyz, to_hdz, to_dif):
        assert total_field(convert(samples("xyzs")))[0] == pytest.approx(expected, abs=ROUND_TRIP_NT)
    assert total_field(samples("hez"))[0] == pytest.approx(np.sqrt(21_000**2 + 480**2 + 44_000**2))


def test_a_scalar_called_f_is_not_lost_when_f_becomes_the_vectors_own():
    scalar, own = samples("xyzf"), samples("xyz")
    own = own.assign(f=("time", total_field(own).round(2), {"units": "nT"}))
    assert to_dif(scalar).s.values.tolist() == scalar.f.values.tolist()
    assert "s" not in to_dif(own)
    assert to_dif(own).f.values == pytest.approx(total_field(own), abs=ROUND_TRIP_NT)


def test_a_turned_variometer_is_put_right_and_back():
    hez = samples("hezs")
    right = turned(hez, 5.0, -2.0, 1.0)
    np.testing.assert_allclose(total_field(right), total_field(hez), atol=ROUND_TRIP_NT)
    assert abs(right.h.values - hez.h.values).min() > 100
    back = turned(right, 5.0, -2.0, 1.0, inverse=True)
    np.testing.assert_allclose(back.e, hez.e, atol=ROUND_TRIP_NT)
    assert right.s.identical(hez.s)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("xyzh", "WIC lemi036 has h x y z, which are not the components of one frame"),
        ("hd", "WIC lemi036 has d h, which"),
        ("di", "WIC lemi036 has d i, which"),
        ("f", "WIC lemi036 has f, which"),
        ("hdif", "WIC lemi036 has d f h i, which"),
    ],
)
def test_mixed_components_are_refused_by_name(names, says):
    for convert in (to_xyz, to_hdz, to_dif, total_field, turned):
        with pytest.raises(FrameError, match=says) as caught:
            convert(samples(names))
        assert "wanted x y z, h d z, d i f" in str(caught.value)


def test_a_variometer_without_baseline_is_not_a_field():
    for convert in (to_xyz, to_hdz, to_dif):
        with pytest.raises(FrameError, match=r"variometer's axes: .* it takes a baseline") as caught:
            convert(samples("hez"))
        assert caught.value.frame == "hez"


def test_a_unit_that_is_none_of_the_usual_is_refused():
    wrong = samples("xyz")
    wrong.y.attrs["units"] = "uT"
    with pytest.raises(FrameError, match="component y is in 'uT', wanted nT"):
        to_hdz(wrong)
    with pytest.raises(FrameError, match=r"shape \(4, 2\) is no vector"):
        hdz_of_xyz(np.zeros((4, 2)))
    with pytest.raises(FrameError, match="only x y z or h e z can be turned"):
        turned(samples("hdz"), 5.0)
