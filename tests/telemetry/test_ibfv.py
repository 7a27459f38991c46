"""IBFV2.00 files, written here by hand as INTERMAGNET's manual says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obslab.errors import RecordingError
from obslab.telemetry import ibfv

OBSERVED = [
    "001    112.08   3933.77  48779.32     -1.25",
    "007 -99999.00  99999.00      0.00  99999.00",
    "003    112.02     -3.81   -778.17      2.00",
]


def text(observed=OBSERVED, days=365, head="HDZF 20173 48762 DOU 2021", comments=("Comments:", "A spline.")):
    lines = [head, *observed, "*"]
    lines += [f"{day:03}    112.10   3933.83  48778.98  88888.00  888.00 c" for day in range(1, days + 1)]
    return "\r\n".join([*lines, "*", *comments, ""])


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "dou2021.blv"
        path.write_bytes(content.encode("ascii"))
        return path

    return write


def test_file_is_read_with_days_in_its_order(file):
    content = (
        text().replace("888.00 c\r\n002", "  1.25 c\r\n002", 1).replace("888.00 c\r\n004", "999.00 d\r\n004")
    )
    read = ibfv.read(file(content))
    assert (read.station, read.year, read.components) == ("DOU", 2021, "HDZ")
    assert (read.mean_h_nt, read.mean_f_nt) == (20173.0, 48762.0)
    assert read.observed_day.astype(str).tolist() == ["2021-01-01", "2021-01-07", "2021-01-03"]
    nan = np.nan
    wanted = [[112.08, 3933.77, 48779.32, -1.25], [nan, nan, 0, nan], [112.02, -3.81, -778.17, 2.0]]
    np.testing.assert_array_equal(read.observed, wanted)
    assert read.adopted.shape == (365, 4)
    assert str(read.adopted_day[-1]) == "2021-12-31"
    np.testing.assert_array_equal(read.adopted[9], [112.10, 3933.83, 48778.98, nan])
    assert np.flatnonzero(read.discontinuous).tolist() == [2]
    np.testing.assert_array_equal(read.delta_f_nt[:3], [1.25, nan, nan])
    assert read.comments == ("A spline.",)


# The manual writes zeros before the day, the DOU file blanks; some end lines as Unix does.
def test_other_ways_to_write_the_same_are_read(file):
    wanted = ibfv.read(file(text()))
    for content in (
        text().replace("\r\n00", "\r\n  ").replace("\r\n0", "\r\n "),
        text().replace("\r\n", "\n"),
        text(comments=("A spline.",)),
        text(head="HDZF  20173 48762  dou 2021") + "\x1a",
        text().replace("88888.00", "88888").replace(" 888.00", " 888"),
    ):
        read = ibfv.read(file(content))
        assert (read.station, read.components, read.comments) == ("DOU", "HDZ", ("A spline.",))
        np.testing.assert_array_equal(read.observed, wanted.observed)
        np.testing.assert_array_equal(read.adopted, wanted.adopted)
        assert read.delta_f_nt is None


@pytest.mark.parametrize(
    ("written", "wanted"),
    [("XYZF", "XYZ"), ("DIF ", "DIF"), ("DIF_", "DIF"), ("DIFF", "DIF"), ("HDZ ", "HDZ"), ("UVZF", "UVZ")],
)
def test_components_are_read_as_they_are_written(file, written, wanted):
    assert ibfv.read(file(text(head=f"{written} 20173 48762 DOU 2021"))).components == wanted


BAD = {
    "nothing": ("", "line 1: '' is not components, H, F, IAGA code and year"),
    "an older version": (text(head="HDZF 20173 DOU 2008"), "line 1: .* is of IBFV1.20 or older"),
    "a header that is none": (text(head="The baselines"), "line 1: 'The baselines' is not components"),
    "mixed components": (text(head="XDZF 20173 48762 DOU 2021"), "line 1: components 'XDZF' are none of"),
    "a code that is none": (text(head="HDZF 20173 48762 DO 2021"), "line 1: station 'DO'"),
    "a year that is none": (text(head="HDZF 20173 48762 DOU 21"), "line 1: year 21"),
    "a value too few": (text().replace("  -778.17", ""), "line 4: 4 fields, wanted 5"),
    "values run together": (text().replace("     -3.81   -778.17", "-3.81-778.17"), "line 4: .* fields|Z|D"),
    "a value cut off": (text().replace("-778.17", "-778.1"), "line 4: Z '-778.1' is not a number with two"),
    "a value that is no number": (text().replace("-3.81", "-3.8l"), "line 4: D '-3.8l' is not a"),
    "a day that is none": (text(days=366), "line 371: day '366' is not within 1 to 365"),
    "a marker that is none": (text().replace("888.00 c\r\n*", "888.00 x\r\n*"), "line 370: marker 'x'"),
    "an end among the observed": (text()[:100], "ends among the observed baselines"),
    "an end among the adopted": (text()[:3000], "ends among the adopted baselines"),
    "an end before the comments": (text().split("\r\n*\r\nComm")[0], "line 370: .* among the adopted"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_file_is_refused_with_line_and_field(file, what):
    content, wanted = BAD[what]
    path = file(content)
    with pytest.raises(RecordingError, match=wanted) as caught:
        ibfv.read(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message


def test_folder_and_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.blv"):
        with pytest.raises(RecordingError, match="cannot be read"):
            ibfv.read(path)


def baselines(year=2020, components="HDZ", seed=1, **changes):
    rng = np.random.default_rng(seed)
    days = np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]")
    observed = np.round(rng.normal(0, 3000, (40, 4)), 2)
    observed[3, 1] = np.nan
    adopted = np.round(rng.normal(0, 3000, (len(days), 4)), 2)
    whole = ibfv.BaselineFile(
        station="DOU",
        year=year,
        components=components,
        mean_h_nt=20173.0,
        mean_f_nt=48762.0,
        observed_day=np.sort(rng.choice(days, 40)),
        observed=observed,
        adopted_day=days,
        adopted=adopted,
        discontinuous=days == days[100],
        comments=("Adopted by a spline.",),
        delta_f_nt=np.round(rng.normal(0, 1, len(days)), 2),
    )
    return replace(whole, **changes)


def test_written_file_is_as_the_manual_has_it_to_the_byte(tmp_path):
    days = np.arange("2021-01-01", "2022-01-01", dtype="datetime64[D]")
    file = ibfv.BaselineFile(
        station="DOU",
        year=2021,
        components="DIF",
        mean_h_nt=20173.4,
        mean_f_nt=np.nan,
        observed_day=days[[6, 4]],
        observed=np.array([[112.084, -3933.77, 48779.326, np.nan], [np.nan, 1, 2, np.nan]]),
        adopted_day=days[1:4],
        adopted=np.array([[112.1, 3933.83, 48778.98, np.nan]] * 3),
        discontinuous=np.array([False, False, True]),
        comments=("Fitted by least squares with a polynomial of each quarter, and this line is long.", "É"),
    )
    lines = ibfv.write(file, tmp_path / "dou2021.blv").read_bytes().decode("ascii").split("\r\n")
    assert lines[:9] == [
        "DIF  20173 99999 DOU 2021",
        "005  99999.00      1.00      2.00  88888.00",
        "007    112.08  -3933.77  48779.33  88888.00",
        "*",
        "001  99999.00  99999.00  99999.00  88888.00  888.00 c",
        "002    112.10   3933.83  48778.98  88888.00  888.00 c",
        "003    112.10   3933.83  48778.98  88888.00  888.00 c",
        "004    112.10   3933.83  48778.98  88888.00  888.00 d",
        "005  99999.00  99999.00  99999.00  88888.00  888.00 c",
    ]
    assert lines[-6:] == [
        "*",
        "Comments:",
        "Fitted by least squares with a polynomial of each",
        "quarter, and this line is long.",
        "E",
        "",
    ]
    assert {len(line) for line in lines[1:3]} == {43}
    assert {len(line) for line in lines[4:369]} == {53}


@given(st.integers(0, 1000), st.sampled_from(["XYZ", "HDZ", "DIF", "UVZ"]), st.integers(1950, 2100))
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read_again(tmp_path_factory, seed, components, year):
    wanted = baselines(year, components, seed)
    read = ibfv.read(ibfv.write(wanted, tmp_path_factory.mktemp("ibfv") / "x.blv"))
    for name in ibfv.BaselineFile.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(read, name), getattr(wanted, name), name)


_DAYS = np.array(["2019-12-31"], "datetime64[D]")
REFUSED = {
    "no comments": (baselines(comments=(" ",)), "comments are wanted that say how"),
    "other components": (baselines(components="XYF"), "components 'XYF' are none of XYZ, HDZ, DIF, UVZ"),
    "an observation of another year": (
        baselines(observed_day=_DAYS, observed=np.ones((1, 4))), "2019-12-31 is a day of another year"
    ),
    "an adopted day of another year": (
        baselines(adopted_day=_DAYS, adopted=np.ones((1, 4))), "2019-12-31 is a day of another year"
    ),
    "a day twice": (
        baselines(adopted_day=np.repeat(_DAYS + 1, 2), adopted=np.ones((2, 4))), "2020-01-01 has more than"
    ),
    "a value too large": (baselines(observed=np.full((40, 4), 88888.0)), "H of 2020-.* is 88888, not within"),
    "a delta F too large": (baselines(delta_f_nt=np.full(366, 888.0)), "delta F of 2020-01-01 is 888 nT"),
    "a mean too large": (baselines(mean_h_nt=123456.0), "annual mean of 123456 nT"),
    "no station": (baselines(station="do"), "station 'do'"),
    "comments not in ASCII": (baselines(comments=("北京",)), "IBFV2.00 is ASCII: comments has '北'"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_format_does_not_hold_is_refused_and_no_file_is_touched(tmp_path, what):
    file, wanted = REFUSED[what]
    path = tmp_path / "there.blv"
    path.write_text("what was there")
    with pytest.raises(RecordingError, match=wanted):
        ibfv.write(file, path)
    assert path.read_text() == "what was there"
    assert [path] == list(tmp_path.iterdir())
