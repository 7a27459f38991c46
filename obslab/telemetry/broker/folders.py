"""The folders of brokers on disk: configuration, access list, passwords, logins, certificates.

    OUT/station-pea/   mosquitto.conf acl passwords bridge.d/bridge.conf certificates/ data/
    OUT/centre/        mosquitto.conf acl passwords certificates/ data/
    OUT/logins/        <broker>/<user>.env: who logs in with what, for a systemd EnvironmentFile; stays here
    OUT/ca/            with --make-certificates: ca.crt, and ca.key, which stays here

A password is made once: a second run finds it in ``logins`` and keeps it, so no station is locked out.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args

from obslab.errors import ConfigError
from obslab.telemetry.broker import certificates, mosquitto
from obslab.telemetry.broker.access import (
    SAMPLERATES,
    User,
    access_list,
    bridge_user,
    password_file,
    station_user,
)
from obslab.telemetry.sample import Stream

Kind = Literal["station", "centre", "all"]

_PEOPLE = (User("operator", "operator"), User("viewer", "viewer"))
_CENTRE = "centre"
_PASSWORD = re.compile(r"""(?!#)(?:(?!["'`\\])[!-~])+""")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What brokers are wanted. ``at`` is where OUT will be on the machines that the brokers run on."""

    stations: tuple[str, ...]
    centre_host: str = ""
    kind: Kind = "all"
    station_host: str = "localhost"
    bind: str = "0.0.0.0"
    port: int = mosquitto.TLS_PORT
    local_port: int = mosquitto.PORT
    centre_port: int = mosquitto.TLS_PORT
    users: tuple[User, ...] = ()
    samplerates: tuple[str, ...] = SAMPLERATES
    at: PurePath | None = None
    make_certificates: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ConfigError(f"--kind {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if not self.stations:
            raise ConfigError("no station is given; name it by its IAGA code, as in --station PEA")
        for code in self.stations:
            Stream(code, "check")  # raises TopicError
        if not self.centre_host:
            raise ConfigError("no data centre is given; name its host, as in --centre-host data.example.org")
        mosquitto.checked_host(self.centre_host, "the host of the data centre")
        mosquitto.checked_host(self.station_host, "the host of the station")
        mosquitto.checked_host(self.bind, "the address to listen on")
        names = [user.name for user in self._at_centre()]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"user {min(twice, key=names.index)!r} is there twice; choose another name")

    def brokers(self) -> dict[str, tuple[User, ...]]:
        """The users of each broker, by the name of its folder."""
        here = {
            f"station-{code.lower()}": (station_user(code), *_PEOPLE, *self.users) for code in self.stations
        }
        centre = {_CENTRE: self._at_centre()}
        return {"station": here, "centre": centre, "all": here | centre}[self.kind]

    def _at_centre(self) -> tuple[User, ...]:
        direct = (station_user(code) for code in self.stations)  # for a station that has no broker
        bridges = (bridge_user(code) for code in self.stations)
        return (*direct, *bridges, User("archive", "archive"), *_PEOPLE, *self.users)


def write(
    plan: Plan, out: Path, *, force: bool = False, environ: Mapping[str, str] = os.environ
) -> list[Path]:
    """Write what is planned; returns the files. Raises ConfigError, and then nothing was written.

    The password of user ``bridge-pea`` is ``OBSLAB_PASSWORD_BRIDGE_PEA`` if that is set, else the one made
    before, else a new one.
    """
    brokers = plan.brokers()
    if not force:
        _refuse_taken([out / name for name in brokers])
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; give a folder for --out")
    passwords = _Passwords(out / "logins", environ)
    texts: dict[Path, str] = {}
    for name, users in brokers.items():
        at = PurePath(plan.at or out.absolute()) / name
        texts |= {out / name / key: text for key, text in _files(plan, name, users, at, passwords).items()}
    if plan.make_certificates:
        certificates.make_ca(out / "ca")
        for name in brokers:
            host = plan.centre_host if name == _CENTRE else plan.station_host
            certificates.sign(out / "ca", out / name / "certificates", (host, "localhost", "127.0.0.1"))
    for path, text in (texts | passwords.files()).items():
        _write(path, text, private=path.name not in ("mosquitto.conf", "acl"))
    for name in brokers:
        for inside in ("data", "certificates"):
            (out / name / inside).mkdir(exist_ok=True)
        give_to_mosquitto(out / name)
    made = [path for name in brokers for path in _inside(out / name / "certificates")]
    return [*texts, *passwords.files(), *made]


def parse_user(text: str) -> User:
    """The user of ``NAME=ROLE``. Raises ConfigError."""
    name, _, role = text.partition("=")
    return User(name, role)  # type: ignore[arg-type]  # User refuses what is no role


def give_to_mosquitto(folder: Path) -> None:
    """Let the user mosquitto read a folder that root wrote: Mosquitto becomes that user before it reads."""
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam("mosquitto")
    except KeyError:  # not installed here: the files will be copied to where it is
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)


def _files(
    plan: Plan, name: str, users: tuple[User, ...], at: PurePath, passwords: _Passwords
) -> dict[str, str]:
    files = {
        "acl": access_list(users, plan.samplerates),
        "passwords": password_file({user.name: passwords.of(name, user.name) for user in users}),
    }
    if name == _CENTRE:
        text = mosquitto.centre_broker(at, bind=plan.bind, port=plan.centre_port, local_port=plan.local_port)
        return {"mosquitto.conf": text} | files
    code = users[0].station
    text = mosquitto.station_broker(code, at, bind=plan.bind, port=plan.port, local_port=plan.local_port)
    password = passwords.of(_CENTRE, bridge_user(code).name)
    bridge = mosquitto.bridge(
        code, at, plan.centre_host, password, port=plan.centre_port, samplerates=plan.samplerates
    )
    return {"mosquitto.conf": text, "bridge.d/bridge.conf": bridge} | files


class _Passwords:
    """The password of each user at each broker, from the environment, the logins on disk, or chance."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._environ = folder, environ
        self._words: dict[tuple[str, str], str] = {}

    def of(self, broker: str, user: str) -> str:
        if (broker, user) not in self._words:
            variable = f"OBSLAB_PASSWORD_{user.upper().replace('-', '_')}"
            given = self._environ.get(variable, "")
            if given and not _PASSWORD.fullmatch(given):
                raise ConfigError(
                    f"{variable} (not shown) has a space, quote, backslash or letter beyond ASCII, or begins "
                    "with #; systemd and Mosquitto would not read it the same from their files",
                    key=variable,
                )
            self._words[broker, user] = given or self._known(broker, user) or secrets.token_urlsafe(24)
        return self._words[broker, user]

    def files(self) -> dict[Path, str]:
        return {
            self._path(broker, user): f"OBSLAB_MQTT_USER={user}\nOBSLAB_MQTT_PASSWORD={word}\n"
            for (broker, user), word in self._words.items()
        }

    def _known(self, broker: str, user: str) -> str:
        path = self._path(broker, user)
        if not path.is_file():
            return ""
        found = re.search(r"^OBSLAB_MQTT_PASSWORD=(.+)$", path.read_text(), re.MULTILINE)
        if not found:
            raise ConfigError(
                f"{path} has no line OBSLAB_MQTT_PASSWORD=; write it there, or take the file away"
            )
        return found[1]

    def _path(self, broker: str, user: str) -> Path:
        return self._folder / broker / f"{user}.env"


def _refuse_taken(folders: list[Path]) -> None:
    taken = [str(path) for folder in folders for path in _inside(folder)]
    if taken:
        more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
        raise ConfigError(
            f"{', '.join(taken[:5])}{more} would be overwritten; choose another --out, or --force it",
            paths=taken,
        )


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _write(path: Path, text: str, *, private: bool) -> None:
    """Mode 0600 from the first byte on, when it is private."""
    path.parent.mkdir(mode=0o700 if path.parts[-3:-2] == ("logins",) else 0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # or it would keep the mode that it has
    mode = 0o600 if private else 0o644
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
