"""Folder: the baselines that were adopted, one JSON file each with its IBFV2.00 beside it, never altered."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import numpy as np

from obslab.errors import BaselineError, NoBaselineError
from obslab.telemetry.baseline.baseline import Baseline
from obslab.telemetry.baseline.yearfile import year_files
from obslab.times import Instant, as_ns, as_utc, iso

log = logging.getLogger(__name__)

_NAME = re.compile(
    r"(?P<station>[A-Z][A-Z0-9]{2})-(?P<instrument>.+)-(?P<begin>\d{8})-(?P<id>[0-9a-f]{8})\.json"
)
_STATION = re.compile(r"[A-Z][A-Z0-9]{2}")
_INSTRUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Stretch = tuple[np.datetime64, np.datetime64, Baseline]


class Baselines:
    """A folder of adopted baselines; it is made when the first is adopted, and may be read meanwhile.

    Of baselines that overlap, the one adopted last holds. Files are read anew when they change. One that
    cannot be read does not hinder the others, but of its own station and instrument nothing is answered
    until it is restored or removed: what it held may have been the newest.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._seen: dict[str, tuple[tuple[int, int], Baseline | BaselineError]] = {}

    def adopt(self, baseline: Baseline) -> Path:
        """Store an adopted baseline: ``<station>-<instrument>-<begin date>-<id8>.json``, whose path it gives.

        Beside it for each year an IBFV2.00 file, ``...-<year>.blv``. Each appears whole or not at all, the
        JSON, which counts, last. Nothing is overwritten; the same baseline again changes nothing.
        """
        if baseline.adopted_at is None:
            raise BaselineError(
                f"{baseline} was adopted by nobody; take .adopted(author, reason, now) of it first"
            )
        stem = name_of(baseline)
        path = self.folder / f"{stem}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for year, write in year_files(baseline):
                self._put(self.folder / f"{stem}-{year}.blv", write)
            self._put(path, lambda file: file.write_bytes(baseline.to_json()))
        except OSError as error:
            raise BaselineError(
                f"baseline cannot be stored in {self.folder}: {error.strerror or error}", path=self.folder
            ) from error
        return path

    def all(self) -> list[Baseline]:
        """Those that can be read, in the order in which they were adopted; for others see ``damaged``."""
        found = [one for one in self._read().values() if isinstance(one, Baseline)]
        return sorted(found, key=lambda one: (as_ns(one.adopted_at or 0), one.id))

    def damaged(self) -> list[BaselineError]:
        """An error for each file that cannot be read; its ``path`` is the file."""
        return [one for one in self._read().values() if isinstance(one, BaselineError)]

    def at(self, station: str, instrument: str, time: Instant) -> Baseline:
        """The baseline that holds at a time; NoBaselineError when none does."""
        time_ns = as_ns(time)
        of_this = self._of(station, instrument)
        valid = [one for one in of_this if as_ns(one.begin) <= time_ns < as_ns(one.end)]
        if valid:
            return valid[-1]
        there = "; ".join(f"{iso(one.begin)} to {iso(one.end)}" for one in of_this[-3:])
        raise NoBaselineError(
            f"{self.folder} has no baseline of {station} {instrument} valid at {iso(time_ns)} "
            f"({f'it has {there}' if there else 'it has none of this instrument'}); "
            "adopt one (`obslab baseline adopt`)",
            time=iso(time_ns),
            station=station,
            instrument=instrument,
        )

    def covering(self, station: str, instrument: str, begin: Instant, end: Instant) -> list[Stretch]:
        """Stretches of ``[begin, end)`` with the baseline that holds in each, in order of time.

        What lies between them has none: see ``gaps``.
        """
        begin_ns, end_ns = _ordered(begin, end)
        of_this = self._of(station, instrument)
        edges = {begin_ns, end_ns}
        for one in of_this:
            edges |= {ns for ns in (as_ns(one.begin), as_ns(one.end)) if begin_ns < ns < end_ns}
        found: list[Stretch] = []
        ordered = sorted(edges)
        for first, last in pairwise(ordered):
            valid = [one for one in of_this if as_ns(one.begin) <= first < as_ns(one.end)]
            if not valid:
                continue
            if found and found[-1][1] == as_utc(first) and found[-1][2] is valid[-1]:
                found[-1] = (found[-1][0], as_utc(last), valid[-1])
            else:
                found.append((as_utc(first), as_utc(last), valid[-1]))
        return found

    def gaps(
        self, station: str, instrument: str, begin: Instant, end: Instant
    ) -> list[tuple[np.datetime64, np.datetime64]]:
        """Stretches of ``[begin, end)`` for which no baseline was adopted, in order of time."""
        begin_ns, end_ns = _ordered(begin, end)
        found, upto = [], begin_ns
        for first, last, _ in self.covering(station, instrument, begin, end):
            if as_ns(first) > upto:
                found.append((as_utc(upto), first))
            upto = as_ns(last)
        if upto < end_ns:
            found.append((as_utc(upto), as_utc(end_ns)))
        return found

    def __iter__(self) -> Iterator[Baseline]:
        return iter(self.all())

    def __repr__(self) -> str:
        return f"Baselines({str(self.folder)!r})"

    def _of(self, station: str, instrument: str) -> list[Baseline]:
        for name, found in self._read().items():
            named = _NAME.fullmatch(name)
            ours = named is not None and (named["station"], named["instrument"]) == (station, instrument)
            if ours and isinstance(found, BaselineError):
                raise BaselineError(found.message, **found.facts)
        return [one for one in self.all() if (one.station, one.instrument) == (station, instrument)]

    def _read(self) -> dict[str, Baseline | BaselineError]:
        try:
            files = sorted(self.folder.glob("*.json"))
            seen = {}
            for file in files:
                try:
                    facts = file.stat()
                except FileNotFoundError:  # moved away meanwhile
                    continue
                stamp = (facts.st_mtime_ns, facts.st_size)
                before = self._seen.get(file.name)
                seen[file.name] = before if before and before[0] == stamp else (stamp, _one(file))
        except OSError as error:
            raise BaselineError(
                f"{self.folder} cannot be read: {error.strerror}", path=self.folder
            ) from error
        self._seen = seen
        return {name: found for name, (_, found) in seen.items()}

    def _put(self, path: Path, write: Callable[[Path], object]) -> None:
        """``write(file)`` under another name first, then the name ``path``, if nobody has it yet."""
        unfinished = self.folder / f".{path.name}-{uuid4().hex[:8]}.part"
        try:
            write(unfinished)
            _flush(unfinished)
            try:
                os.link(unfinished, path)
            except FileExistsError:
                if path.read_bytes() != unfinished.read_bytes():
                    raise BaselineError(
                        f"{path} is there already with other content, and is not overwritten; "
                        "move it away if it is not wanted",
                        path=path,
                    ) from None
            except OSError as error:  # a file system without hard links: a stick, or a share
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
                if path.exists():
                    raise BaselineError(
                        f"{path} is there already, and is not overwritten", path=path
                    ) from None
                os.rename(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        _flush(self.folder)


def name_of(baseline: Baseline) -> str:
    """The stem of its files: ``WIC-lemi036-20240509-1a2b3c4d``."""
    if not _STATION.fullmatch(baseline.station) or not _INSTRUMENT.fullmatch(baseline.instrument):
        raise BaselineError(
            f"baseline of station {baseline.station!r}, instrument {baseline.instrument!r}: wanted an IAGA "
            "code and a plain name, as in WIC and lemi036; they come from the attributes of the spots"
        )
    date = iso(baseline.begin)[:10].replace("-", "")
    return f"{baseline.station}-{baseline.instrument}-{date}-{baseline.id[:8]}"


def _one(file: Path) -> Baseline | BaselineError:
    try:
        found = Baseline.from_json(file.read_bytes(), str(file))
        if found.adopted_at is not None:
            return found
        error = BaselineError(f"{file} holds a baseline that nobody adopted")
    except BaselineError as problem:
        error = problem
    except OSError as problem:
        error = BaselineError(f"{file} cannot be read: {problem.strerror}")
    error.facts["path"] = file
    log.warning("%s", error.message)
    return error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ordered(begin: Instant, end: Instant) -> tuple[int, int]:
    begin_ns, end_ns = as_ns(begin), as_ns(end)
    if begin_ns >= end_ns:
        raise BaselineError(f"begin {iso(begin_ns)} is not before end {iso(end_ns)}")
    return begin_ns, end_ns
