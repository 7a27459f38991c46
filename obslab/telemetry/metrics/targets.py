"""What is aimed for: INTERMAGNET's latency and completeness, and when a sample counts as late or missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from obslab.telemetry.sample import IRREGULAR, Meta, Stream

# INTERMAGNET's standard for 1-second data (technical note TN8): latency targets of 30 s for 1 s data
# and 2 min for 1 min data; a mean needs 90 % of its samples.
TARGET_S = {1.0: 30.0, 60.0: 120.0}
COMPLETE = 0.9

# A sample whose way took longer than this was held up by a link that did not work. A satellite needs
# 0.3 s, and one retransmission on it another 0.6 s; a loss of 2 s delays a 1 Hz stream by 1 s at least.
LATE_S = 1.0


def target_s(stream: Stream) -> float:
    """How old a sample may be on arrival; infinite where INTERMAGNET names no target.

    Streams above 1 Hz are held to the target of 1 s data.
    """
    return TARGET_S.get(max(stream.cadence_s, 1.0), math.inf)


def grace_ns(stream: Stream, meta: Meta | None = None) -> int:
    """How long after its time a sample is not yet called missing: the target, or two cadences.

    For an irregular stream it is the tolerance of its schedule.
    """
    if stream.samplerate == IRREGULAR:
        return round((meta.schedule_tolerance_s if meta else 0.0) * 1e9)
    target = target_s(stream)
    return round((target if math.isfinite(target) else 2 * stream.cadence_s) * 1e9)


def judged(
    stream: Stream,
    metas: Sequence[Meta],
    span: tuple[int, int] | None,
    begin_ns: int,
    end_ns: int,
    now_ns: int | None = None,
) -> tuple[int, int]:
    """What of ``[begin, end)`` gaps and completeness can be told for: the *reach* of a question.

    ``span`` has the times of the first and last sample that the archive ever got of the stream: before the
    first there is no gap. What is younger than ``grace_ns`` may still be on its way; ``now_ns`` is UTC, and
    read off the station's clock here. Without it the reach ends behind the last sample.
    """
    if span is None:
        return begin_ns, begin_ns
    meta = metas[-1] if metas else None
    if now_ns is None:
        settled_ns = span[1] + (1 if stream.samplerate == IRREGULAR else round(stream.cadence_s * 1e9))
    else:
        settled_ns = (meta.station_time(now_ns) if meta else now_ns) - grace_ns(stream, meta)
    begin_ns = max(begin_ns, span[0])
    return begin_ns, max(begin_ns, min(end_ns, settled_ns))
