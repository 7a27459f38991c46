"""The table of a station panel: each unit's last word, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from obslab.errors import MetadataError
from obslab.telemetry.broker.command import Do
from obslab.telemetry.protocol import Status, decode
from obslab_widgets.station_panel.state import State
from obslab_widgets.wording import duration

COLUMNS = (
    *("Unit", "Link", "Pause", "Restart", "Trouble"),
    *("Driver", "Journal", "Oldest", "Free disk", "Clock", "Heard"),
)
_SILENT_S = 150.0  # a unit says how it is every minute
_CLOCK_OFF_S = 0.5  # more would be half a sample at 1 Hz
_LITTLE_DISK = 500e6


@dataclass(frozen=True)
class Station:
    """A unit as it was last heard, ``came_ns`` (UTC); ``status`` is None when that was not understood."""

    name: str
    status: Status | None
    came_ns: int


@dataclass(frozen=True)
class Order:
    """A command and what became of it, in a word: asked, sent, refused or failed; ``why`` in a sentence."""

    do: Do
    at_ns: int
    word: Literal["asked", "sent", "refused", "failed"]
    why: str = ""


def stations(units: Mapping[str, tuple[str, bytes, int]], state: State) -> list[Station]:
    """What the archive's book knows of the units chosen, in order of their names."""
    found = []
    for name, (_, payload, came_ns) in sorted(units.items()):
        if state.stations and name.split()[0] not in state.stations:
            continue
        try:
            status = decode(payload, Status)
        except MetadataError:
            status = None
        found.append(Station(name, status, came_ns))
    return found


def rows(
    found: Sequence[Station], orders: Mapping[str, Order], now_ns: int, *, may_ask: bool
) -> list[list[object]]:
    """Cells of COLUMNS; without ``may_ask`` there are no buttons."""
    return [_row(station, orders.get(station.name), now_ns, may_ask) for station in found]


def condition(
    found: Sequence[Station], orders: Mapping[str, Order], now_ns: int
) -> tuple[Literal["ok", "busy", "off"], str]:
    """One line: the worst there is to say."""
    if not found:
        return "off", "no station has said how it is; is `obslab collect` running, and is a station online?"
    refused = [order for order in orders.values() if order.word in ("refused", "failed")]
    if refused:
        return "off", max(refused, key=lambda order: order.at_ns).why
    troubles = [trouble for station in found for trouble in troubles_of(station, now_ns)]
    if troubles:
        return "off", " · ".join(troubles)
    paused = [station.name for station in found if station.status and station.status.paused]
    if paused:
        return "busy", f"paused: {', '.join(paused)}"
    return "ok", "all units online" if len(found) > 1 else f"{found[0].name} is online"


def troubles_of(station: Station, now_ns: int) -> list[str]:
    """What is wrong with a unit, each in a few words; nothing when all is well."""
    status, name = station.status, station.name
    if status is None:
        return [f"{name}: its status is not understood"]
    silent_s = (now_ns - station.came_ns) / 1e9
    found = []
    if not status.online:
        found.append(f"{name} is offline")
    elif silent_s > _SILENT_S:
        found.append(f"{name} was last heard {duration(silent_s)} ago")
    if status.trouble:
        found.append(f"{name}: {status.trouble}")
    if status.disk_free_bytes is not None and status.disk_free_bytes < _LITTLE_DISK:
        found.append(f"{name}: {_bytes(status.disk_free_bytes)} of disk left")
    if status.clock_offset_s is not None and abs(status.clock_offset_s) > _CLOCK_OFF_S:
        found.append(f"{name}: clock is off by {status.clock_offset_s:+.2f} s")
    return found


def _row(station: Station, order: Order | None, now_ns: int, may_ask: bool) -> list[object]:
    status = station.status
    heard = f"{duration(max(0.0, (now_ns - station.came_ns) / 1e9))} ago"
    if status is None:
        return [station.name, "?", "", "", "status is not understood", *[""] * 5, heard]
    pause: object = ""
    restart: object = ""
    if may_ask and status.online:  # one that is offline would never hear of it
        word = "Resume" if status.paused else "Pause"
        pause, restart = (
            {"button": text, "name": f"{text.lower()} {station.name}", "label": f"{text} {station.name}"}
            for text in (word, "Restart")
        )
    link = "offline" if not status.online else "paused" if status.paused else "online"
    oldest_s = status.journal_oldest_s
    return [
        station.name,
        f"{link}, {order.do} {order.word}" if order else link,
        pause,
        restart,
        status.trouble or "none",
        status.driver or "-",
        f"{status.journal_entries:,}",
        "-" if oldest_s is None else duration(max(0.0, now_ns / 1e9 - oldest_s)),
        "-" if status.disk_free_bytes is None else _bytes(status.disk_free_bytes),
        "-" if status.clock_offset_s is None else _offset(status.clock_offset_s, status.round_trip_s),
        heard,
    ]


def _offset(offset_s: float, round_trip_s: float | None) -> str:
    within = "" if round_trip_s is None else f" ± {1e3 * round_trip_s / 2:.0f}"
    return f"{1e3 * offset_s:+.0f}{within} ms"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
