"""The baseline as a value: canonical JSON that comes back exactly, checks, and its interval of validity."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.spot_tables import BEGIN, at_days, simulated, spot_table

from obslab.errors import BaselineError, NoBaselineError
from obslab.telemetry.baseline import Baseline, fit
from obslab.times import to_ns

NOW = "2024-06-01T12:00:00Z"
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


@pytest.fixture(scope="module")
def baseline():
    table, _ = simulated(np.random.default_rng(1), step_day=200, step=1.0)
    found = fit(table, steps=[at_days(200)], restart=True, begin=BEGIN, end=at_days(400))
    return found.baseline.adopted("A. Observer", "for the yearbook", NOW)


def altered(baseline, change):
    """The bytes after ``change`` of the content, with an id that fits it."""
    content = json.loads(baseline.to_json())
    change(content)
    content.pop("id")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    content["id"] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(content).encode()


def test_json_comes_back_the_same(baseline):
    back = Baseline.from_json(baseline.to_json())
    assert back == baseline and hash(back) == hash(baseline)
    assert back.to_json() == baseline.to_json()
    time = at_days(np.linspace(0.7, 399, 500))
    assert np.array_equal(back.values(time), baseline.values(time))
    assert np.array_equal(back.band(time), baseline.band(time))
    assert back.spots.identical(baseline.spots)
    assert str(back) == str(baseline)


def test_json_is_canonical_and_the_id_is_its_digest(baseline):
    text = baseline.to_json().decode()
    content = json.loads(text)
    assert text == json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    said = content.pop("id")
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert said == baseline.id == hashlib.sha256(plain.encode()).hexdigest()


def test_the_same_fit_is_the_same_baseline_and_another_is_not(baseline):
    table, _ = simulated(np.random.default_rng(1), step_day=200, step=1.0)
    again = fit(table, **baseline.how.options(), begin=BEGIN, end=at_days(400)).baseline
    assert again != baseline  # nobody adopted it
    assert again.adopted("A. Observer", "for the yearbook", NOW) == baseline
    assert again.adopted("B. Observer", "for the yearbook", NOW) != baseline


def test_the_json_suffices_to_evaluate_it_elsewhere(baseline):
    # The layout as it is documented, evaluated with nothing of ours.
    from scipy.interpolate import BSpline

    content = json.loads(baseline.to_json())
    piece = content["basis"]["pieces"][1]
    knots = np.array([np.datetime64(text[:-1], "ns") for text in piece["knots"]])
    degree = content["basis"]["degree"]
    days = (knots - knots[0]) / np.timedelta64(1, "D")
    full = np.r_[[days[0]] * degree, days, [days[-1]] * degree]
    first = len(content["basis"]["pieces"][0]["knots"]) - 1 + degree
    for k, curve in enumerate(content["curves"]):
        own = np.array(curve["coefficients"])[first:]
        x = np.linspace(0.1, days[-1] - 0.1, 50)
        time = knots[0] + np.rint(x * 86400e9).astype("timedelta64[ns]")
        assert BSpline(full, own, degree)(x) == pytest.approx(baseline.values(time)[:, k], abs=1e-9)


@settings(max_examples=15)
@given(
    base=st.lists(st.lists(st.floats(-1e5, 1e5), min_size=3, max_size=3), min_size=3, max_size=6),
    text=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=2),
    degree=st.integers(0, 2),
    now=st.integers(0, 2**62),
)
def test_any_baseline_comes_back_the_same(base, text, degree, now):
    days = np.cumsum(1 + np.arange(len(base)) / 7)
    table = spot_table(at_days(days), np.array(base), note=np.array([text[0]] * len(base)))
    found = fit(table, method="polynomial", degree=degree).baseline.adopted(*text, now)
    back = Baseline.from_json(found.to_json())
    assert back == found and back.to_json() == found.to_json()
    assert back.author == text[0].strip() and back.spots.identical(found.spots)
    time = at_days([days[0], days[-1]])
    assert np.array_equal(back.values(time), found.values(time))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_baseline_are_refused(payload):
    with pytest.raises(BaselineError, match=r"sheet (is not a baseline|has format)"):
        Baseline.from_json(payload, "sheet")


@given(place=st.floats(0, 1), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_no_flipped_bit_goes_unnoticed(baseline, place, bit):
    payload = bytearray(baseline.to_json())
    payload[int(place * (len(payload) - 1))] ^= 1 << bit
    try:
        back = Baseline.from_json(bytes(payload))
    except BaselineError:
        return
    assert back == baseline  # as 1e5 and 1E5 are the same number


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format="obslab-baseline/9"), "format 'obslab-baseline/9', wanted"),
        (lambda c: c.update(begin="2026-01-01"), "begin .* is not before end"),
        (lambda c: c.update(end="yesterday"), "time 'yesterday'"),
        (lambda c: c.update(author=""), "author, reason and adopted_at are not all there"),
        (lambda c: c.update(surprise=1), "unknown field `surprise`"),
        (lambda c: c["curves"].pop(), r"curves are of \('h', 'd'\)"),
        (lambda c: c["curves"][0].update(unit="deg"), "component h is in deg, wanted nT"),
        (lambda c: c["curves"][1]["coefficients"].pop(), "component d has .* coefficients"),
        (lambda c: c["curves"][1]["factor"].pop(), "component d has a factor of"),
        (lambda c: c["curves"][1].update(chi2="one"), r"Expected `float`, got `str` - at `\$.curves"),
        (lambda c: c["basis"].update(degree=7), "degree 7"),
        (lambda c: c["basis"]["pieces"].clear(), "no piece"),
        (lambda c: c["basis"]["pieces"][0]["knots"].reverse(), "not in order of time"),
        (lambda c: c["spots"]["used"].pop(), "columns of spots"),
        (lambda c: c["spots"]["base"][0].pop(), "not three components"),
    ],
)
def test_content_that_makes_no_sense_is_refused(baseline, change, words):
    with pytest.raises(BaselineError, match=words):
        Baseline.from_json(altered(baseline, change))


def test_outside_its_validity_there_are_no_values(baseline):
    begin, end = to_ns(np.array([baseline.begin, baseline.end]))
    assert baseline.values([begin, end - 1]).shape == (2, 3)
    for time_ns, text in ((begin - 1, "2023-12-31T23:59:59.999999999Z"), (end, "2025-02-04T00:00:00Z")):
        with pytest.raises(NoBaselineError, match=f"not valid at {text}, only from 2024.*baseline adopt"):
            baseline.values([begin, time_ns])
        with pytest.raises(NoBaselineError):
            baseline.band(time_ns)
    assert baseline.values(np.array([], np.int64)).shape == (0, 3)


def test_somebody_adopts_it_for_a_reason(baseline):
    for author, reason in (("", "why"), ("who", "  ")):
        with pytest.raises(BaselineError, match="is empty"):
            baseline.adopted(author, reason, NOW)
    with pytest.raises(BaselineError, match="cannot be written"):
        _ = baseline.adopted("\ud800", "a lone surrogate", NOW).id


def test_days_of_the_spots_are_the_validity_unless_given():
    table, _ = simulated(np.random.default_rng(1))
    found = fit(table).baseline
    assert found.begin == table.time.values[0].astype("datetime64[D]")
    assert found.end == table.time.values[-1].astype("datetime64[D]") + np.timedelta64(1, "D")
