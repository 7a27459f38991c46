"""DI sheets and AUTODIF files: read, written, and refused by file, line and field."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.theodolites import BEGIN, DATA, SHEETS, still_field

from obslab.errors import SheetError
from obslab.telemetry import absolutes
from obslab.times import as_ns

POSITIONS = [
    "up-east",
    "up-west",
    "down-east",
    "down-west",
    "up-north",
    "down-south",
    "down-north",
    "up-south",
]


@pytest.fixture
def lines():
    """Lines of a real sheet; line n is lines[n - 1]."""
    return SHEETS["a"].read_text().splitlines()


@pytest.fixture
def sheet(tmp_path):
    def write(lines):
        path = tmp_path / "sheet.txt"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def autodif(tmp_path):
    def write(text):
        path = tmp_path / "day.abs"
        path.write_text(text)
        return path

    return write


def changed(lines, number, column, value):
    words = lines[number - 1].split()
    words[column] = value
    lines[number - 1] = "  ".join(words)
    return lines


# ---- sheets


def test_sheet_is_read_with_every_reading_in_its_position():
    (read,) = absolutes.read(SHEETS["a"])
    assert (read.observer, read.theodolite, read.pillar) == ("Herzog", "T010B_160391_072011", "A2")
    assert (read.method, read.azimuth_deg, read.temperature_c) == ("residual", 180.1372, 7.8)
    rows = read.readings
    assert [len(read.of(kind)) for kind in ("mark", "declination", "inclination", "scale")] == [8, 8, 8, 1]
    fields = rows[rows["kind"] != "mark"]
    assert fields["position"].tolist() == [name for name in POSITIONS for _ in range(2)] + ["up-south"]
    assert fields["line"].tolist() == list(range(14, 31))
    assert rows[rows["kind"] == "mark"]["position"].tolist() == ["down", "down", "up", "up"] * 2
    assert (read.begin_ns, read.end_ns) == (as_ns("2018-08-29T07:42:00Z"), as_ns("2018-08-29T08:03:00Z"))
    assert fields[0]["residual_nt"] == 0.2
    assert fields[-1]["vertical_deg"] == 115.71444444444


def test_mark_is_the_mean_of_both_faces_also_across_north(lines, sheet):
    (read,) = absolutes.read(SHEETS["a"])
    up = np.mean([335.81972222222, 335.82027777778, 335.82, 335.81972222222])
    down = np.mean([155.8175, 155.81833333333, 155.81861111111, 155.81888888889])
    assert read.mark_deg == pytest.approx((up + down + 180) / 2, abs=1e-12)
    lines[11] = "180.01  179.99  359.98  0.02  180.0  180.0  0.01  359.99"
    (across,) = absolutes.read(sheet(lines))
    assert across.mark_deg % 360 == pytest.approx(0, abs=1e-9)


def test_sheet_in_gon_says_the_same(lines, sheet):
    lines = [line.replace("TheoUnit: deg", "TheoUnit: gon") for line in lines]
    lines = [line.replace("180.1372", f"{180.1372 / 0.9!r}") for line in lines]
    lines[11] = "  ".join(repr(float(word) / 0.9) for word in lines[11].split())
    for number in range(13, 30):
        time, horizontal, vertical, residual = lines[number].split()
        lines[number] = f"{time}  {float(horizontal) / 0.9!r}  {float(vertical) / 0.9!r}  {residual}"
    (gon,), (deg,) = absolutes.read(sheet(lines)), absolutes.read(SHEETS["a"])
    assert gon.azimuth_deg == pytest.approx(deg.azimuth_deg, abs=1e-12)
    for name in ("horizontal_deg", "vertical_deg"):
        np.testing.assert_allclose(gon.readings[name], deg.readings[name], rtol=0, atol=1e-11)
    np.testing.assert_array_equal(gon.readings["position"], deg.readings["position"])


def test_f_in_the_sheet_is_read_with_its_correction(lines, sheet):
    lines[30:] = ["PPM:", "2018-08-29_07:50:00  48622.5", "2018-08-29_07:50:05  48622.7", "Result:", "D 4"]
    lines.insert(1, "# Abs-DeltaF: 1.5")
    (read,) = absolutes.read(sheet(lines))
    np.testing.assert_allclose(read.scalar["f_nt"], [48624.0, 48624.2])
    assert read.scalar["time_ns"][0] == as_ns("2018-08-29T07:50:00Z")


def test_azimuth_given_overrides_that_in_the_sheet(lines, sheet):
    del lines[6]
    (read,) = absolutes.read(sheet(lines), azimuth_deg=12.5)
    assert read.azimuth_deg == 12.5


@pytest.mark.parametrize("convention", ["circle", "direction"])
def test_both_ways_to_write_the_meridian_give_the_same_positions(lines, sheet, convention):
    """MagPy's own sheets of AUTODIFs have the direction of the telescope, its examples the circle."""
    if convention == "direction":
        for number in range(24, 28):  # down-south and down-north
            changed(lines, number, 1, {"0": "180", "180": "0"}[lines[number - 1].split()[1]])
    (read,) = absolutes.read(sheet(lines))
    assert read.of("inclination")["position"].tolist() == [name for name in POSITIONS[4:] for _ in range(2)]


def test_declination_beyond_90_degrees_needs_to_be_said(tmp_path):
    """Down there a sheet alone cannot tell whether a telescope points east or west."""
    made = absolutes.simulate(still_field(-139.0, -81.0), BEGIN, azimuth_deg=77.0)
    path = absolutes.write_sheet(made, tmp_path / "sheet.txt")
    for near, wanted in ((-140.0, made.readings["position"]), (0.0, None)):
        (read,) = absolutes.read(path, declination_near_deg=near)
        same = read.readings["position"] == made.readings["position"]
        assert same[read.readings["kind"] == "declination"].all() == (wanted is not None)


@given(
    method=st.sampled_from(["residual", "null"]),
    d=st.floats(-80, 80),
    i=st.floats(20, 80) | st.floats(-80, -20),
    azimuth=st.floats(0, 360),
    zero=st.floats(0, 360),
    seed=st.integers(0, 1000),
)
def test_sheet_that_is_written_reads_back(tmp_path_factory, method, d, i, azimuth, zero, seed):
    made = absolutes.simulate(
        still_field(d, i),
        BEGIN,
        method=method,
        azimuth_deg=azimuth,
        delta_arcmin=2.0,
        epsilon_arcmin=-4.0,
        offset_nt=9.0,
        noise_nt=0.3,
        circle_noise_arcsec=2.0,
        circle_zero_deg=zero,
        rng=np.random.default_rng(seed),
        station="WIC",
    )
    (read,) = absolutes.read(absolutes.write_sheet(made, tmp_path_factory.mktemp("sheets") / "sheet.txt"))
    for name in ("kind", "position", "time_ns"):
        np.testing.assert_array_equal(read.readings[name], made.readings[name])
    for name in ("horizontal_deg", "vertical_deg", "residual_nt"):
        # Nine decimals are written; 0 and 360 are the same.
        apart = read.readings[name] - made.readings[name]
        apart = apart[np.isfinite(apart)]
        assert np.abs(apart - 360 * np.rint(apart / 360)).max() < 1e-8
    assert (read.method, read.station, read.observer) == (method, "WIC", "simulated")
    assert read.azimuth_deg == pytest.approx(azimuth, abs=1e-9)


BAD = {
    "no azimuth": (lambda s: _replace(s, 7, "# Abs-AzimuthMark:"), "line 7: field Abs-AzimuthMark is empty"),
    "odd azimuth": (lambda s: _replace(s, 7, "# Abs-AzimuthMark: x"), "line 7: field Abs-AzimuthMark is 'x'"),
    "odd unit": (lambda s: _replace(s, 4, "# Abs-TheoUnit: mil"), "line 4: field Abs-TheoUnit is 'mil'"),
    "no marks": (lambda s: _replace(s, 12, ""), "field Miren has 0 readings of the mark, wanted 8"),
    "a mark too few": (
        lambda s: _replace(s, 12, s[11].rsplit("  ", 1)[0]),
        "line 12: field Miren has 7 readings",
    ),
    "a mark misread": (
        lambda s: changed(s, 12, 5, "165.8189"),
        "line 12: field Miren, reading 6 is '165.819 deg'",
    ),
    "not a number": (lambda s: changed(s, 14, 1, "250,18x"), "line 14: field horizontal circle is '250,18x'"),
    "beyond a circle": (lambda s: changed(s, 14, 1, "620.1"), "line 14: field horizontal circle is '620.1'"),
    "gon in degrees": (lambda s: changed(s, 18, 2, "380"), "is it in gon? Abs-TheoUnit says deg"),
    "odd time": (
        lambda s: changed(s, 15, 0, "29.08.2018_07:42"),
        "line 15: field time is '29.08.2018_07:42'",
    ),
    "no such time": (lambda s: changed(s, 15, 0, "2018-08-29_07:62:00"), "line 15: field time is"),
    "a column too few": (
        lambda s: _replace(s, 16, "2018-08-29_07:44:00  69.84  90"),
        "line 16: field Positions is '3",
    ),
    "columns exchanged": (
        lambda s: _exchanged(s, 16),
        "line 16: field horizontal and vertical circle is '90 and 69",
    ),
    "columns of I exchanged": (lambda s: _exchanged(s, 22), "line 22: field horizontal and vertical circle"),
    "residual of an angle": (lambda s: changed(s, 16, 3, "69847.7"), "are columns misaligned?"),
    "three positions for D": (lambda s: s[:19] + s[21:], "has 6 readings in 3 positions for D"),
    "three positions for I": (lambda s: s[:27] + s[30:], "has 6 readings in 3 positions for I"),
    "no positions": (lambda s: s[:13] + s[30:], "has 0 readings in 0 positions for D"),
    "odd F": (lambda s: [*s[:31], "2018-08-29_07:50:00 4862.5"], "line 32: field F is '4862.5'"),
    "odd temperature": (
        lambda s: _replace(s, 10, "# Abs-Temperature: warm"),
        "line 10: field Abs-Temperature is",
    ),
    "text before the sections": (
        lambda s: [*s[:10], "Herzog T010B", *s[10:]],
        "line 11: field text is 'Herzog",
    ),
    "another file": (
        lambda s: ["Berger  T010B  MireChurch", *s],
        "line 1: 'Berger  T010B  MireChurch' begins no",
    ),
}


def _replace(lines, number, text):
    return [*lines[: number - 1], text, *lines[number:]]


def _exchanged(lines, number):
    time, horizontal, vertical, residual = lines[number - 1].split()
    return _replace(lines, number, f"{time}  {vertical}  {horizontal}  {residual}")


@pytest.mark.parametrize("what", BAD)
def test_bad_sheet_is_refused_by_line_and_field(lines, sheet, what):
    change, wanted = BAD[what]
    path = sheet(change(lines))
    with pytest.raises(SheetError) as told:
        absolutes.read(path)
    assert str(told.value).startswith(f"{path}")
    assert wanted in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("unit", "hint"), [("gon", "set Abs-TheoUnit: deg"), ("deg", "set Abs-TheoUnit: gon")]
)
def test_sheet_in_another_unit_than_it_says_is_told_so(lines, sheet, unit, hint):
    lines[3] = f"# Abs-TheoUnit: {unit}"
    if unit == "deg":
        lines[11] = "20.01  20.02  220.01  220.02  20.01  20.02  220.01  220.02"
    with pytest.raises(SheetError, match=hint):
        absolutes.read(sheet(lines))


def test_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SheetError, match=r"no\.txt cannot be read: No such file"):
        absolutes.read(tmp_path / "no.txt")


# ---- AUTODIF


def test_autodif_file_gives_all_its_measurements_with_their_times():
    read = absolutes.read(DATA / "dou20200801.abs")
    assert len(read) == 6
    first = read[0]
    assert (first.station, first.pillar, first.theodolite) == ("DOU", "DO4", "AUTODIF001")
    assert (first.method, first.azimuth_deg) == ("autodif", -7.38389)
    assert first.begin_ns == as_ns("2020-08-01T00:11:13Z")
    assert first.readings["time_ns"].min() == as_ns("2020-08-01T00:09:50Z")
    assert first.of("inclination")["vertical_deg"].tolist() == [114.4765, 294.3649, 245.4798, 65.5971]
    assert first.of("declination")["position"].tolist() == ["up-east", "down-west", "down-east", "up-west"]


def test_order_of_lines_does_not_matter(autodif):
    """A later model writes the readings for I the other way round."""
    lines = (DATA / "dou20200801.abs").read_text().splitlines()[:23]
    lines[19:23] = lines[19:23][::-1]
    (read,) = absolutes.read(autodif("\n".join(lines)))
    np.testing.assert_array_equal(read.readings["time_ns"], np.sort(read.readings["time_ns"]))
    assert read.of("inclination")["vertical_deg"].tolist() == [114.4765, 294.3649, 245.4798, 65.5971]


BAD_AUTODIF = {
    "no azimuth": ("TARGET AZ    : -007.38389", "TARGET AZ    :", "field TARGET AZ is ''"),
    "not complete": ("00:43:04\tCOMPLETE", "00:43:04\tMAGNETIC", "line 24: field state is 'MAGNETIC'"),
    "a reading lost": (
        "Decl3DE\t2020-08-01\t00:41:57\t161.4009\n",
        "",
        "line 24: of the measurement .* Decl3DE is mis",
    ),
    "unknown reading": (
        "Decl3DE\t2020-08-01\t00:41:57",
        "DeclXX\t2020-08-01\t00:41:57",
        "line 29: field ID is 'DeclXX'",
    ),
    "not a number": ("161.4009", "161.4o09", "line 29: field Decl3DE is '161.4o09'"),
    "beyond a circle": ("161.4009", "461.4009", "line 29: field Decl3DE is '461.4009'"),
    "odd time": ("00:41:57", "00:61:57", "line 29: field time is '2020-08-01 00:61:57'"),
    "a field lost": ("\t00:41:57\t161.4009", "\t161.4009", "line 29: field Decl3DE"),
}


@pytest.mark.parametrize("what", BAD_AUTODIF)
def test_bad_autodif_file_is_refused_whole(autodif, what):
    old, new, wanted = BAD_AUTODIF[what]
    text = (DATA / "dou20200801.abs").read_text()
    assert text.count(old) >= 1
    with pytest.raises(SheetError, match=wanted):
        absolutes.read(autodif(text.replace(old, new, 1)))


def test_what_the_instrument_did_not_complete_can_be_left_out(autodif):
    text = (DATA / "dou20200801.abs").read_text().replace("00:43:04\tCOMPLETE", "00:43:04\tMAGNETIC", 1)
    read = absolutes.read(autodif(text), skip_incomplete=True)
    assert [one.begin_ns for one in read[:2]] == [
        as_ns("2020-08-01T00:11:13Z"),
        as_ns("2020-08-01T08:41:03Z"),
    ]


def test_file_without_measurements_is_told(autodif):
    text = (DATA / "dou20200801.abs").read_text()
    with pytest.raises(SheetError, match="no line begins with RecTime"):
        absolutes.read(autodif("".join(text.partition("RecTime")[:1])))
