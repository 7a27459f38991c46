"""A simulated AUTODIF: measures D and I a few times a day, at the pace of a real one and with its errors.

It stands on a pillar whose field is that of the station's variometer and a baseline, which is known here and
which nobody downstream is told: what comes out of the whole chain can be compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import ConfigError
from obslab.telemetry import autodif, codec
from obslab.telemetry.absolutes.records import to_record
from obslab.telemetry.absolutes.simulating import LASTING_S, LEAD_S, FieldOf, Floats, simulate
from obslab.telemetry.sample import FORMAT, IRREGULAR, Clock, Meta, Stream, as_datetime
from obslab.times import NS_PER_DAY, as_ns

INSTRUMENT = "autodif01"
SCHEDULE = ("02:10", "06:40", "10:25", "15:50", "21:15")
"""Times of day at which it begins, UTC."""

AZIMUTH_DEG = 251.372
"""Of its mark, east of geographic north."""

TRUE_BASELINES = {"hez": (23.35, 3.6745, -21.35), "xyz": (12.0, -8.0, 15.0), "hdz": (25.0, 4.25, -19.0)}
"""``hez`` is what WIC's observers found for its LEMI036 in January 2024, the last before the storm replayed.

What the pillar has more than the variometer, by the components of that: H0 nT, D0 degrees, Z0 nT, or
X0, Y0, Z0 nT. H = sqrt((H0 + h)^2 + e^2), D = D0 + atan2(e, H0 + h), Z = Z0 + z; the others are sums."""

_measured = partial(
    simulate,
    method="autodif",
    delta_arcmin=3.0,
    epsilon_arcmin=-2.0,
    offset_nt=4.0,
    sighting_arcmin=1.5,
    stop_arcsec=3.5,
    noise_nt=0.05,
    circle_noise_arcsec=5.0,
    circle_zero_deg=12.345,
)

_NS = 1_000_000_000
_LASTING_NS = LASTING_S * _NS
_PURPOSE = 3  # keeps its random numbers apart from those of ``simulate``


class Autodif:
    """Measures twice when the station begins, and then at the times of ``schedule``; hands out whole records.

    The first measurement ends as the station begins, so that nobody waits five minutes for D and I. The
    variometer beside it has recorded nothing by then; the second, right from the beginning, has data to be
    compared with. Times are the station's; schedule and field are those of a clock that is ``shift_ns``
    behind, as that of a recording played today, and end at ``until_ns`` of that clock. The same seed and
    time give the same readings.
    """

    def __init__(
        self,
        stream: Stream,
        field: FieldOf,
        about: Meta,
        *,
        seed: int = 1,
        schedule: tuple[str, ...] = SCHEDULE,
        azimuth_deg: float = AZIMUTH_DEG,
        shift_ns: int = 0,
        until_ns: int | None = None,
    ) -> None:
        self.stream, self.shift_ns = stream, shift_ns
        self._field, self._seed = field, seed
        self._schedule, self._until_ns = schedule, until_ns
        self._begun_ns = self._after_ns = 0
        self._meta = Meta(
            format=FORMAT,
            valid_from=about.valid_from,
            kind="absolute",
            components=("d", "i"),
            units="deg",
            scale=1e-6,
            delay_s=float(LASTING_S),
            sensor="AUTODIF (simulated)",
            site=about.site,
            latitude_deg=about.latitude_deg,
            longitude_deg=about.longitude_deg,
            elevation_m=about.elevation_m,
            azimuth_deg=azimuth_deg,
        )

    def begin(self, at_ns: int, earliest_ns: int = 0) -> None:
        """The station begins: a measurement ends now, if all of it was after ``earliest``, and one begins."""
        self._begun_ns = at_ns // _NS * _NS
        before_ns = self._begun_ns - _LASTING_NS
        self._after_ns = before_ns if before_ns >= earliest_ns else self._begun_ns

    def resume(self, newest_ns: int | None, at_ns: int, begun_ns: int = 0, earliest_ns: int = 0) -> None:
        """The station, begun at ``begun``, goes on at ``at``.

        What follows are the measurements after its newest that are not over by then.
        """
        if newest_ns is None:
            self.begin(begun_ns if at_ns - begun_ns < _LASTING_NS else at_ns, earliest_ns)
        else:
            self._begun_ns = begun_ns
            self._after_ns = max(newest_ns, at_ns - 2 * _LASTING_NS) + _LASTING_NS

    def meta(self, clock: Clock) -> Meta:
        """In force from before the first measurement on."""
        minutes = sorted(round((at + self.shift_ns) % NS_PER_DAY / 60e9) % 1440 for at in self._of_day())
        return msgspec.structs.replace(
            self._meta,
            valid_from=as_datetime(as_ns(clock.station) - _LASTING_NS),
            schedule=tuple(f"{minute // 60:02}:{minute % 60:02}" for minute in minutes),
            clock=clock,
        )

    def next_ns(self) -> int | None:
        """When the next record is handed out; None when there is no more."""
        end_ns = self._start_ns() + _LASTING_NS
        over = self._until_ns is not None and end_ns - self.shift_ns > self._until_ns
        return None if over else end_ns

    def due(self, now_ns: int) -> Iterator[tuple[str, int, bytes]]:
        """The records of measurements that are over."""
        while (end_ns := self.next_ns()) is not None and end_ns <= now_ns:
            start_ns = end_ns - _LASTING_NS
            self._after_ns = end_ns
            yield self.stream.topic, start_ns, self._record(start_ns)

    def _record(self, start_ns: int) -> bytes:
        rng = np.random.Generator(
            np.random.Philox(key=(self._seed * 4 + _PURPOSE) & (2**64 - 1), counter=start_ns // _NS)
        )
        azimuth_deg = self._meta.azimuth_deg or 0.0
        measurement = _measured(
            lambda time_ns: self._field(time_ns - self.shift_ns),
            start_ns + LEAD_S * _NS,
            azimuth_deg=azimuth_deg,
            rng=rng,
        )
        time_ns, body = to_record(measurement)
        return codec.encode(self.stream, self._meta, time_ns, autodif.unpack(body))

    def _start_ns(self) -> int:
        if self._after_ns in (self._begun_ns - _LASTING_NS, self._begun_ns):
            return self._after_ns
        there_ns = self._after_ns - self.shift_ns
        midnight_ns = there_ns // NS_PER_DAY * NS_PER_DAY
        starts = [midnight_ns + day * NS_PER_DAY + at for day in (0, 1) for at in self._of_day()]
        return (min(start for start in starts if start >= there_ns) + self.shift_ns) // _NS * _NS

    def _of_day(self) -> list[int]:
        return [(int(at[:2]) * 60 + int(at[3:])) * 60 * _NS for at in self._schedule]


def stream_of(station: str) -> Stream:
    """Where its measurements go, as ``wic/autodif01/abs``."""
    return Stream(station, INSTRUMENT, IRREGULAR)


def of_recording(
    components: tuple[str, ...], time_ns: NDArray[np.int64], values: Floats, period_ns: int
) -> FieldOf:
    """The field on the pillar beside a recorded variometer, which is played again and again.

    Between its samples, and where some are missing, it is interpolated. Raises ConfigError as ``on_pillar``.
    """
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        raise ConfigError("absolute measurements cannot be simulated on a vector without a whole sample")
    begin_ns = int(time_ns[0])
    pillar_nt = np.ascontiguousarray(on_pillar(components, values[known]).T)  # np.interp copies what is not
    since_s = (time_ns[known] - begin_ns) / 1e9

    def field(at_ns: NDArray[np.int64]) -> Floats:
        at_s = (at_ns - begin_ns) % period_ns / 1e9
        return np.stack([np.interp(at_s, since_s, column) for column in pillar_nt], axis=1)

    return field


def on_pillar(components: tuple[str, ...], values: Floats) -> Floats:
    """North, east and down in nT on the pillar, of a variometer's values, shape (n, 3), d in minutes of arc.

    See ``TRUE_BASELINES``. Raises ConfigError for components of which it has no baseline.
    """
    frame = "".join(components)
    if frame not in TRUE_BASELINES:
        known = ", ".join(" ".join(one) for one in TRUE_BASELINES)
        raise ConfigError(
            f"absolute measurements are simulated on {known}, not on {' '.join(components)}; "
            "leave out --absolutes"
        )
    base = np.array(TRUE_BASELINES[frame])
    if frame == "xyz":
        return np.asarray(values + base)
    if frame == "hez":
        h, e = values[:, 0] + base[0], values[:, 1]
        level, declination = np.hypot(h, e), np.radians(base[1]) + np.arctan2(e, h)
    else:
        level, declination = values[:, 0] + base[0], np.radians(values[:, 1] / 60.0 + base[1])
    return np.stack(
        [level * np.cos(declination), level * np.sin(declination), values[:, 2] + base[2]], axis=1
    )
