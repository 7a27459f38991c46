"""The storm of May 2024 at the Conrad Observatory as an archive: raw field, scalar, absolute measurements.

Vector and scalar are the observatory's own (see ``data/README.md``); the absolute measurements are
simulated on them, five a day, with the baseline that the observatory published last before the storm.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from obslab.telemetry import bodies
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.station.recording import Recording
from obslab.times import NS_PER_S

DAYS = ("2024-05-09", "2024-05-10", "2024-05-11", "2024-05-12")
STATION, VECTOR, SCALAR = "WIC", "lemi036", "gp20s3"
K9_LIMIT_NT = 500.0
PIER_DIFFERENCE_NT = 2.48
"""What the absolute pillar has more than the scalar: makes the median of delta-F zero."""

_DATA = Path(__file__).parent / "data"
_ARRIVAL_NS = 300_000_000


def day(date: str) -> Recording:
    """Vector (H, E, Z) and scalar of one of ``DAYS``, 86,400 samples each."""
    return Recording.read(_DATA / f"wic-{date}.npz")


def archive(folder: str | Path) -> Archive:
    """The four days in a new archive, open for reading."""
    with open_archive(folder, write=True) as made:
        for date in DAYS:
            for track in day(date).tracks:
                meta = msgspec.structs.replace(track.meta, k9_limit_nt=K9_LIMIT_NT)
                if date == DAYS[0]:
                    made.add(Batch(metas={track.stream.meta_topic: (meta,)}))
                arrival_ns = track.time_ns + _ARRIVAL_NS
                made.import_day(
                    track.stream, meta, track.time_ns, arrival_ns, bodies.of_values(meta, track.values)
                )
    return open_archive(folder)


def span() -> tuple[np.datetime64, np.datetime64]:
    """The interval ``[begin, end)`` of the archive."""
    begin = np.datetime64(DAYS[0], "ns")
    return begin, np.datetime64(DAYS[-1], "ns") + np.timedelta64(86_400 * NS_PER_S, "ns")
