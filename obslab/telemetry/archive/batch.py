"""What is stored in one commit: samples by stream, metadata, and what is not understood."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.sample import Meta, Stream


@dataclass(frozen=True)
class Arrivals:
    """Samples of one stream in order of arrival; ``bodies`` holds ``width`` bytes for each.

    With ``revises`` another body for a known time is a new version of the sample, not a contradiction: what
    is missing in it stays as it was, unless it is ``whole``, as a sample that was computed anew.
    """

    stream: Stream
    time_ns: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    width: int
    bodies: bytes
    late: NDArray[np.bool_]
    revises: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Refusal:
    """A message that is not a sample we understand; ``waiting`` for metadata, it will be read again."""

    arrival_ns: int
    topic: str
    payload: bytes
    reason: str
    waiting: bool = False


@dataclass
class Batch:
    """What one commit stores: all of it, or nothing."""

    arrivals: list[Arrivals] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    metas: dict[str, tuple[Meta, ...]] = field(default_factory=dict)
    read_again: list[int] = field(default_factory=list)
