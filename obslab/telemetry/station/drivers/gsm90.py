"""A scalar magnetometer like the GSM-90: the total field and how good the reading was, once a second.

One line of text for each reading, fields between blanks::

    170500.0 48622.79 99

time of day in UTC as hhmmss.s, field in nT with two decimals, quality of two digits: the first for the time
the signal could be measured, the second for its area, 9 is best (99) and 0 unusable. GEM's manuals document
this line for the GSM-19, and this quality for the GSM-90; that a GSM-90 sends this very line is
our reading of them: hence "like".

The line has no date: it is that of the day on which its time of day is nearest to this computer's clock,
so that clock may be wrong by hours. A field of zero, or quality 00, is a missing value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from obslab.telemetry.sample import FORMAT, Meta, Stream
from obslab.telemetry.station.drivers.base import EVER, NS, LineDriver, Reading

_LINE = re.compile(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d)\.(\d)\s+(\d{1,6}\.\d\d)\s+(\d\d)")
_RANGE_NT = 20_000.0, 120_000.0  # of the GSM-90's sensors
_DAY_NS = 86_400 * NS


class Gsm90(LineDriver):
    name = "gsm90"
    longest = 128

    def metas(self, station: str, names: Sequence[str]) -> list[tuple[Stream, Meta]]:
        meta = Meta(
            format=FORMAT,
            valid_from=EVER,
            kind="scalar",
            components=("f",),
            scale=0.01,
            sensor="GSM-90",
        )
        return [(Stream(station, names[0] if names else "gsm90001", "sec"), meta)]

    def line(self, text: str, now_ns: int) -> list[Reading]:
        found = _LINE.fullmatch(text)
        if not found:
            raise ValueError("it is not hhmmss.s, field with two decimals, quality of two digits")
        hour, minute, second, tenth = map(int, found.groups()[:4])
        of_day_ns = ((hour * 60 + minute) * 60 + second) * NS + tenth * NS // 10
        days = (now_ns - of_day_ns + _DAY_NS // 2) // _DAY_NS
        field_nt, quality = float(found[5]), int(found[6])
        if field_nt == 0 or quality == 0:
            field_nt = math.nan
        elif not _RANGE_NT[0] <= field_nt <= _RANGE_NT[1]:
            raise ValueError(f"the field is not between {_RANGE_NT[0]:g} and {_RANGE_NT[1]:g} nT")
        return [Reading(0, days * _DAY_NS + of_day_ns, (field_nt,), quality)]
