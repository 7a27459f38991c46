"""The archive: a folder that holds every sample once, read as Datasets while a collector writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from obslab.errors import NoArchiveError, NoStreamError
from obslab.tables import hold
from obslab.telemetry.archive import repair
from obslab.telemetry.archive.batch import Batch, Refusal
from obslab.telemetry.archive.book import Book
from obslab.telemetry.archive.cover import Stretch
from obslab.telemetry.archive.hot import HotStore
from obslab.telemetry.archive.questions import Questions
from obslab.telemetry.archive.sealed import day_of
from obslab.telemetry.archive.union import Day, Union
from obslab.telemetry.archive.upkeep import Upkeep
from obslab.telemetry.metrics.day import DaySummary
from obslab.telemetry.readings import Readings, Stored, decode
from obslab.telemetry.sample import Meta, Stream
from obslab.times import NS_PER_DAY, Instant, as_ns, from_ns, iso

if TYPE_CHECKING:
    import xarray as xr

_FILE = "hot.db"
_PAGE = 50_000


class Archive(Questions, Upkeep):
    """Open one with ``open_archive``; every method may be called from any thread."""

    def __init__(self, path: Path, *, write: bool = False, shared: bool = False) -> None:
        self.path = Path(path)
        self._held: IO[str] | None = None
        if write:
            self._held = hold(self.path / "lock", f"archive {self.path}", shared=shared)
        elif not (self.path / _FILE).exists():
            raise NoArchiveError(
                f"{self.path} is not an archive (it has no {_FILE}); `obslab collect` makes one",
                path=self.path,
            )
        self._hot = HotStore(self.path / _FILE, readonly=not write, shared=shared)
        self._union = Union(self._hot)
        super().__init__(write=write, shared=shared)
        self.book = Book(self.path, readonly=not write)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process, as a worker of a cluster, reads the same folder."""
        return open_archive, (self.path,)

    @property
    def id(self) -> str:
        return self._hot.id

    def add(self, batch: Batch) -> Counter[str]:
        """Store a batch durably, all of it or nothing; see ``HotStore.add``."""
        return self._hot.add(batch)

    def waiting(self, meta_topic: str) -> list[tuple[int, Refusal]]:
        """Messages of one instrument that came before their metadata, with their row ids."""
        return self._hot.waiting(meta_topic)

    def streams(self) -> list[Stream]:
        """What the archive holds, in order."""
        return list(self._hot.streams())

    def metas(self, stream: Stream) -> tuple[Meta, ...]:
        """Metadata versions of a stream's instrument, oldest first."""
        return self._hot.metas_of(stream.meta_topic)

    def all_metas(self) -> dict[str, tuple[Meta, ...]]:
        """Metadata versions of every instrument, by the topic they came on."""
        return self._hot.metas()

    def counters(self) -> dict[Stream | None, Counter[str]]:
        """Messages counted since the archive began, by stream; those not understood under None."""
        return self._hot.counters()

    def rejected_count(self) -> int:
        """Messages kept but not understood; those that wait for metadata are not among them."""
        return int(self._hot.rows("SELECT count(*) FROM rejected WHERE NOT waiting")[0][0])

    def span(self, stream: Stream) -> tuple[int, int] | None:
        """Times of the first and last sample in ns; None when there is none."""
        return self._union.span(stream)

    def stored(self, stream: Stream, begin_ns: int, end_ns: int) -> Stored:
        """Samples of ``[begin, end)`` as they are kept, in order of time."""
        return self._union.stored(stream, begin_ns, end_ns)

    def readings(self, stream: Stream, begin_ns: int, end_ns: int) -> Readings:
        """Samples of ``[begin, end)`` as arrays in order of time."""
        return decode(stream, self.metas(stream), self.stored(stream, begin_ns, end_ns))

    def checksum(self, stream: Stream, begin_ns: int, end_ns: int) -> tuple[int, int]:
        """How many samples of ``[begin, end)`` are stored, and ``protocol.checksum`` over them."""
        return self._union.checksum(stream, begin_ns, end_ns)

    def missing(self, stream: Stream, begin_ns: int, end_ns: int) -> list[Stretch]:
        """Maximal stretches of ``[begin, end)`` without samples; see ``Union.missing``."""
        return self._union.missing(stream, begin_ns, end_ns)

    def days(self, stream: Stream, begin_ns: int, end_ns: int, *, exact: bool = False) -> list[DaySummary]:
        """Summaries of the UTC days that have samples and touch ``[begin, end)``, each of its whole day.

        With ``exact`` each is computed from its samples: on the Dask cluster this process is a client of,
        else in threads.
        """
        if not exact:
            return self._union.days(stream, self.metas(stream), begin_ns, end_ns)
        from obslab.telemetry.archive.lazy import for_each

        return for_each(Day.summary, self._whole_days(stream, begin_ns, end_ns), self.metas(stream))

    def follow(self, after: int) -> Iterator[tuple[int, Readings]]:
        """What was stored since row ``after``, in order of storing, with the row to go on from.

        Late samples come too, whatever their time: this is how a live view sees gaps close. The row belongs
        to a whole page, which holds several streams: go on from it only when the iteration has ended. Samples
        that were sealed meanwhile are passed over, which takes two days.
        """
        streams = {row_id: stream for stream, row_id in self._hot.streams().items()}
        query = """SELECT id, stream, time_ns, arrival_ns, body FROM sample
                   WHERE id > ? AND stream > 0 ORDER BY id LIMIT ?"""
        while True:
            rows = self._hot.rows(query, (after, _PAGE))
            if not rows:
                return
            after = rows[-1][0]
            if not streams.keys() >= {row[1] for row in rows}:  # a stream that began just now
                streams = {row_id: stream for stream, row_id in self._hot.streams().items()}
            by_stream: dict[int, list[tuple[int, int, bytes]]] = {}
            for row in rows:
                by_stream.setdefault(row[1], []).append(row[2:])
            for row_id, bodies in by_stream.items():
                yield after, decode(streams[row_id], self.metas(streams[row_id]), Stored.of_rows(bodies))

    def last_row(self) -> int:
        """The newest row, for ``follow``."""
        return int(self._hot.rows("SELECT coalesce(max(id), 0) FROM sample")[0][0])

    def dataset(
        self,
        station: str,
        instrument: str,
        begin: Instant | None = None,
        end: Instant | None = None,
        *,
        samplerate: str | None = None,
        lazy: bool = False,
    ) -> xr.Dataset:
        """Samples of ``[begin, end)`` on dimension ``time``, one variable for each component.

        Also ``arrival`` (when each reached the archive) and, for a scalar, the instrument's ``quality``.
        Without ``samplerate`` the instrument's fastest is taken. With ``lazy`` the variables are Dask arrays
        of a chunk a day, and ``time`` has no index; see ``lazy``. Raises NoStreamError.
        """
        from obslab.telemetry.datasets import samples_dataset

        stream = self._find(station, instrument, samplerate)
        begin_ns = as_ns(begin) if begin is not None else -(2**63)
        end_ns = as_ns(end) if end is not None else 2**63 - 1
        metas = self.metas(stream)
        if lazy:
            from obslab.telemetry.archive.lazy import lazy_dataset

            return lazy_dataset(stream, metas, self._union.parts(stream, begin_ns, end_ns), begin_ns, end_ns)
        return samples_dataset(self.readings(stream, begin_ns, end_ns), metas[-1] if metas else None)

    def rejected(self) -> xr.Dataset:
        """The messages that are not samples, with their bytes and the reason."""
        from obslab.telemetry.datasets import REJECTED

        query = "SELECT arrival_ns, topic, payload, reason, times FROM rejected ORDER BY id"
        rows = self._hot.rows(query)
        arrival, topic, payload, reason, times = zip(*rows, strict=True) if rows else ((),) * 5
        return REJECTED.build(
            arrival=from_ns(np.array(arrival, dtype=np.int64)),
            topic=np.array(topic, dtype=str),
            payload_hex=np.array([bytes(one).hex() for one in payload], dtype=str),
            reason=np.array(reason, dtype=str),
            times=np.array(times, dtype=np.int64),
        )

    def info(self) -> dict[str, Any]:
        """What the archive holds and takes, as plain values: for ``obslab archive info``."""
        counted, disk = self.counters(), repair.disk(self._hot)
        rows = []
        for stream in self.streams():
            span = self.span(stream)
            begin, end = (iso(span[0]), iso(span[1])) if span else ("", "")
            rows.append(
                {
                    "stream": str(stream),
                    "begin": begin,
                    "end": end,
                    "counted": dict(counted.get(stream, {})),
                    **disk["streams"].get(str(stream), {}),
                }
            )
        none = counted.get(None, Counter())
        return {
            "path": str(self.path),
            "streams": rows,
            "rejected": none["rejected"],
            "waiting": none["waiting"],
            "disk": {name: value for name, value in disk.items() if name != "streams"},
        }

    def close(self) -> None:
        self._hot.close()
        self.book.close()
        for held in (self._held, self._keeper):
            if held:
                held.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Archive of {len(self.streams())} streams>"

    def _whole_days(self, stream: Stream, begin_ns: int, end_ns: int) -> list[Day]:
        """The days that touch ``[begin, end)`` and have samples, each with all it has."""
        low_ns = day_of(begin_ns) if begin_ns > -(2**62) else begin_ns
        high_ns = day_of(end_ns - 1) + NS_PER_DAY if end_ns < 2**62 else end_ns
        return self._union.parts(stream, low_ns, high_ns)

    def _find(self, station: str, instrument: str, samplerate: str | None) -> Stream:
        held = self.streams()
        fits = [
            stream
            for stream in held
            if (stream.station, stream.instrument) == (station.upper(), instrument)
            and samplerate in (None, stream.samplerate)
        ]
        if not fits:
            raise NoStreamError(
                f"archive {self.path} has no stream {station} {instrument} {samplerate or ''}".rstrip()
                + f"; it has {', '.join(map(str, held)) or 'none yet'}",
                held=held,
            )
        return min(fits, key=lambda stream: stream.cadence_s)


def open_archive(path: str | Path, *, write: bool = False, shared: bool = False) -> Archive:
    """The archive in a folder, to read (any number may, while a collector writes) or to write.

    With ``shared`` others may write too, if they say so as well. Raises NoArchiveError when there is none to
    read, NewerVersionError when a newer obslab wrote it.
    """
    return Archive(Path(path), write=write, shared=shared)
