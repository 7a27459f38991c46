"""The line of each table and key of a TOML text, which tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import Any

Place = tuple[str | int, ...]

_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*=""")


def lines_of(text: str) -> dict[Place, int]:
    """Line numbers by place, such as ``("rule", 0, "kind")``; of a key in an inline table there is none."""
    found: dict[Place, int] = {}
    table: Place = ()
    counts: Counter[Place] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            try:
                parsed = tomllib.loads(line)
            except tomllib.TOMLDecodeError:  # a row of a list that goes over several lines
                continue
            table = _table(parsed, counts)
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, key[1].strip("\"'")), number)
    return found


def _table(parsed: Any, counts: Counter[Place]) -> Place:
    table: Place = ()
    while parsed:
        if isinstance(parsed, list):
            counts[table] += 1
            table, parsed = (*table, counts[table] - 1), parsed[0]
        else:
            ((name, parsed),) = parsed.items()
            table = (*table, name)
    return table
