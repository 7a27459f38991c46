"""A fluxgate like the LEMI-25: every second three components, two temperatures, the supply voltage.

One line of text a second, fields between blanks or commas::

    2024 05 10 17 05 00 21045.123 -1203.456 43210.789 -12.31 18.40 12.63
    ... 1390.0 7156.99400 S 02321.00100 E 9 2 0

in order: date and time in UTC; X, Y, Z in nT; temperatures of electronics and sensor in degC; supply in V;
then, from an instrument with a GPS receiver, elevation in m, latitude and longitude as ddmm.mmmmm with their
hemispheres, satellites, kind of fix (0 none, 1 GPS, 2 differential), time difference. This is the order that
text files of LEMI's instruments have (documented for the LEMI-424, which has four electric channels more).
The LEMI-25's own serial protocol is a binary frame that its maker does not publish: hence "like". Its
manual gives the 300 ms from a sample to its output.

The sample's time is the instrument's own while its receiver has a fix, and after that too, since its clock
runs on. Before the first fix, and without a receiver, its seconds are counted by its clock and set by this
computer's: lines that come late in a bunch keep their distance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from obslab.telemetry.sample import FORMAT, Meta, Stream
from obslab.telemetry.station.drivers.base import (
    EVER,
    NS,
    Bad,
    LineDriver,
    Means,
    Reading,
    nearest_second,
    number,
)
from obslab.times import as_ns

_DELAY_S = 0.3  # LEMI-25 manual, Lviv, October 2014, quoted by Bracke et al. (2017), section 1
_LARGEST_NT = 100_000.0  # beyond any field on Earth, and beyond the instrument's range
_PLAIN, _WITH_GPS = 12, 20
_FIX = 18
_OFF_NS, _OFF_LINES = (
    1_500_000_000,
    30,
)  # so far, for so long, is a clock that was set, not a line that is late


class Lemi25(LineDriver):
    name = "lemi25"

    def __init__(self) -> None:
        super().__init__()
        self._housekeeping = Means(stream=1)
        self._had_fix = False
        self._behind_ns: int | None = None  # how far the instrument's clock is behind this computer's
        self._off_lines = 0

    def metas(self, station: str, names: Sequence[str]) -> list[tuple[Stream, Meta]]:
        name, *other = names or ("lemi0001",)
        vector = Meta(
            format=FORMAT,
            valid_from=EVER,
            kind="vector",
            components=("x", "y", "z"),
            scale=0.001,
            delay_s=_DELAY_S,
            orientation="XYZ",
            sensor="LEMI-25",
        )
        housekeeping = Meta(
            format=FORMAT,
            valid_from=EVER,
            kind="vector",
            components=("t_sensor", "t_electronics", "u_supply"),
            units=("degC", "degC", "V"),
            scale=0.001,
            delay_s=60.0,  # a mean over the minute that its time begins
            sensor="LEMI-25",
        )
        return [
            (Stream(station, name, "sec"), vector),
            (Stream(station, other[0] if other else f"{name}-hk", "min"), housekeeping),
        ]

    def line(self, text: str, now_ns: int) -> list[Reading]:
        fields = re.split(r"[,\s]+", text)
        if len(fields) not in (_PLAIN, _WITH_GPS):
            raise ValueError(f"{len(fields)} fields where a LEMI has {_PLAIN}, or {_WITH_GPS} with GPS")
        if not all(one.isdigit() for one in fields[:6]) or len(fields[0]) != 4:
            raise ValueError("it does not begin with year, month, day, hour, minute, second")
        year, month, day, hour, minute, second = map(int, fields[:6])
        own_ns = as_ns(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
        x, y, z, t_electronics, t_sensor, u_supply = map(number, fields[6:12])
        if any(abs(value) > _LARGEST_NT for value in (x, y, z)):
            raise ValueError(f"a component is beyond {_LARGEST_NT:g} nT")
        fix = int(fields[_FIX]) > 0 if len(fields) == _WITH_GPS else None
        time_ns = self._time_ns(own_ns, now_ns, fix)
        return [
            Reading(0, time_ns, (x, y, z)),
            *self._housekeeping.add(time_ns, (t_sensor, t_electronics, u_supply)),
        ]

    def end(self) -> list[Reading | Bad]:
        return [*super().end(), *self._housekeeping.end()]

    def _time_ns(self, own_ns: int, now_ns: int, fix: bool | None) -> int:
        """``fix`` is None when the instrument has no receiver."""
        self._had_fix |= fix is True
        if fix is not False:
            self.trouble = ""
        elif self._had_fix:
            self.trouble = "no GPS fix: the instrument's clock runs on by itself"
        else:
            self.trouble = "no GPS fix yet: times are of this computer"
        return own_ns if self._had_fix else self._by_computer(own_ns, now_ns)

    def _by_computer(self, own_ns: int, now_ns: int) -> int:
        behind_ns = nearest_second(now_ns - round(_DELAY_S * NS) - own_ns)
        if self._behind_ns is None:
            self._behind_ns = behind_ns
        self._off_lines = self._off_lines + 1 if abs(behind_ns - self._behind_ns) > _OFF_NS else 0
        if self._off_lines > _OFF_LINES:
            self._behind_ns, self._off_lines = behind_ns, 0
        return own_ns + self._behind_ns
