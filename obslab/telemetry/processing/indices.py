"""The K index of an archive's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obslab.telemetry.archive.store import Archive
from obslab.telemetry.processing.merging import chosen, interval, nothing_in
from obslab.telemetry.processing.minutes import minute
from obslab.times import NS_PER_DAY, Instant, to_ns

if TYPE_CHECKING:
    import xarray as xr

_THREE_HOURS_NS = NS_PER_DAY // 8


def k(
    archive: Archive,
    station: str | None = None,
    instrument: str | None = None,
    begin: Instant | None = None,
    end: Instant | None = None,
    *,
    k9_limit_nt: float | None = None,
    provisional: bool = False,
) -> xr.Dataset:
    """K of the three-hour intervals that touch ``[begin, end)``, as ``activity.k_index`` gives it.

    The days before and after enter too, as far as the archive has them. Raw data of a variometer will do,
    since baselines move little in three hours. With ``provisional`` a day without a morrow is judged too.
    """
    from obslab.telemetry.activity import k_index

    stream = chosen(archive, station, instrument, kinds=("vector",))
    reach = interval(archive, stream, begin, end)
    if reach is None:
        raise nothing_in(archive, stream)
    low_ns = reach[0] // _THREE_HOURS_NS * _THREE_HOURS_NS
    high_ns = -(-reach[1] // _THREE_HOURS_NS) * _THREE_HOURS_NS
    first_ns, last_ns = (
        low_ns // NS_PER_DAY * NS_PER_DAY - NS_PER_DAY,
        (high_ns // NS_PER_DAY + 2) * NS_PER_DAY,
    )
    if stream.samplerate == "min":
        minutes = archive.dataset(stream.station, stream.instrument, first_ns, last_ns, samplerate="min")
    else:
        minutes = minute(archive, stream.station, stream.instrument, first_ns, last_ns, scalar="")
    found = k_index(minutes, k9_limit_nt, provisional=provisional)
    time_ns = to_ns(found.time.values)
    return found.isel(interval=(time_ns >= low_ns) & (time_ns < high_ns))
