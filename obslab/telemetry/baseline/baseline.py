"""Baseline: three curves with an interval of validity, as a value that is stored and named by its content."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from obslab.errors import BaselineError, NoBaselineError
from obslab.telemetry.baseline import canonical, layout
from obslab.telemetry.baseline.basis import Floats, Nanoseconds
from obslab.telemetry.baseline.canonical import COMPONENTS, Frame, How, SpotsLayout
from obslab.telemetry.baseline.curve import Curve
from obslab.times import Instant, as_ns, as_utc, iso, to_ns

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class Baseline:
    """What is added to a variometer to make it absolute, for times in ``[begin, end)``.

    ``frame`` is the variometer's. hez: H = sqrt((H0+h)^2 + e^2), D = D0 + atan2(e, H0+h), Z = Z0 + z; the
    others are sums. Two are equal when their ``id`` is: it is the digest of all they hold. Of a fit that
    nobody adopted, ``author`` and ``reason`` are empty and ``adopted_at`` is None.
    """

    station: str
    instrument: str
    frame: Frame
    begin: np.datetime64
    end: np.datetime64
    curves: tuple[Curve, Curve, Curve]
    how: How
    table: SpotsLayout = field(repr=False)
    pier_difference_nt: float = 0.0
    mean_h_nt: float | None = None
    mean_f_nt: float | None = None
    author: str = ""
    reason: str = ""
    adopted_at: np.datetime64 | None = None

    @property
    def components(self) -> tuple[str, str, str]:
        return COMPONENTS[self.frame]

    @property
    def units(self) -> tuple[str, ...]:
        """nT, or deg for d and i."""
        return tuple(curve.unit for curve in self.curves)

    @property
    def spots(self) -> xr.Dataset:
        """The SPOTS it was fitted to, with those that were not used."""
        return layout.spots_of(self)

    def values(self, time_ns: ArrayLike) -> Floats:
        """Bases at these times, ns since 1970 or datetime64: ``(n, 3)`` in ``units``.

        Raises NoBaselineError when one of them is outside the interval of validity.
        """
        wanted = self._valid(time_ns)
        coefficients = np.stack([curve.coefficients for curve in self.curves], axis=1)
        return self.curves[0].basis.values(wanted, coefficients)

    def band(self, time_ns: ArrayLike) -> Floats:
        """Standard errors (1 sigma) of ``values``: ``(n, 3)`` in ``units``."""
        wanted = self._valid(time_ns)
        return np.stack([curve.band(wanted) for curve in self.curves], axis=1)

    def adopted(self, author: str, reason: str, now: Instant) -> Baseline:
        """The same, adopted by a person for a reason at a time; neither may be empty."""
        for name, text in (("author", author), ("reason", reason)):
            if not text.strip():
                raise BaselineError(f"a baseline is adopted by somebody for a reason: {name} is empty")
        return replace(self, author=author.strip(), reason=reason.strip(), adopted_at=as_utc(now))

    @cached_property
    def id(self) -> str:
        """SHA-256 of the canonical JSON without id, 64 hexadecimal digits."""
        return canonical.digest(layout.layout_of(self))

    def to_json(self) -> bytes:
        """Canonical JSON; ``canonical`` documents the layout."""
        return canonical.encode(layout.layout_of(self))

    @classmethod
    def from_json(cls, payload: bytes, name: str = "baseline") -> Baseline:
        """The baseline in these bytes, checked; ``name`` is for the error, BaselineError."""
        return cls(**layout.fields_of(canonical.decode(payload, name), name))

    def __eq__(self, other: object) -> Any:
        return self.id == other.id if isinstance(other, Baseline) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        by = f"adopted by {self.author} at {iso(self.adopted_at, 0)}" if self.adopted_at else "not adopted"
        return (
            f"baseline {self.id[:8]} of {self.station} {self.instrument} "
            f"from {iso(self.begin)} to {iso(self.end)}, {by}"
        )

    def _valid(self, time_ns: ArrayLike) -> Nanoseconds:
        given = np.atleast_1d(np.asarray(time_ns))
        wanted = to_ns(given) if given.dtype.kind == "M" else given.astype(np.int64)
        outside = (wanted < as_ns(self.begin)) | (wanted >= as_ns(self.end))
        if outside.any():
            first = iso(int(wanted[outside][0]))
            raise NoBaselineError(
                f"baseline {self.id[:8]} of {self.station} {self.instrument} is not valid at {first}, only "
                f"from {iso(self.begin)} to {iso(self.end)}; adopt one for that time "
                "(`obslab baseline adopt`)",
                time=first,
                begin=self.begin,
                end=self.end,
            )
        return wanted
