"""Canonical JSON of a baseline: the layout, the bytes and the id that is their digest.

One object, in UTF-8, keys sorted, no white space, no NaN; floats are the shortest text that gives the same
double again, as Python's ``repr`` writes it; times are ISO text with ``Z``, exact to a nanosecond; what is
not known is null. ``id`` is the SHA-256, in hexadecimal, of the same bytes without the key ``id``.

Of the mathematics it has all that is needed to evaluate the curve elsewhere: ``basis`` has for each piece
the time from which it holds and its distinct knots (B-splines of ``degree`` in days after the first knot,
outer knots repeated degree times more), then the times of Heaviside steps; each of ``curves`` has one
coefficient for each B-spline, piece by piece, then the steps' heights, and ``factor``, the upper triangle
by rows of U, where U U^T is the covariance of the coefficients. Outside its knots a piece goes on as
``extrapolation`` says. Units: nT, and degrees for d and i.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

import msgspec

from obslab.errors import BaselineError

FORMAT = "obslab-baseline/1"

Frame = Literal["hez", "hdz", "xyz", "dif"]

COMPONENTS: dict[Frame, tuple[str, str, str]] = {
    "hez": ("h", "d", "z"),
    "hdz": ("h", "d", "z"),
    "xyz": ("x", "y", "z"),
    "dif": ("d", "i", "f"),
}
"""Components of a baseline by the frame of the variometer."""


class How(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of ``fit`` that made a baseline: ``fit(spots, **how.options())`` makes it again.

    Times are ISO text. ``smoothing`` is what was asked for; what was chosen is in the curves.
    """

    method: Literal["spline", "polynomial"]
    degree: int
    knots: int | tuple[str, ...] | None = None
    smoothing: float | tuple[float, ...] | None = None
    steps: tuple[str, ...] = ()
    restart: bool = False
    reject_sigma: float | None = 4.0
    extrapolation: Literal["linear", "constant"] = "linear"

    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__}


class PieceLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    begin: str
    knots: tuple[str, ...]


class BasisLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    degree: int
    pieces: tuple[PieceLayout, ...]
    steps: tuple[str, ...]
    extrapolation: Literal["linear", "constant"]


class CurveLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    component: str
    unit: Literal["nT", "deg"]
    coefficients: tuple[float, ...]
    factor: tuple[float, ...]
    chi2: float
    smoothing_days: float | None


class SpotsLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The spots it was fitted to, column by column; ``base`` and ``error`` have one row for each spot."""

    time: tuple[str, ...]
    base: tuple[tuple[float | None, ...], ...]
    error: tuple[tuple[float | None, ...], ...]
    observer: tuple[str, ...]
    source: tuple[str, ...]
    used: tuple[bool, ...]
    note: tuple[str, ...]


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    format: str
    station: str
    instrument: str
    frame: Frame
    begin: str
    end: str
    pier_difference_nt: float
    mean_h_nt: float | None
    mean_f_nt: float | None
    author: str
    reason: str
    adopted_at: str | None
    how: How
    basis: BasisLayout
    curves: tuple[CurveLayout, ...]
    spots: SpotsLayout
    id: str = ""


def encode(layout: Layout) -> bytes:
    """The canonical bytes, with the id that belongs to them."""
    return _bytes(_without_id(layout) | {"id": digest(layout)})


def digest(layout: Layout) -> str:
    """SHA-256 of the canonical bytes without id, in hexadecimal."""
    return hashlib.sha256(_bytes(_without_id(layout))).hexdigest()


def decode(payload: bytes, name: str = "baseline") -> Layout:
    """The layout in these bytes, checked against its id; ``name`` is for the error, BaselineError."""
    try:
        kind = msgspec.json.decode(payload, type=_Kind).format
        if kind != FORMAT:
            raise BaselineError(f"{name} has format {kind!r}, wanted {FORMAT!r}: upgrade obslab", format=kind)
        layout = msgspec.json.decode(payload, type=Layout)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BaselineError(
            f"{name} is not a baseline in canonical JSON: {error}; restore the file, or adopt anew", name=name
        ) from error
    if layout.id != (wanted := digest(layout)):
        raise BaselineError(
            f"{name} was altered or damaged: its content has id {wanted[:8]}, "
            f"it says {layout.id[:8] or 'none'}; restore the file, or adopt anew",
            name=name,
        )
    return layout


class _Kind(msgspec.Struct):
    format: str


def _without_id(layout: Layout) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(layout)
    return {key: value for key, value in content.items() if key != "id"}


def _bytes(content: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except ValueError as error:  # UnicodeEncodeError is one
        raise BaselineError(f"baseline cannot be written as JSON: {error}") from error
