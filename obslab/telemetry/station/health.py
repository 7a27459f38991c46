"""How a station is, in the words of ``$status``: what only the board itself can know."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LOW_BYTES = 200_000_000  # a month of two instruments at 1 Hz, in journal and day files


def health(*, driver: str, troubles: Iterable[str], paused: bool, folders: Iterable[Path]) -> dict[str, Any]:
    """Fields of ``protocol.Status``. ``trouble`` changes only when something else is wrong than before."""
    free = {folder: free_bytes(folder) for folder in folders}
    low = [
        f"less than {LOW_BYTES // 1_000_000} MB are free at {folder}"
        for folder, left in free.items()
        if left is not None and left < LOW_BYTES
    ]
    return {
        "driver": driver,
        "trouble": "; ".join(" ".join(one.split()) for one in (*troubles, *low) if one),
        "paused": paused,
        "disk_free_bytes": min((left for left in free.values() if left is not None), default=None),
    }


def free_bytes(folder: Path) -> int | None:
    """What we may still write there; None for a disk that does not answer."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
