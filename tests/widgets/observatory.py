"""An archive as years at Princess Elisabeth station would leave it, made in seconds."""

import numpy as np

from obslab.telemetry.archive.book import Event
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.protocol import Status, Unit, encode
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime
from obslab.telemetry.station.link_model import PRESETS, arrivals

NS = 1_000_000_000
DAY_NS = 86_400 * NS
LEMI = Stream("PEA", "lemi0001")
GSM = Stream("PEA", "gsm90001")
HOUSE = Stream("PEA", "house", "min")
UNIT = Unit("PEA", "lemi0001")
_BODY = {LEMI: 12, GSM: 5, HOUSE: 12}


def fill(path, end_ns, days, *, streams=(LEMI,), missing=(), preset="pea", seed=1, detail=""):
    """Samples of the days up to ``end_ns``; ``missing`` has intervals (begin_ns, end_ns) without any.

    A missing interval has an event of the unit's link that goes down and up again.
    """
    first_ns = end_ns - round(days * DAY_NS)
    with open_archive(path, write=True) as archive:
        for number, stream in enumerate(streams):
            cadence_ns = round(stream.cadence_s * NS)
            time_ns = np.arange(-(-first_ns // cadence_ns) * cadence_ns, end_ns, cadence_ns, dtype=np.int64)
            rng = np.random.default_rng(seed + number)
            arrival_ns = arrivals(time_ns, PRESETS[preset], rng, delay_s=0.0 if stream == HOUSE else 0.3)
            keep = arrival_ns <= end_ns
            for begin_ns, until_ns in missing:
                keep &= (time_ns < begin_ns) | (time_ns >= until_ns)
            time_ns, arrival_ns = time_ns[keep], arrival_ns[keep]
            for day_ns in np.unique(time_ns // DAY_NS * DAY_NS):
                chosen = (time_ns >= day_ns) & (time_ns < day_ns + DAY_NS)
                body = bytes(_BODY[stream]) * int(chosen.sum())
                archive.import_day(stream, _meta(stream), time_ns[chosen], arrival_ns[chosen], body)
        status = Status(journal="j1", at_s=end_ns / NS, streams=tuple(stream.topic for stream in streams))
        archive.book.keep_unit(str(UNIT), "j1", encode(status), end_ns)
        archive.book.note(Event(first_ns, "link", str(UNIT), True))
        for begin_ns, until_ns in missing:
            archive.book.note(Event(begin_ns, "link", str(UNIT), False, detail))
            archive.book.note(Event(until_ns, "link", str(UNIT), True))
    return path


def _meta(stream):
    vector = _BODY[stream] == 12
    return Meta(
        format=FORMAT,
        valid_from=as_datetime(0),
        kind="vector" if vector else "scalar",
        components=("x", "y", "z") if vector else ("f",),
        scale=0.001,
        delay_s=0.0 if stream == HOUSE else 0.3,
    )
