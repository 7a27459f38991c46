"""The drivers that are installed, by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from obslab.errors import ConfigError
from obslab.telemetry.station.drivers.base import Driver

GROUP = "obslab.drivers"

_OURS = {  # known without an installation, too: a copy of the source on a small board has no entry points
    "lemi25": "obslab.telemetry.station.drivers.lemi25:Lemi25",
    "gsm90": "obslab.telemetry.station.drivers.gsm90:Gsm90",
}
_MEMBERS = ("metas", "feed", "cut", "end")


def drivers() -> dict[str, EntryPoint]:
    """Where each driver is; nothing is imported yet."""
    ours = {name: EntryPoint(name, where, GROUP) for name, where in _OURS.items()}
    return ours | {point.name: point for point in entry_points(group=GROUP)}


def driver_named(name: str) -> type[Driver]:
    """The class of a driver. Raises ConfigError when there is none, or it cannot be used."""
    known = drivers()
    if name not in known:
        raise ConfigError(
            f"--driver {name!r} is none of {', '.join(sorted(known))}; another is found by an entry point of "
            f"the group {GROUP}"
        )
    try:
        found: type[Driver] = known[name].load()
        missing = [member for member in _MEMBERS if not callable(getattr(found, member, None))]
    except Exception as error:  # a package of somebody else
        raise ConfigError(
            f"driver {name!r} at {known[name].value} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if missing:
        raise ConfigError(f"driver {name!r} at {known[name].value} has no {', '.join(missing)}")
    return found
