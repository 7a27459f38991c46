"""Real data of the Conrad Observatory (WIC) that come with obslab; see ``data/README.md`` for their source.

``sheets`` and ``variometer`` are of a day of absolute measurements in 2018. ``archive`` has the storm of
May 2024: vector and scalar are the observatory's own; the absolute measurements are simulated on them, five
a day, with the baseline that its observers found last before the storm.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from obslab.telemetry import bodies, codec
from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.sample import Clock, Meta
from obslab.telemetry.station.autodif import Autodif, of_recording, stream_of
from obslab.telemetry.station.recording import Recording, Track
from obslab.times import NS_PER_DAY, NS_PER_S

DAYS = ("2024-05-09", "2024-05-10", "2024-05-11", "2024-05-12")
STATION, VECTOR, SCALAR = "WIC", "lemi036", "gp20s3"
K9_LIMIT_NT = 500.0
PIER_DIFFERENCE_NT = 2.48
"""What the absolute pillar has more than the scalar: makes the median of delta-F zero."""

_DATA = Path(__file__).parent / "data"
_ARRIVAL_NS = 300_000_000


def sheets() -> tuple[Path, Path]:
    """Two DI-flux sheets of 29 August 2018, of pillar A2, made half an hour after each other."""
    first, second = sorted((_DATA / "absolutes").glob("example6?.txt"), reverse=True)
    return first, second


def variometer() -> Path:
    """IAGA-2002 of the hour about them, 1 s: E, H and Z of the variometer, F of the scalar."""
    return _DATA / "absolutes" / "wic20180829vsec.sec"


def day(date: str) -> Recording:
    """Vector (H, E, Z) and scalar of one of ``DAYS``, 86,400 samples each."""
    return Recording.read(_DATA / f"wic-{date}.npz")


def archive(folder: str | Path) -> Archive:
    """The four days in a new archive, open for reading: WIC lemi036, gp20s3 and autodif01."""
    recordings = [day(date) for date in DAYS]
    with open_archive(folder, write=True) as made:
        for tracks in zip(*(recording.tracks for recording in recordings), strict=True):
            meta = msgspec.structs.replace(tracks[0].meta, k9_limit_nt=K9_LIMIT_NT)
            made.add(Batch(metas={tracks[0].stream.meta_topic: (meta,)}))
            for track in tracks:
                packed = bodies.of_values(meta, track.values)
                made.import_day(track.stream, meta, track.time_ns, track.time_ns + _ARRIVAL_NS, packed)
        made.add(_absolutes([recording.tracks[0] for recording in recordings]))
    return open_archive(folder)


def span() -> tuple[np.datetime64, np.datetime64]:
    """The interval ``[begin, end)`` of the archive."""
    begin = np.datetime64(DAYS[0], "ns")
    return begin, np.datetime64(DAYS[-1], "ns") + np.timedelta64(86_400 * NS_PER_S, "ns")


def _absolutes(vector: list[Track]) -> Batch:
    """What an AUTODIF beside the variometer would have sent in these days."""
    time_ns = np.concatenate([track.time_ns for track in vector])
    values = np.concatenate([track.values for track in vector])
    begin_ns, end_ns = int(time_ns[0]), int(time_ns[-1]) + NS_PER_S
    about: Meta = vector[0].meta
    field = of_recording(about.components, time_ns, values, end_ns - begin_ns)
    theodolite = Autodif(stream_of(STATION), field, about, seed=2024, until_ns=end_ns)
    theodolite.resume(begin_ns - NS_PER_DAY, begin_ns)
    clock = Clock(about.valid_from, about.valid_from)
    meta = msgspec.structs.replace(theodolite.meta(clock), clock=None)
    sent = list(theodolite.due(end_ns))
    stream = theodolite.stream
    starts_ns, packed = codec.split(stream, meta, [payload for _, _, payload in sent])
    came_ns = starts_ns + round(meta.delay_s * NS_PER_S) + _ARRIVAL_NS
    on_time = np.zeros(starts_ns.size, dtype=np.bool_)
    arrivals = Arrivals(stream, starts_ns, came_ns, codec.BODY_SIZE[meta.kind], packed, on_time)
    return Batch(arrivals=[arrivals], metas={stream.meta_topic: (meta,)})
