"""Requests to fill a gap, dropped into the archive's folder by who may only read it.

A widget opens the archive for reading while a collector writes it. What a user asks for there is a small
file in ``requests/``; the collector's keeper takes it and makes it a hole in the book.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from obslab.errors import StorageFullError, TableError, TopicError
from obslab.telemetry.sample import Stream

log = logging.getLogger(__name__)

FOLDER = "requests"
_MOST = 1000  # files; nobody clicks more, and a folder that is never emptied must not fill the disk


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of ``[begin_ns, end_ns)`` of a stream are to be asked for, by the station's clock.

    ``again`` is for those that were given up as lost, too. ``at_ns`` is when it was asked, in UTC.
    """

    topic: str
    begin_ns: int
    end_ns: int
    again: bool = True
    at_ns: int = 0


def ask(path: str | Path, topic: str, begin_ns: int, end_ns: int) -> Path:
    """Ask whoever writes the archive at ``path`` to get these samples. Gives the file back.

    Raises TopicError for a topic that is no stream's, TableError where nobody may write.
    """
    Stream.parse(topic)
    if not -(2**63) < begin_ns < end_ns < 2**63:
        raise TopicError(f"nothing to ask for of {topic}: the interval [{begin_ns}, {end_ns}) is empty")
    folder = Path(path) / FOLDER
    now_ns = time.time_ns()
    file = folder / f"{now_ns}-{uuid.uuid4().hex[:8]}.json"
    body = msgspec.json.encode(Request(topic=topic, begin_ns=begin_ns, end_ns=end_ns, at_ns=now_ns))
    try:
        folder.mkdir(exist_ok=True)
        if sum(1 for _ in folder.iterdir()) >= _MOST:
            raise StorageFullError(
                f"{folder} holds {_MOST} requests that nobody took; is `obslab collect` running?", path=folder
            )
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(body)
        os.replace(unfinished, file)  # seen whole, or not at all
    except OSError as error:
        if isinstance(error, TableError):
            raise
        raise TableError(
            f"cannot ask for samples in {folder} ({error.strerror}); "
            "run `obslab archive backfill` as the user who owns the archive",
            path=folder,
        ) from error
    return file


def waiting(path: str | Path) -> list[Request]:
    """Requests that nobody took yet, oldest first."""
    return [request for _, request in _read(Path(path)) if request is not None]


def taken(path: str | Path) -> list[Request]:
    """All requests, oldest first; they are removed. One that makes no sense is logged and removed."""
    found = []
    for file, request in _read(Path(path)):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:  # it would be taken again and again
            log.warning("request %s cannot be removed: %s", file, error)
            continue
        if request is None:
            log.warning("request %s is not understood, and removed", file)
        else:
            found.append(request)
    return found


def _read(path: Path) -> Iterator[tuple[Path, Request | None]]:
    try:
        files = sorted((path / FOLDER).glob("*.json"))
    except OSError:
        return
    for file in files:
        try:
            request = msgspec.json.decode(file.read_bytes(), type=Request)
            Stream.parse(request.topic)
        except FileNotFoundError:  # taken meanwhile
            continue
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, TopicError):
            yield file, None
        else:
            yield file, request if request.begin_ns < request.end_ns else None
