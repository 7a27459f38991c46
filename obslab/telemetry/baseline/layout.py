"""Layout: between a Baseline and its JSON layout, every array checked on the way in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import BadTimeError, BaselineError
from obslab.telemetry.baseline.basis import Basis, Floats, Piece
from obslab.telemetry.baseline.canonical import (
    COMPONENTS,
    FORMAT,
    BasisLayout,
    CurveLayout,
    Layout,
    PieceLayout,
    SpotsLayout,
)
from obslab.telemetry.baseline.curve import Curve
from obslab.times import as_ns, as_utc, from_ns, iso, to_ns

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.baseline.baseline import Baseline


def layout_of(baseline: Baseline) -> Layout:
    """A baseline as it is written; the id is left to ``canonical``."""
    basis = baseline.curves[0].basis
    return Layout(
        format=FORMAT,
        station=baseline.station,
        instrument=baseline.instrument,
        frame=baseline.frame,
        begin=iso(baseline.begin),
        end=iso(baseline.end),
        pier_difference_nt=baseline.pier_difference_nt,
        mean_h_nt=baseline.mean_h_nt,
        mean_f_nt=baseline.mean_f_nt,
        author=baseline.author,
        reason=baseline.reason,
        adopted_at=None if baseline.adopted_at is None else iso(baseline.adopted_at),
        how=baseline.how,
        basis=BasisLayout(
            degree=basis.degree,
            pieces=tuple(PieceLayout(begin=iso(p.begin_ns), knots=texts(p.knots_ns)) for p in basis.pieces),
            steps=texts(basis.steps_ns),
            extrapolation=basis.extrapolation,
        ),
        curves=tuple(_curve_layout(curve) for curve in baseline.curves),
        spots=baseline.table,
    )


def fields_of(layout: Layout, name: str) -> dict[str, Any]:
    """The fields of the baseline that was written so; BaselineError for what cannot be."""
    try:
        problems = list(_problems(layout))
        if not problems:
            basis = _basis(layout.basis)
            problems = list(_curve_problems(layout, basis))
    except BadTimeError as error:
        problems = [error.message]
    if problems:
        raise BaselineError(f"{name} cannot be used: {'; '.join(problems)}", problems=tuple(problems))
    return {
        "station": layout.station,
        "instrument": layout.instrument,
        "frame": layout.frame,
        "begin": as_utc(layout.begin),
        "end": as_utc(layout.end),
        "curves": tuple(_curve(curve, basis) for curve in layout.curves),
        "how": layout.how,
        "table": layout.spots,
        "pier_difference_nt": layout.pier_difference_nt,
        "mean_h_nt": layout.mean_h_nt,
        "mean_f_nt": layout.mean_f_nt,
        "author": layout.author,
        "reason": layout.reason,
        "adopted_at": None if layout.adopted_at is None else as_utc(layout.adopted_at),
    }


def spots_layout(spots: xr.Dataset) -> SpotsLayout:
    """A table of SPOTS, compact."""
    return SpotsLayout(
        time=texts(to_ns(spots.time.values)),
        base=_nulls(spots.base.values),
        error=_nulls(spots.error.values),
        observer=tuple(str(text) for text in spots.observer.values),
        source=tuple(str(text) for text in spots.source.values),
        used=tuple(bool(used) for used in spots.used.values),
        note=tuple(str(text) for text in spots.note.values),
    )


def spots_of(baseline: Baseline) -> xr.Dataset:
    """The table of SPOTS in a baseline."""
    from obslab.telemetry.datasets import SPOTS

    table, width = baseline.table, len(baseline.components)
    return SPOTS.build(
        {
            "station": baseline.station,
            "instrument": baseline.instrument,
            "frame": baseline.frame,
            "pier_difference_nt": baseline.pier_difference_nt,
            "mean_h_nt": np.nan if baseline.mean_h_nt is None else baseline.mean_h_nt,
            "mean_f_nt": np.nan if baseline.mean_f_nt is None else baseline.mean_f_nt,
        },
        time=from_ns(_ns(table.time)),
        base=np.array(table.base, np.float64).reshape(-1, width),
        error=np.array(table.error, np.float64).reshape(-1, width),
        component=np.array(baseline.components),
        unit=np.array(baseline.units),
        observer=np.array(table.observer, str),
        source=np.array(table.source, str),
        used=np.array(table.used, bool),
        note=np.array(table.note, str),
    )


def texts(times_ns: Sequence[int] | NDArray[np.int64]) -> tuple[str, ...]:
    """Times as ISO text."""
    return tuple(iso(int(time_ns)) for time_ns in times_ns)


def _ns(times: Sequence[str]) -> NDArray[np.int64]:
    return np.array([as_ns(text) for text in times], np.int64)


def _nulls(values: Floats) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(float(v) if np.isfinite(v) else None for v in row) for row in values)


def _curve_layout(curve: Curve) -> CurveLayout:
    return CurveLayout(
        component=curve.component,
        unit="nT" if curve.unit == "nT" else "deg",
        coefficients=tuple(curve.coefficients.tolist()),
        factor=tuple(curve.factor[np.triu_indices(len(curve.factor))].tolist()),
        chi2=curve.chi2,
        smoothing_days=curve.smoothing_days,
    )


def _curve(layout: CurveLayout, basis: Basis) -> Curve:
    factor = np.zeros((basis.size, basis.size))
    factor[np.triu_indices(basis.size)] = layout.factor
    coefficients = np.array(layout.coefficients, np.float64)
    return Curve(
        layout.component, layout.unit, basis, coefficients, factor, layout.chi2, layout.smoothing_days
    )


def _basis(layout: BasisLayout) -> Basis:
    pieces = tuple(Piece(as_ns(p.begin), _ns(p.knots), layout.degree) for p in layout.pieces)
    return Basis(pieces, _ns(layout.steps), layout.extrapolation)


def _problems(layout: Layout) -> Iterator[str]:
    if as_ns(layout.begin) >= as_ns(layout.end):
        yield f"begin {layout.begin} is not before end {layout.end}"
    if not 0 <= layout.basis.degree <= 5:
        yield f"degree {layout.basis.degree} is none of 0 to 5"
    if not layout.basis.pieces:
        yield "the basis has no piece"
    for times in (*(piece.knots for piece in layout.basis.pieces), layout.basis.steps):
        if (np.diff(_ns(times)) <= 0).any():
            yield f"knots or steps {times[0]} to {times[-1]} are not in order of time"
    if any(len(piece.knots) < 2 for piece in layout.basis.pieces):
        yield "a piece has fewer than two knots"
    if (np.diff(_ns([piece.begin for piece in layout.basis.pieces])) <= 0).any():
        yield "pieces are not in order of time"
    table = layout.spots
    columns = (table.base, table.error, table.observer, table.source, table.used, table.note)
    if any(len(column) != len(table.time) for column in columns):
        yield f"columns of spots are not all {len(table.time)} long, as time is"
    if any(len(row) != 3 for row in (*table.base, *table.error)):
        yield "a spot has not three components"
    _ns(table.time)  # refuses what is no time
    if (layout.adopted_at is None) != (not layout.author) or (not layout.reason) != (not layout.author):
        yield "author, reason and adopted_at are not all there, nor all absent"
    if layout.adopted_at is not None:
        as_ns(layout.adopted_at)


def _curve_problems(layout: Layout, basis: Basis) -> Iterator[str]:
    named = tuple(curve.component for curve in layout.curves)
    if named != COMPONENTS[layout.frame]:
        yield f"its curves are of {named}, wanted {COMPONENTS[layout.frame]} for frame {layout.frame}"
    for curve in layout.curves:
        unit = "deg" if curve.component in "di" else "nT"
        if curve.unit != unit:
            yield f"component {curve.component} is in {curve.unit}, wanted {unit}"
        if len(curve.coefficients) != basis.size:
            yield f"component {curve.component} has {len(curve.coefficients)} coefficients, not {basis.size}"
        if len(curve.factor) != basis.size * (basis.size + 1) // 2:
            yield f"component {curve.component} has a factor of {len(curve.factor)} numbers"
