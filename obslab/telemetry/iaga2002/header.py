"""The header of an IAGA-2002 file: facts by keyword, comments, and the names of the columns."""

from __future__ import annotations

from dataclasses import dataclass

from obslab.errors import RecordingError

COLUMNS = 4


@dataclass(frozen=True)
class Header:
    """``facts`` has upper-case keywords; ``names`` are the columns of values, as in WICX.

    The lines of samples begin at byte ``begin``, in line ``line`` of the file, counted from 1.
    """

    facts: dict[str, str]
    comments: tuple[str, ...]
    names: tuple[str, ...]
    begin: int
    line: int

    @property
    def letters(self) -> tuple[str, ...]:
        """Last letters of the columns' names, upper case."""
        return tuple(name[-1].upper() for name in self.names)


def split(content: bytes, name: str) -> Header:
    """The header of a file's bytes. Raises RecordingError, naming file and line."""
    begin = 0 if content.startswith(b"DATE ") else content.find(b"\nDATE ") + 1
    if not begin and not content.startswith(b"DATE "):
        raise RecordingError(f"{name} is not an IAGA-2002 file: no line begins with DATE", path=name)
    end = content.find(b"\n", begin) + 1 or len(content)
    # Not splitlines(): in Latin-1 it also splits at 0x85, which is the second byte of a UTF-8 letter.
    lines = content[:begin].decode("latin-1").split("\n")[:-1]
    top = len(lines) + 1
    names = content[begin:end].decode("latin-1").rstrip("| \r\n").split()[3:]
    if len(names) != COLUMNS:
        raise RecordingError(f"{name} line {top}: {len(names)} columns of values, wanted 4", path=name)
    facts = {
        line[1:24].strip().upper(): line[24:69].strip()
        for line in lines
        if line.startswith(" ") and not line.lstrip().startswith("#")
    }
    _check_station(facts.get("IAGA CODE", "").upper(), names, f"{name} line {top}")
    comments = tuple(
        line.rstrip().removesuffix("|").strip()[1:].strip() for line in lines if line.lstrip().startswith("#")
    )
    return Header(facts, comments, tuple(names), end, top + 1)


def _check_station(code: str, names: list[str], where: str) -> None:
    """Columns are of one station, and of the one that the header names, if it does."""
    for name in names:
        wanted = code or names[0][:-1].upper()
        # Some write the bare letter, and dashes over a column that is not in use.
        if name[:3].upper() != wanted[:3] and len(name) > 1 and any(letter.isalnum() for letter in name):
            told = f"the header's IAGA code is {code}" if code else f"the first is {names[0]}"
            raise RecordingError(f"{where}: column {name} is of another station, {told}", field=name)
