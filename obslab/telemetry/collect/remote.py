"""Files of samples in a folder or behind a URL: what is there, and the bytes of each.

A URL is anything fsspec opens: ``file``, ``http``, ``https``, ``sftp``, ``s3``, ``zip`` and others.
Logins come from fsspec's own configuration and environment, or the protocol's (``FSSPEC_SFTP_USERNAME``,
``~/.ssh``, ``~/.aws``), never from the URL, so that a command line can be shown and logged.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from obslab.errors import ConfigError, NoLabError, RecordingError, RemoteError

MOST_BYTES = 256 << 20  # a day of 10 Hz vector data as text takes 60 MB; more would fill our memory
_MOST_FILES = 100_000
_DEEPEST = 8
_PIECE = 1 << 20
_SUFFIX = re.compile(r"://[^/]+/.*\.[A-Za-z][A-Za-z0-9]*$")
_LOGIN = re.compile(r"[a-z0-9+.-]+://[^/?#]*@", re.IGNORECASE)


class Place:
    """A folder, a file or a URL with files; open one with ``place_at``."""

    def __init__(self, system: Any, root: str, shown: str) -> None:
        self._system, self._root = system, root.rstrip("/")
        self._web = "http" in _protocols(system)
        self.shown = shown
        self.unlisted: list[RemoteError] = []
        # Of a web address nobody can tell what it is; what ends in a suffix is taken for a file.
        self._alone = self._web and not root.endswith("/") and bool(_SUFFIX.search(root))

    def files(self) -> Iterator[str]:
        """All files below, each by its path there, folder by folder in order of name.

        Raises RemoteError when the place cannot be listed; folders in it that cannot are in ``unlisted``.
        """
        if self._alone or (not self._web and self._do(lambda: self._system.isfile(self._root), self.shown)):
            self._alone = True
            yield self._root.rsplit("/", 1)[-1]
            return
        seen = {self._root}
        folders, count = [(self._root, 0)], 0
        while folders:
            folder, depth = folders.pop(0)
            try:
                entries = self._do(lambda at=folder: self._entries(at), self._below(folder) or self.shown)
            except RemoteError as error:
                if folder == self._root:
                    raise
                self.unlisted.append(error)
                continue
            for name, is_folder in entries:
                if name in seen or not self._inside(name):
                    continue
                seen.add(name)
                if is_folder and depth < _DEEPEST:
                    folders.append((name, depth + 1))
                elif not is_folder:
                    yield self._below(name)
                    if (count := count + 1) >= _MOST_FILES:
                        raise RemoteError(
                            f"{self.shown} has more than {_MOST_FILES} files; name a folder in it"
                        )

    def read(self, file: str) -> bytes:
        """The bytes of one of ``files``, unpacked when it is gzip. Raises RemoteError, RecordingError."""
        path = self._root if self._alone else f"{self._root}/{file}"
        data: bytes = self._do(lambda: _unpacked(file, self._bytes(path)), file)
        return data

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        # A web server's listing is a page: it is one only at an address that ends with a slash.
        listed = self._system.ls(folder + "/" if self._web else folder, detail=True)
        return sorted((entry["name"].rstrip("/"), entry["type"] == "directory") for entry in listed)

    def _inside(self, name: str) -> bool:
        """Not the parent that a listing links to, nor its links that sort it."""
        below = self._below(name)
        return (
            name.startswith(self._root) and bool(below) and ".." not in below.split("/") and "?" not in below
        )

    def _below(self, name: str) -> str:
        return name[len(self._root) :].lstrip("/")

    def _bytes(self, path: str) -> bytes:
        pieces, size = [], 0
        options = {"block_size": 0} if self._web else {}  # not all web servers give parts of a file
        with self._system.open(path, "rb", **options) as file:
            while piece := file.read(_PIECE):
                pieces.append(piece)
                size += len(piece)
                _refuse_size(path.rsplit("/", 1)[-1], size)
        return b"".join(pieces)

    def _do(self, action: Any, what: str) -> Any:
        try:
            return action()
        except (RecordingError, RemoteError):
            raise
        except Exception as error:  # each file system fails in ways of its own
            missing = isinstance(error, FileNotFoundError)
            raise RemoteError(f"{what} cannot be read: {'not found' if missing else _told(error)}") from error


def place_at(url: str) -> Place:
    """The place at a path or URL. Raises ConfigError, which never repeats a login, and RemoteError."""
    if _LOGIN.search(unquote(url)):
        raise ConfigError(
            "the URL holds a user or password (not shown); take it out, and put the login into fsspec's "
            "configuration or environment, as in FSSPEC_SFTP_USERNAME and FSSPEC_SFTP_PASSWORD",
            key="--from",
        )
    shown = re.sub(r"[?#].*", "", url)  # what stands behind may be a token
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise NoLabError("reading a folder or URL needs fsspec: pip install 'obslab[archive]'") from None
    try:
        local = "://" not in url and "::" not in url
        system, root = url_to_fs(str(Path(url).expanduser().absolute()) if local else url)
    except ImportError as error:
        raise NoLabError(f"{shown}: {_told(error)}") from error
    except Exception as error:
        raise RemoteError(f"{shown} cannot be opened: {_told(error)}") from error
    if local and not Path(root).exists():
        raise RemoteError(f"{shown} does not exist; give a folder, a file or a URL")
    return Place(system, root, shown)


def _protocols(system: Any) -> tuple[str, ...]:
    protocol = system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _unpacked(name: str, data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    inflate = zlib.decompressobj(31)
    try:
        unpacked = inflate.decompress(data, MOST_BYTES + 1)
    except zlib.error as error:
        raise RecordingError(f"{name} is damaged gzip: {error}") from error
    _refuse_size(name, len(unpacked))
    if not inflate.eof:
        raise RecordingError(f"{name} is gzip cut short")
    return unpacked


def _refuse_size(name: str, size: int) -> None:
    if size > MOST_BYTES:
        raise RecordingError(f"{name} has more than {MOST_BYTES >> 20} MB; no day of samples has")


def _told(error: Exception) -> str:
    """What another library says, in one line, without what in a URL may be a login or a token."""
    why = " ".join(str(error).split())[:200] or type(error).__name__
    return re.sub(r"\?[^\s'\"]*", "", re.sub(r"://[^/\s]*@", "://", why))
