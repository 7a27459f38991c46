"""Drivers: lines as the instruments send them, and what comes over a bad cable."""

import itertools
import math
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.makers import NS, T0_S

from obslab.errors import ConfigError
from obslab.telemetry.station.drivers import registry
from obslab.telemetry.station.drivers.base import Bad, LineDriver, Means, Reading
from obslab.telemetry.station.drivers.gsm90 import Gsm90
from obslab.telemetry.station.drivers.lemi25 import Lemi25

NOW_NS = (T0_S + 7200) * NS  # this computer's clock is two hours ahead of the instruments' in these tests
GPS = "1390.0 7156.99400 S 02321.00100 E 9 2 0"
NO_FIX = "0.0 0000.00000 N 00000.00000 E 0 0 0"


def lemi(second=0, values="21045.123 -1203.456 43210.789", rest="-12.31 18.40 12.63 " + GPS):
    at = datetime(2024, 5, 10, 17, 5, tzinfo=UTC) + timedelta(seconds=second)
    return f"{at:%Y %m %d %H %M %S} {values} {rest}\r\n".encode()


def fed(driver, *data, now_ns=NOW_NS):
    return [one for chunk in data for one in driver.feed(chunk, now_ns)]


def reasons(found):
    return [one.reason for one in found if isinstance(one, Bad)]


# ---- LEMI-25


def test_lemi_line_gives_three_components_at_the_time_of_its_gps_receiver():
    assert fed(Lemi25(), lemi()) == [Reading(0, T0_S * NS, (21045.123, -1203.456, 43210.789))]


def test_lemi_line_may_have_commas_between_its_fields():
    assert fed(Lemi25(), lemi().replace(b" ", b", ")) == fed(Lemi25(), lemi())


def test_lemi_temperatures_and_voltage_become_one_mean_a_minute():
    driver = Lemi25()
    lines = [
        lemi(second, rest=f"-12.00 {18 + second / 10:.2f} {12.0 + (second % 2):.2f} {GPS}")
        for second in range(61)
    ]
    housekeeping = [one for one in fed(driver, *lines) if one.stream == 1]
    assert [one.time_ns for one in housekeeping] == [T0_S * NS]  # of the minute it is the mean of
    t_sensor, t_electronics, u_supply = housekeeping[0].values
    assert t_sensor == pytest.approx(18 + 29.5 / 10)  # the mean of 0..59 is 29.5
    assert t_electronics == pytest.approx(-12.0)
    assert u_supply == pytest.approx(12.5)
    assert [(one.time_ns, one.values[0]) for one in driver.end()] == [((T0_S + 60) * NS, 24.0)]


@pytest.mark.parametrize(
    ("rest", "begins_s"),
    [(GPS, [T0_S]), ("", [NOW_NS // NS, NOW_NS // NS + 60])],  # without a receiver: the computer's minutes
)
def test_lemi_means_are_of_the_minutes_its_samples_have_each_once(rest, begins_s):
    driver = Lemi25()
    late_ns = NOW_NS + 57 * NS  # of a minute of this computer; the instrument's own minute has just begun
    lines = [lemi(second, rest=f"-12.31 {18 + second} 12.63 {rest}") for second in range(5)]
    found = [one for n, line in enumerate(lines) for one in driver.feed(line, late_ns + n * NS)]
    found += driver.end()
    samples_s = [one.time_ns // NS for one in found if one.stream == 0]
    means = [one for one in found if one.stream == 1]
    assert [one.time_ns // NS for one in means] == begins_s
    assert sorted({second // 60 * 60 for second in samples_s}) == begins_s
    assert [one.values[0] for one in means] == ([20.0] if rest else [19.0, 21.5])  # 18 to 20, 21 and 22


def test_lemi_streams_are_named_after_the_instrument_and_say_their_units():
    (vector, about), (housekeeping, about_housekeeping) = Lemi25().metas("PEA", ["lemi7"])
    assert (vector.topic, housekeeping.topic) == ("pea/lemi7/sec", "pea/lemi7-hk/min")
    assert (about.components, about.units, about.delay_s) == (("x", "y", "z"), "nT", 0.3)
    assert about_housekeeping.components == ("t_sensor", "t_electronics", "u_supply")
    assert about_housekeeping.units == ("degC", "degC", "V")


def test_lemi_without_a_fix_takes_the_computers_time_until_there_was_one():
    driver = Lemi25()
    before = fed(driver, lemi(rest="0 0 12 " + NO_FIX), now_ns=NOW_NS + 400_000_000)[0]
    assert before.time_ns == NOW_NS  # it came 400 ms after the second: 300 of them are the instrument's
    assert driver.trouble == "no GPS fix yet: times are of this computer"
    assert fed(driver, lemi(1))[0].time_ns == (T0_S + 1) * NS
    assert driver.trouble == ""
    assert fed(driver, lemi(2, rest="0 0 12 " + NO_FIX))[0].time_ns == (T0_S + 2) * NS
    assert driver.trouble == "no GPS fix: the instrument's clock runs on by itself"


def test_lemi_without_a_receiver_takes_the_computers_time_and_is_well():
    driver = Lemi25()
    assert fed(driver, lemi(rest="-12.31 18.40 12.63"))[0].time_ns == NOW_NS
    assert driver.trouble == ""


def test_lemi_lines_that_come_late_in_a_bunch_keep_their_seconds():
    driver = Lemi25()
    plain = "-12.31 18.40 12.63"
    came_ns = [NOW_NS + n * NS for n in (0, 1, 5, 5, 5, 5, 6)]
    lines = [lemi(second, rest=plain) for second in range(7)]
    times = [fed(driver, line, now_ns=at)[0].time_ns for line, at in zip(lines, came_ns, strict=True)]
    assert times == [NOW_NS + n * NS for n in range(7)]


def test_lemi_without_a_fix_follows_a_computer_whose_clock_is_set():
    driver = Lemi25()
    plain = "-12.31 18.40 12.63"
    for second in range(100):
        jump_s = 3600 if second >= 10 else 0
        (reading, *_) = fed(driver, lemi(second, rest=plain), now_ns=NOW_NS + (second + jump_s) * NS)
        assert reading.time_ns in (NOW_NS + second * NS, NOW_NS + (second + jump_s) * NS)
    assert reading.time_ns == NOW_NS + (99 + 3600) * NS


def test_lemi_reading_that_is_not_a_number_is_a_missing_value():
    (reading,) = fed(Lemi25(), lemi(values="nan -1203.456 43210.789"))
    assert math.isnan(reading.values[0])
    assert reading.values[1:] == (-1203.456, 43210.789)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2024 05 10 17 05 00 21045.123 -1203.456\n", "8 fields where a LEMI has 12, or 20 with GPS"),
        (lemi(values="21O45.123 1 2"), "'21O45.123' is not a decimal number"),
        (lemi(values="inf 1 2"), "'inf' is not a decimal number"),
        (lemi(values="1_0 1 2"), "'1_0' is not a decimal number"),
        (lemi(values="2104512.3 1 2"), "beyond 100000 nT"),  # the point has moved
        (lemi().replace(b"2024 05", b"2024 15"), "month must be in 1..12"),
        (lemi().replace(b"17 05 00", b"17 05 60"), "second must be in 0..59"),
        (lemi()[2:], "does not begin with year"),
        (b"\xfe\xff" + lemi(), "not ASCII"),
        (b"\x00" * 100 + b"\n", "1 fields"),
    ],
)
def test_line_that_is_no_lemis_is_kept_with_the_reason(line, reason):
    (bad,) = fed(Lemi25(), line)
    assert isinstance(bad, Bad)
    assert reason in bad.reason
    assert bad.text


# ---- GSM-90


def test_gsm_line_gives_field_and_quality_on_the_day_that_fits_its_time():
    assert fed(Gsm90(), b"170500.0 48622.79 99\r\n") == [Reading(0, T0_S * NS, (48622.79,), 99)]


@pytest.mark.parametrize(
    ("line", "computer", "day"),
    [
        (b"235959.0 48622.79 99\n", "2024-05-11T00:00:03", "2024-05-10T23:59:59"),
        (b"000001.0 48622.79 99\n", "2024-05-10T23:59:58", "2024-05-11T00:00:01"),  # it is late
        (b"120000.0 48622.79 99\n", "2024-05-10T06:00:01", "2024-05-10T12:00:00"),
    ],
)
def test_gsm_time_of_day_gets_the_nearest_day(line, computer, day):
    now, want = (datetime.fromisoformat(f"{text}+00:00").timestamp() for text in (computer, day))
    assert fed(Gsm90(), line, now_ns=int(now) * NS)[0].time_ns == int(want) * NS


@pytest.mark.parametrize("rest", [b"00000.00 00", b"00000.00 99", b"48622.79 00"])
def test_gsm_without_a_signal_is_a_missing_value(rest):
    (reading,) = fed(Gsm90(), b"170500.0 " + rest + b"\n")
    assert math.isnan(reading.values[0])
    assert reading.time_ns == T0_S * NS


@pytest.mark.parametrize(
    "line",
    [
        b"70500.0 48622.79 99\n",  # the first digit was cut off
        b"170500.0 4862.79 99\n",  # one in the middle
        b"170500.0 48622.7 99\n",
        b"170500.0 48622.79 9\n",
        b"250500.0 48622.79 99\n",
        b"170500.0 48622.79\n",
        b"F 48622.79 99\n",
    ],
)
def test_gsm_line_with_a_character_lost_is_not_taken_for_a_reading(line):
    (bad,) = fed(Gsm90(), line)
    assert bad.text == line.decode().strip()


# ---- lines


@given(st.lists(st.integers(0, 400), max_size=12))
def test_it_does_not_matter_where_the_bytes_are_cut_into_pieces(places):
    data = b"".join([lemi(0), b"garbage\n", lemi(1), b"\r\n\r\n", b"x" * 60 + b"\r", lemi(2), lemi(3)[:40]])
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    pieces = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    found = fed(Lemi25(), *pieces)
    assert found == fed(Lemi25(), data)
    assert [one.time_ns // NS - T0_S for one in found if isinstance(one, Reading)] == [0, 1, 2]
    assert len(reasons(found)) == 2


@given(st.binary(max_size=3000))
def test_any_bytes_are_survived_and_the_next_line_after_them_is_read(noise):
    driver = Lemi25()
    fed(driver, noise, b"\n")
    assert fed(driver, lemi(5))[0].values == (21045.123, -1203.456, 43210.789)


def test_half_lines_on_both_sides_of_a_disconnect_are_not_glued_together():
    driver = Gsm90()
    assert fed(driver, b"170500.0 48") == []
    assert driver.cut() == [Bad("170500.0 48", "the line was cut off")]
    (rest,) = fed(driver, b"622.79 99\n")
    assert isinstance(rest, Bad)
    assert len(fed(driver, b"170502.0 48622.79 99\n")) == 1


def test_line_that_never_ends_is_told_once_and_its_end_is_not_a_line():
    driver = Gsm90()
    found = fed(driver, *[b"1" * 100] * 50, b"170500.0 48622.79 99\n", b"170501.0 48622.79 99\n")
    assert reasons(found) == ["the line is too long"]
    assert [one.time_ns // NS - T0_S for one in found if isinstance(one, Reading)] == [1]


def test_line_that_is_too_long_is_refused_even_when_it_comes_at_once():
    (bad,) = fed(Gsm90(), b"170500.0 48622.79 99" + b" " * 200 + b"\n")
    assert bad.reason == "the line is too long"


def test_mean_of_values_leaves_the_missing_ones_out():
    means = Means(0)
    means.add(0, (1.0, math.nan))
    means.add(NS, (3.0, math.nan))
    (mean,) = means.add(60 * NS, (9.0, 9.0))
    assert mean.values[0] == 2.0
    assert math.isnan(mean.values[1])


# ---- the registry


def test_our_drivers_are_found_by_name():
    assert registry.driver_named("lemi25") is Lemi25
    assert registry.driver_named("gsm90") is Gsm90


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a module with an entry point `mine`."""

    def install(code):
        (tmp_path / "my_package.py").write_text(code)
        about = tmp_path / "mine-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[obslab.drivers]\nmine = my_package:Mine\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("my_package", None)


def test_driver_of_another_package_is_found_by_its_entry_point(installed):
    installed(
        "from obslab.telemetry.station.drivers.base import LineDriver\n"
        "class Mine(LineDriver):\n"
        "    name = 'mine'\n"
        "    def metas(self, station, names): return []\n"
    )
    assert issubclass(registry.driver_named("mine"), LineDriver)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_the_kind", "cannot be loaded: ModuleNotFoundError"),
        ("class Mine: pass", "has no metas, feed, cut, end"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError"),
    ],
)
def test_driver_of_another_package_that_is_broken_is_refused_in_one_line(installed, code, told):
    installed(code)
    with pytest.raises(ConfigError, match=told) as caught:
        registry.driver_named("mine")
    assert "\n" not in caught.value.message


def test_unknown_driver_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"'lemi52' is none of .*gsm90, lemi25"):
        registry.driver_named("lemi52")
