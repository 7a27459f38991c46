"""Computed samples on their way into the archive: only what it does not have, or has with another value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.archive.batch import Arrivals
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.bodies import of_values
from obslab.telemetry.codec import BODY_SIZE
from obslab.telemetry.sample import Meta, Stream
from obslab.times import now_ns


@dataclass(frozen=True)
class News:
    """``arrivals`` to store, None when there is nothing; how many are ``new``, how many new versions."""

    arrivals: Arrivals | None
    new: int
    revised: int


def news_of(
    archive: Archive, stream: Stream, meta: Meta, time_ns: NDArray[np.int64], values: NDArray[np.float64]
) -> News:
    """Samples in order of time, shape (n, components), against what is stored; NaN replaces a value too."""
    if not time_ns.size:
        return News(None, 0, 0)
    width = BODY_SIZE[meta.kind]
    bodies = np.frombuffer(of_values(meta, values), dtype=np.uint8).reshape(-1, width)
    held = archive.stored(stream, int(time_ns[0]), int(time_ns[-1]) + 1)
    place = np.searchsorted(held.time_ns, time_ns)
    there = place < len(held)
    there[there] = held.time_ns[place[there]] == time_ns[there]
    same = there.copy()
    known = np.frombuffer(held.of_width(width, place[there]), dtype=np.uint8).reshape(-1, width)
    same[there] = (known == bodies[there]).all(axis=1)
    if same.all():
        return News(None, 0, 0)
    chosen_ns, came_ns = time_ns[~same], now_ns()
    arrivals = Arrivals(
        stream,
        chosen_ns,
        np.full(chosen_ns.size, came_ns, dtype=np.int64),
        width,
        bodies[~same].tobytes(),
        np.zeros(chosen_ns.size, dtype=np.bool_),  # when they were made is not how fast they travelled
        revises=True,
        whole=True,
    )
    return News(arrivals, int((~there).sum()), int((there & ~same).sum()))
