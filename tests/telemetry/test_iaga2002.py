"""IAGA-2002 files, written here by hand as the format's description says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import NS

from obslab.errors import FrameError, RecordingError
from obslab.telemetry import iaga2002
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.grid import UNITS
from obslab.telemetry.station.recording import Recording
from obslab.times import as_ns

# Header lines have 70 characters, the last is "|": keyword in 2-24, value in 25-69.
FACTS = {
    "Format": "IAGA-2002",
    "Source of Data": "An institute",
    "Station Name": "Somewhere",
    "IAGA CODE": "XYZ",
    "Geodetic Latitude": "52.071",
    "Reported": "XYZF",
    "Data Interval Type": "1-second (instantaneous)",
}


def text(rows, letters="XYZF", code="XYZ", comments=("a remark",), **facts):
    lines = [f" {key:<23}{value:<45}|" for key, value in {**FACTS, "IAGA CODE": code, **facts}.items()]
    lines += [f" # {comment:<66}|" for comment in comments]
    lines += ["DATE       TIME         DOY     " + "      ".join(f"{code}{one}" for one in letters) + "   |"]
    for date, clock, doy, *values in rows:
        lines.append(f"{date} {clock} {doy}    " + " ".join(f"{value:9.2f}" for value in values))
    return "\n".join(lines) + "\n"


SECONDS = [
    ("2024-05-10", "17:06:00.000", "131", 21000.25, -310.5, 43210.99, 48048.12),
    ("2024-05-10", "17:06:01.000", "131", 99999.00, -310.75, 88888.00, 99999.00),
    ("2024-05-10", "17:06:02.000", "131", 21001.00, -311.0, 43211.01, 48048.46),
]
FIVE_SECONDS = [("2024-05-10", f"17:06:{5 * i:02}.000", "131", 1.0, 2.0, 3.0, 4.0) for i in range(3)]
MINUTES = [
    ("2024-05-10", "23:59:00.000", "131", 20950.0, 245.37, 43500.1, 48285.2),
    ("2024-05-11", "00:00:00.000", "132", 20951.0, -1.25, 43500.2, 48285.7),
]


@pytest.fixture
def file(tmp_path):
    def write(content, encoding="latin-1"):
        path = tmp_path / "xyz20240510psec.sec"
        path.write_bytes(content.encode(encoding))
        return path

    return write


def test_seconds_are_read_with_both_kinds_of_missing_as_nan(file):
    read = iaga2002.parse(file(text(SECONDS)))
    assert read.components == ("X", "Y", "Z", "F")
    assert read.cadence_s == 1.0
    assert read.header["STATION NAME"] == "Somewhere"
    assert read.header["IAGA CODE"] == "XYZ"
    np.testing.assert_array_equal(read.time_ns, as_ns("2024-05-10T17:06:00Z") + np.arange(3) * NS)
    nan = np.nan
    wanted = [
        [21000.25, -310.5, 43210.99, 48048.12],
        [nan, -310.75, nan, nan],
        [21001.0, -311.0, 43211.01, 48048.46],
    ]
    np.testing.assert_array_equal(read.values, wanted)


def test_comment_lines_are_not_taken_for_facts(file):
    read = iaga2002.parse(file(text(SECONDS, comments=("Station Name          Nowhere", "", "# # |"))))
    assert read.header["STATION NAME"] == "Somewhere"
    assert not [key for key in read.header if key.startswith("#")]


def test_minutes_of_hdzf_pass_midnight_and_declination_is_in_minutes_of_arc(file):
    path = file(text(MINUTES, "HDZF", Reported="HDZF"))
    read = iaga2002.parse(path)
    assert read.cadence_s == 60.0
    assert np.diff(read.time_ns).tolist() == [60 * NS]

    vector, scalar = Recording.read(path).tracks
    assert vector.stream.topic == "xyz/vector/min"
    assert vector.meta.components == ("h", "d", "z")
    assert vector.meta.component_units == ("nT", "arcmin", "nT")
    assert vector.values[:, 1].tolist() == [245.37, -1.25]
    assert (scalar.meta.components, scalar.meta.component_units) == (("f",), ("nT",))
    assert (vector.meta.site, vector.meta.attribution) == ("Somewhere", "An institute")


def test_fourth_column_that_is_not_a_field_gives_no_scalar(file):
    rows = [(*row[:6], 1.5) for row in SECONDS]
    assert len(Recording.read(file(text(rows, "XYZG"))).tracks) == 1  # G is the difference of two fields
    empty = [(*row[:6], 88888.0) for row in SECONDS]
    assert len(Recording.read(file(text(empty))).tracks) == 1


def test_samples_between_whole_seconds_keep_their_time(file):
    rows = [(row[0], row[1].replace(".000", ".500"), *row[2:]) for row in SECONDS]
    track = Recording.read(file(text(rows))).tracks[0]
    assert track.meta.offset_s == 0.5
    assert int(track.time_ns[0]) == as_ns("2024-05-10T17:06:00.5Z")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_station_name_with_an_accent_is_no_obstacle(file, encoding):
    # In UTF-8 the second byte of the A with a ring is 0x85, which ends a line in Latin-1.
    read = iaga2002.parse(file(text(SECONDS, **{"Station Name": "Årby ô"}), encoding))
    assert len(read.time_ns) == 3
    if encoding == "latin-1":
        assert read.header["STATION NAME"] == "Årby ô"


def test_windows_line_ends_and_blank_lines_at_the_end_are_read(file):
    assert len(iaga2002.parse(file(text(SECONDS).replace("\n", "\r\n") + "\r\n\r\n")).time_ns) == 3


def _changed(old, new):
    content = text(SECONDS)
    assert old in content
    return content.replace(old, new)


# Seven facts, one comment and the line of names come first: data begin in line 10.
BAD = {
    "a value that is no number": (_changed("-310.75", "-31O.75"), "line 11: .*-31O.75"),
    "a time that is none": (_changed("17:06:02.000", "17:66:02.000"), "line 12: .*17:66"),
    "a value too few": (_changed("  43211.01", ""), "line 12: 6 fields, wanted 7"),
    "time that goes back": (_changed("17:06:02.000", "17:05:02.000"), "line 12: time does not go on"),
    "a time twice": (_changed("17:06:02.000", "17:06:01.000"), "line 12: time does not go on"),
    "a column too few": (_changed("XYZF   |", "   |"), "line 9: 3 columns of values, wanted 4"),
    "no line of names": (_changed("DATE  ", "DAY   "), "no line begins with DATE"),
    "one sample": (text(SECONDS[:1]), "has 1 samples"),
    "no samples": (text([]), "has 0 samples"),
    "nothing": ("", "not an IAGA-2002 file"),
    "an odd cadence": (text(FIVE_SECONDS), "5 s is none"),
    "no station": (text(SECONDS, **{"IAGA CODE": ""}), "station ''"),
    "a component twice": (text(SECONDS, "XXZF"), "twice"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_file_is_refused_in_one_line_with_the_number_of_the_line(file, what):
    content, wanted = BAD[what]
    path = file(content)
    with pytest.raises(RecordingError, match=wanted) as caught:
        Recording.read(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_folder_and_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.sec"):
        with pytest.raises(RecordingError, match="cannot be read"):
            iaga2002.parse(path)


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "noise.sec"
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(RecordingError, match="not an IAGA-2002 file"):
        Recording.read(path)


# --- as Datasets ---


def test_file_is_read_as_the_dataset_of_the_archive_with_what_its_header_says(file):
    content = text(
        MINUTES,
        "HDZF",
        comments=(
            "K9-limit             450",
            "V-Instrument         FGE_S0234",
            "gaps are due to",
            "a power cut",
        ),
        **{"Geodetic Longitude": "25.113", "Elevation": "1347.5", "Data Type": "definitive"},
    )
    dataset = iaga2002.read(file(content))
    assert dataset.attrs == {
        "station": "XYZ",
        "instrument": "fge_s0234",
        "samplerate": "min",
        "cadence_s": 60.0,
        "site": "Somewhere",
        "attribution": "An institute",
        "data_interval": "1-second (instantaneous)",
        "latitude_deg": 52.071,
        "longitude_deg": 25.113,
        "elevation_m": 1347.5,
        "publication_level": 4,
        "k9_limit_nt": 450.0,
        "comments": "gaps are due to\na power cut",
    }
    assert {name: dataset[name].attrs["units"] for name in dataset.data_vars} == {
        "h": "nT", "d": "arcmin", "z": "nT", "f": "nT"
    }  # fmt: skip
    assert dataset.time.values[1] == np.datetime64("2024-05-11T00:00:00", "ns")
    assert dataset.d.values.tolist() == [245.37, -1.25]


# Of each set of columns, the variables they become: the standard's four, INTERMAGNET's, and a variometer's.
@pytest.mark.parametrize(
    ("letters", "wanted"),
    [("XYZF", "xyzf"), ("HDZF", "hdzf"), ("DHZG", "hdzg"), ("DHIF", "dhif"), ("XYZS", "xyzs"),
     ("EHZF", "hezf"), ("UVZS", "uvzs"), ("DIFF", "difs"), ("DIFS", "difs"), ("DHVF", "dhvf"),
     ("xyzf", "xyzf")],
)  # fmt: skip
def test_every_set_of_components_is_read_in_the_order_of_its_frame(file, letters, wanted):
    rows = [(*row[:3], 1.0, 2.0, 3.0, 4.0) for row in SECONDS]
    dataset = iaga2002.read(file(text(rows, letters)))
    assert "".join(dataset.data_vars) == wanted
    column = {letter.lower(): 1.0 + at for at, letter in enumerate(letters)} | {"s": 4.0}
    assert {name: dataset[name].values[0] for name in dataset.data_vars if name != "f"} == {
        name: column[name] for name in dataset.data_vars if name != "f"
    }


@pytest.mark.parametrize("letters", ["XYDF", "XHZF", "XXZF", "XYZZ", "XYZD", "XYZQ", "HDXG", "DIZF"])
def test_mixed_components_are_refused_by_name(file, letters):
    rows = [(*row[:3], 1.0, 2.0, 3.0, 4.0) for row in SECONDS]
    with pytest.raises(RecordingError, match=f"XYZ{letters[0]} .*are not one set of components"):
        iaga2002.read(file(text(rows, letters)))


@pytest.mark.parametrize("letters", ["NULF", "---F", "XYZF", "XYZS"])
def test_scalar_alone_is_f_whatever_the_other_columns_are_called(file, letters):
    rows = [(*row[:3], 88888.0, 88888.0, 88888.0, 48_000.0 + n) for n, row in enumerate(SECONDS)]
    found = iaga2002.read(file(text(rows, letters)))
    assert list(found.data_vars) == ["f"]
    assert found.attrs["instrument"] == "scalar"
    assert found.f.values.tolist() == [48_000.0, 48_001.0, 48_002.0]


def test_column_that_is_never_measured_is_left_out_and_one_that_is_missing_stays(file):
    nothing = [(*row[:6], 88888.0) for row in SECONDS]
    assert list(iaga2002.read(file(text(nothing))).data_vars) == ["x", "y", "z"]
    missing = [(*row[:6], 99999.0) for row in SECONDS]
    assert np.isnan(iaga2002.read(file(text(missing))).f.values).all()
    scalar = [(*row[:3], 88888.0, 88888.0, 88888.0, 48000.5) for row in SECONDS]
    assert list(iaga2002.read(file(text(scalar))).data_vars) == ["f"]
    with pytest.raises(RecordingError, match="no component that is measured"):
        iaga2002.read(file(text([(*row[:3], *[88888.0] * 4) for row in SECONDS])))


@pytest.mark.parametrize("word", ["99999", "99999.00", "99999.90", "999999", "999999.99", "88888", "nan"])
def test_missing_is_understood_however_it_is_written(file, word):
    dataset = iaga2002.read(file(_changed(" 43210.99", f"{word:>9}")))
    assert np.isnan(dataset.z.values).tolist() == [True, True, False]
    assert dataset.x.values[0] == 21000.25


def test_day_of_year_that_is_wrong_and_a_station_in_small_letters_are_no_obstacle(file):
    content = text(SECONDS, code="xyz").replace(" 131 ", " 007 ")
    assert iaga2002.read(file(content)).attrs["station"] == "XYZ"


def test_end_of_a_day_may_be_written_as_24_hours_and_nothing_beyond(file):
    rows = [
        ("2024-12-31", "23:59:59.000", "366", 1.0, 2.0, 3.0, 4.0),
        ("2024-12-31", "24:00:00.000", "366", *[5.0] * 4),
    ]
    assert iaga2002.read(file(text(rows))).time.values[1] == np.datetime64("2025-01-01", "ns")
    with pytest.raises(RecordingError, match=r"line 11: .*24:00:01"):
        iaga2002.read(file(text(rows).replace("24:00:00", "24:00:01")))


def test_values_with_other_decimals_and_lines_of_other_lengths_are_read(file):
    lines = text(SECONDS).split("\n")
    lines = [
        line + ("0" if "99999.00" not in line else "0  ") if line.startswith("2024") else line
        for line in lines
    ]
    dataset = iaga2002.read(file("\n".join(lines)))  # the last column has three decimals
    assert dataset.f.values[[0, 2]].tolist() == [48048.12, 48048.46]


# What Python reads of the same digits is the truth.
@given(
    st.lists(st.tuples(*[st.integers(-8_888_700, 8_888_700)] * 4), min_size=2, max_size=30),
    st.sampled_from(["9.2f", "9.3f", "9.1f", "+9.2f"]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_digits_are_read_as_python_reads_them(rows, form, ragged):
    lines = [
        f"2024-05-10 17:{at // 60:02}:{at % 60:02}.{at % 1000:03} 131    "
        + "".join(f" {value / 100 / (10 if form == '9.3f' else 1):{form}}" for value in row)
        + (" " * at if ragged else "")
        for at, row in enumerate(rows)
    ]
    file, bad = iaga2002.decode((text([]) + "\n".join(lines)).encode(), "text")
    assert not bad
    np.testing.assert_array_equal(file.values, [[float(word) for word in line.split()[3:]] for line in lines])
    times = [line[:10] + "T" + line[11:23] for line in lines]
    np.testing.assert_array_equal(file.time_ns, np.array(times, "datetime64[ns]").astype(np.int64))


MANY = [("2024-05-10", f"17:06:{at:02}.000", "131", 21000.25, -310.5, 43210.99, 48048.12) for at in range(20)]
LINE = "2024-05-10 17:06:09.000 131     21000.25   -310.50  43210.99  48048.12"
DAMAGED = {  # line 19 of the file is the tenth of samples
    "cut off within a value": (LINE[:66], "XYZF '4804' ends in column 66, not 70: cut off or misaligned"),
    "cut off at the point": (LINE[:67], "XYZF '48048' ends in column 67, not 70"),
    "a digit lost": (LINE.replace("21000", "2100"), "XYZX '2100.25' ends in column 39, not 40"),
    "a blank too many": (LINE.replace("   -310", "    -310"), "XYZY '-310.50' ends in column 51, not 50"),
    "other decimals": (LINE.replace("43210.99", "3210.999"), "XYZZ '3210.999' has not 2 decimals"),
    "values run together": (LINE.replace("   -310.50", "-310.50"), "6 fields, wanted 7"),
    "a value in words": (LINE.replace("-310.50", "minus 3"), "8 fields, wanted 7"),
    "a letter in a value": (LINE.replace("43210.99", "4321O.99"), "XYZZ '4321O.99' is not a number"),
    "a date that is none": (LINE.replace("05-10", "02-30"), "2024-02-30"),
    "a time that is none": (LINE.replace("17:06:09", "25:06:09"), "25:06:09"),
    "a leap second": (LINE.replace("17:06:09", "17:06:60"), "17:06:60"),
    "a date far away": (LINE.replace("2024", "9024"), "'9024-05-10T17:06:09.000' is none between"),
    "a header in between": (text([]).split("\n")[0], "2 fields, wanted 7|3 fields, wanted 7"),
    "zero bytes": ("\0" * 70, "1 fields, wanted 7"),
    "a very long line": (LINE + " " * 200 + "1", "more than 160 characters"),
    "time that goes back": (LINE.replace(":09.", ":07."), "time does not go on: 2024-05-10T17:06:07Z after"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_line_is_told_with_file_line_and_field(file, what):
    line, wanted = DAMAGED[what]
    content = text(MANY)
    assert LINE in content
    path = file(content.replace(LINE, line))
    with pytest.raises(RecordingError, match=f"line 19: .*(?:{wanted})") as caught:
        iaga2002.read(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message
    good, bad = iaga2002.decode(path.read_bytes(), "damaged")
    if "goes back" in what:
        assert not bad
    else:
        assert [line.number for line in bad] == [19]
        assert len(good.time_ns) == 19


def test_file_of_which_the_end_lacks_is_refused_unless_a_line_ends_there(file):
    whole = text(MANY)
    for lost in range(1, 72):
        path = file(whole[:-lost])
        if lost in (1, 71):
            assert iaga2002.read(path).sizes["time"] == 20 - lost // 71
        else:
            with pytest.raises(RecordingError, match="line 29: "):
                iaga2002.read(path)


def test_columns_of_another_station_are_refused(file):
    content = text(SECONDS, code="XYZ").replace("XYZZ ", "ABCZ ")
    with pytest.raises(
        RecordingError, match=r"line 9: column ABCZ is of another station, the header's.* XYZ"
    ):
        iaga2002.read(file(content))
    with pytest.raises(RecordingError, match="column ABCZ is of another station, the first is XYZX"):
        iaga2002.read(file(content.replace("IAGA CODE              XYZ", "IAGA CODE                 ")))


def samples(letters="xyzs", count=5, step_s=1, begin="2024-05-10T17:06:00", level=1, **attrs):
    values = {
        letter: np.round(20000 + 10 * at + np.arange(count) / 7, 2) for at, letter in enumerate(letters)
    }
    time = np.datetime64(begin, "ns") + np.arange(count) * np.timedelta64(step_s, "s")
    facts = {
        "station": "WIC",
        "instrument": "lemi036",
        "publication_level": level,
        "cadence_s": float(step_s),
    }
    schema = samples_schema({letter: UNITS[letter] for letter in letters})
    return schema.build({**facts, **attrs}, time=time, **values)


def test_written_file_is_as_the_standard_has_it_to_the_byte(tmp_path):
    dataset = samples(
        "hezs", 2, begin="2024-12-31T23:59:59.000", site="Conrad Observatory", latitude_deg=47.92842,
        attribution="GeoSphere Austria", longitude_deg=15.866, elevation_m=1087.0, k9_limit_nt=500.0,
        orientation="hez", digital_sampling="0.1 seconds", comments="Árvíztűrő",
    )  # fmt: skip
    dataset["e"] = ("time", [-4.996, 0.004], dataset.e.attrs)
    dataset["z"] = ("time", [np.nan, -43210.126], dataset.z.attrs)
    iaga2002.write(dataset, tmp_path / "wic.sec")
    assert (tmp_path / "wic.sec").read_bytes().decode("ascii").split("\n") == [
        " Format                 IAGA-2002                                    |",
        " Source of Data         GeoSphere Austria                            |",
        " Station Name           Conrad Observatory                           |",
        " IAGA Code              WIC                                          |",
        " Geodetic Latitude      47.928                                       |",
        " Geodetic Longitude     15.866                                       |",
        " Elevation              1087                                         |",
        " Reported               EHZF                                         |",
        " Sensor Orientation     HEZ                                          |",
        " Digital Sampling       0.1 seconds                                  |",
        " Data Interval Type     1-second                                     |",
        " Data Type              variation                                    |",
        " # K9-limit             500                                          |",
        " # V-Instrument         lemi036                                      |",
        " # F is measured by an independent scalar instrument.                |",
        " # Arvizturo                                                         |",
        "DATE       TIME         DOY     WICE      WICH      WICZ      WICF   |",
        "2024-12-31 23:59:59.000 366        -5.00  20000.00  99999.00  20030.00",
        "2025-01-01 00:00:00.000 001         0.00  20000.14 -43210.13  20030.14",
        "",
    ]


@pytest.mark.parametrize(
    ("letters", "reported"),
    [("xyz", "XYZF"), ("xyzf", "XYZF"), ("xyzs", "XYZF"), ("xyzg", "XYZG"), ("hdzf", "DHZF"),
     ("hezs", "EHZF"), ("f", "XYZF")],
)  # fmt: skip
@pytest.mark.parametrize("step_s", [1, 60, 3600, 86_400])
def test_what_is_written_is_read_again(tmp_path, letters, reported, step_s):
    dataset = samples(letters, step_s=step_s, orientation=letters[:3])
    read = iaga2002.read(iaga2002.write(dataset, tmp_path / "x"))
    assert f"Reported               {reported} " in (tmp_path / "x").read_text()
    assert list(read.data_vars) == list(letters)
    np.testing.assert_array_equal(read.time.values, dataset.time.values)
    for letter in letters:
        np.testing.assert_array_equal(read[letter].values, dataset[letter].values)
        assert read[letter].attrs == dataset[letter].attrs
    assert (
        read.attrs.items()
        >= {name: value for name, value in dataset.attrs.items() if name != "orientation"}.items()
    )


@given(
    st.lists(st.none() | st.floats(-88_887.99, 88_887.99), min_size=2, max_size=50),
    st.integers(0, 4_000_000_000),
    st.sampled_from([1, 60, 3600]),
    st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_round_trip_is_exact_to_a_hundredth(tmp_path_factory, values, begin_s, step_s, offset_ms):
    # `%.2f` is the truth for the digits; a hundredth is the format's resolution.
    begin = np.datetime64(begin_s * 1000 + offset_ms, "ms").astype("datetime64[ns]")
    dataset = samples("xyzs", len(values), step_s, begin)
    numbers = np.array([np.nan if value is None else value for value in values])
    dataset["x"] = ("time", numbers, dataset.x.attrs)
    path = iaga2002.write(dataset, tmp_path_factory.mktemp("iaga") / "x.sec")
    read = iaga2002.read(path)
    np.testing.assert_array_equal(read.time.values, dataset.time.values)
    np.testing.assert_allclose(read.x.values, numbers, rtol=0, atol=0.005 + 1e-9)
    lines = [line for line in path.read_text().split("\n") if line[:1] in ("1", "2")]
    assert {len(line) for line in lines} == {70}
    again = iaga2002.write(read, path.with_suffix(".two"))
    assert [line for line in again.read_text().split("\n") if line[:1] in ("1", "2")] == lines


def test_times_that_lack_are_written_as_missing(tmp_path):
    dataset = samples("xyz", 6).isel(time=[0, 1, 4, 5])
    read = iaga2002.read(iaga2002.write(dataset, tmp_path / "x"))
    assert np.isnan(read.x.values).tolist() == [False, False, True, True, False, False]
    assert "17:06:02.000 131     99999.00  99999.00  99999.00  88888.00" in (tmp_path / "x").read_text()


def test_long_names_are_cut_in_their_record_and_told_in_full_below(tmp_path):
    name = "Zentralanstalt fuer Meteorologie und Geodynamik in Wien, Hohe Warte"
    path = iaga2002.write(samples(attribution=name, comments="word " * 40), tmp_path / "x")
    lines = path.read_text().split("\n")
    assert lines[1] == " Source of Data         Zentralanstalt fuer Meteorologie und Geodyna |"
    assert {len(line) for line in lines if line} == {70}
    read = iaga2002.read(path)
    assert read.attrs["attribution"] == name
    assert read.attrs["comments"].split() == ["word"] * 40


def _with(**attrs):
    return samples().assign_attrs(attrs)


def _nt(value):
    dataset = samples()
    dataset["x"] = ("time", np.full(5, value), dataset.x.attrs)
    return dataset


def _stepped(**changes):
    dataset = samples()
    time = dataset.time.values.copy()
    for at, step_ms in changes.items():
        time[int(at[1:])] += np.timedelta64(step_ms, "ms")
    return dataset.assign_coords(time=("time", time))


def _unit(letter, unit):
    dataset = samples("hdzf")
    dataset[letter].attrs["units"] = unit
    return dataset


REFUSED = {
    "mixed components": (lambda: samples("xyd"), FrameError, "components d x y are not x y z, h d z"),
    "two frames": (lambda: samples("xyzhd"), FrameError, "components d h x y z are not"),
    "no component": (lambda: samples("g").drop_vars("g"), FrameError, "components none are not"),
    "a frame the format has not": (lambda: samples("difs"), FrameError, "does not hold d i f; convert it to"),
    "two scalars": (lambda: samples("xyzsf"), FrameError, "one column beside the vector, for s or f"),
    "degrees": (lambda: _unit("d", "deg"), FrameError, "d is in 'deg', wanted arcmin"),
    "no units": (lambda: _unit("h", ""), FrameError, "h is in 'no units', wanted nT"),
    "a variometer's frame as definitive": (lambda: samples("hez", level=4), FrameError, "e for variation"),
    "a level that is none": (lambda: samples(level=5), RecordingError, "publication_level 5 is none of"),
    "a value too large": (lambda: _nt(88888.0), RecordingError, r"x at .* is 88888, not within 88888"),
    "a value that rounds to missing": (lambda: _nt(88887.996), RecordingError, "not within 88888"),
    "an infinite value": (lambda: _nt(np.inf), RecordingError, "is inf"),
    "no station": (lambda: _with(station=""), RecordingError, "station '' .*set attribute station"),
    "a place that is none": (lambda: _with(latitude_deg=92.0), RecordingError, "latitude_deg 92.0 is not"),
    "a name that is not ASCII": (lambda: _with(site="北京"), RecordingError, "site has '北'"),
    "a cadence that is another": (lambda: _with(cadence_s=60.0), RecordingError, "1 s apart, .* says 60"),
    "a cadence the format has not": (lambda: samples(step_s=5), RecordingError, "cadence of 5 s is none of"),
    "irregular times": (lambda: _stepped(_3=300), RecordingError, "17:06:03.300Z is not a multiple of 1 s"),
    "time that goes back": (lambda: _stepped(_3=-2000), RecordingError, "17:06:01Z comes after .*17:06:02Z"),
    "a time twice": (lambda: _stepped(_3=-1000), RecordingError, "17:06:02Z comes after .*17:06:02Z"),
    "one sample": (lambda: samples(count=1), RecordingError, "has 1 samples; two at least"),
    "a time far away": (lambda: _stepped(_4=10**11), RecordingError, "at most 6000000 go into one file"),
    "times finer than a millisecond": (
        lambda: samples(begin="2024-05-10T17:06:00.0001"), RecordingError, "finer than .* millisecond"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_format_does_not_hold_is_refused_and_no_file_is_touched(tmp_path, what):
    make, error, wanted = REFUSED[what]
    path = tmp_path / "there.sec"
    path.write_text("what was there")
    with pytest.raises(error, match=wanted) as caught:
        iaga2002.write(make(), path)
    assert "\n" not in caught.value.message
    assert [path] == list(tmp_path.iterdir())
    assert path.read_text() == "what was there"


def test_writing_where_nothing_can_be_written_is_told(tmp_path):
    with pytest.raises(RecordingError, match="cannot be written: No such file"):
        iaga2002.write(samples(), tmp_path / "nowhere" / "x.sec")
    assert not list(tmp_path.iterdir())
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordingError, match="folder cannot be written: Is a directory"):
        iaga2002.write(samples(), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_dataset_is_not_altered_by_writing_it(tmp_path):
    dataset = samples()
    before = dataset.copy(deep=True)
    iaga2002.write(dataset, tmp_path / "x")
    assert dataset.identical(before)
