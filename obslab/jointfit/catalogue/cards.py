"""Cards: the header of a FITS file as a mapping, decoded only where somebody looks.

The 1,080 images of a set have the same few layouts of keywords, so where each keyword stands is found once
for each layout; of 36 cards a header, 15 are ever read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

CARD = 80
COMMENTS = (b"COMMENT ", b"HISTORY ", b"        ", b"CONTINUE", b"HIERARCH")


class Cards(Mapping[str, str]):
    """Keyword to value, as the text that stands there: numbers are left to the reader, strings are unquoted.

    ``block`` is whole cards without END. Of a keyword that comes twice the first counts.
    """

    __slots__ = ("_at", "_text", "continued")

    def __init__(self, block: bytes) -> None:
        names = np.frombuffer(block, "S10", len(block) // CARD * 8)[::8].tobytes()
        self._text = block.decode("latin-1")
        self._at = _layout(names)
        self.continued = b"CONTINUE" in names
        """Whether a string goes on over more cards than its own."""

    def __getitem__(self, key: str) -> str:
        at = self._at[key]
        text = self._text[at + 10 : at + CARD].strip()
        if text[:1] != "'":
            return text.split("/", 1)[0].rstrip()
        end = text.find("'", 1)
        while end >= 0 and text[end + 1 : end + 2] == "'":  # a quote within the string is doubled
            end = text.find("'", end + 2)
        return text[1 : end if end >= 0 else None].replace("''", "'").rstrip()

    def get(self, key: str, default: Any = None) -> Any:
        # Mapping's own get costs an exception for each card that is missing.
        return self[key] if key in self._at else default

    def __contains__(self, key: object) -> bool:
        return key in self._at

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)


def of_text(text: str) -> list[Cards]:
    """The headers in a text file such as SCAMP's .head and .ahead: lines, each header closed by END.

    The END of the last one may be missing; a header dumped without line ends is cut into its cards.
    """
    lines = text.splitlines()
    if len(lines) == 1 and len(text) > CARD:
        lines = [text[at : at + CARD] for at in range(0, len(text), CARD)]
    headers: list[list[str]] = [[]]
    for line in lines:
        if line.rstrip() == "END":
            headers.append([])
        elif line.strip():
            headers[-1].append(line)
    return [_of_lines(header) for header in headers if header]


def of_json(text: str) -> list[Mapping[str, Any]]:
    """The header in a JSON object of cards, or those in a list of such objects."""
    found = json.loads(text)
    headers = found if isinstance(found, list) else [found]
    if not all(isinstance(header, dict) for header in headers):
        raise ValueError("it is no JSON object of cards, nor a list of such")
    return headers


def _of_lines(lines: list[str]) -> Cards:
    # SCAMP signs its comments in UTF-8; what latin-1 cannot hold is never in a card that is read.
    cards = [line.encode("latin-1", "replace")[:CARD].ljust(CARD) for line in lines]
    return Cards(b"".join(cards))


@lru_cache(maxsize=256)
def _layout(names: bytes) -> dict[str, int]:
    """Where each keyword's card begins, of the first ten characters of all cards."""
    at: dict[str, int] = {}
    for n in range(len(names) // 10):
        card = names[10 * n : 10 * n + 10]
        if card[8:9] == b"=" and card[:8] not in COMMENTS:
            at.setdefault(card[:8].decode("latin-1").rstrip(), n * CARD)
    return at
