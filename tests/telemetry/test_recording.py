"""Recordings: what is written is read again to a count, and the storm that is shipped is the storm."""

import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from telemetry.makers import NS, T0_S, scalar_meta, vector_meta

from obslab.errors import RecordingError
from obslab.telemetry.sample import Stream, as_datetime
from obslab.telemetry.station.recording import STORM, Recording, Track
from obslab.times import as_ns

ONSET_NS = as_ns("2024-05-10T17:06:00Z")


def a_track(counts, steps_s=None):
    """A track of these counts of 0.001 nT, NaN is missing; one second apart unless steps are given."""
    counts = np.asarray(counts, dtype=float)
    steps = np.ones(len(counts), dtype=np.int64) if steps_s is None else np.asarray(steps_s)
    time_ns = (T0_S + np.cumsum(steps)) * NS
    meta = vector_meta(valid_from=as_datetime(int(time_ns[0])))
    return Track(Stream("WIC", "lemi036"), meta, time_ns, counts * 0.001)


@pytest.fixture(scope="module")
def storm():
    return Recording.read(STORM)


_COUNT = st.one_of(st.integers(-(2**31) + 1, 2**31 - 1).map(float), st.just(np.nan))


@given(data=st.data(), rows=st.integers(1, 60))
def test_round_trip_is_exact_to_a_count_with_missing_values_and_gaps_in_time(tmp_path_factory, data, rows):
    counts = data.draw(npst.arrays(np.float64, (rows, 3), elements=_COUNT))
    steps_s = data.draw(npst.arrays(np.int64, rows, elements=st.integers(1, 10**6)))
    written = a_track(counts, steps_s)
    file = tmp_path_factory.getbasetemp() / "round-trip.npz"

    Recording((written,)).write(file)
    (read,) = Recording.read(file).tracks

    assert (read.stream, read.meta) == (written.stream, written.meta)
    np.testing.assert_array_equal(read.time_ns, written.time_ns)
    np.testing.assert_array_equal(np.rint(read.values / 0.001), counts)


def test_two_instruments_keep_their_own_times_and_scales(tmp_path):
    scalar = Track(
        Stream("WIC", "gp20"),
        scalar_meta(),
        np.array([5, 7, 9]) * NS,
        np.array([[48_000.01], [np.nan], [0.0]]),
    )
    Recording((a_track([[1, 2, 3]]), scalar)).write(tmp_path / "two.npz")
    read = Recording.read(tmp_path / "two.npz")
    assert [track.meta.kind for track in read.tracks] == ["vector", "scalar"]
    np.testing.assert_array_equal(read.tracks[1].time_ns, scalar.time_ns)
    np.testing.assert_allclose(read.tracks[1].values, scalar.values, atol=1e-9)
    assert (read.begin_ns, read.end_ns) == (5 * NS, (T0_S + 2) * NS)  # the end is one cadence later


def test_storm_is_a_whole_day_below_two_megabytes_with_its_attribution(storm):
    assert STORM.stat().st_size < 2_000_000
    for track in storm.tracks:
        day = as_ns("2024-05-10") + np.arange(86_400) * NS
        np.testing.assert_array_equal(track.time_ns, day)
        assert track.stream.station == "WIC"
        assert "CC-BY-4.0" in track.meta.attribution
        assert "Conrad Observatory" in track.meta.attribution
        assert track.meta.valid_from == datetime(2024, 5, 10, tzinfo=UTC)
        assert track.meta.clock is None
    assert [track.meta.components for track in storm.tracks] == [("h", "e", "z"), ("f",)]


def test_storm_needs_no_pickle():
    with zipfile.ZipFile(STORM) as archive:
        for name in archive.namelist():
            # The header of an .npy file with objects, which only pickle can read, has '|O' for a type.
            assert b"'|u1'" in archive.read(name)[:128], name


def test_storm_begins_at_1706(storm):
    vector, _ = storm.tracks
    onset = int(np.searchsorted(vector.time_ns, ONSET_NS))
    h = vector.values[:, 0]
    before = np.nanmedian(h[onset - 600 : onset])
    # 100 nT within five minutes is what the sudden commencement shows in any record of that day.
    assert np.nanmax(h[onset : onset + 300]) - before > 100
    assert np.nanmax(np.abs(h[onset - 600 : onset] - before)) < 100


def test_storms_scalar_and_vector_differ_by_the_difference_of_their_piers(storm):
    vector, scalar = storm.tracks
    difference = scalar.values[:, 0] - np.linalg.norm(vector.values, axis=1)
    # Measured from the original ImagCDF file: -11.7 nT. The instruments stand on different piers.
    assert np.nanmedian(difference) == pytest.approx(-11.7, abs=0.1)


def test_renaming_gives_other_names_to_the_same_samples(storm):
    renamed = storm.renamed("ABC", ["fluxgate"])
    assert [str(track.stream) for track in renamed.tracks] == [
        "ABC fluxgate sec",
        f"ABC {storm.tracks[1].stream.instrument} sec",
    ]
    assert renamed.tracks[0].values is storm.tracks[0].values


def _bytes_of(tmp_path):
    Recording((a_track([[1, 2, 3], [4, 5, 6]]),)).write(tmp_path / "good.npz")
    return (tmp_path / "good.npz").read_bytes()


def _with(tmp_path, **arrays):
    """The bytes of a recording in which some arrays are others; None leaves one out."""
    (tmp_path / "base.npz").write_bytes(_bytes_of(tmp_path))
    held = dict(np.load(tmp_path / "base.npz")) | arrays
    np.savez(tmp_path / "with.npz", **{name: array for name, array in held.items() if array is not None})
    return (tmp_path / "with.npz").read_bytes()


def _npy(tmp_path):
    np.save(tmp_path / "one.npy", np.arange(3))
    return (tmp_path / "one.npy").read_bytes()


def _planes_of(*numbers):
    zigzag = np.array([[2 * n if n >= 0 else -2 * n - 1 for n in numbers]], dtype="<i8")
    return zigzag.view(np.uint8).reshape(1, -1, 8).transpose(0, 2, 1)


BROKEN = {
    "empty": lambda tmp: b"",
    "text": lambda tmp: b"not a recording\nat all\n",
    "cut off": lambda tmp: _bytes_of(tmp)[:-200],
    "one array": _npy,
    "bits flipped": lambda tmp: bytes(b ^ (60 < i < 400) for i, b in enumerate(_bytes_of(tmp))),
    "no header": lambda tmp: _with(tmp, header=None),
    "a header of something else": lambda tmp: _with(tmp, header=np.frombuffer(b'[{"a": 1}]', np.uint8)),
    "a header of no tracks": lambda tmp: _with(tmp, header=np.frombuffer(b"[]", np.uint8)),
    "no values": lambda tmp: _with(tmp, values_0=None),
    "values of another shape": lambda tmp: _with(tmp, values_0=np.zeros((2, 8, 2), np.uint8)),
    "values of no dimension": lambda tmp: _with(tmp, values_0=np.zeros((), np.uint8)),
    "objects": lambda tmp: _with(tmp, values_0=np.array([{}, ()], dtype=object)),
    "time that stands still": lambda tmp: _with(tmp, time_0=_planes_of(5, 0)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_damaged_file_is_refused_in_one_line_that_names_it(tmp_path, what):
    file = tmp_path / "broken.npz"
    file.write_bytes(BROKEN[what](tmp_path))
    with pytest.raises(RecordingError) as caught:
        Recording.read(file)
    assert caught.value.path == file
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) > len(f"{file} is not a recording of obslab: ")


def test_missing_file_and_folder_are_told_apart(tmp_path):
    with pytest.raises(RecordingError, match=r"nowhere\.npz does not exist"):
        Recording.read(tmp_path / "nowhere.npz")
    with pytest.raises(RecordingError, match="is a folder"):
        Recording.read(tmp_path)
