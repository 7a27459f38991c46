"""Rows of the hot store's tables, entered within one transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.sample import Meta, Stream, encode_meta

_ADD = """
    INSERT INTO sample (stream, time_ns, arrival_ns, body)
    SELECT value ->> 0, value ->> 1, value ->> 2, substr(?1, key * ?2 + 1, ?2) FROM json_each(?3)
"""


def ahead_of(time_ns: NDArray[np.int64], newest: int | None) -> NDArray[np.bool_]:
    """Which samples are newer than all before them: certainly not stored yet, and in order."""
    start = np.iinfo(np.int64).min if newest is None else newest
    before = np.maximum.accumulate(np.concatenate([[start], time_ns[:-1]]))
    return time_ns > before


def contradict(write: sqlite3.Connection, row_id: int, time_ns: int, came_ns: int, body: bytes) -> None:
    """Keep a body beside the one that is stored for this time."""
    keep = "INSERT OR IGNORE INTO contradiction VALUES (?, ?, ?, ?)"
    write.execute(keep, (row_id, time_ns, came_ns, body))


def revise(
    write: sqlite3.Connection, row_id: int, time_ns: int, came_ns: int, known: bytes, body: bytes
) -> str:
    """Store a new version, and the earlier one among the contradictions, with the time when it was replaced.

    The new version is a new row, so that followers see it; beside a sealed one it counts, and goes into
    the chunk when the day is sealed again. Returns what to count it as.
    """
    if body == known:  # it brought nothing but nulls
        return "duplicate"
    contradict(write, row_id, time_ns, came_ns, known)
    replace = "INSERT OR REPLACE INTO sample (stream, time_ns, arrival_ns, body) VALUES (?, ?, ?, ?)"
    write.execute(replace, (row_id, time_ns, came_ns, body))
    return "revised"


def rows_of(row_id: int, arrivals: Arrivals, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], bytes]:
    """Chosen samples as rows of (stream, time, arrival), and their bodies, for ``insert``."""
    times, came = arrivals.time_ns[chosen], arrivals.arrival_ns[chosen]
    rows = np.stack([np.full(times.size, row_id), times, came], axis=1)
    if chosen.size == arrivals.time_ns.size:
        return rows, arrivals.bodies
    table = np.frombuffer(arrivals.bodies, dtype=np.uint8).reshape(-1, arrivals.width)
    return rows, table[chosen].tobytes()


def insert(write: sqlite3.Connection, width: int, parts: Sequence[tuple[NDArray[np.int64], bytes]]) -> None:
    """Rows of (stream, time, arrival) with bodies of one width, all by one statement."""
    table = msgspec.json.encode(np.concatenate([part[0] for part in parts]).tolist())
    write.execute(_ADD, (b"".join(part[1] for part in parts), width, table.decode()))


def refuse(write: sqlite3.Connection, batch: Batch, counts: Counter[str]) -> None:
    """Enter what is not understood, and take out what is being read again."""
    for row_id in batch.read_again:
        again = write.execute("DELETE FROM rejected WHERE id = ? RETURNING times", (row_id,)).fetchall()
        counts["waiting"] -= sum(times for (times,) in again)
    for refusal in batch.refusals:
        write.execute(
            """INSERT INTO rejected (arrival_ns, topic, payload, reason, waiting) VALUES (?, ?, ?, ?, ?)
               ON CONFLICT (topic, payload) DO UPDATE SET times = times + 1""",
            (refusal.arrival_ns, refusal.topic, refusal.payload, refusal.reason, refusal.waiting),
        )
        counts["waiting" if refusal.waiting else "rejected"] += 1


def keep_metas(write: sqlite3.Connection, metas: Mapping[str, Sequence[Meta]]) -> None:
    """Enter metadata versions by topic."""
    rows = [
        (topic, meta.valid_from_ns, encode_meta([meta]))
        for topic, versions in metas.items()
        for meta in versions
    ]
    write.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)


def count(write: sqlite3.Connection, row_id: int, counts: Counter[str]) -> None:
    """Add to the counters of a stream."""
    write.executemany(
        "INSERT INTO counter VALUES (?, ?, ?) ON CONFLICT (stream, name) DO UPDATE SET n = n + excluded.n",
        [(row_id, name, n) for name, n in counts.items() if n],
    )


def stream_id(write: sqlite3.Connection, stream: Stream) -> int:
    """The row of a stream, made when there is none."""
    key = (stream.station, stream.instrument, stream.samplerate)
    write.execute("INSERT OR IGNORE INTO stream (station, instrument, samplerate) VALUES (?, ?, ?)", key)
    query = "SELECT id FROM stream WHERE station = ? AND instrument = ? AND samplerate = ?"
    return int(write.execute(query, key).fetchone()[0])
