"""The list of gaps: what is missing, why, and how far getting it back is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from obslab.telemetry.archive.book import Hole
from obslab.telemetry.sample import Stream
from obslab.times import iso
from obslab_widgets.latency_dashboard.answer import Answer
from obslab_widgets.wording import count, duration

COLUMNS = ("Stream", "Begin (UTC)", "End (UTC)", "Length", "Lost", "Cause", "State", "Backfill")
PAGE = 12
_TAKEN_NS = 10_000_000_000  # a collector takes requests each second


@dataclass(frozen=True)
class Gap:
    """One line of the list; ``done`` is the fraction that came back, None where nobody asked."""

    stream: Stream
    begin_ns: int
    end_ns: int
    lost: int
    cause: str
    state: str
    done: float | None = None

    @property
    def key(self) -> str:
        """Names the gap in what a page says back."""
        return f"{self.stream.topic} {self.begin_ns} {self.end_ns}"

    @property
    def can_ask(self) -> bool:
        return self.state in ("open", "lost at source")


@dataclass(frozen=True)
class Listing:
    """One page of the gaps of the marked interval; ``word`` says how many there are."""

    gaps: tuple[Gap, ...]
    page: int
    pages: int
    word: str


def all_gaps(answer: Answer) -> list[Gap]:
    """Gaps that touch the marked interval, and those that closed lately, newest first."""
    table, inner = answer.gaps, answer.inner
    begin_ns, end_ns = (table[name].values.astype(np.int64) for name in ("begin", "end"))
    found = []
    for row in np.flatnonzero((end_ns > inner.begin_ns) & (begin_ns < inner.end_ns)):
        stream = Stream(*str(table.stream.values[row]).split())
        begin, end, lost = int(begin_ns[row]), int(end_ns[row]), int(table.lost.values[row])
        state, done = _progress(answer, stream, begin, end, lost, str(table.state.values[row]))
        found.append(Gap(stream, begin, end, lost, str(table.cause.values[row]), state, done))
    for hole in answer.filled:
        found.append(
            Gap(
                Stream.parse(hole.topic),
                hole.begin_ns,
                hole.end_ns,
                0,
                hole.why,
                f"filled, {hole.filled:,} came",
                1.0,
            )
        )
    return sorted(found, key=lambda gap: (-gap.begin_ns, gap.stream))


def listing(answer: Answer) -> Listing:
    """The page of the list that the state asks for; beyond the last one it is the last."""
    found = all_gaps(answer)
    if answer.state.order == "longest":
        found.sort(key=lambda gap: -(gap.end_ns - gap.begin_ns))
    pages = max(1, -(-len(found) // PAGE))
    page = min(answer.state.page, pages - 1)
    missing = sum(gap.lost for gap in found)
    word = f"{count(len(found), 'gap')}, {count(missing, 'sample')} missing" if found else "no gaps"
    return Listing(tuple(found[page * PAGE : (page + 1) * PAGE]), page, pages, word)


def rows(gaps: Sequence[Gap]) -> list[list[object]]:
    """Cells of COLUMNS; the last is a button, or how far the backfill is."""
    table: list[list[object]] = []
    for gap in gaps:
        places = 3 if gap.stream.cadence_s < 1 else 0
        begin, end = (
            iso(at, places).replace("T", " ").removesuffix("Z") for at in (gap.begin_ns, gap.end_ns)
        )
        what = f"{gap.stream} from {begin} to {end}"
        last: object = {"button": "Backfill", "name": f"fill {gap.key}", "label": f"Backfill {what}"}
        if gap.done is not None:
            last = {"share": gap.done, "label": f"Backfill of {what}"}
        elif not gap.can_ask:
            last = ""
        length = duration((gap.end_ns - gap.begin_ns) / 1e9)
        table.append([str(gap.stream), begin, end, length, gap.lost, gap.cause, gap.state, last])
    return table


def overdue(answer: Answer) -> int:
    """Requests that nobody took in time."""
    return sum(answer.wall_ns - request.at_ns > _TAKEN_NS for request in answer.requests)


def _progress(
    answer: Answer, stream: Stream, begin_ns: int, end_ns: int, lost: int, state: str
) -> tuple[str, float | None]:
    """The state of a gap by who asked for it, and the fraction of it that came."""
    asked = [hole for hole in answer.holes if hole.topic == stream.topic and _touch(hole, begin_ns, end_ns)]
    if asked:
        came = sum(hole.filled for hole in asked)
        waits = all(hole.state == "open" for hole in asked)
        done = came / max(1, came + lost)
        return "waits for its station" if waits else f"being filled, {100 * done:.0f} %", done
    if any(
        request.topic == stream.topic and request.begin_ns < end_ns and request.end_ns > begin_ns
        for request in answer.requests
    ):
        return "requested", 0.0
    return state, None


def _touch(hole: Hole, begin_ns: int, end_ns: int) -> bool:
    return hole.begin_ns < end_ns and hole.end_ns > begin_ns
