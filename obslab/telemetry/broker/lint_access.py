"""What in a configuration lets people in: listeners without TLS, anonymous clients, open files."""

from __future__ import annotations

import ipaddress
import stat
from pathlib import Path

from obslab.telemetry.broker.conffile import Config, Line, Section, Severity

_MAKE = "let obslab broker config write one"


def check(config: Config) -> None:
    """Add what is found to the configuration's findings."""
    apart = config.broker.on("per_listener_settings", False)
    for listener in config.listeners:
        _listener(config, listener)
        if apart:
            _logins(config, listener, public=_public(listener))
    if not config.listeners:
        config.found(
            "note",
            config.broker.at("listener"),
            "there is no listener",
            "Mosquitto then listens on port 1883 of this machine only, for everybody on it",
            "listener 1883 127.0.0.1, with a password_file",
        )
    elif not apart:
        _logins(config, config.broker, public=any(_public(listener) for listener in config.listeners))
    if (user := config.broker.get("user")) and user.value == "root":
        config.found(
            "lets people in",
            user,
            "Mosquitto keeps the rights of root",
            "a fault in it then opens the whole machine",
            "user mosquitto, or no such line",
        )


def _public(listener: Section) -> bool:
    """Whether others than this machine reach it."""
    bound = listener.get("bind_address")
    words = listener.head.value.split() if listener.head.key == "listener" else []
    host = bound.value if bound else words[1] if len(words) > 1 else ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return not (host == "localhost" or host.startswith("/"))


def _listener(config: Config, listener: Section) -> None:
    head = listener.head
    tls = bool(listener.get("certfile") and listener.get("keyfile")) or bool(listener.get("psk_hint"))
    named = head.key == "listener"
    if not named:
        config.found(
            "note",
            head,
            f"{head.key} without a listener opens the default one",
            "its port is 1883 and it listens on every interface, unless port and bind_address are given",
            "begin with a line: listener PORT ADDRESS",
        )
    elif len(head.value.split()) < 2:
        config.found(
            "note",
            head,
            "no address to listen on",
            "it listens on every interface of this machine, those added later too",
            f"listener {head.word} 127.0.0.1, or the address that is meant",
        )
    if _public(listener) and not tls:
        config.found(
            "lets people in",
            head,
            "a public listener without TLS",
            "passwords, samples and $cmd cross the network in the open, to be read and altered",
            "certfile and keyfile below it (obslab broker config --make-certificates), or address 127.0.0.1",
        )
    version = listener.get("tls_version")
    if version and version.value in ("tlsv1", "tlsv1.0", "tlsv1.1"):
        config.found(
            "lets people in",
            version,
            f"{version.value} is accepted",
            "it is broken",
            "tls_version tlsv1.2, or no such line",
        )
    if listener.on("require_certificate", False) and not (listener.get("cafile") or listener.get("capath")):
        config.found(
            "stalls",
            listener.at("require_certificate"),
            "without a cafile",
            "Mosquitto does not know whose certificates to accept",
            "cafile FILE",
        )
    if listener.on("use_username_as_clientid", False):
        config.found(
            "stalls",
            listener.at("use_username_as_clientid"),
            "the client id is the name of the user",
            "two clients of one user throw each other out for ever: two boards of a station, two archives",
            "take it away",
        )
    for key in ("max_qos", "maximum_qos"):
        if listener.get(key) and listener.number(key, 2) < 1:
            config.found(
                "stalls",
                listener.at(key),
                "only QoS 0 is taken",
                "a publisher with QoS 1 is disconnected, comes back and sends it again, for ever",
                "take it away",
            )
    if mount := listener.get("mount_point"):
        config.found(
            "note",
            mount,
            f"topics of this listener get {mount.value} in front",
            "an archive at another listener sees them with it, and knows no station of that name",
            "take it away, unless that is meant",
        )
    for key in ("certfile", "keyfile", "cafile", "crlfile", "dhparamfile"):
        if line := listener.get(key):
            _file(config, line, secret=key == "keyfile")


def _logins(config: Config, section: Section, *, public: bool) -> None:
    plugin = section.get("plugin") or config.broker.get("auth_plugin")
    certificates = any(
        listener.on("use_identity_as_username", False) or listener.on("use_subject_as_username", False)
        for listener in config.listeners
    )
    where = "" if public else " on this machine"
    open_to_others: Severity = "lets people in" if public else "note"
    if section.on("allow_anonymous", False):
        config.found(
            open_to_others,
            section.at("allow_anonymous"),
            f"everybody{where} may connect without a login",
            "whoever finds the port reads every sample, and writes what the access list does not forbid",
            f"allow_anonymous false, and a password_file; {_MAKE}",
        )
    elif not (section.get("password_file") or plugin or certificates or config.broker.get("psk_file")):
        config.found(
            "stalls",
            section.at("password_file"),
            "nobody can log in",
            "anonymous clients are refused (the default since Mosquitto 2), and there are no users",
            f"password_file FILE; {_MAKE}",
        )
    if not section.get("acl_file") and not plugin:
        config.found(
            open_to_others,
            section.at("acl_file"),
            "there is no access list",
            "whoever is in may write every topic: samples of any station, $confirm, which frees journals, "
            "and $cmd, which stops instruments",
            f"acl_file FILE; {_MAKE}",
        )
    if section.on("allow_zero_length_clientid", True):
        config.found(
            "note",
            section.at("allow_zero_length_clientid"),
            "clients may come without a name",
            "with MQTT 5 such a client can leave a queue behind that grows and that nobody can come back for",
            "allow_zero_length_clientid false",
        )
    for line in section.all("password_file"):
        if text := _file(config, line, secret=True):
            _passwords(config, line, text)
    for line in section.all("acl_file"):
        if text := _file(config, line):
            _access(config, line, text, anonymous=section.on("allow_anonymous", False))


def _passwords(config: Config, line: Line, text: str) -> None:
    for entry in text.splitlines():
        user, _, word = entry.partition(":")
        if entry.strip() and not word.startswith(("$6$", "$7$")):
            config.found(
                "stalls",
                line,
                f"the password of user {user!r} is not hashed",
                "Mosquitto 2 passes over such a line, so this user cannot log in",
                f"mosquitto_passwd {line.value} {user}",
            )


def _access(config: Config, line: Line, text: str, *, anonymous: bool) -> None:
    user = ""
    for number, rule in enumerate(text.splitlines(), 1):
        words = rule.split()
        if not words or rule.startswith("#"):
            continue
        at = Line(config.beside(line.value), number, "acl_file", rule.strip())
        if words[0] == "user":
            user = " ".join(words[1:])
        elif words[0] in ("topic", "pattern") and len(words) > 1:
            access = words[1] if words[1] in ("read", "write", "readwrite", "deny") else "readwrite"
            everybody = words[0] == "pattern" or (anonymous and not user)
            if "write" in access and words[-1] in ("#", "+/#", "+/+/#", "+/+/+"):
                who = "every client" if everybody else f"user {user!r}"
                if not everybody and not user:
                    continue  # of anonymous clients, of whom there are none
                config.found(
                    "lets people in" if everybody else "note",
                    at,
                    f"{who} may write everything",
                    "also $confirm, which frees the journals of stations, and $cmd, which stops instruments",
                    "the topics that are meant, as in: topic write pea/+/sec",
                )
        else:
            config.found(
                "stalls",
                at,
                f"{rule.strip()!r} is not a rule",
                "Mosquitto does not start with it",
                "user NAME, or topic read|write|readwrite|deny TOPIC",
            )


def _file(config: Config, line: Line, *, secret: bool = False) -> str:
    """The text of a file that a line names; findings when it is missing or open to others."""
    path = config.beside(line.value)
    if not path.is_file():
        path = _in_folder_beside(config, line.value) or path
    if not path.is_file():
        config.found(
            "stalls",
            line,
            f"{line.value} is not here",
            "Mosquitto does not start without it",
            "bring it, or look at this file where it is used",
        )
        return ""
    if secret and path.stat().st_mode & stat.S_IROTH:
        config.found(
            "lets people in",
            line,
            f"{path} can be read by everybody on this machine",
            "whoever reads it can work on the passwords, or pretend to be this broker",
            f"chmod 600 {path}, owned by the user mosquitto",
        )
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        config.found(
            "note",
            line,
            f"{path} could not be looked at: {error.strerror}",
            "",
            "run this as root, or as the user mosquitto",
        )
        return ""


def _in_folder_beside(config: Config, path: str) -> Path | None:
    """A file such as ``certificates/server.key`` of a folder that was written for another machine."""
    found = config.broker.head.file.parent.joinpath(*Path(path).parts[-2:])
    return found if found.is_file() else None
