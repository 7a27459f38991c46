"""Output files that are there whole or not at all when the program is stopped."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from obslab.errors import ObslabError


class WriteError(ObslabError, OSError):
    """An output file that the disk refuses, or whose name is no name of a file."""


@contextmanager
def unfinished(path: str | Path) -> Iterator[Path]:
    """The path of a new file beside ``path`` to write to; it takes that name when the block ends well.

    Folders are made. Not forced to the disk: the output of a fit can be made again. Raises WriteError.
    """
    path = Path(path)
    file = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield file
        os.replace(file, path)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        with suppress(OSError):
            file.unlink()


def refused(path: str | Path, error: OSError) -> WriteError:
    """What to raise when the system refuses to write ``path``."""
    return WriteError(f"{path} cannot be written: {error.strerror or error}", path=path)
