"""Fills an archive's gaps from files: reads those that can help, stores what is new, reports on each.

Binary day logs bring the very bytes that a station recorded. IAGA-2002 has values rounded to 0.01, so it
only fills times at which the archive has nothing, and only with data of the kind the archive holds: values
that differ from it where both have some are of another publication level, and are left alone. What no
file has stays as it is: another source may have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from obslab.errors import CodecError, ObslabError, TableError
from obslab.telemetry import daylog, iaga2002
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect import choosing, fitting
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.collect.news import Tally, news_of, settle_holes
from obslab.telemetry.collect.remote import Place
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Stream, encode_meta
from obslab.times import now_ns

Store = Callable[[Batch], object]


@dataclass(frozen=True)
class Wishes:
    """What to take. ``any_level`` also takes IAGA-2002 data that is not what the archive holds."""

    everything: bool = False
    any_level: bool = False
    instruments: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileReport:
    """What became of one file: samples by what they were, and lines or bytes that could not be read.

    ``left`` are samples of IAGA-2002 files that a station which is online is being asked for.
    """

    file: str
    state: Literal["read", "passed over", "failed"]
    streams: tuple[str, ...] = ()
    new: int = 0
    there: int = 0
    contradictions: int = 0
    left: int = 0
    unreadable: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = {
            "new": self.new,
            "already there": self.there,
            "contradictions (kept beside)": self.contradictions,
            "left to the station": self.left,
            "unreadable": self.unreadable,
        }
        told = ", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "new")
        return "; ".join([f"{self.file}: {told if self.state == 'read' else self.state}", *self.notes])


@dataclass
class _Reading:
    """What a file gave: messages to take in, and what was odd."""

    messages: list[Message] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    there: int = 0
    left: int = 0
    unreadable: int = 0


def backfill(
    archive: Archive,
    place: Place,
    wishes: Wishes,
    store: Store,
    *,
    on_file: Callable[[FileReport], object] = lambda report: None,
    settle: bool = True,
    now: Callable[[], int] = now_ns,
) -> list[FileReport]:
    """Read what can help and ``store`` what is new, one batch for each file; the same again changes nothing.

    A file that fails is reported and the next one read. With ``settle`` the book's holes that are whole now
    are noted as filled; leave it out when ``store`` does not store at once. Raises RemoteError when the
    place itself cannot be read.
    """
    lacks = choosing.Lacks(archive, wishes.instruments, now())
    run = _Run(archive, place, wishes, store, settle, now, lacks, Intake(archive.all_metas()))
    reports = []
    for file in place.files():
        if choosing.is_samples(file):
            reports.append(run.take(file))
            on_file(reports[-1])
    for error in place.unlisted:
        reports.append(
            FileReport(error.message.split(" cannot be read")[0], "failed", notes=(error.message,))
        )
        on_file(reports[-1])
    return reports


@dataclass(frozen=True)
class _Run:
    archive: Archive
    place: Place
    wishes: Wishes
    store: Store
    settle: bool
    now: Callable[[], int]
    lacks: choosing.Lacks
    intake: Intake

    def take(self, file: str) -> FileReport:
        reason = None if self.wishes.everything else self.lacks.reason_to_pass(file)
        if reason:
            return FileReport(file, "passed over", notes=(reason,))
        try:
            read = _read_day_log if choosing.is_day_log(file) else _read_iaga
            found = read(self, self.place.read(file), file)
            tally = self._keep(found)
        except TableError:
            raise  # of the archive: the next file would fare no better
        except ObslabError as error:
            return FileReport(file, "failed", notes=(error.message,))
        return FileReport(
            file,
            "read",
            tuple(str(stream) for stream in found.streams),
            tally.new,
            tally.there + found.there,
            tally.contradictions,
            found.left,
            found.unreadable,
            tuple(found.notes),
        )

    def _keep(self, found: _Reading) -> Tally:
        """Store what is new of what a file gave, by the rules for all that comes."""
        taken_in = self.intake.sort(found.messages)
        found.unreadable += len(taken_in.refusals)
        found.notes += list(dict.fromkeys(refusal.reason for refusal in taken_in.refusals))[:2]
        batch, tally = news_of(self.archive, Batch(arrivals=taken_in.arrivals, metas=taken_in.metas))
        if batch.arrivals or batch.metas:
            self.store(batch)
        if self.settle:
            settle_holes(self.archive, batch.arrivals, self.now())
        return tally


def _read_day_log(run: _Run, data: bytes, file: str) -> _Reading:
    log, at_ns = daylog.decode(data, file), run.now()
    found = _Reading(streams=[log.stream], unreadable=log.damaged)
    if log.damaged:
        found.notes.append(f"{log.damaged} bytes are damaged")
    if not run.lacks.is_meant(log.stream.instrument):
        found.notes.append(f"{log.stream} is not among the instruments named")
        return found
    if log.stream not in run.archive.streams() and not run.wishes.everything:
        found.notes.append(f"the archive has no stream {log.stream}; --all takes it")
        return found
    # What the archive knows of an instrument is newer than what an old file says.
    known = {meta.valid_from for meta in run.intake.metas.get(log.stream.meta_topic, ())}
    fresh = [meta for meta in log.metas if meta.valid_from not in known]
    if fresh:
        found.messages.append(Message(log.stream.meta_topic, encode_meta(fresh), at_ns))
    found.messages += [Message(log.stream.topic, payload, at_ns) for payload in log.payloads]
    return found


def _read_iaga(run: _Run, data: bytes, file: str) -> _Reading:
    (table, bad), at_ns = iaga2002.decode(data, file), run.now()
    found = _Reading(unreadable=len(bad), notes=[f"line {line.number}: {line.why}" for line in bad[:2]])
    station, rate = table.header.get("IAGA CODE", "").upper(), fitting.samplerate_of(table, file)
    streams = {
        stream: run.intake.metas.get(stream.meta_topic, ())
        for stream in run.lacks.streams(station, rate)
        # What came as IMPF has a level of its own, which a file does not tell: only when it is named.
        if run.wishes.instruments or not stream.instrument.startswith("impf")
    }
    if not streams:
        found.notes.append(f"the archive has no stream {station} {rate} to fill")
        return found
    parts, notes = fitting.fit(table, streams)
    found.notes += notes
    for part in parts:
        if not part.time_ns.size:
            continue
        held = run.archive.readings(part.stream, int(part.time_ns[0]), int(part.time_ns[-1]) + 1)
        other = _is_other_data(table, part, held)
        if other and not run.wishes.any_level:
            found.notes.append(f"{part.stream}: {other}; --any-level takes it all the same")
            continue
        there = np.isin(part.time_ns, held.time_ns)
        asked = choosing.within(part.time_ns, run.lacks.asked_for(part.stream)) & ~there
        off = ~fitting.on_grid(part) & ~there & ~asked
        found.there += int(there.sum())
        found.left += int(asked.sum())
        found.unreadable += int(off.sum())
        if off.any():
            found.notes.append(f"{part.stream}: {int(off.sum())} times are between those of the stream")
        found.streams.append(part.stream)
        try:
            payloads = part.take(~(there | asked | off)).messages()
        except CodecError as error:
            found.notes.append(f"{part.stream}: {error.message}")
            continue
        found.messages += [Message(part.stream.topic, payload, at_ns) for payload in payloads]
    return found


def _is_other_data(table: iaga2002.IagaFile, part: fitting.Part, held: Readings) -> str | None:
    """Why these are not the samples that the instrument's stream lacks; None when they are."""
    differs = fitting.difference(part, held)
    if differs != "unknown":
        return differs
    kind = table.header.get("DATA TYPE", "")
    if kind and not kind.lower().startswith(("v", "r")):
        return f"data type {kind!r} is not what an instrument records, and the archive has nothing to compare"
    return None
