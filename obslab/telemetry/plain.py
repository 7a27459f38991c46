"""Text in ASCII, all that the exchange formats of geomagnetism know."""

from __future__ import annotations

import unicodedata

from obslab.errors import RecordingError


def plain(text: object, name: str, file: str) -> str:
    """On one line, letters without their accents; ``name`` and ``file`` say what and where in errors.

    Raises RecordingError for a character that has no likeness in ASCII.
    """
    return unaccented(" ".join(str(text).split()), name, file)


def unaccented(line: str, name: str, file: str) -> str:
    """``plain`` that leaves blanks as they are."""
    decomposed = unicodedata.normalize("NFKD", line.replace("\t", " "))
    found = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    wrong = next((letter for letter in found if not " " <= letter <= "~"), None)
    if wrong:
        raise RecordingError(
            f"{file} is ASCII: {name} has {wrong!r}, which is not; spell {line[:60]!r} otherwise", field=name
        )
    return found
