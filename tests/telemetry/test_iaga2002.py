"""IAGA-2002 files, written here by hand as the format's description says."""

import numpy as np
import pytest
from telemetry.makers import NS

from obslab.errors import RecordingError
from obslab.telemetry import iaga2002
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
