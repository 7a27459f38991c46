"""Files that are there whole or not at all, whatever stops the writer."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obslab.errors import RecordingError


def write_whole(path: Path, content: bytes) -> Path:
    """Put the bytes on the disk under that name, in place of what was there. Raises RecordingError."""
    with unfinished(path) as file:
        file.write_bytes(content)
    return Path(path)


@contextmanager
def unfinished(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """The path of a new file beside ``path`` to write to; it takes that name when the block ends well.

    What was there before stays until then. Raises RecordingError when the disk refuses.
    """
    path = Path(path)
    file = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}{suffix}")
    try:
        yield file
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(file, path)
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error.strerror or error}", path=path) from error
    finally:
        file.unlink(missing_ok=True)
