"""Numbers in words, the same in every widget."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A length of time for people: 3.2 s, 5 min 20 s, 2 h 05 min, 4 d 3 h."""
    if abs(seconds) < 100:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def latency(seconds: float) -> str:
    """How late something came: 12 ms, 0.41 s, 5.2 s, 3 min 20 s."""
    if abs(seconds) < 0.1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s" if abs(seconds) < 10 else duration(seconds)


def count(number: int, thing: str) -> str:
    """1 gap, 12 gaps, 3,600 samples."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
