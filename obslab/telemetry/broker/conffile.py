"""A configuration file as Mosquitto reads it: lines in sections, and what is found wrong with them.

A ``listener`` begins a section, a ``connection`` another; options of neither kind hold for the whole broker,
wherever they stand. Files of an ``include_dir`` are read after the file that names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from obslab.errors import ConfigError
from obslab.telemetry.broker import options

Severity = Literal["loses data", "stalls", "lets people in", "note"]


@dataclass(frozen=True)
class Line:
    """One setting; ``value`` is the rest of the line."""

    file: Path
    number: int
    key: str
    value: str

    @property
    def word(self) -> str:
        """The first word of the value: all that Mosquitto reads of a switch or a number."""
        return self.value.split(" ", 1)[0]


@dataclass(frozen=True)
class Finding:
    """Something in a configuration: ``what`` it is, ``why`` that matters, what to write ``instead``."""

    severity: Severity
    file: str
    line: int
    setting: str
    what: str
    why: str
    instead: str


@dataclass
class Section:
    """The settings of a listener, of a bridge, or of the whole broker; ``head`` is the line that began it."""

    head: Line
    lines: list[Line] = field(default_factory=list)

    def get(self, key: str) -> Line | None:
        """The line that holds: the last one."""
        return next((line for line in reversed(self.lines) if line.key == key), None)

    def all(self, key: str) -> list[Line]:
        return [line for line in self.lines if line.key == key]

    def on(self, key: str, default: bool) -> bool:
        line = self.get(key)
        return default if line is None else line.word == "true"

    def number(self, key: str, default: int) -> int:
        """As C's atoi reads it: the digits that it begins with, else 0."""
        line = self.get(key)
        if line is None:
            return default
        text = line.word.lstrip("+-")
        digits = text[: len(text) - len(text.lstrip("0123456789"))]
        return int(digits or 0) * (-1 if line.word.startswith("-") else 1)

    def at(self, key: str) -> Line:
        """The line to point at when it is about this setting: where the section begins if it is missing."""
        return self.get(key) or Line(self.head.file, self.head.number, key, "")


@dataclass
class Config:
    """A configuration with all that it includes."""

    broker: Section
    listeners: list[Section] = field(default_factory=list)
    bridges: list[Section] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def found(self, severity: Severity, line: Line, what: str, why: str, instead: str) -> None:
        self.findings.append(Finding(severity, str(line.file), line.number, line.key, what, why, instead))

    def beside(self, path: str) -> Path:
        """Where a file that the configuration names is, or would be.

        A file that was written for another machine is looked for beside the configuration, too.
        """
        named = Path(path.rstrip("/") or "/")
        here = self.broker.head.file.parent / named.name
        return here if here.exists() and not named.exists() else named


def read(path: Path) -> Config:
    """The configuration in this file. Raises ConfigError when it cannot be read."""
    config = Config(Section(Line(path, 0, "", "")))  # line 0: what is not in the file
    _take(config, _lines(path))
    for include in config.broker.all("include_dir"):
        folder = config.beside(include.value)
        if not folder.is_dir():
            config.found(
                "stalls",
                include,
                f"folder {include.value} is not here",
                "Mosquitto does not start without it",
                "make it, or take the line away; its files could not be looked at",
            )
            continue
        for file in sorted(folder.glob("*.conf")):
            _take(config, _lines(file))
    return config


def _lines(path: Path) -> list[Line]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file: {error}", file=path) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", file=path) from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            key, _, value = line.strip().partition(" ")
            found.append(Line(path, number, key, value.strip()))
    return found


def _take(config: Config, lines: list[Line]) -> None:
    """Sort lines into sections; a listener and a bridge stay open over the end of a file."""
    listener = config.listeners[-1] if config.listeners else None
    bridge = config.bridges[-1] if config.bridges else None
    for line in lines:
        if line.key == "listener":
            listener = Section(line)
            config.listeners.append(listener)
        elif line.key == "connection":
            bridge = Section(line)
            config.bridges.append(bridge)
        elif line.key in options.BRIDGE:
            if bridge:
                bridge.lines.append(line)
            else:
                config.found(
                    "stalls",
                    line,
                    f"{line.key} stands before any connection",
                    "it belongs to a bridge, and Mosquitto does not start",
                    "put it below the line connection NAME",
                )
        elif line.key in options.LISTENER:
            if listener is None:  # of the default listener, which exists when port or bind_address is set
                listener = Section(line)
                config.listeners.append(listener)
            listener.lines.append(line)
        else:
            config.broker.lines.append(line)
            if line.key in options.PER_LISTENER and config.broker.on("per_listener_settings", False):
                if listener is None:  # even this opens the default listener, port 1883 of every interface
                    listener = Section(line)
                    config.listeners.append(listener)
                listener.lines.append(line)
        _check(config, line)


def _check(config: Config, line: Line) -> None:
    """Spelling and kind of one line."""
    kind = options.KNOWN.get(line.key)
    if not options.known(line.key):
        near = options.nearest(line.key)
        indented = line.key.startswith("#")
        what = "an indented comment" if indented else f"{line.key} is not an option of Mosquitto"
        better = "begin the line with #" if indented else f"did you mean {near}?" if near else "take it away"
        config.found("stalls", line, what, "Mosquitto does not start with it", better)
    elif not line.value:
        config.found("stalls", line, f"{line.key} has no value", "Mosquitto does not start", "give one")
    elif kind == "switch" and line.word not in ("true", "false"):
        config.found(
            "stalls",
            line,
            f"{line.key} {line.word} is neither true nor false",
            "Mosquitto does not start with it",
            f"{line.key} true, or {line.key} false",
        )
    elif kind == "number" and not line.word.lstrip("-").isdecimal():
        config.found(
            "loses data",
            line,
            f"{line.key} {line.word} is not a whole number",
            "Mosquitto takes the digits that it begins with, or 0, without a word",
            f"{line.key} NUMBER",
        )
    elif kind == "text" and " #" in line.value and line.key != "topic":
        config.found(
            "stalls",
            line,
            f"the comment behind it becomes part of {line.key}",
            "Mosquitto knows comments only where # is the first character of a line",
            "move it up",
        )
