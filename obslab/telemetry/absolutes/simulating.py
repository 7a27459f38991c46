"""Simulated measurements, for tests and the simulated AUTODIF: exact geometry, with known errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.errors import SheetError
from obslab.telemetry.absolutes.measurement import NO_TIME_NS, READING, Measurement, Rows, mean_direction
from obslab.telemetry.absolutes.model import directions
from obslab.times import NS_PER_S, Instant, as_ns

Floats = NDArray[np.float64]
FieldOf = Callable[[NDArray[np.int64]], Floats]
"""North, east and down component in nT, shape (n, 3), at times in ns."""

METHODS = ("residual", "null", "autodif")

# Seconds of the positions after the first reading for D: an observer's two minutes, an AUTODIF's pace.
_D_BY_HAND = {"up-east": 0, "up-west": 120, "down-east": 240, "down-west": 360}
_I_BY_HAND = {"up-north": 780, "down-south": 900, "down-north": 1050, "up-south": 1170}
_D_AUTOMATIC = {"up-east": 0, "down-west": 18, "down-east": 54, "up-west": 71}
_I_AUTOMATIC = {"up-south": 165, "down-north": 183, "down-south": 222, "up-north": 235}

LEAD_S = 83
"""An AUTODIF sights its mark this long before it first reads the field: Dourbes, 1 August 2020."""

LASTING_S = LEAD_S + max(_I_AUTOMATIC.values())
"""From an AUTODIF's first reading to its last."""

_MARKS_BY_HAND = (("down", None), ("down", None), ("up", None), ("up", None)) * 2
_MARKS_AUTOMATIC = (("up", -LEAD_S), ("down", -38), ("up", 99), ("down", 126))
_PAIR_S, _TILT_S, _TILT_DEG = 30, 60, 1 / 6
_STOP_ARCSEC = {"residual": 10.0}  # an observer leaves the circle this near to no field and reads the rest
_ROUNDS = 8  # of the secant method; more than double precision needs
_ARCMIN = np.pi / 180 / 60


@dataclass(frozen=True)
class Bench:
    """A theodolite on a pillar: what its sensor shows, and where it shows nothing."""

    field: FieldOf
    delta: float
    epsilon: float
    offset_nt: float

    def shown_nt(self, time_ns: int, azimuth_deg: float, vertical_deg: float) -> float:
        return self._shown_nt(self._at(time_ns), azimuth_deg, vertical_deg)

    def null_azimuth(self, time_ns: int, position: str) -> float:
        field = self._at(time_ns)
        vertical = _level(position)
        near = np.degrees(np.arctan2(field[1], field[0]))
        near += 90.0 if position in ("up-east", "down-west") else 270.0
        return _null(lambda angle: self._shown_nt(field, angle, vertical), near)

    def null_vertical(self, time_ns: int, position: str, azimuth_deg: float) -> float:
        field = self._at(time_ns)
        dip = np.degrees(np.arctan2(field[2], np.hypot(field[0], field[1])))
        near = (dip if _circle(position) == 0.0 else -dip) % 180.0
        near += 0.0 if position.startswith("up") else 180.0
        return _null(lambda angle: self._shown_nt(field, azimuth_deg, angle), near)

    def _at(self, time_ns: int) -> Floats:
        return np.asarray(self.field(np.array([time_ns]))[0])

    def _shown_nt(self, field: Floats, azimuth_deg: float, vertical_deg: float) -> float:
        t, e_h, e_v = directions(np.radians([azimuth_deg]), np.radians([vertical_deg]))[:, 0]
        return float(self.offset_nt + field @ (t + self.delta * e_h + self.epsilon * e_v))


def simulate(
    field: FieldOf,
    begin: Instant,
    *,
    method: str = "residual",
    azimuth_deg: float = 180.0,
    delta_arcmin: float = 0.0,
    epsilon_arcmin: float = 0.0,
    offset_nt: float = 0.0,
    sighting_arcmin: float = 0.0,
    stop_arcsec: float | None = None,
    noise_nt: float = 0.0,
    circle_noise_arcsec: float = 0.0,
    circle_zero_deg: float = 0.0,
    rng: np.random.Generator | None = None,
    station: str = "",
) -> Measurement:
    """A measurement of ``field`` whose first reading of it is at ``begin``.

    residual: in each position two readings, half a minute apart, with the circle near no field, and at the
    end the tilt; null: one reading in each position with the circle turned to no field; autodif: that in the
    order and at the pace of an AUTODIF, with what its sensor still shows, to the pT. The circle is left
    within ``stop_arcsec`` of no field: ten in the residual method unless given, else none.
    ``sighting_arcmin`` is the collimation of what the mark is sighted with. ``noise_nt`` is of what the
    sensor shows, ``circle_noise_arcsec`` of every setting of a circle that is read, one sigma each;
    ``circle_zero_deg`` is what the horizontal circle reads at geographic north. An error of the vertical
    circle's zero does what ``epsilon_arcmin`` does.
    """
    if method not in METHODS:
        raise SheetError(f"method {method!r} is none of {', '.join(METHODS)}", method=method)
    rng = rng or np.random.default_rng(0)
    bench = Bench(field, delta_arcmin * _ARCMIN, epsilon_arcmin * _ARCMIN, offset_nt)
    begin_ns, automatic = as_ns(begin), method == "autodif"
    marks = _marks(begin_ns, azimuth_deg, sighting_arcmin / 60, automatic)
    for_d = _planned("declination", _D_AUTOMATIC if automatic else _D_BY_HAND, begin_ns)
    for_i = _planned("inclination", _I_AUTOMATIC if automatic else _I_BY_HAND, begin_ns)
    stop = (_STOP_ARCSEC.get(method, 0.0) if stop_arcsec is None else stop_arcsec) / 3600

    for row in for_d:
        row["vertical_deg"] = _level(row["position"])
        row["horizontal_deg"] = bench.null_azimuth(row["time_ns"], row["position"]) + rng.uniform(-stop, stop)
    # The observer's meridian: the mean of where the four positions have it.
    turned = np.where(np.isin(for_d["position"], ("up-east", "down-west")), 90.0, 270.0)
    meridian_deg = mean_direction(for_d["horizontal_deg"] - turned)
    for row in for_i:
        row["horizontal_deg"] = meridian_deg + _circle(row["position"])
        angle = bench.null_vertical(row["time_ns"], row["position"], row["horizontal_deg"])
        row["vertical_deg"] = angle + rng.uniform(-stop, stop)
    fields = [for_d, for_i]
    if method == "residual":
        fields = [_twice(for_d), _twice(for_i)]
        tilt = fields[1][-1:].copy()
        tilt["kind"] = "scale"
        tilt["time_ns"] += _TILT_S * NS_PER_S
        tilt["vertical_deg"] += _TILT_DEG
        fields[1] = np.concatenate([fields[1], tilt])
    if method != "null":
        for rows in fields:
            shown = [bench.shown_nt(r["time_ns"], r["horizontal_deg"], r["vertical_deg"]) for r in rows]
            rows["residual_nt"] = shown + rng.normal(0.0, noise_nt, len(rows))
            if automatic:
                rows["residual_nt"] = np.round(rows["residual_nt"], 3)

    sigma_deg = circle_noise_arcsec / 3600
    marks["horizontal_deg"] += rng.normal(0.0, sigma_deg, len(marks))
    for rows, circle in zip(fields, ("horizontal_deg", "vertical_deg"), strict=True):
        _, setting = np.unique(rows["position"], return_inverse=True)
        rows[circle] += rng.normal(0.0, sigma_deg, 4)[setting]
    fields[1]["horizontal_deg"] = [_circle(name) for name in fields[1]["position"]]
    for rows in (marks, fields[0]):
        rows["horizontal_deg"] = (rows["horizontal_deg"] + circle_zero_deg) % 360.0
    half = len(marks) // 2
    return Measurement(
        method,
        azimuth_deg,
        np.concatenate([marks[:half], fields[0], marks[half:], fields[1]]),
        station=station,
        observer="simulated",
        theodolite="simulated",
    )


def _marks(begin_ns: int, azimuth_deg: float, sighting_deg: float, automatic: bool) -> Rows:
    plan = _MARKS_AUTOMATIC if automatic else _MARKS_BY_HAND
    rows = np.zeros(len(plan), READING)
    rows["kind"], rows["vertical_deg"], rows["residual_nt"] = "mark", np.nan, np.nan
    rows["position"] = [face for face, _ in plan]
    rows["time_ns"] = [NO_TIME_NS if s is None else begin_ns + s * NS_PER_S for _, s in plan]
    # Turned over, the telescope looks past the mark on the other side.
    rows["horizontal_deg"] = azimuth_deg + np.where(
        rows["position"] == "up", sighting_deg, 180.0 - sighting_deg
    )
    return rows


def _planned(kind: str, plan: dict[str, int], begin_ns: int) -> Rows:
    rows = np.zeros(len(plan), READING)
    rows["kind"], rows["position"] = kind, list(plan)
    rows["time_ns"] = [begin_ns + after_s * NS_PER_S for after_s in plan.values()]
    return rows


def _twice(rows: Rows) -> Rows:
    again: Rows = np.repeat(rows, 2)
    again["time_ns"][1::2] += _PAIR_S * NS_PER_S
    return again


def _level(position: str) -> float:
    return 90.0 if position.startswith("up") else 270.0


def _circle(position: str) -> float:
    """The horizontal circle in the magnetic meridian: turned over, it reads half a circle more."""
    return 0.0 if position in ("up-north", "down-south") else 180.0


def _null(shown: Callable[[float], float], near_deg: float) -> float:
    before, angle = near_deg - 0.1, near_deg
    was = shown(before)
    for _ in range(_ROUNDS):
        now = shown(angle)
        if now == was:
            break
        before, was, angle = angle, now, angle - now * (angle - before) / (now - was)
    return angle
