"""The station panel in a notebook: a table of units with buttons, and commands that are sent in threads."""

from __future__ import annotations

import getpass
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from bokeh.model import Model

from obslab.config import Broker, broker_at
from obslab.errors import BrokerError, ConfigError, ObslabError
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.broker.command import Do, send_command
from obslab.telemetry.protocol import Unit
from obslab_widgets.panel import Panel
from obslab_widgets.station_panel.model import COLUMNS, Order, Station, condition, rows, stations
from obslab_widgets.station_panel.state import State

_TICK_S = 1.0
_DOS: tuple[Do, ...] = ("pause", "resume", "restart")


class StationPanel(Panel[State]):
    """How each unit is, and buttons to pause, resume and restart it.

    ``archive`` is an Archive or its folder. Commands go to ``broker``, an ``mqtt://host:port``, with the
    login of OBSLAB_MQTT_USER; its access list decides who may. Without a broker the panel only shows.
    """

    State: ClassVar[type] = State

    def __init__(
        self, archive: Archive | str | Path, broker: str | Broker | None = None, *, label: str = "stations"
    ) -> None:
        self._address = broker_at(broker) if isinstance(broker, str) else broker
        self._own = not isinstance(archive, Archive)
        self._archive = archive if isinstance(archive, Archive) else open_archive(archive)
        self._orders: dict[str, Order] = {}
        self._ending = threading.Event()
        super().__init__(State(), label)
        self.bridge.on("press", self._pressed)
        self.touch()
        threading.Thread(target=self._tick, name="obslab-station-panel", daemon=True).start()

    def ask(self, unit: str, do: Do, *, wait: bool = True) -> Order:
        """Send a command to a unit, as in ``ask("PEA lemi0001", "pause")``; what became of it.

        With ``wait`` a refusal is a BrokerError. Raises ConfigError without a broker, or for an unknown unit.
        """
        if self._address is None:
            raise ConfigError(
                "this panel has no broker to send commands to; make it with StationPanel(archive, url)"
            )
        if do not in _DOS:
            raise ConfigError(f"no command {do!r}; one of {', '.join(_DOS)}")
        known = self._archive.book.units()
        if unit not in known:
            raise ConfigError(f"no unit {unit!r}; the archive knows {', '.join(known) or 'none yet'}")
        self._note(unit, Order(do, time.time_ns(), "asked"))
        sending = threading.Thread(target=self._send, args=(unit, do), name="obslab-command", daemon=True)
        sending.start()
        if wait:
            sending.join()
            if self._orders[unit].why:
                raise BrokerError(self._orders[unit].why)
        return self._orders[unit]

    @property
    def dataset(self) -> xr.Dataset:
        """One row a unit, with numbers as they were told."""
        found = [station for station in self._stations() if station.status is not None]
        numbers = ("journal_entries", "journal_bytes", "disk_free_bytes", "clock_offset_s", "round_trip_s")
        columns: dict[str, Any] = {
            name: ("unit", np.array([getattr(one.status, name) for one in found], np.float64))
            for name in numbers
        }
        flags = {
            name: ("unit", np.array([getattr(one.status, name) for one in found], bool))
            for name in ("online", "paused")
        }
        words = {
            name: ("unit", np.array([getattr(one.status, name) for one in found], str))
            for name in ("driver", "trouble")
        }
        came = ("unit", np.array([one.came_ns for one in found], np.int64).astype("datetime64[ns]"))
        names = ("unit", np.array([one.name for one in found], str))
        return xr.Dataset({**columns, **flags, **words, "heard": came}, coords={"unit": names})

    @property
    def selection(self) -> tuple[str, ...]:
        """IAGA codes of the stations shown; all when empty."""
        return self._state.stations

    def summary(self) -> str:
        """How the units are, in words that stay the same while nothing changes."""
        found = self._stations()
        told = [
            f"{one.name}: " + ("?" if one.status is None else "offline" if not one.status.online
                               else "paused" if one.status.paused else "online")
            + (f", {one.status.trouble}" if one.status and one.status.trouble else "")
            for one in found
        ]  # fmt: skip
        return "\n".join(told) or "no station yet"

    def code(self) -> str:
        """Python that brings a new ``panel`` to what is shown here."""
        return f"panel.restore({self.state()!r})"

    def close(self) -> None:
        if "_ending" in self.__dict__:
            self._ending.set()
            super().close()
            if self._own:
                self._archive.close()

    def __repr__(self) -> str:
        return f"<StationPanel {self.bridge.label!r}>"

    # ---- pump's thread

    def feed(self) -> list[tuple[Model, dict[str, Any]]]:
        if self._ending.is_set():
            return []
        found, now_ns = self._stations(), time.time_ns()
        level, text = condition(found, self._orders, now_ns)
        table = rows(found, self._orders, now_ns, may_ask=self._address is not None)
        self.bridge.tell(
            status={"level": level, "text": text},
            table={"columns": list(COLUMNS), "rows": table} if found else None,
        )
        return []

    def _stations(self) -> list[Station]:
        return stations(self._archive.book.units(), self._state)

    def _tick(self) -> None:
        while not self._ending.wait(_TICK_S):
            self.touch()

    def _note(self, unit: str, order: Order) -> None:
        self._orders = {**self._orders, unit: order}
        self.touch()

    def _send(self, unit: str, do: Do) -> None:
        at_ns = time.time_ns()
        try:
            assert self._address is not None
            send_command(self._address, Unit(*unit.split(" ", 1)), do, by=getpass.getuser())
        except ObslabError as error:
            refused = "refused" in error.facts
            self._note(unit, Order(do, at_ns, "refused" if refused else "failed", error.message))
        except Exception as error:  # a thread must not end without a word to the user
            self._note(unit, Order(do, at_ns, "failed", f"{do} of {unit}: {error}"))
        else:
            self._note(unit, Order(do, at_ns, "sent"))

    # ---- the browser's events, on the kernel's main loop

    def _pressed(self, event: dict[str, Any]) -> None:
        do, unit = event["on"].split(" ", 1)
        self.ask(unit, do, wait=False)
