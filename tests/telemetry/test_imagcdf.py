"""ImagCDF files, made here with cdflib as INTERMAGNET's manual says, and read back with it."""

import re

import cdflib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.test_iaga2002 import samples

from obslab.errors import BadTimeError, FrameError, RecordingError
from obslab.telemetry import imagcdf
from obslab.telemetry.imagcdf.tt2000 import of_tt2000, to_tt2000
from obslab.times import as_ns

NOW = as_ns("2026-01-02T03:04:05Z")


def write(dataset, path):
    return imagcdf.write(dataset, path, now=lambda: NOW)


# --- times ---


def test_times_agree_with_astropy_and_cdflib_across_leap_seconds():
    from astropy.time import Time

    texts = [
        "1972-01-01T00:00:00",
        "1999-12-31T23:59:59.5",
        "2015-06-30T23:59:59.999999999",
        "2015-07-01T00:00:00",
        "2016-12-31T23:59:59",
        "2017-01-01T00:00:00",
        "2024-05-10T17:05:00.123456789",
    ]
    time_ns = np.array(texts, "datetime64[ns]").astype(np.int64)
    tt2000 = to_tt2000(time_ns)
    since = Time(texts, scale="utc").tt - Time("2000-01-01T12:00:00", scale="tt")
    # Astropy's differences are good to a nanosecond; one leap second is 10^9.
    np.testing.assert_allclose(since.to_value("s") * 1e9, tt2000, rtol=0, atol=200)
    parts = [[int(part) for part in re.split("[-T:]", text.split(".")[0])] for text in texts]
    whole = [cdflib.cdfepoch.compute_tt2000([*part, 0, 0, 0]) for part in parts]
    np.testing.assert_array_equal(to_tt2000(time_ns // 10**9 * 10**9), whole)
    np.testing.assert_array_equal(of_tt2000(tt2000), time_ns)


def test_leap_second_and_times_before_1972_are_refused():
    within = cdflib.cdfepoch.compute_tt2000([2016, 12, 31, 23, 59, 60, 500, 0, 0])
    with pytest.raises(BadTimeError, match="time 1 is within the leap second before 2017-01-01"):
        of_tt2000(np.array([within - 10**9, within]))
    assert of_tt2000(np.array([within - 500_000_001])).astype("M8[ns]") == np.datetime64(
        "2016-12-31T23:59:59.999999999"
    )
    with pytest.raises(BadTimeError, match="1972"):
        to_tt2000(np.array([0]))
    with pytest.raises(BadTimeError, match="1972"):
        of_tt2000(np.array([-(10**18)]))


# --- writing ---


def test_written_file_has_what_the_manual_demands(tmp_path):
    dataset = samples(
        "hdzs", 3, begin="2016-12-31T23:59:58", level=4, site="Årby", attribution="GeoSphere Austria",
        orientation="hdz", latitude_deg=47.9, longitude_deg=15.9, k9_limit_nt=500.0, terms_of_use="CC-BY-4.0",
    )  # fmt: skip
    dataset["h"] = ("time", [21000.125, np.nan, 21001.0], dataset.h.attrs)
    dataset["d"] = ("time", [270.0, -90.0, 0.0], dataset.d.attrs)
    path = write(dataset, tmp_path / "wic.cdf")
    assert list(tmp_path.iterdir()) == [path]
    cdf = cdflib.CDF(path)
    about = {name: entries[0] for name, entries in cdf.globalattsget().items()}
    assert about == {
        "FormatDescription": "INTERMAGNET CDF Format",
        "FormatVersion": "1.3",
        "Title": "Geomagnetic time series data",
        "IagaCode": "WIC",
        "ElementsRecorded": "HDZS",
        "PublicationLevel": "4",
        "PublicationDate": cdflib.cdfepoch.compute_tt2000([2026, 1, 2, 3, 4, 5, 0, 0, 0]),
        "ObservatoryName": "Arby",
        "Latitude": 47.9,
        "Longitude": 15.9,
        "Elevation": 99999.0,
        "Institution": "GeoSphere Austria",
        "VectorSensOrient": "HDZ",
        "StandardLevel": "None",
        "Source": "institute",
        "TermsOfUse": "CC-BY-4.0",
        "SensorName": "lemi036",
        "StationK9": "500",
    }
    names = ["DataTimes", *(f"GeomagneticField{letter}" for letter in "HDZS")]
    assert sorted(cdf.cdf_info().zVariables) == sorted(names)
    # 23:59:58, 23:59:59, and after the leap second 00:00:00.
    assert np.diff(cdf.varget("DataTimes")).tolist() == [10**9, 2 * 10**9]
    assert cdf.varget("GeomagneticFieldH").tolist() == [21000.125, 99999.0, 21001.0]
    assert cdf.varget("GeomagneticFieldD").tolist() == [4.5, -1.5, 0.0]
    assert cdf.varinq("DataTimes").Data_Type_Description == "CDF_TIME_TT2000"
    assert cdf.varinq("GeomagneticFieldD").Data_Type_Description == "CDF_DOUBLE"
    assert cdf.varattsget("GeomagneticFieldD") == {
        "FIELDNAM": "Geomagnetic Field Element D",
        "UNITS": "Degrees of arc",
        "FILLVAL": 99999.0,
        "VALIDMIN": -360.0,
        "VALIDMAX": 360.0,
        "DEPEND_0": "DataTimes",
        "DISPLAY_TYPE": "time_series",
        "LABLAXIS": "D",
    }


def test_axis_of_a_variometer_may_read_less_than_no_field(tmp_path):
    dataset = samples("hezs", 3)
    dataset["h"] = ("time", [-12.5, 0.0, 3.0], dataset.h.attrs)
    assert imagcdf.read(write(dataset, tmp_path / "wic.cdf")).h.values.tolist() == [-12.5, 0.0, 3.0]
    intensity = samples("hdzs", 3)
    intensity["h"] = dataset.h
    with pytest.raises(RecordingError, match=r"h at .* is -12\.5 nT, not within 0 to 88880"):
        write(intensity, tmp_path / "hdz.cdf")


@pytest.mark.parametrize("letters", ["xyz", "xyzf", "xyzs", "xyzfs", "xyzg", "hdzs", "hezs", "difs", "f"])
@pytest.mark.parametrize("step_s", [0.1, 1, 60, 3600])
def test_what_is_written_is_read_again(tmp_path, letters, step_s):
    dataset = samples(
        letters, step_s=1, terms_of_use="CC-BY-4.0", baseline="abc", comments="one\ntwo", site="Conrad"
    )
    time = dataset.time.values[0] + np.arange(5) * np.timedelta64(round(step_s * 1000), "ms")
    dataset = dataset.assign_coords(time=("time", time)).assign_attrs(cadence_s=float(step_s))
    if "d" in letters:
        dataset["d"] = ("time", np.linspace(-600, 600, 5), dataset.d.attrs)
    if "i" in letters:
        dataset["i"] = ("time", np.linspace(3000, 4000, 5), dataset.i.attrs)
    read = imagcdf.read(write(dataset, tmp_path / "x"))
    assert sorted(read.data_vars) == sorted(letters)
    np.testing.assert_array_equal(read.time.values, time)
    for letter in letters:
        # In degrees and back; 1e-12 arcmin is 2e-11 nT at most.
        np.testing.assert_allclose(read[letter].values, dataset[letter].values, rtol=0, atol=1e-11)
        assert read[letter].attrs == dataset[letter].attrs
    assert read.attrs.items() >= dataset.attrs.items()
    assert read.attrs["samplerate"] == {0.1: "10hz", 1: "sec", 60: "min", 3600: "hour"}[step_s]


@given(
    st.lists(st.none() | st.floats(-88_880, 88_880), min_size=2, max_size=30),
    st.integers(63_072_000, 4_000_000_000),
)
@settings(max_examples=15, deadline=None)
def test_round_trip_is_exact(tmp_path_factory, values, begin_s):
    dataset = samples("xyz", len(values), 1, np.datetime64(begin_s, "s"))
    numbers = np.array([np.nan if value is None else value for value in values])
    dataset["y"] = ("time", numbers, dataset.y.attrs)
    read = imagcdf.read(write(dataset, tmp_path_factory.mktemp("cdf") / "x.cdf"))
    np.testing.assert_array_equal(read.time.values, dataset.time.values)
    np.testing.assert_array_equal(read.y.values, numbers)


def test_times_that_lack_and_temperatures_are_written(tmp_path):
    dataset = samples("xyz", 6).isel(time=[0, 1, 4, 5])
    dataset["temperature1"] = ("time", [6.0, 6.5, 7.0, 7.5], {"units": "degC", "description": "Vault"})
    dataset["quality"] = ("time", np.zeros(4, np.uint8))
    read = imagcdf.read(write(dataset, tmp_path / "x.cdf"))
    assert list(read.data_vars) == ["x", "y", "z", "temperature1"]
    np.testing.assert_array_equal(read.temperature1.values, [6.0, 6.5, np.nan, np.nan, 7.0, 7.5])
    assert read.temperature1.attrs == {"units": "degC", "description": "Vault"}


REFUSED = {
    "mixed components": (lambda: samples("xyd"), FrameError, "components d x y are not"),
    "a value too large": (lambda: _set("x", 88_881.0), RecordingError, "x at .* is 88881 nT, not within"),
    "an angle too large": (lambda: _set("i", 5401.0), RecordingError, r"i at .* is 90\.0167 deg, not"),
    "degrees": (lambda: _units("d", "deg"), FrameError, "d is in 'deg', wanted arcmin"),
    "a level that is none": (lambda: samples(level=0), RecordingError, "publication_level 0 is none of"),
    "a level of no standard": (lambda: samples(standard_level="Best"), RecordingError, "'Best' is none of"),
    "a place that is none": (lambda: samples(latitude_deg="47 N"), RecordingError, "latitude_deg '47 N'"),
    "a name not in ASCII": (lambda: samples(site="北京"), RecordingError, "ImagCDF is ASCII: site has '北'"),
    "a cadence that is another": (lambda: samples(cadence_s=2.0), RecordingError, "1 s apart, .* says 2"),
    "irregular times": (lambda: samples(count=8).isel(time=[0, 2, 4, 5]), RecordingError, "2 s apart"),
    "times before 1972": (lambda: samples(begin="1971-06-01"), RecordingError, "TT2000 is used from 1972"),
}  # fmt: skip


def _set(letter, value):
    dataset = samples("difs" if letter == "i" else "xyzs")
    dataset[letter] = ("time", np.full(5, value), dataset[letter].attrs)
    return dataset


def _units(letter, unit):
    dataset = samples("hdz")
    dataset[letter].attrs["units"] = unit
    return dataset


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_format_does_not_hold_is_refused_and_no_file_is_touched(tmp_path, what):
    make, error, wanted = REFUSED[what]
    path = tmp_path / "there.cdf"
    path.write_text("what was there")
    with pytest.raises(error, match=wanted):
        write(make(), path)
    assert path.read_text() == "what was there"
    assert [path] == list(tmp_path.iterdir())


# --- reading ---

TT = to_tt2000(np.datetime64("2024-05-10T17:06:00", "ns").astype(np.int64) + np.arange(6) * 10**9)
SIX = np.arange(6.0)
ABOUT = {"FormatDescription": "INTERMAGNET CDF Format", "IagaCode": "wic", "PublicationLevel": "2"}


@pytest.fixture
def file(tmp_path):
    """`file({variable: (values, attributes)}, **global)` writes with cdflib what a test says."""

    def make(variables, kinds=None, **about):
        path = tmp_path / "made.cdf"
        path.unlink(missing_ok=True)
        cdf = cdflib.cdfwrite.CDF(path)
        entries = {name: value for name, value in {**ABOUT, **about}.items() if value is not None}
        cdf.write_globalattrs({name: {0: value} for name, value in entries.items()})
        for name, (values, attributes) in variables.items():
            kind = (kinds or {}).get(name, cdf.CDF_TIME_TT2000 if name.endswith("Times") else cdf.CDF_DOUBLE)
            spec = {"Variable": name, "Data_Type": kind, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": []}
            cdf.write_var(spec, var_attrs=attributes, var_data=np.asarray(values))
        cdf.close()
        return path

    return make


def nt(values, times="GeomagneticVectorTimes", unit="nT", fill=99999.0):
    return values, {"UNITS": unit, "FILLVAL": [fill, "CDF_DOUBLE"], "DEPEND_0": times}


def vector(letters="XYZ", **changes):
    found = {"GeomagneticVectorTimes": (TT, {})}
    found |= {f"GeomagneticField{letter}": nt(np.arange(6.0) + at) for at, letter in enumerate(letters)}
    return found | changes


def test_vector_and_scalar_with_times_of_their_own_are_put_together_on_the_vectors(file):
    # The scalar is there each 2 s, once between the vector's times and once after them.
    times = np.concatenate([TT[::2], [TT[5] + 300_000_000, TT[5] + 2 * 10**9]])
    scalar = [48000.0, 48001.0, 99999.0, 48003.0, 48004.0]
    read = imagcdf.read(
        file(
            vector(GeomagneticScalarTimes=(times, {}), GeomagneticFieldS=nt(scalar, "GeomagneticScalarTimes"))
        )
    )
    nan = np.nan
    np.testing.assert_array_equal(read.s.values, [48000, nan, 48001, nan, nan, nan])
    assert read.x.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert read.attrs["comments"] == "2 samples of GeomagneticFieldS are at other times and not taken"
    assert (read.attrs["station"], read.attrs["publication_level"]) == ("WIC", 2)


def test_angles_become_minutes_of_arc_whatever_their_unit_is_called(file):
    for unit, wanted in (
        ("Degrees of arc", 120.0),
        ("deg", 120.0),
        ("Degree", 120.0),
        ("minutes of arc", 2.0),
    ):
        read = imagcdf.read(file(vector("HDZ", GeomagneticFieldD=nt(np.full(6, 2.0), unit=unit))))
        assert read.d.values.tolist() == [wanted] * 6


def test_missing_is_understood_whatever_the_file_says_it_is(file):
    values = [1.0, -1e31, 99999.0, 88888.0, np.nan, 6.0]
    for fill in (-1e31, 99999.0, np.nan, 6.0):
        wanted = [False, True, True, True, True, fill == 6.0]
        read = imagcdf.read(file(vector(GeomagneticFieldY=nt(values, fill=fill))))
        np.testing.assert_array_equal(np.isnan(read.y.values), wanted)


def test_scalar_alone_is_f_and_other_variables_are_told(file):
    found = {"DataTimes": (TT, {}), "GeomagneticFieldS": nt(np.full(6, 48000.0), "DataTimes"),
             "Humidity": nt(np.ones(6), "DataTimes", "%")}  # fmt: skip
    read = imagcdf.read(file(found))
    assert list(read.data_vars) == ["f"]
    assert read.attrs["comments"] == "Humidity is not taken"
    assert read.attrs["instrument"] == "scalar"


def _cut(variables, name, count):
    values, attributes = variables[name]
    return {**variables, name: (values[:count], attributes)}


BAD = {
    "another format": (vector(), {"FormatDescription": "MagPyCDF"}, "but not ImagCDF: .*'MagPyCDF'"),
    "no code": (vector(), {"IagaCode": None}, "not ImagCDF"),
    "mixed components": (vector("XYD"), {}, "GeomagneticFieldX, .*FieldD: not X Y Z, H D Z"),
    "no field": ({"GeomagneticVectorTimes": (TT, {})}, {}, "has no geomagnetic field"),
    "a value too few": (_cut(vector(), "GeomagneticFieldY", 5), {}, r"FieldY has \(5,\) values"),
    "times that go back": (vector(GeomagneticVectorTimes=(TT[::-1], {})), {}, "record 2: time does not"),
    "one time": ({name: (values[:1], about) for name, (values, about) in vector().items()}, {}, "1 times"),
    "no times": (vector(GeomagneticFieldX=nt(SIX, "Nowhere")), {}, "FieldX has no times: .* 'Nowhere'"),
    "another unit": (vector(GeomagneticFieldZ=nt(SIX, unit="uT")), {}, "FieldZ is in 'uT', wanted nt"),
    "components at other times": (
        vector(MyTimes=(TT + 1, {}), GeomagneticFieldZ=nt(SIX, "MyTimes")), {}, "FieldZ has other times"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_file_that_is_not_imagcdf_is_refused_by_variable(file, what):
    variables, about, wanted = BAD[what]
    path = file(variables, **about)
    with pytest.raises(RecordingError, match=wanted) as caught:
        imagcdf.read(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message


def test_times_of_another_type_are_refused(file):
    kinds = {"GeomagneticVectorTimes": cdflib.cdfwrite.CDF.CDF_INT8}
    with pytest.raises(RecordingError, match="VectorTimes is of type CDF_INT8, wanted CDF_TIME_TT2000"):
        imagcdf.read(file(vector(), kinds))


def test_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    whole = write(samples("hdzs", 200), tmp_path / "x.cdf").read_bytes()
    path = tmp_path / "cut.cdf"
    for size in [0, 4, 8, 300, *np.linspace(400, len(whole) - 1, 25).astype(int)]:
        path.write_bytes(whole[:size])
        with pytest.raises(RecordingError, match="not a CDF file, or it is cut off or damaged"):
            imagcdf.read(path)


def test_text_file_folder_and_missing_file_are_refused(tmp_path):
    path = tmp_path / "text.cdf"
    path.write_text("not a CDF file at all " * 100)
    for file, wanted in (
        (path, "is not a CDF file"),
        (tmp_path, "is a folder"),
        (tmp_path / "no", "does not exist"),
    ):
        with pytest.raises(RecordingError, match=wanted):
            imagcdf.read(file)
