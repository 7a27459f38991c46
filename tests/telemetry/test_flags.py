"""Spikes and steps in the real storm, the book of flags that several write, and what flags take out."""

import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obslab import conrad
from obslab.errors import FlagError, ObslabError, TableError, TopicError
from obslab.telemetry.datasets import FLAGS, samples_schema
from obslab.telemetry.flags import FlagBook, find_spikes, find_steps, masked
from obslab.telemetry.sample import Stream

NAME = "WIC lemi036 sec"
T0 = np.datetime64("2024-05-10", "ns")
SECOND = np.timedelta64(1, "s")


def samples(values, *, time=None, instrument="lemi036", unit="nT"):
    """A Dataset of these components, one sample a second from the 10th of May on."""
    count = len(next(iter(values.values())))
    time = T0 + np.arange(count) * SECOND if time is None else time
    facts = {"station": "WIC", "instrument": instrument, "samplerate": "sec", "cadence_s": 1.0}
    return samples_schema(dict.fromkeys(values, unit)).build(facts, time=time, **values)


@pytest.fixture(scope="module")
def day():
    """H, E, Z and the scalar F of the storm's first day."""
    vector, scalar = conrad.day("2024-05-10").tracks
    return dict(zip("hez", vector.values.T, strict=True)) | {"f": scalar.values[:, 0]}


@pytest.fixture(scope="module")
def delta_f(day):
    return day["f"] - np.sqrt(day["h"] ** 2 + day["e"] ** 2 + day["z"] ** 2)


def usual_step(values):
    """Standard deviation of differences within a minute, by the median: what a spike is measured with."""
    from scipy.ndimage import median_filter

    steps = np.diff(values, prepend=values[0])
    return 1.4826 * median_filter(np.abs(steps - median_filter(steps, 61)), 61)


# ---- detectors


def test_the_storm_has_no_spikes(day):
    found = find_spikes(samples({name: day[name] for name in "hez"}))
    assert found.sizes["flag"] == 0
    assert find_spikes(samples({"f": day["f"]}, instrument="gp20s3")).sizes["flag"] == 0


@pytest.mark.parametrize("date", ["2024-05-09", "2024-05-11", "2024-05-12"])
def test_false_alarms_in_the_other_days_are_few(date):
    values = dict(zip("hez", conrad.day(date).tracks[0].values.T, strict=True))
    # 4 of 777,600 samples were measured, all in swings of the storm.
    assert find_spikes(samples(values)).sizes["flag"] <= 2


@pytest.mark.parametrize("length", [1, 2, 3])
def test_injected_spikes_of_ten_sigma_are_found_in_the_storm(day, length):
    rng = np.random.default_rng(7)
    values = {name: day[name].copy() for name in "hez"}
    truth = []
    for name, series in values.items():
        sigma = usual_step(day[name])
        for place in rng.choice(np.arange(100, 86_300, 97), 200, replace=False):
            height = max(10 * sigma[place], 0.2) * rng.choice([-1, 1])
            series[place : place + length] += height
            truth.append((name, T0 + place * SECOND, height))
    found = find_spikes(samples(values))
    known = set(zip(found.component.values, found.begin.values, found.end.values, strict=True))
    hits = [(name, time, time + length * SECOND) in known for name, time, _ in truth]
    # All of one sample; longer ones can hide in the waves after the onset.
    assert np.mean(hits) >= {1: 1.0, 2: 0.98, 3: 0.95}[length]
    assert found.sizes["flag"] <= 1.01 * len(truth)


def test_size_component_and_times_of_a_spike_are_told(day):
    values = day["z"].copy()
    values[500:502] += 12.0
    (found,) = rows(find_spikes(samples({"z": values})))
    assert (found["stream"], found["component"], found["kind"]) == (NAME, "z", "spike")
    assert (found["state"], found["author"]) == ("proposed", "find_spikes")
    assert found["begin"] == T0 + 500 * SECOND and found["end"] == T0 + 502 * SECOND
    assert found["size"] == pytest.approx(12.0, abs=0.1)  # the noise of Z is 0.02 nT
    assert "sigma" in found["reason"] and "+12 nT" in found["reason"]


def test_spikes_beside_gaps_and_missing_samples_are_found_and_gaps_are_none(day):
    keep = np.ones(7200, dtype=bool)
    keep[3000:3600] = False
    values = day["h"][:7200].copy()
    values[3600] += 5.0  # the first after the gap
    values[5000] = np.nan
    values[5002] -= 5.0
    found = find_spikes(samples({"h": values[keep]}, time=(T0 + np.arange(7200) * SECOND)[keep]))
    assert [int((begin - T0) / SECOND) for begin in found.begin.values] == [3600, 5002]


def test_two_spikes_close_together_are_both_found(day):
    values = day["e"].copy()
    values[1000] += 3.0
    values[1005] -= 2.0
    found = find_spikes(samples({"e": values}))
    assert [int((begin - T0) / SECOND) for begin in found.begin.values] == [1000, 1005]


@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_short_and_empty_data_have_no_flags(count):
    for find in (find_spikes, find_steps):
        assert find(samples({"h": np.zeros(count)})).sizes["flag"] == 0
    assert find_spikes(samples({"h": np.full(100, np.nan)})).sizes["flag"] == 0


def test_constant_data_have_no_flags_and_their_last_digit_is_no_spike():
    values = np.full(3000, 100.0)
    values[::700] += 0.01
    assert find_spikes(samples({"f": values})).sizes["flag"] == 0


@pytest.mark.parametrize("options", [{"window": 6}, {"window": 1}, {"threshold": 0.0}, {"threshold": -1}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(FlagError):
        find_spikes(samples({"h": np.zeros(100)}), **options)
    with pytest.raises(FlagError, match="too short"):
        find_steps(samples({"h": np.zeros(100)}), window=3)


def test_data_of_no_stream_are_refused():
    with pytest.raises(FlagError, match="no attribute station"):
        find_spikes(samples({"h": np.zeros(100)}).drop_attrs())


def test_the_storm_has_no_steps(day, delta_f):
    assert find_steps(samples({name: day[name] for name in "hez"})).sizes["flag"] == 0
    assert find_steps(samples({"delta_f": delta_f}, instrument="delta-f")).sizes["flag"] == 0


@pytest.mark.parametrize(("size", "share"), [(0.3, 0.9), (0.5, 1.0), (5.0, 1.0)])
def test_steps_of_an_instrument_are_found_in_delta_f_at_their_sample(delta_f, size, share):
    rng = np.random.default_rng(3)
    places = np.sort(rng.choice(np.arange(500, 85_500, 1500), 40, replace=False))
    values = delta_f.copy()
    for number, place in enumerate(places):
        values[place:] += size * (-1) ** number
    found = find_steps(samples({"delta_f": values}, instrument="delta-f"))
    at = ((found.begin.values - T0) / SECOND).astype(int)
    assert np.mean([np.abs(at - place).min(initial=99) <= 1 for place in places]) >= share
    assert found.sizes["flag"] <= places.size
    assert np.abs(found["size"].values) == pytest.approx(size, abs=0.1)  # of 60 samples with 0.02 nT noise
    assert (found.end.values - found.begin.values == SECOND).all()


def test_a_step_across_a_gap_is_found_in_delta_f_and_not_in_the_field(day, delta_f):
    keep = np.ones(86_400, dtype=bool)
    keep[62_000:63_000] = False  # in the main phase
    time = (T0 + np.arange(86_400) * SECOND)[keep]
    values = delta_f.copy()
    values[63_000:] += 0.7
    (found,) = rows(find_steps(samples({"delta_f": values[keep]}, time=time, instrument="delta-f")))
    assert found["begin"] == T0 + 63_000 * SECOND and found["size"] == pytest.approx(0.7, abs=0.1)
    assert find_steps(samples({"h": day["h"][keep]}, time=time)).sizes["flag"] == 0


def rows(flags):
    return [
        {name: flags[name].values[place] for name in flags.variables} for place in range(flags.sizes["flag"])
    ]


# ---- the book


@pytest.fixture
def book(tmp_path):
    clock = iter(range(1_700_000_000_000_000_000, 1_800_000_000_000_000_000, 1_000_000_000))
    with FlagBook(tmp_path / "flags.db", now_ns=lambda: next(clock)) as book:
        yield book


def found_flags(*places, kind="spike", component="h", stream=NAME):
    count = len(places)
    begin = T0 + np.array(places, dtype=np.int64) * SECOND
    texts = {"stream": stream, "component": component, "kind": kind, "state": "proposed"}
    texts |= {"author": "find_spikes", "reason": "41 sigma"}
    return FLAGS.build(
        id=np.zeros(count, dtype=np.int64),
        begin=begin,
        end=begin + SECOND,
        size=np.full(count, 5.0),
        **{name: np.full(count, text) for name, text in texts.items()},
    )


def states(book):
    found = book.flags(states=("proposed", "confirmed", "withdrawn"))
    return dict(zip(found.id.values.tolist(), found.state.values.tolist(), strict=True))


def test_a_flag_goes_from_proposed_to_confirmed_and_withdrawn_and_back(book):
    (flag,) = book.propose(found_flags(10))
    assert states(book) == {flag: "proposed"}
    book.confirm(flag, "ana", "tractor")
    assert states(book) == {flag: "confirmed"}
    book.withdraw(flag, "ben", "it was the storm")
    assert states(book) == {flag: "withdrawn"} and book.flags().sizes["flag"] == 0
    book.confirm(flag, "ana")
    (row,) = rows(book.flags())
    assert (row["author"], row["reason"], row["size"]) == ("find_spikes", "41 sigma", 5.0)


def test_every_change_is_recorded_with_who_when_and_why(book):
    flag = book.set(NAME, "2024-05-10T01:00Z", "2024-05-10T02:00Z", author="ana", reason="door was open")
    book.withdraw(flag, "ben", "the other door")
    book.undo()
    book.redo("eve")
    history = book.history(flag)
    columns = [history[name].values.tolist() for name in ("action", "state", "author", "reason")]
    told = list(zip(*columns, strict=True))
    assert told == [
        ("set", "confirmed", "ana", "door was open"),
        ("withdraw", "withdrawn", "ben", "the other door"),
        ("undo", "confirmed", "ben", "the other door"),
        ("redo", "withdrawn", "eve", "the other door"),
    ]
    assert (np.diff(history.time.values) == SECOND).all()
    assert book.history().sizes["change"] == 4 and book.history(99).sizes["change"] == 0


def test_a_flag_set_by_hand_is_confirmed_and_may_be_proposed(book):
    times = ("2024-05-10T01:00Z", "2024-05-10T02:00Z")
    by_hand = book.set(Stream("WIC", "lemi036"), *times, author="ana", reason="x")
    modest = book.set(NAME, *times, component="z", kind="step", author="ana", reason="x", state="proposed")
    assert states(book) == {by_hand: "confirmed", modest: "proposed"}


def test_a_detector_that_runs_again_adds_nothing_and_what_was_withdrawn_stays_so(book):
    first = book.propose(found_flags(10, 20))
    book.withdraw(first[0], "ana", "real")
    assert book.propose(found_flags(10, 20, 30)) == [3]
    assert states(book) == {1: "withdrawn", 2: "proposed", 3: "proposed"}
    assert book.propose(found_flags(10, kind="step")) == [4]
    assert book.propose(found_flags(10, component="e")) == [5]
    assert book.propose(found_flags(50, 50)) == [6]


def test_undo_and_redo_take_back_the_last_change_whole(book):
    flags = book.propose(found_flags(10, 20, 30))
    book.confirm(flags, "ana")
    assert "and 2 more" in book.undo()
    assert set(states(book).values()) == {"proposed"}
    book.undo()
    assert set(states(book).values()) == {"withdrawn"}
    with pytest.raises(FlagError, match="nothing to undo"):
        book.undo()
    book.redo()
    book.redo()
    assert set(states(book).values()) == {"confirmed"} and not book.can_redo
    book.undo()
    book.withdraw(flags[0], "ana")
    with pytest.raises(FlagError, match="nothing to redo"):
        book.redo()


def test_undo_does_not_take_back_what_somebody_else_did(book):
    (flag,) = book.propose(found_flags(10))
    with FlagBook(book.path) as other:
        with pytest.raises(FlagError, match="nothing to undo"):
            other.undo()
        other.confirm(flag, "ben")
    with pytest.raises(FlagError, match="ben made it confirmed"):
        book.undo()
    assert states(book) == {flag: "confirmed"}


def test_a_change_of_several_flags_is_all_or_nothing(book):
    (flag,) = book.propose(found_flags(10))
    with pytest.raises(FlagError, match="no flag has the number 77"):
        book.confirm([flag, 77], "ana")
    assert states(book) == {flag: "proposed"}


def test_changes_that_change_nothing_are_refused(book):
    first, second = book.propose(found_flags(10, 20))
    book.confirm(first, "ana")
    with pytest.raises(FlagError, match="1: confirmed already; nothing to confirm"):
        book.confirm(first, "ana")
    book.confirm([first, second], "ana")  # one of them is news
    assert set(states(book).values()) == {"confirmed"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"end": "2024-05-10T00:00Z"}, "ends before it begins"),
        ({"kind": "smile"}, "no kind of flag 'smile'"),
        ({"author": " "}, "needs an author"),
        ({"reason": ""}, "needs a reason"),
        ({"stream": "WIC lemi036"}, "is not station, instrument and samplerate"),
        ({"stream": "Wien lemi036 sec"}, "is not an IAGA code"),
        ({"state": "withdrawn"}, "begins as proposed or confirmed"),
    ],
)
def test_flags_that_make_no_sense_are_refused(book, changes, words):
    times = {"begin": "2024-05-10T01:00Z", "end": "2024-05-10T02:00Z"}
    with pytest.raises((FlagError, TopicError), match=words):
        book.set(**{"stream": NAME, "author": "ana", "reason": "x", **times, **changes})
    assert not book.path.exists() or book.flags().sizes["flag"] == 0


def test_flags_of_a_stream_and_an_interval_are_told(book):
    book.propose(found_flags(10, 20, 30))
    book.propose(found_flags(20, stream="WIC gp20s3 sec"))
    assert book.flags(NAME).sizes["flag"] == 3
    touched = book.flags(NAME, T0 + 20 * SECOND, T0 + 30 * SECOND)
    assert touched.begin.values.tolist() == [(T0 + 20 * SECOND).astype(int)]
    assert book.flags(begin=T0 + 15 * SECOND).sizes["flag"] == 3
    with pytest.raises(FlagError, match="no state lost"):
        book.flags(states=("lost",))


def test_a_book_that_nobody_wrote_is_empty_and_makes_no_file(tmp_path):
    for readonly in (False, True):
        book = FlagBook(tmp_path, readonly=readonly)
        assert book.flags().sizes["flag"] == 0 and book.history().sizes["change"] == 0
        assert book.version() == (0,)
    assert not (tmp_path / "flags.db").exists()


def test_a_reader_follows_and_cannot_write(book):
    reader = FlagBook(book.path, readonly=True)
    before = reader.version()
    (flag,) = book.propose(found_flags(10))
    assert reader.version() != before and states(reader) == {flag: "proposed"}
    with pytest.raises(FlagError, match="to read only"):
        reader.confirm(flag, "ana")
    reader.close()


_WRITER = """
import sys
from obslab.telemetry.flags import FlagBook
with FlagBook(sys.argv[1]) as book:
    for second in range(25):
        times = (second * 10**9, second * 10**9 + 1)
        flag = book.set("WIC lemi036 sec", *times, author="x", reason="x", state="proposed")
        book.confirm(flag, f"writer {sys.argv[2]}")
"""


def test_several_processes_may_write(tmp_path):
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "flags.db")]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with FlagBook(tmp_path) as book:
        assert set(states(book).values()) == {"confirmed"} and len(states(book)) == 75
        assert book.history().sizes["change"] == 150


def test_a_file_that_is_no_book_is_named(tmp_path):
    path = tmp_path / "flags.db"
    path.write_text("no database at all, only some text that is long enough")
    with pytest.raises(TableError, match=r"flags\.db is not a SQLite database"):
        FlagBook(path).flags()


def test_nothing_is_ever_changed_or_deleted(book):
    statements = []
    (flag,) = book.propose(found_flags(10))
    book._pages._connection.set_trace_callback(statements.append)
    book.confirm(flag, "ana")
    book.undo()
    book.redo()
    book.withdraw(flag, "ana")
    assert not [one for one in statements if one.split()[0] in ("UPDATE", "DELETE", "REPLACE")]
    with sqlite3.connect(book.path) as connection:
        assert connection.execute("SELECT count(*) FROM change").fetchone() == (5,)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["propose", "confirm", "withdraw", "undo", "redo"]), max_size=25))
def test_undoing_everything_leaves_what_was_there_before(tmp_path_factory, actions):
    with FlagBook(tmp_path_factory.mktemp("book") / "flags.db") as book:
        for number, action in enumerate(actions):
            try:
                if action == "propose":
                    book.propose(found_flags(10 * number))
                elif action in ("confirm", "withdraw"):
                    getattr(book, action)(max(states(book), default=1), "ana")
                else:
                    getattr(book, action)()
            except ObslabError:
                pass
        now, steps = states(book), 0
        while book.can_undo:
            book.undo()
            steps += 1
        assert set(states(book).values()) <= {"withdrawn"}
        for _ in range(steps):
            book.redo()
        assert states(book) == now


# ---- what they do


def test_only_confirmed_flags_of_the_stream_take_samples_out():
    dataset = samples({"h": np.arange(10.0), "e": np.arange(10.0)})
    flags = FLAGS.build(
        id=np.arange(5),
        stream=np.array([NAME, NAME, NAME, "WIC other sec", NAME]),
        component=np.array(["h", "", "h", "h", "q"]),
        begin=T0 + np.array([1, 4, 7, 8, 0]) * SECOND,
        end=T0 + np.array([3, 5, 8, 9, 9]) * SECOND,
        kind=np.full(5, "mark"),
        size=np.full(5, np.nan),
        state=np.array(["confirmed", "confirmed", "proposed", "confirmed", "confirmed"]),
        author=np.full(5, "ana"),
        reason=np.full(5, "x"),
    )
    clean = masked(dataset, flags)
    assert np.flatnonzero(np.isnan(clean.h.values)).tolist() == [1, 2, 4]
    assert np.flatnonzero(np.isnan(clean.e.values)).tolist() == [4]
    assert not np.isnan(dataset.h.values).any() and clean.h.attrs == dataset.h.attrs
    assert masked(dataset, flags.isel(flag=[2])) is dataset
