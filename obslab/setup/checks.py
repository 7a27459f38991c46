"""Whether this machine is ready: one line for each thing that the configuration names."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from obslab.config import Config
from obslab.errors import ObslabError
from obslab.times import as_ns, iso, now_ns

State = Literal["ok", "warning", "failed"]

_LOW_GB, _EMPTY_GB = 5.0, 0.5
_WRITTEN_NS = as_ns("2026-11-01")  # this text is older than any clock that is right
_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)


@dataclass(frozen=True)
class Check:
    """One thing that was tested; ``told`` ends with the next step when it is not well."""

    what: str
    state: State
    told: str


def check_all(settings: Config, *, wait_s: float = 10.0, rules: Path | None = None) -> list[Check]:
    """Everything in the configuration; takes up to ``wait_s`` for a broker that does not answer."""
    tests: dict[str, Callable[[], list[Check]]] = {
        "broker": lambda: [broker(settings, wait_s)],
        "topics": lambda: [topics(settings, wait_s)],
        "archive": lambda: [archive(settings.archive_dir)],
        "journal": lambda: [folder("journal", settings.journal_dir)],
        "state": lambda: [folder("state", settings.state_dir)],
        "disk": lambda: disks(settings),
        "clock": lambda: [clock(now_ns())],
    }
    if rules is not None and rules.is_file():
        tests["rules"] = lambda: [watch_rules(rules)]
    done: list[Check] = []
    for what, test in tests.items():
        if what == "topics" and done[0].state == "failed":
            continue  # the reason is the line above
        done += _guarded(what, test)
    return done


def broker(settings: Config, wait_s: float) -> Check:
    """Whether it answers and takes our login."""
    from obslab.telemetry.broker.link import Link

    link = Link(settings.broker, f"obslab-check-{os.getpid()}", quiet=True)
    link.start()
    try:
        state = link.wait(wait_s)
    finally:
        link.stop()
    who = f"as user {settings.broker.user!r}" if settings.broker.user else "without a login"
    if not state.connected:
        detail = state.detail.removesuffix("; trying again").removesuffix(" trying again")
        return Check("broker", "failed", f"{detail} (see [broker] url and OBSLAB_MQTT_USER)")
    open_to_all = not settings.broker.tls and not _is_local(settings.broker.host)
    if open_to_all:
        return Check(
            "broker", "warning", f"{settings.broker.url} takes us {who}, readable on its way; use mqtts://"
        )
    return Check("broker", "ok", f"{settings.broker.url} takes us {who}")


def topics(settings: Config, wait_s: float) -> Check:
    """Whether we may read what a collector reads; a station need not."""
    from obslab.telemetry.broker.link import Link

    link = Link(settings.broker, f"obslab-check-topics-{os.getpid()}", topics=settings.topics, quiet=True)
    link.start()
    try:
        state = link.wait(wait_s)
    finally:
        link.stop()
    shown = ", ".join(settings.topics)
    if state.connected:
        return Check("topics", "ok", f"we may read {shown}")
    why = "right for a station, but a collector needs it; see the broker's access rules"
    return Check("topics", "warning", f"we may not read {shown}: {why}")


def archive(path: Path) -> Check:
    """Whether it can be read and written."""
    from obslab.telemetry.archive.store import open_archive

    if not path.exists():
        fine = folder("archive", path)
        more = "; `obslab collect` makes the archive" if fine.state == "ok" else ""
        return Check("archive", fine.state, fine.told + more)
    with open_archive(path) as opened:
        streams = opened.streams()
        newest = max((span[1] for stream in streams if (span := opened.span(stream))), default=None)
    until = f", the newest of {iso(newest, 0)}" if newest is not None else ""
    fine = folder("archive", path)
    if fine.state != "ok":
        return fine
    return Check("archive", "ok", f"{path} has {len(streams)} streams{until}, and can be written")


def folder(what: str, path: Path) -> Check:
    """Whether a file can be made there, or the folder itself."""
    if not path.exists():
        parent = next((one for one in path.absolute().parents if one.exists()), Path("/"))
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return Check(what, "ok", f"{path} is not there yet and can be made")
        return Check(what, "failed", f"{path} cannot be made: {parent} may not be written; see [{what}] dir")
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".obslab-check-") as file:
            file.write(b"obslab")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Check(what, "failed", f"{path} cannot be written: {error.strerror}; see [{what}] dir")
    return Check(what, "ok", f"{path} can be written")


def disks(settings: Config) -> list[Check]:
    """The free space under each folder, once for each disk."""
    found: dict[int, Check] = {}
    for path in (settings.archive_dir, settings.journal_dir, settings.state_dir):
        there = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
        disk = there.stat().st_dev
        if disk in found:
            continue
        free_gb = shutil.disk_usage(there).free / 1e9
        state: State = "failed" if free_gb < _EMPTY_GB else "warning" if free_gb < _LOW_GB else "ok"
        step = "; make room, or choose another disk" if state != "ok" else ""
        found[disk] = Check("disk", state, f"{free_gb:.1f} GB free under {there}{step}")
    return list(found.values())


def clock(at_ns: int) -> Check:
    """Whether it can be right, and whether somebody keeps it so."""
    if at_ns < _WRITTEN_NS:
        return Check(
            "clock", "failed", f"it shows {iso(at_ns, 0)}, which is over; set it, and install chrony"
        )
    if _synchronised() is False:
        return Check(
            "clock",
            "warning",
            f"it shows {iso(at_ns, 0)} and nothing keeps it right; install chrony or a GPS",
        )
    return Check("clock", "ok", f"it shows {iso(at_ns, 0)}")


def watch_rules(file: Path) -> Check:
    """Whether `obslab watch` would take them."""
    from obslab.telemetry.watch import rulesfile

    rules = rulesfile.load(file)
    if not rules.actions:
        return Check("rules", "warning", f"{file} has no action: nobody would be called; add [action.mail]")
    return Check(
        "rules", "ok", f"{len(rules.rules)} rules, {len(rules.actions)} actions; try obslab watch --test"
    )


def _guarded(what: str, test: Callable[[], list[Check]]) -> list[Check]:
    try:
        return test()
    except Exception as error:  # one that fails in a new way must not hide the others
        known = isinstance(error, ObslabError | OSError)
        return [Check(what, "failed", str(error) if known else f"the test failed: {error!r}")]


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _synchronised() -> bool | None:
    """What the kernel says of this machine's clock; None where it cannot be asked."""
    try:
        nothing = ctypes.create_string_buffer(1024)  # struct timex, 208 bytes; modes = 0 only reads
        state = ctypes.CDLL(None).adjtimex(nothing)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _UNSYNCHRONISED
