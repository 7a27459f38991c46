"""Files that are there whole or not at all, whatever stops the writer."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from obslab.errors import RecordingError


class WriteError(RecordingError, OSError):
    """An output file that the disk refuses, or whose name is no name of a file."""


def write_whole(path: Path, content: bytes) -> Path:
    """Put the bytes on the disk under that name, in place of what was there. Raises WriteError."""
    with unfinished(path) as file:
        file.write_bytes(content)
    return Path(path)


@contextmanager
def unfinished(
    path: Path | str, suffix: str = ".tmp", *, durable: bool = True, folders: bool = False
) -> Iterator[Path]:
    """The path of a new file beside ``path`` to write to; it takes that name when the block ends well.

    What was there before stays until then. ``durable``: forced to the disk, for what cannot be made again;
    ``folders``: made where they lack. Raises WriteError when the disk refuses.
    """
    path = Path(path)
    file = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}{suffix}")
    try:
        if folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield file
        if durable:
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        os.replace(file, path)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        with suppress(OSError):
            file.unlink()


def refused(path: Path | str, error: OSError) -> WriteError:
    """What to raise when the system refuses to write ``path``."""
    return WriteError(f"{path} cannot be written: {error.strerror or error}", path=path)
