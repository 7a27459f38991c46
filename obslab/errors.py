"""The errors of obslab: each one is an ``ObslabError`` and the builtin a caller would expect.

A message names the thing, the value met, what was wanted and the next step, in one line; the
same facts are attributes of the exception, so that a program need not read the sentence.
"""

from __future__ import annotations

from typing import Any


class ObslabError(Exception):
    """Base of all errors of obslab: ``ObslabError(message, **facts)``."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}; its facts are {sorted(facts)}"
        )


class BadTimeError(ObslabError, ValueError):
    """A text or number that is not a time in UTC."""


class ConfigError(ObslabError, ValueError):
    """A setting that is unknown, of the wrong kind, or a secret in the wrong place."""


class SchemaError(ObslabError, ValueError):
    """A Dataset that is not what its schema says; the message lists every problem."""


class TableError(ObslabError, OSError):
    """A SQLite file that cannot be used: not a database, of a newer version, or on a full disk."""


class NewerVersionError(TableError):
    """A file written by a newer obslab than this one."""


class StorageFullError(TableError):
    """The disk under a journal or an archive is full; what was stored before is safe."""


class TopicError(ObslabError, ValueError):
    """A topic that is not ``iagacode/instrument/samplerate``."""


class CodecError(ObslabError, ValueError):
    """A payload that does not fit its layout, or a value that the layout cannot hold."""


class MetadataError(ObslabError, ValueError):
    """Instrument metadata that is malformed or of an unknown format."""


class NoStreamError(ObslabError, LookupError):
    """A station or instrument that the archive does not hold."""


class NoArchiveError(ObslabError, FileNotFoundError):
    """A folder that is not an archive."""


class RecordingError(ObslabError, ValueError):
    """A file of recorded samples that cannot be read."""


class FrameError(ObslabError, ValueError):
    """Components that do not make a vector of one frame, or are not those asked for."""


class SheetError(ObslabError, ValueError):
    """An absolute measurement that cannot be read or reduced; the message names line and field."""


class NoVariometerError(ObslabError, LookupError):
    """An absolute measurement at whose time the variometer or the scalar has no data."""


class BaselineError(ObslabError, ValueError):
    """A baseline that cannot be fitted, read or written."""


class NoBaselineError(ObslabError, LookupError):
    """No adopted baseline is valid at a time for which one is needed."""


class FlagError(ObslabError, ValueError):
    """A flag that cannot be set, confirmed or taken back."""


class RemoteError(ObslabError, OSError):
    """A folder, file or URL of recorded samples that cannot be listed or read."""


class BrokerError(ObslabError, ConnectionError):
    """A broker that cannot be started, reached, or that refuses us."""


class ActionError(ObslabError, OSError):
    """A command, webhook or mail of `obslab watch` that did not reach anybody."""


class DemoError(ObslabError, RuntimeError):
    """The demo observatory did not come up."""


class NoLabError(ObslabError, ImportError):
    """A command or class that needs an extra of obslab which is not installed."""
