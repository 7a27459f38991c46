"""The book of flags: an append-only history in SQLite, written by any number of processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from obslab.errors import FlagError
from obslab.telemetry.flags.entry import Entry, checked, named, same_thing
from obslab.telemetry.flags.pages import Change, Pages
from obslab.telemetry.sample import Stream
from obslab.times import Instant, as_ns, from_ns

if TYPE_CHECKING:
    import xarray as xr

FILE = "flags.db"
LIVE = ("proposed", "confirmed")
_STATES = (*LIVE, "withdrawn")


class FlagBook:
    """Flags of one archive, in its file ``flags.db``; every method may be called from any thread.

    Nothing is ever changed or deleted: a flag's state is what the newest change says. ``undo`` and ``redo``
    write changes as well, and only take back what this object did. With ``readonly``, or as long as nobody
    flagged anything, the file need not exist. ``now_ns`` is the clock.
    """

    def __init__(
        self, path: str | Path, *, readonly: bool = False, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        path = Path(path)
        self.path = path / FILE if path.is_dir() else path
        self._pages = Pages(self.path, readonly=readonly)
        self._now_ns = now_ns
        self._done: list[list[Change]] = []
        self._undone: list[list[Change]] = []

    # ---- changes

    def set(
        self,
        stream: Stream | str,
        begin: Instant,
        end: Instant,
        *,
        component: str = "",
        kind: str = "mark",
        author: str,
        reason: str,
        size: float = math.nan,
        state: str = "confirmed",
    ) -> int:
        """Flag the samples of ``[begin, end)``; its number. Who flags by hand confirms by that.

        Raises FlagError for an empty interval, an unknown kind or state, or a missing author or reason.
        """
        if state not in LIVE:
            raise FlagError(f"a flag begins as {' or '.join(LIVE)}, not {state!r}")
        entry = checked(str(stream), component, as_ns(begin), as_ns(end), kind, size, author, reason)
        return self._add([entry], state)[0]

    def propose(self, flags: xr.Dataset, author: str = "") -> list[int]:
        """Take in what a detector found; numbers of the new flags. ``author`` is else the detector's name.

        One that overlaps a flag of the same kind, stream and component is passed over, so that a detector
        may run again, and what a person withdrew does not come back.
        """
        entries: list[Entry] = []
        for row in _rows(flags):
            entry = checked(
                row["stream"],
                row["component"],
                int(row["begin"]),
                int(row["end"]),
                row["kind"],
                row["size"],
                author or row["author"],
                row["reason"],
            )
            if not self._pages.overlaps(entry) and not any(same_thing(entry, other) for other in entries):
                entries.append(entry)
        return self._add(entries, "proposed") if entries else []

    def confirm(self, flag: int | Iterable[int], author: str, reason: str = "") -> None:
        """Let flags take samples out. Raises FlagError when none of them is proposed or withdrawn."""
        self._move(flag, "confirmed", author, reason)

    def withdraw(self, flag: int | Iterable[int], author: str, reason: str = "") -> None:
        """Let the samples count again. Raises FlagError when all of them are withdrawn already."""
        self._move(flag, "withdrawn", author, reason)

    def undo(self, author: str = "") -> str:
        """Take back the last change of this session; what it was, in words.

        Raises FlagError when there is none, or when somebody else changed the same flag since.
        """
        return self._step(self._done, self._undone, "undo", author)

    def redo(self, author: str = "") -> str:
        """Do again what was undone. Raises FlagError as ``undo`` does."""
        return self._step(self._undone, self._done, "redo", author)

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    # ---- what is known

    def flags(
        self,
        stream: Stream | str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        states: Iterable[str] = LIVE,
    ) -> xr.Dataset:
        """FLAGS that touch ``[begin, end)``, in order of time; of all streams without ``stream``.

        Withdrawn ones only when ``states`` names them.
        """
        from obslab.telemetry.datasets import FLAGS

        states = tuple(states)
        unknown = sorted(set(states) - set(_STATES))
        if unknown:
            raise FlagError(f"no state {', '.join(unknown)}; one of {', '.join(_STATES)}")
        found = self._pages.flags(
            None if stream is None else str(stream),
            None if begin is None else as_ns(begin),
            None if end is None else as_ns(end),
            states,
        )
        return FLAGS.build(
            id=_integers(found, "id"),
            begin=from_ns(_integers(found, "begin_ns")),
            end=from_ns(_integers(found, "end_ns")),
            size=np.array([math.nan if row["size"] is None else row["size"] for row in found], np.float64),
            **{name: _texts(found, name) for name in ("stream", "component", "kind", "author", "reason")},
            state=_texts(found, "state"),
        )

    def history(self, flag: int | None = None) -> xr.Dataset:
        """Every change of a flag, or of all, in the order made: see ``pages.HISTORY``."""
        from obslab.telemetry.flags.history import HISTORY

        found = self._pages.changes(flag)
        return HISTORY.build(
            id=_integers(found, "id"),
            time=from_ns(_integers(found, "at_ns")),
            flag=_integers(found, "flag"),
            begin=from_ns(_integers(found, "begin_ns")),
            end=from_ns(_integers(found, "end_ns")),
            **{
                name: _texts(found, name)
                for name in ("stream", "component", "kind", "action", "state", "author", "reason")
            },
        )

    def version(self) -> tuple[int, ...]:
        """Differs after each change, by whichever process: to see cheaply whether to read again."""
        return self._pages.version()

    def close(self) -> None:
        self._pages.close()

    def __enter__(self) -> FlagBook:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FlagBook {self.path.name!r}>"

    def _add(self, entries: list[Entry], state: str) -> list[int]:
        action = "set" if state == "confirmed" else "propose"
        made = self._pages.add(entries, action, state, self._now_ns())
        self._did(made)
        return [change.flag for change in made]

    def _move(self, flag: int | Iterable[int], state: str, author: str, reason: str) -> None:
        flags = [int(flag)] if isinstance(flag, int | np.integer) else [int(one) for one in flag]
        named("author", author)
        action = "confirm" if state == "confirmed" else "withdraw"
        made = self._pages.move(flags, action, state, author.strip(), reason.strip(), self._now_ns())
        if not made:
            known = ", ".join(map(str, flags)) or "no flag"
            raise FlagError(f"{known}: {state} already; nothing to {action}", flags=flags)
        self._did(made)

    def _did(self, made: list[Change]) -> None:
        self._done.append(made)
        self._undone.clear()

    def _step(self, origin: list[list[Change]], target: list[list[Change]], action: str, author: str) -> str:
        if not origin:
            raise FlagError(f"nothing to {action}: this session changed no flag that could be taken back")
        written = self._pages.reverse(origin[-1], action, author, self._now_ns())
        origin.pop()
        target.append(written)
        first, more = written[0], len(written) - 1
        return f"flag {first.flag} is {first.after}" + (f", and {more} more" if more else "")


def _rows(flags: xr.Dataset) -> Iterable[dict[str, Any]]:
    columns = {str(name): flags[name].values for name in flags.variables}
    for name in ("begin", "end"):
        columns[name] = columns[name].astype("datetime64[ns]").astype(np.int64)
    for place in range(flags.sizes["flag"]):
        yield {
            name: str(column[place]) if column.dtype.kind in "UOT" else column[place]
            for name, column in columns.items()
        }


def _integers(found: list[Any], name: str) -> Any:
    return np.array([row[name] for row in found], dtype=np.int64)


def _texts(found: list[Any], name: str) -> Any:
    return np.array([row[name] for row in found], dtype=str)
