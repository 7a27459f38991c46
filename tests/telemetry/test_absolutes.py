"""From readings to D, I and F: against known truth, an AUTODIF's own results, and what went wrong."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.theodolites import (
    ARCSEC,
    BEGIN,
    DATA,
    SHEETS,
    still_field,
    truth,
    variometer,
    waving_field,
    wic,
)

from obslab.errors import ConfigError, FrameError, NoVariometerError, SheetError
from obslab.telemetry import absolutes
from obslab.telemetry.datasets import ABSOLUTES
from obslab.times import as_ns

PIER_NT = -11.7  # of ``variometer``'s scalar
ERRORS = {"delta_arcmin": 1.2, "epsilon_arcmin": -3.0, "offset_nt": 8.0}

# What the AUTODIF's own software found in the six measurements of dou20200801.abs, in degrees to 1e-4.
DOURBES = [
    (1.6725, 65.5589),
    (1.6699, 65.5578),
    (1.7164, 65.5724),
    (1.5988, 65.5406),
    (1.6419, 65.5626),
    (1.6506, 65.5324),
]


def only(dataset):
    assert dataset.sizes["measurement"] == 1
    return dataset.isel(measurement=0)


def closed_form(measurement):
    """D and I of an AUTODIF by the sums of its makers."""
    rows = measurement.readings
    at = {name: rows[rows["position"] == name] for name in set(rows["position"].tolist())}
    turned = {"up-east": 0, "down-west": 0, "down-east": 180, "up-west": 180}
    d = np.mean([(at[name]["horizontal_deg"][0] + turn) % 360 for name, turn in turned.items()])
    mark = np.mean([*at["up"]["horizontal_deg"], *((at["down"]["horizontal_deg"] + 180) % 360)])
    v = {name: at[name]["vertical_deg"][0] for name in at}
    i = np.mean([180 - v["up-south"], 360 - v["down-north"], v["down-south"] - 180, v["up-north"]])
    return d - mark + measurement.azimuth_deg - 90, i


# ---- truth


@pytest.mark.parametrize("frame", ["hez", "xyz", "hdz", "dif"])
@pytest.mark.parametrize("method", ["residual", "null", "autodif"])
def test_truth_comes_back_while_the_field_moves(method, frame):
    made = absolutes.simulate(
        waving_field, BEGIN, method=method, azimuth_deg=251.3, circle_zero_deg=33.0, **ERRORS
    )
    found = only(absolutes.reduce(made, variometer(frame=frame), variometer(), pier_difference_nt=PIER_NT))
    d, i, f = truth(waving_field, made.begin_ns)
    # The waves bend by less than 1e-5 nT between two samples; the rest of it is arithmetic. Readings by hand
    # are made in the meridian of the mean circle, not of the mean field: 2e-5 of 10 arc-seconds.
    assert float(found.d) == pytest.approx(d, abs=0.001 * ARCSEC)
    assert float(found.i) == pytest.approx(i, abs=0.002 * ARCSEC)
    assert float(found.f) == pytest.approx(f, abs=0.001)
    assert float(found.delta) == pytest.approx(1.2, abs=1e-5)
    for part in "di":
        assert float(found[f"epsilon_{part}"]) == pytest.approx(-3.0, abs=1e-4)
        assert float(found[f"offset_{part}"]) == pytest.approx(8.0, abs=1e-3)
    assert np.isnan(float(found.scale)) == (method != "residual")
    if method == "residual":
        assert float(found.scale) == pytest.approx(1.0, abs=1e-5)
    assert float(found.rms) < 1e-3
    assert bool(found.used)
    assert str(found.note.values) == ""


@settings(max_examples=40)
@given(
    method=st.sampled_from(["residual", "null", "autodif"]),
    d=st.floats(-179, 179),
    i=st.floats(15, 84) | st.floats(-84, -15),
    azimuth=st.floats(0, 360),
    zero=st.floats(0, 360),
    delta=st.floats(-20, 20),
    epsilon=st.floats(-20, 20),
    offset=st.floats(-60, 60),
)
def test_truth_comes_back_anywhere_on_earth(method, d, i, azimuth, zero, delta, epsilon, offset):
    made = absolutes.simulate(
        still_field(d, i),
        BEGIN,
        method=method,
        azimuth_deg=azimuth,
        circle_zero_deg=zero,
        delta_arcmin=delta,
        epsilon_arcmin=epsilon,
        offset_nt=offset,
    )
    scalar = variometer(still_field(d, i))[["f"]]
    found = only(absolutes.reduce(made, scalar=scalar, pier_difference_nt=PIER_NT))
    off = [(float(found.d) - d + 180) % 360 - 180, float(found.i) - i]
    assert np.abs(off).max() < 0.02 * ARCSEC  # the second order of 20 arc-minutes of collimation at I = 84
    assert float(found.offset_d) == pytest.approx(offset, abs=0.02)
    assert float(found.offset_i) == pytest.approx(offset, abs=0.02)
    assert float(found.delta) == pytest.approx(delta, abs=0.01)
    assert float(found.epsilon_d) == pytest.approx(epsilon, abs=0.01)


def test_errors_are_what_the_results_scatter_by():
    """60 measurements with 2 arc-seconds in each circle and 0.3 nT in the sensor."""
    series, rng = variometer(), np.random.default_rng(3)
    made = [
        absolutes.simulate(
            waving_field, BEGIN, azimuth_deg=33.0, noise_nt=0.3, circle_noise_arcsec=2.0, rng=rng, **ERRORS
        )
        for _ in range(60)
    ]
    found = absolutes.reduce(made, series, series, pier_difference_nt=PIER_NT)
    assert found.used.all()
    d, i, _ = truth(waving_field, made[0].begin_ns)
    for name, true in (("d", d), ("i", i)):
        off = (found[name].values - true) / found[f"{name}_error"].values
        assert abs(off.mean()) < 0.5  # 4 sigma of a mean of 60
        assert 0.6 < off.std() < 1.5


def test_d_and_i_may_be_asked_for_another_time():
    made = absolutes.simulate(waving_field, BEGIN, **ERRORS)
    later = "2024-05-10T07:10:30.5Z"
    found = only(absolutes.reduce(made, variometer(), variometer(), pier_difference_nt=PIER_NT, at=later))
    d, i, f = truth(waving_field, as_ns(later))
    assert found.time.values == np.datetime64(later[:-1], "ns")
    assert float(found.d) == pytest.approx(d, abs=0.001 * ARCSEC)
    assert float(found.i) == pytest.approx(i, abs=0.002 * ARCSEC)
    assert float(found.f) == pytest.approx(f, abs=0.001)
    assert abs(d - truth(waving_field, made.begin_ns)[0]) > 10 * ARCSEC


def test_minutes_of_the_variometer_are_interpolated():
    made = absolutes.simulate(waving_field, BEGIN, **ERRORS)
    minutes = variometer(count=60, cadence_s=60.0)
    found = only(absolutes.reduce(made, minutes, minutes, pier_difference_nt=PIER_NT))
    # A chord of a minute of waves of 60 nT sin(t / 900 s) is off by 60 (60/900)^2 / 8 = 0.03 nT: 0.3 arcsec.
    d, i, _ = truth(waving_field, made.begin_ns)
    assert float(found.d) == pytest.approx(d, abs=0.3 * ARCSEC)
    assert float(found.i) == pytest.approx(i, abs=0.3 * ARCSEC)


def test_without_variometer_d_is_off_by_what_the_field_did():
    made = absolutes.simulate(waving_field, BEGIN, **ERRORS)
    d, _, _ = truth(waving_field, made.begin_ns)
    scalar = variometer()[["f"]]
    plain = only(absolutes.reduce(made, scalar=scalar, pier_difference_nt=PIER_NT))
    assert abs(float(plain.d) - d) > 5 * ARCSEC
    assert bool(plain.used)


def test_f_in_the_sheet_goes_before_the_scalar():
    made = absolutes.simulate(waving_field, BEGIN, **ERRORS)
    scalar = np.zeros(3, made.scalar.dtype)
    scalar["time_ns"] = made.begin_ns + np.array([500, 505, 510]) * 1_000_000_000
    scalar["f_nt"] = [truth(waving_field, when)[2] for when in scalar["time_ns"]]
    found = only(
        absolutes.reduce(replace(made, scalar=scalar), variometer(), variometer(), pier_difference_nt=77.0)
    )
    assert float(found.f) == pytest.approx(truth(waving_field, made.begin_ns)[2], abs=1e-3)


# ---- real measurements


def test_autodif_gives_what_its_own_software_found():
    found = absolutes.reduce(absolutes.read(DATA / "dou20200801.abs"))
    d, i = np.array(DOURBES).T
    # Half of the last digit that it prints, 1e-4 degrees, and of ours.
    np.testing.assert_allclose(found.d, d, rtol=0, atol=0.7e-4)
    np.testing.assert_allclose(found.i, i, rtol=0, atol=0.7e-4)
    assert np.isnan(found.f).all()
    assert np.isnan(found.offset_d).all()
    # The last has a bad reading, down-north off by 0.06 degrees, and its errors say so.
    assert (found.i_error[:-1] < 12 * ARCSEC).all()
    assert float(found.i_error[-1]) > 50 * ARCSEC
    assert abs(float(found.epsilon_i[-1]) - float(found.epsilon_d[-1])) > 0.9


def test_autodif_closed_form_is_the_least_squares_of_null_readings():
    for measurement in absolutes.read(DATA / "dou20200801.abs"):
        found = only(absolutes.reduce(measurement))
        d, i = closed_form(measurement)
        assert float(found.d) == pytest.approx(d, abs=1e-6 * ARCSEC)
        assert float(found.i) == pytest.approx(i, abs=1e-6 * ARCSEC)


@pytest.mark.parametrize("delta", [0.5, 20.0])
def test_closed_form_has_its_small_angles(delta):
    """Of exact readings the fit finds the truth; the sums do so for collimations of arc-minutes."""
    made = absolutes.simulate(
        still_field(1.67, 65.56),
        BEGIN,
        method="autodif",
        delta_arcmin=delta,
        epsilon_arcmin=-delta,
        offset_nt=50,
    )
    d, i = closed_form(made)
    found = only(absolutes.reduce(made))
    assert float(found.d) == pytest.approx(1.67, abs=1e-3 * ARCSEC)
    assert float(found.i) == pytest.approx(65.56, abs=1e-3 * ARCSEC)
    assert (d - 1.67) % 360 == pytest.approx(0, abs=0.3 * ARCSEC) or (d - 1.67) % 360 > 360 - 0.3 * ARCSEC
    assert i == pytest.approx(65.56, abs=0.3 * ARCSEC)


def test_sheets_of_conrad_observatory_give_known_values():
    """MagPy 2.0.2 gives these with the same files, but for D: it takes four of the eight mark readings.

    tests/magpy compares all of it with MagPy itself. Its D are 4.343458 and 4.346841 degrees.
    """
    read = [absolutes.read(SHEETS[letter])[0] for letter in "ab"]
    found = absolutes.reduce(read, wic(), wic())
    assert found.attrs["station"] == "WIC"
    assert [str(time)[11:16] for time in found.time.values] == ["07:16", "07:42"]
    np.testing.assert_allclose(found.i, [64.367204, 64.370461], rtol=0, atol=0.01 * ARCSEC)
    np.testing.assert_allclose(found.f, [48624.755, 48622.790], rtol=0, atol=0.001)
    np.testing.assert_allclose(found.d, [4.346841, 4.343458], rtol=0, atol=0.7 * ARCSEC)
    np.testing.assert_allclose(found.offset_d, [4.804, 4.941], rtol=0, atol=0.001)
    np.testing.assert_allclose(found.offset_i, [5.323, 5.233], rtol=0, atol=0.001)
    assert (found.d_error < 3 * ARCSEC).all()
    assert (found.rms < 0.5).all()
    assert found.note.values.tolist() == ["", ""]


# ---- positions swapped


def exchange(measurement, one, two):
    """What is read when two positions' circles are written into each other's lines."""
    rows = measurement.readings.copy()
    circle = "horizontal_deg" if one.endswith(("east", "west")) else "vertical_deg"
    places = [np.flatnonzero((rows["position"] == name) & (rows["kind"] != "scale")) for name in (one, two)]
    rows[circle][places[0]], rows[circle][places[1]] = (
        rows[circle][places[1]].copy(),
        rows[circle][places[0]].copy(),
    )
    return rows


def swapped_sheet(tmp_path, one, two):
    """A sheet with two positions exchanged, and the lines in which each of them is."""
    (read,) = absolutes.read(SHEETS["a"])
    path = absolutes.write_sheet(replace(read, readings=exchange(read, one, two)), tmp_path / "swapped.txt")
    numbers = [number for number, line in enumerate(path.read_text().splitlines(), 1) if line[:2] == "20"]
    names = read.readings["position"][read.readings["kind"] != "mark"][:-1].tolist()
    return path, {
        name: [n for n, met in zip(numbers, names, strict=False) if met == name] for name in set(names)
    }


D_PAIRS = list(combinations(["up-east", "up-west", "down-east", "down-west"], 2))
I_PAIRS = list(combinations(["up-north", "up-south", "down-north", "down-south"], 2))
HARMLESS = [  # both circles stay together, or both directions in one face: the readings remain right ones
    ("up-east", "up-west"),
    ("down-east", "down-west"),
    ("up-north", "down-south"),
    ("up-south", "down-north"),
    ("down-north", "down-south"),
]


@pytest.mark.parametrize("pair", [pair for pair in D_PAIRS + I_PAIRS if pair not in HARMLESS], ids=" ".join)
def test_swapped_positions_are_named_with_their_lines(tmp_path, pair):
    path, lines = swapped_sheet(tmp_path, *pair)
    (read,) = absolutes.read(path)
    with pytest.raises(SheetError) as told:
        absolutes.reduce(read, wic(), wic())
    one, two = sorted(pair, key=lambda name: lines[name])
    where = " and ".join(f"{lines[name][0]}-{lines[name][1]}" for name in (one, two))
    assert str(told.value) == f"{path}: positions {one} and {two} look swapped: lines {where}"
    assert (told.value.swap.first, told.value.swap.second) == (one, two)


@pytest.mark.parametrize("pair", HARMLESS, ids=" ".join)
def test_exchange_that_leaves_right_readings_changes_nothing_much(tmp_path, pair):
    path, _ = swapped_sheet(tmp_path, *pair)
    (read,), (original,) = absolutes.read(path), absolutes.read(SHEETS["a"])
    found, wanted = (only(absolutes.reduce(one, wic(), wic())) for one in (read, original))
    # What D and I did between the lines: 0.3 nT.
    assert float(found.d) == pytest.approx(float(wanted.d), abs=3 * ARCSEC)
    assert float(found.i) == pytest.approx(float(wanted.i), abs=3 * ARCSEC)


@pytest.mark.parametrize(
    "pair", [("Decl1UE", "Decl3DE"), ("Decl2DW", "Decl4UW"), ("Incl1US", "Incl4UN")], ids=" ".join
)
def test_swap_in_an_autodif_file_is_named_even_without_variometer(tmp_path, pair):
    lines = (DATA / "dou20200801.abs").read_text().splitlines()[:23]
    places = [next(n for n, line in enumerate(lines) if line.startswith(name)) for name in pair]
    ends = [lines[place].rsplit("\t", 1)[1] for place in places]
    for place, end in zip(places, ends[::-1], strict=True):
        lines[place] = f"{lines[place].rsplit(chr(9), 1)[0]}\t{end}"
    path = tmp_path / "day.abs"
    path.write_text("\n".join(lines))
    (read,) = absolutes.read(path)
    with pytest.raises(SheetError, match=f"look swapped: lines {places[0] + 1} and {places[1] + 1}"):
        absolutes.reduce(read)


def test_no_swap_is_seen_where_there_is_none():
    """90 theodolites, good and bad, with circles good and bad."""
    rng, series = np.random.default_rng(11), variometer()
    made = [
        absolutes.simulate(
            waving_field,
            BEGIN,
            method=("residual", "null", "autodif")[number % 3],
            delta_arcmin=rng.normal(0, 1),
            epsilon_arcmin=rng.normal(0, 1.5),
            offset_nt=rng.normal(0, 4),
            noise_nt=0.3,
            circle_noise_arcsec=rng.choice([1.0, 3.0, 6.0]),
            rng=rng,
        )
        for number in range(90)
    ]
    found = absolutes.reduce(made, series, series, pier_difference_nt=PIER_NT)
    assert found.used.all(), found.note.values[~found.used.values]


def test_marks_written_the_other_way_round_are_noticed_and_harmless():
    (read,) = absolutes.read(SHEETS["a"])
    rows = read.readings.copy()
    marks = rows["kind"] == "mark"
    rows["position"][marks] = np.where(rows["position"][marks] == "up", "down", "up")
    from obslab.telemetry.absolutes.positions import name_positions

    other = replace(read, readings=rows)
    name_positions(rows, other.azimuth_deg - other.mark_deg)
    found, wanted = only(absolutes.reduce(other, wic(), wic())), only(absolutes.reduce(read, wic(), wic()))
    assert "the other way round" in str(found.note.values)
    for name in ("d", "i", "offset_d", "delta"):
        assert float(found[name]) == pytest.approx(float(wanted[name]), abs=1e-9)


@pytest.mark.parametrize("corrected", [True, False], ids=["corrected", "not corrected"])
def test_marks_the_other_way_round_are_not_taken_for_a_swap(corrected):
    """Or D is beyond 90 degrees, which the readings cannot tell."""
    (read,) = absolutes.read(SHEETS["a"], azimuth_deg=0.1372)
    found = only(absolutes.reduce(read, wic() if corrected else None, wic()))
    assert "if they are right, D is 180 degrees from this: give declination_near" in str(found.note.values)
    assert float(found.d) == pytest.approx(4.343, abs=0.001 if corrected else 0.02)


MISREAD = [  # line of the sheet, what is written for what, the position in which it is
    (17, "69.847777777778", "69.947777777778", "declination, up-west"),
    (17, "69.847777777778", "96.847777777778", "declination, up-west"),
    (23, "64.2875", "64.3875", "inclination, up-north"),
    (20, "  270  0.0", "  270  40.0", "declination, down-west"),
]


@pytest.mark.parametrize(("line", "right", "wrong", "where"), MISREAD, ids=[one[2] for one in MISREAD])
def test_one_reading_that_does_not_fit_is_named_with_its_line(tmp_path, line, right, wrong, where):
    lines = SHEETS["a"].read_text().splitlines()
    assert right in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(right, wrong)
    path = tmp_path / "misread.txt"
    path.write_text("\n".join(lines))
    (read,) = absolutes.read(path)
    with pytest.raises(SheetError, match=rf"line {line}: this reading for {where}, does not fit") as told:
        absolutes.reduce(read, wic(), wic())
    assert told.value.line == line


def test_two_readings_alike_that_do_not_fit_are_noted():
    """D comes out 1.5 arc-minutes off, and fits its own readings: only S0 of I is another."""
    (read,) = absolutes.read(SHEETS["a"])
    rows = read.readings.copy()
    rows["horizontal_deg"][rows["position"] == "up-west"] += 0.1
    found = only(absolutes.reduce(replace(read, readings=rows), wic(), wic()))
    assert str(found.note.values) == "offset and epsilon of D and I disagree by 6.9 nT: is a reading wrong?"


def test_readings_that_make_no_sense_are_refused():
    (read,) = absolutes.read(SHEETS["a"])
    rows = read.readings.copy()
    rows["residual_nt"][rows["kind"] == "declination"] = [900, -900, 900, -900, 900, -900, 900, -900]
    with pytest.raises(SheetError, match=r"readings contradict each other by \d+ nT \(rms\), wanted"):
        absolutes.reduce(replace(read, readings=rows), wic(), wic())


@pytest.mark.parametrize("azimuth", [1000.0, -360.5, np.nan])
def test_azimuth_beyond_the_circle_is_refused(tmp_path, azimuth):
    with pytest.raises(ConfigError, match=r"azimuth_deg \(--azimuth\) .* is not within 360 degrees"):
        absolutes.read(SHEETS["a"], azimuth_deg=azimuth)
    text = SHEETS["a"].read_text().replace("AzimuthMark: 180.1372", f"AzimuthMark: {azimuth}")
    (tmp_path / "sheet.txt").write_text(text)
    with pytest.raises(SheetError, match=r"sheet\.txt line 6: field Abs-AzimuthMark is"):
        absolutes.read(tmp_path / "sheet.txt")
    text = (DATA / "dou20200801.abs").read_text().replace("-007.38389", f"{azimuth}")
    (tmp_path / "day.abs").write_text(text)
    with pytest.raises(SheetError, match=r"field TARGET AZ is '.*', wanted the mark's azimuth in degrees"):
        absolutes.read(tmp_path / "day.abs")


def test_residuals_of_the_wrong_sign_are_told_by_the_tilt():
    (read,) = absolutes.read(SHEETS["a"])
    rows = read.readings.copy()
    rows["residual_nt"] *= -1
    with pytest.raises(
        SheetError, match=r"line 30: field residual is -140\.9 nT, .*the sign of all residuals"
    ):
        absolutes.reduce(replace(read, readings=rows), wic(), wic())


def test_inclination_of_the_other_hemisphere_is_refused():
    made = absolutes.simulate(still_field(4.0, 64.0), BEGIN)
    series = variometer(still_field(4.0, 64.0)).assign_attrs(latitude_deg=-66.7)
    with pytest.raises(SheetError, match=r"inclination comes out as 64\.000 degrees at latitude -66\.700"):
        absolutes.reduce(made, series, series, pier_difference_nt=PIER_NT)


def test_position_that_is_missing_is_named():
    made = absolutes.simulate(still_field(4.0, 64.0), BEGIN, method="null", **ERRORS)
    rows = made.readings.copy()
    rows["horizontal_deg"][rows["position"] == "down-west"] = np.nan
    with pytest.raises(SheetError, match="by the circles down-west is missing; wanted four positions"):
        absolutes.reduce(replace(made, readings=rows))


# ---- nothing to go by


@pytest.fixture
def two():
    """A measurement with variometer data, and one a day later without."""
    times = (BEGIN, "2024-05-11T07:00:00Z")
    return [absolutes.simulate(waving_field, time, method="null", **ERRORS) for time in times]


def test_measurement_without_variometer_data_is_refused_alone_and_kept_among_others(two):
    series = variometer()
    with pytest.raises(NoVariometerError, match=r"WIC lemi036 \(h e z\) has no data at 2024-05-11T07:00:00Z"):
        absolutes.reduce(two[1], series, series)
    found = absolutes.reduce(two, series, series, pier_difference_nt=PIER_NT)
    ABSOLUTES.check(found)
    assert found.used.values.tolist() == [True, False]
    assert "not corrected for variations" in str(found.note.values[1])
    assert np.isfinite(found.d).all()
    assert found.f.isnull().values.tolist() == [False, True]


def test_gap_of_the_variometer_is_not_crossed(two):
    series = variometer()
    at = np.flatnonzero(series.time.values == np.datetime64("2024-05-10T07:02:00"))[0]
    for lost in (series.drop_isel(time=[at - 1, at, at + 1]), series.where(series.time != series.time[at])):
        with pytest.raises(NoVariometerError, match="has no data at 2024-05-10T07:02:00Z"):
            absolutes.reduce(two[0], lost)


def test_measurement_without_scalar_data_is_refused_alone(two):
    scalar = variometer()[["f"]].isel(time=slice(0, 10))
    with pytest.raises(NoVariometerError, match=r"\(f\) has no data during"):
        absolutes.reduce(two[0], scalar=scalar)


def test_residuals_without_f_are_refused_and_null_readings_are_not(two):
    (read,) = absolutes.read(SHEETS["a"])
    with pytest.raises(SheetError, match="readings of the residual method need F"):
        absolutes.reduce(read)
    found = only(absolutes.reduce(two[0], variometer()[["h", "e", "z"]]))
    assert np.isnan(float(found.f))
    assert np.isfinite(float(found.d))
    assert str(found.note.values) == "no F: not corrected for variations"


def test_bad_measurement_among_good_ones_becomes_a_row_with_a_note(two):
    (read,) = absolutes.read(SHEETS["a"])
    bad = replace(read, readings=exchange(read, "up-east", "down-east"))
    found = absolutes.reduce([two[0], bad])
    assert found.used.values.tolist() == [False, True]  # in order of time
    assert np.isnan(float(found.d[0]))
    assert "up-east" in str(found.note.values[0]) or "need F" in str(found.note.values[0])


def test_automatic_residuals_without_f_are_taken_as_none():
    """An AUTODIF stops where the sensor shows next to nothing, and sends the rest."""
    (read, *_) = absolutes.read(DATA / "dou20200801.abs")
    rows = read.readings.copy()
    rows["residual_nt"][rows["kind"] != "mark"] = 0.07
    found, wanted = only(absolutes.reduce(replace(read, readings=rows))), only(absolutes.reduce(read))
    assert float(found.d) == float(wanted.d)
    assert str(found.note.values) == "no F: residuals of up to 0.07 nT are taken as none"


def test_azimuth_that_nobody_knows_is_told(two):
    with pytest.raises(SheetError, match="no azimuth of the mark"):
        absolutes.reduce(replace(two[0], azimuth_deg=np.nan))


def test_components_that_make_no_frame_are_refused(two):
    with pytest.raises(FrameError, match=r"has f h, which are not .*wanted x y z, h d z, d i f, or a"):
        absolutes.reduce(two[0], variometer()[["h", "f"]])
    with pytest.raises(FrameError, match="no s or f among h"):
        absolutes.reduce(two[0], scalar=variometer()[["h"]])


def test_components_of_two_frames_are_refused(two):
    series = variometer()
    with pytest.raises(FrameError, match="d e f h z, which are not the components of one frame"):
        absolutes.reduce(two[0], series.assign(d=series.e), series)


def test_variometer_in_degrees_is_one_in_minutes_of_arc():
    made = absolutes.simulate(waving_field, BEGIN, offset_nt=3.0)
    series = variometer(frame="hdz")
    degrees = series.assign(d=("time", series.d.values / 60, {**series.d.attrs, "units": "deg"}))
    found, wanted = (absolutes.reduce(made, one, series) for one in (degrees, series))
    assert float(found.d[0]) == pytest.approx(float(wanted.d[0]), abs=1e-12)


def test_variations_of_another_station_are_refused(two):
    with pytest.raises(SheetError, match="is of PEA, the variations are of WIC"):
        absolutes.reduce(replace(two[0], station="PEA"), variometer())


def test_merged_dataset_has_its_scalar_in_s():
    made = absolutes.simulate(waving_field, BEGIN, **ERRORS)
    series = variometer()
    merged = series.assign(s=series.f, f=xr.zeros_like(series.f))
    found = only(absolutes.reduce(made, merged, merged, pier_difference_nt=PIER_NT))
    assert float(found.f) == pytest.approx(truth(waving_field, made.begin_ns)[2], abs=1e-3)


def test_nothing_reduces_to_an_empty_table():
    assert absolutes.reduce([]).sizes["measurement"] == 0


def test_method_that_cannot_be_simulated_is_told():
    with pytest.raises(SheetError, match="method 'zero' is none of residual, null, autodif"):
        absolutes.simulate(waving_field, BEGIN, method="zero")
