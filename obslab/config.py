"""Configuration: one ``obslab.toml`` and ``OBSLAB_*`` variables give one frozen ``Config``.

    default  <-  obslab.toml  <-  OBSLAB_<TABLE>_<KEY>

``[archive] dir`` is also ``OBSLAB_ARCHIVE_DIR``, and so on; lists are separated by commas. The
file is ``OBSLAB_CONFIG``, or else ``obslab.toml`` in the current folder when there is one; paths
in it are relative to its folder. User, password and CA of the broker come from
``OBSLAB_MQTT_USER``, ``OBSLAB_MQTT_PASSWORD`` and ``OBSLAB_MQTT_CA`` only, never from a file or a
URL, so a configuration can be shown, copied and committed.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from obslab.errors import ConfigError

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"
FILE_NAME = "obslab.toml"


@dataclass(frozen=True)
class Broker:
    """Where the MQTT broker listens, and who we are to it."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None

    @property
    def url(self) -> str:
        """``mqtt://host:port``, or ``mqtts://`` with TLS; it never holds user or password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@dataclass(frozen=True)
class Config:
    """Everything obslab needs to be told about this machine."""

    broker: Broker
    topics: tuple[str, ...]
    archive_dir: Path
    journal_dir: Path
    state_dir: Path
    archive_keep_days: float | None = None
    archive_seal_after_days: float = 2.0
    journal_keep_days: float = 30.0
    file: Path | None = None


def load(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of this process; ``path`` overrules ``OBSLAB_CONFIG``."""
    file = _file(path, environ)
    given = dict(_from_file(file, environ)) if file else {}
    given |= dict(_from_environment(environ))
    chosen = {key: given.get(key) for key in _KEYS}
    state_dir = chosen["state.dir"] or _default_state_dir(environ)
    return Config(
        broker=chosen["broker.url"] or broker_at(DEFAULT_BROKER, environ),
        topics=chosen["broker.topics"] or ("#",),
        archive_dir=chosen["archive.dir"] or state_dir / "archive",
        journal_dir=chosen["journal.dir"] or state_dir / "journal",
        state_dir=state_dir,
        archive_keep_days=chosen["archive.keep_days"],
        archive_seal_after_days=chosen["archive.seal_after_days"] or 2.0,
        journal_keep_days=chosen["journal.keep_days"] or 30.0,
        file=file,
    )


def broker_at(url: str, environ: Mapping[str, str] = os.environ, where: str = "the broker URL") -> Broker:
    """The broker at ``mqtt://host[:port]`` or ``mqtts://host[:port]``, with the environment's login.

    No message repeats a part of the URL that might be a password: neither what stands around an
    ``@``, nor a port that is not a number.
    """
    if "@" in url:
        raise ConfigError(
            f"{where} holds a user or password (not shown); set OBSLAB_MQTT_USER and OBSLAB_MQTT_PASSWORD "
            "and leave mqtt://host:port",
            key="broker.url",
        )
    found = re.fullmatch(r"(mqtts?)://(\[[0-9A-Fa-f:.]+\]|[^\s/?#:\[\]@]+)(?::(.*))?", url.removesuffix("/"))
    if not found:
        raise ConfigError(
            f"{where} is not mqtt://host:port or mqtts://host:port (not shown, it may hold a secret)",
            key="broker.url",
        )
    scheme, host, port = found.groups(default="")
    tls = scheme == "mqtts"
    if port and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65_536):
        raise ConfigError(
            f"{where} has for host {host!r} a port that is not a number from 1 to 65535 (not shown)",
            key="broker.url",
        )
    user, password, ca = (environ.get(f"OBSLAB_MQTT_{name}") or None for name in _LOGIN)
    if password and not user:
        raise ConfigError(
            "OBSLAB_MQTT_PASSWORD is set without OBSLAB_MQTT_USER; set both", key="OBSLAB_MQTT_USER"
        )
    if ca and not Path(ca).expanduser().is_file():
        raise ConfigError(f"OBSLAB_MQTT_CA names {ca!r}, which is not a file", key="OBSLAB_MQTT_CA")
    return Broker(
        host=host.strip("[]"),
        port=int(port) if port else (8883 if tls else 1883),
        tls=tls,
        user=user,
        password=password,
        ca=Path(ca).expanduser() if ca else None,
    )


def check_filter(topic: str, where: str) -> None:
    """Raise ConfigError unless it is a topic filter as MQTT has them: ``pea/+/sec``, ``pea/#``."""
    levels = topic.split("/")
    if not topic or "#" in levels[:-1] or any(len(level) > 1 and {"#", "+"} & set(level) for level in levels):
        raise ConfigError(f"{where}: {topic!r} is not a topic filter; '#' stands last, alone", topic=topic)


@dataclass(frozen=True)
class _Context:
    """Where a value was met: its key, how to call it, the folder it is relative to."""

    key: str
    where: str
    folder: Path
    environ: Mapping[str, str]


def _url(value: Any, at: _Context) -> Broker:
    return broker_at(_text(value, at), at.environ, at.where)


def _path(value: Any, at: _Context) -> Path:
    return at.folder / Path(_text(value, at)).expanduser()


def _days(value: Any, at: _Context) -> float:
    try:
        days = float(value)
    except (TypeError, ValueError):
        days = math.nan
    if isinstance(value, bool) or not 0 < days < math.inf:
        raise ConfigError(f"{at.where} is {value!r}; wanted is a positive number of days", key=at.key)
    return days


def _filters(value: Any, at: _Context) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{at.where} wants a list of topic filters, such as ['#']", key=at.key)
    filters = tuple(_text(topic, at) for topic in value)
    for topic in filters:
        check_filter(topic, at.where)
    return filters


def _text(value: Any, at: _Context) -> str:
    if not isinstance(value, str) or not value.strip():
        # The value is not repeated: someone may have written a login where an address belongs.
        got = "an empty text" if isinstance(value, str) else f"a {type(value).__name__}"
        raise ConfigError(f"{at.where} wants a text, not {got}", key=at.key)
    return value


_KEYS: dict[str, Callable[[Any, _Context], Any]] = {
    "broker.url": _url,
    "broker.topics": _filters,
    "archive.dir": _path,
    "archive.keep_days": _days,
    "archive.seal_after_days": _days,
    "journal.dir": _path,
    "journal.keep_days": _days,
    "state.dir": _path,
}
_VARIABLES = {f"OBSLAB_{key.upper().replace('.', '_')}": key for key in _KEYS}
_TABLES = {key.split(".")[0] for key in _KEYS}
_LOGIN = ("USER", "PASSWORD", "CA")
_SECRETS = {
    "user": "OBSLAB_MQTT_USER",
    "username": "OBSLAB_MQTT_USER",
    "password": "OBSLAB_MQTT_PASSWORD",
    "passwd": "OBSLAB_MQTT_PASSWORD",
    "pass": "OBSLAB_MQTT_PASSWORD",
    "secret": "OBSLAB_MQTT_PASSWORD",
    "token": "OBSLAB_MQTT_PASSWORD",
    "ca": "OBSLAB_MQTT_CA",
}


def _file(path: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or environ.get("OBSLAB_CONFIG")
    if not named:
        return Path(FILE_NAME).absolute() if Path(FILE_NAME).is_file() else None
    file = Path(named).expanduser().absolute()
    if not file.is_file():
        raise ConfigError(
            f"configuration {str(named)!r} is not a file; leave it out for the defaults", file=file
        )
    return file


def _from_file(file: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}", file=file) from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", file=file) from None
    for key, value in _flat(content, file):
        at = _Context(key, f"{key} in {file}", file.parent, environ)
        yield key, _KEYS[key](value, at)


def _flat(content: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Any]]:
    """Key and value of each setting, all keys known."""
    for table, keys in content.items():
        _refuse_secret(table, table, file)
        if table not in _TABLES:
            raise _unknown(f"[{table}]" if isinstance(keys, dict) else table, file, table, _TABLES)
        if not isinstance(keys, dict):
            raise ConfigError(f"{table} in {file} must be a table: [{table}]", file=file, key=table)
        for name, value in keys.items():
            key = f"{table}.{name}"
            _refuse_secret(name, key, file)
            if key not in _KEYS:
                raise _unknown(key, file, key, _KEYS)
            yield key, value


def _refuse_secret(name: str, key: str, file: Path) -> None:
    variable = _SECRETS.get(name.lower())
    if variable:
        raise ConfigError(f"{key} must not be in {file}; set {variable} instead", file=file, key=key)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    known = {*_VARIABLES, *(f"OBSLAB_MQTT_{name}" for name in _LOGIN)}
    ours = tuple(f"OBSLAB_{table.upper()}_" for table in (*_TABLES, "mqtt"))
    for name in sorted(environ):
        if name.startswith(ours) and name not in known:
            raise _unknown(name, None, name, known)
        if name in _VARIABLES and environ[name]:
            key = _VARIABLES[name]
            split = _KEYS[key] is _filters
            value = [part.strip() for part in environ[name].split(",")] if split else environ[name]
            yield key, _KEYS[key](value, _Context(key, name, Path.cwd(), environ))


def _unknown(shown: str, file: Path | None, name: str, known: Any) -> ConfigError:
    close = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
    place = f" in {file}" if file else ""
    return ConfigError(
        f"{shown}{place} is unknown; {hint}", file=file, key=name, nearest=close[0] if close else None
    )


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG standard says that a relative path there is to be ignored.
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return home / "obslab"
