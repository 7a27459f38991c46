"""What `obslab archive info` says: plain values first, then the lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from obslab.errors import TableError
from obslab.times import iso, now_ns


def inspected(path: Path, *, verify: bool, repair: bool) -> dict[str, Any]:
    """``Archive.info`` with ``damaged`` when it was verified and ``repaired`` when it was repaired."""
    from obslab.telemetry.archive.store import open_archive

    with open_archive(path) as archive:
        found: dict[str, Any] = {}
        if verify:
            found["damaged"] = [
                {"file": str(one.file), "day": iso(one.chunk.day_ns)[:10], "why": one.why}
                for one in archive.verify()
            ]
        if repair:
            found["repaired"] = _repaired(path)
        return archive.info() | found


def _repaired(path: Path) -> dict[str, Any]:
    from obslab.telemetry.archive.store import open_archive

    try:
        with open_archive(path, write=True) as archive:
            done = archive.repair(now_ns())
    except TableError:
        # A collector holds it, and is the one to do it: within a minute, and it asks the station at once.
        with open_archive(path) as archive:
            return {"asked_the_collector": archive.ask_repair()}
    return {"quarantined": done["quarantined"], "removed": done["removed"]}


def lines(info: dict[str, Any]) -> Iterator[str]:
    """One for each stream, then totals, disk and damage."""
    for stream in info["streams"]:
        counted = ", ".join(f"{n} {name}" for name, n in stream["counted"].items())
        sealed = ""
        if stream["sealed_days"]:
            sealed = (
                f"; {stream['sealed_days']} days sealed, {_size(stream['sealed_bytes'])}, "
                f"{stream['bytes_per_sample']:.1f} bytes a sample"
            )
        yield f"{stream['stream']}: {stream['begin']} to {stream['end']}; {counted}{sealed}"
    yield f"messages kept but not understood: {info['rejected']}, waiting for metadata: {info['waiting']}"
    disk = info["disk"]
    forecast = "nothing is sealed yet, so there is no forecast"
    if disk["full_in_days"] is not None:
        growth, full_in_days = _size(disk["bytes_per_day"]), disk["full_in_days"]
        forecast = f"growing by {growth} a day, full in {full_in_days:,.0f} days"
    yield (
        f"disk: {_size(disk['hot_bytes'])} hot, {_size(disk['sealed_bytes'])} sealed; "
        f"{_size(disk['free_bytes'])} free, {forecast}"
    )
    if disk["chunks"]["damaged"]:
        yield f"in quarantine: {disk['chunks']['damaged']} chunks"
    for damage in info.get("damaged", ()):
        yield f"damaged: {damage['file']} of {damage['day']}: {damage['why']}"
    if info.get("damaged") == []:
        yield f"all {disk['chunks']['sealed']} sealed days are as they were written"
    repaired = info.get("repaired", {})
    if "asked_the_collector" in repaired:
        yield "a collector has the archive open: it repairs what is damaged within a minute"
    elif repaired:
        yield (
            f"repaired: {repaired['quarantined']} chunks set aside, to be filled again from the station; "
            f"{repaired['removed']} files removed that a crash had left"
        )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
