"""Who may do what at a broker: users and their roles, as Mosquitto's access list and password file.

========= =============================================== ==================================
role      writes                                          reads
========= =============================================== ==================================
station   samples, $meta, $status, $ledger, $block        its own $cmd, $want, $confirm
bridge    as its station; the state of the bridge         as its station
archive   $want, $confirm                                 everything, the state of bridges
operator  $cmd                                            everything, the state of bridges
viewer    nothing                                         everything, the state of bridges
========= =============================================== ==================================

A station's user has the name of its IAGA code in lower case. What a role may write is listed word by word,
because ``pea/+/+`` would let a publisher confirm its own samples or command another board.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from obslab.errors import ConfigError
from obslab.telemetry import protocol
from obslab.telemetry.sample import META, Stream

Role = Literal["station", "bridge", "archive", "operator", "viewer"]

# Common rates of magnetometers. A topic that is not listed is refused in silence (Mosquitto acknowledges
# it to an MQTT 3.1.1 client all the same), so another rate must be named.
SAMPLERATES = (
    *("sec", "min", "hour", "abs"),
    *(
        f"{rate}hz"
        for rate in (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 100, 128, 200, 250, 256, 500, 1000)
    ),
)
_SAID = (META, protocol.STATUS, protocol.LEDGER, protocol.BLOCK)
_HEARD = (protocol.COMMAND, protocol.WANT, protocol.CONFIRM)
_WRITES: dict[str, tuple[str, ...]] = {
    "archive": (protocol.WANT, protocol.CONFIRM),
    "operator": (protocol.COMMAND,),
    "viewer": (),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

# As mosquitto_passwd writes them, but with 101 rounds there: a stolen file should be of little use. 10,000
# cost 10 ms at each connection, on one thread with everything else.
_ROUNDS = 10_000


@dataclass(frozen=True, order=True)
class User:
    """A login; ``station`` is the IAGA code of a station or bridge."""

    name: str
    role: Role
    station: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"user {self.name!r} is not a name of small letters, digits, '-' and '_'", user=self.name
            )
        if self.role not in get_args(Role):
            raise ConfigError(
                f"user {self.name!r} has role {self.role!r}, which is none of {', '.join(get_args(Role))}",
                user=self.name,
            )
        if (self.role in ("station", "bridge")) != bool(self.station):
            raise ConfigError(
                f"user {self.name!r} of role {self.role} goes with --station CODE", user=self.name
            )


def station_user(code: str) -> User:
    return User(code.lower(), "station", code)


def bridge_user(code: str) -> User:
    """The name is also the bridge's client id, and so stands in ``$SYS/broker/connection/<name>/state``."""
    return User(f"bridge-{code.lower()}", "bridge", code)


def access_list(users: Iterable[User], samplerates: Iterable[str] = SAMPLERATES) -> str:
    """The text of an ``acl_file``: what is not granted in it is refused. Raises TopicError."""
    rates = tuple(samplerates)
    lines = [
        "# Who may read and write what; a topic that is not listed is refused, in silence.",
        "# A topic before the first user would be open to anonymous clients: there is none.",
    ]
    for user in users:
        who = f"{user.role} {user.station}".strip()
        lines += ["", f"# {who}", f"user {user.name}", *(f"topic {rule}" for rule in _rules(user, rates))]
    return "\n".join([*lines, ""])


def said(code: str, samplerates: Iterable[str] = SAMPLERATES) -> list[str]:
    """The topics that a station writes. Raises TopicError for what is no samplerate."""
    rates = [Stream(code, "check", rate).samplerate for rate in samplerates]
    topics = [f"{code.lower()}/+/{word}" for word in (*rates, *_SAID)]
    return [*topics, f"impf/{code.lower()}/#"]


def heard(code: str) -> list[str]:
    """The topics that a station reads: what archives and operators say to it."""
    return [f"{code.lower()}/+/{word}" for word in _HEARD]


def _rules(user: User, rates: tuple[str, ...]) -> Iterator[str]:
    if user.role in ("station", "bridge"):
        yield from (f"write {topic}" for topic in said(user.station, rates))
        yield from (f"read {topic}" for topic in heard(user.station))
        if user.role == "bridge":
            yield f"write $SYS/broker/connection/{user.name}/state"
        return
    yield "read #"
    yield "read $SYS/broker/connection/#"  # '#' does not cover topics that begin with '$'
    yield from (f"write +/+/{word}" for word in _WRITES[user.role])


def password_file(passwords: Mapping[str, str]) -> str:
    """The text of a ``password_file``, hashed as Mosquitto 2 has it: PBKDF2 with SHA-512."""
    return "".join(f"{user}:{_hashed(password)}\n" for user, password in passwords.items())


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
