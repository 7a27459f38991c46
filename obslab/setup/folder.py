"""Makes a folder ready: writes what is not there, and never touches what is."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from obslab import config
from obslab.errors import ConfigError
from obslab.setup import templates
from obslab.setup.units import SECRETS_NAME, Place, units

RULES_NAME = "watch.toml"
SYSTEMD_NAME = "systemd"


@dataclass(frozen=True)
class Written:
    """What was written, what was there already and stayed, and what to do next."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    next_steps: tuple[str, ...]


def prepare(folder: Path, *, systemd: bool = False, user: str | None = None) -> Written:
    """Configuration and rules, and with ``systemd`` the services. Raises ConfigError when all is there."""
    folder = Path(folder).absolute()
    wanted: dict[Path, tuple[str, int]] = {
        folder / config.FILE_NAME: (templates.CONFIGURATION, 0o644),
        folder / RULES_NAME: (templates.RULES, 0o644),
    }
    name, elsewhere = user or _user(), _elsewhere(folder) if systemd else ()
    if systemd:
        place = Place(Path(sys.executable), folder, name, elsewhere)
        wanted[folder / SECRETS_NAME] = (templates.SECRETS, 0o600)
        wanted |= {folder / SYSTEMD_NAME / file: (text, 0o644) for file, text in units(place).items()}
    written: list[Path] = []
    kept: list[Path] = []
    for path, (text, mode) in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        (written if _write(path, text, mode) else kept).append(path)
    if not written:
        raise ConfigError(
            f"nothing was written: {', '.join(map(str, kept))} were there already and stay as they are; "
            "move them away, or name another folder",
            kept=tuple(kept),
        )
    return Written(
        tuple(written), tuple(kept), tuple(_next_steps(folder, name if systemd else None, elsewhere))
    )


def _write(path: Path, text: str, mode: int) -> bool:
    """False when there is something of that name already, even a link that leads nowhere."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _elsewhere(folder: Path) -> tuple[Path, ...]:
    """Folders of an existing configuration that are not within ours."""
    file = folder / config.FILE_NAME
    if not file.is_file():
        return ()
    settings = config.load(file, {name: os.environ[name] for name in ("HOME",) if name in os.environ})
    chosen = (settings.archive_dir, settings.journal_dir, settings.state_dir)
    return tuple(dict.fromkeys(path for path in chosen if not path.is_relative_to(folder)))


def _user() -> str:
    """Who is asking; for root a user that has to be made, since no service here needs to be root."""
    name = getpass.getuser()
    return "obslab" if name == "root" else name


def _next_steps(folder: Path, user: str | None, elsewhere: tuple[Path, ...]) -> list[str]:
    steps = [
        f"edit {folder / config.FILE_NAME}: the broker, and where things are kept",
        "set OBSLAB_MQTT_USER and OBSLAB_MQTT_PASSWORD, unless the broker lets anybody in",
        f"cd {folder} && obslab check",
        f"edit {folder / RULES_NAME}: whom to call; then obslab watch --test",
    ]
    if user:
        steps[1] = f"write user and password of the broker into {folder / SECRETS_NAME}"
        steps[2] = f"cd {folder} && set -a && . ./{SECRETS_NAME} && set +a && obslab check"
        owned = " ".join(map(str, (folder, *elsewhere)))
        steps[2:2] = [
            f"make a user {user} who owns it: useradd --system {user}; mkdir -p {owned}; "
            f"chown -R {user} {owned}",
            f"edit {folder / SYSTEMD_NAME / 'obslab-station.service'}: instrument, port and driver",
        ]
        steps.append(
            f"cp {folder / SYSTEMD_NAME}/obslab-*.service /etc/systemd/system/ && systemctl daemon-reload"
        )
        steps.append(
            "systemctl enable --now obslab-station (at the station), "
            "or obslab-collector obslab-watch (at the data centre)"
        )
    return steps
