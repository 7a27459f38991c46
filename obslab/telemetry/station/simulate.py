"""Simulated instruments and a simulated satellite, the same for the same seed and time.

The field is a plausible quiet day, not a model of a place: a constant, a daily variation of some tens of
nT, pulsations, and noise at the level of the instruments (10 pT; 0.02 nT for the scalar).
"""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ConfigError
from obslab.telemetry import autodif, codec
from obslab.telemetry.sample import FORMAT, IRREGULAR, Clock, Meta, Stream, as_datetime
from obslab.telemetry.station.autodif import Autodif, on_pillar, stream_of
from obslab.telemetry.station.journal import Entry, Journal, Unsendable
from obslab.telemetry.station.link_model import LEMI_DELAY_S, PRESETS, Preset, outage_s
from obslab.telemetry.station.replay import Outgoing, refuse_going_back
from obslab.times import as_ns

_NS = 1_000_000_000
_DAY_S = 86_400.0
_FIELD_NT = np.array([13_210.0, -3_105.0, -36_240.0])  # about what PEA has: |F| = 38.7 uT
_DAILY_NT = np.array([18.0, 14.0, 9.0])


def preset_named(name: str) -> Preset:
    """The preset of that name. Raises ConfigError."""
    if name not in PRESETS:
        raise ConfigError(f"--preset {name!r} is none of {', '.join(PRESETS)}")
    return PRESETS[name]


class Simulator:
    """A LEMI-25 and a GSM-90 at 1 Hz, from now on, for ever; with ``absolutes`` an AUTODIF beside them."""

    def __init__(
        self,
        station: str = "PEA",
        instruments: tuple[str, str] = ("lemi0001", "gsm90001"),
        *,
        seed: int = 1,
        speed: float = 1.0,
        wall_ns: int | None = None,
        absolutes: bool = False,
    ) -> None:
        wall = (time.time_ns() if wall_ns is None else wall_ns) // _NS * _NS
        self.clock = Clock(as_datetime(wall), as_datetime(wall), speed)
        self.unsendable: list[Unsendable] = []
        self._seed = seed
        self._next_s = wall // _NS
        self.vector, self.scalar = (Stream(station, name, "sec") for name in instruments)
        self._autodif: Autodif | None = None
        if absolutes:
            about = self.metas()[0][1]
            self._autodif = Autodif(stream_of(station), _pillar_nt, about, seed=seed)
            self._autodif.begin(wall)

    def resume(self, journal: Journal) -> None:
        """Keep the clock of an earlier run on this journal; what was missed while down is not made up.

        Raises ConfigError when another clock would begin in the journal's past.
        """
        versions = journal.metas().get(self.vector.meta_topic, ())
        clock = versions[-1].clock if versions else None
        if clock is None or clock.recorded is not None or clock.speed != self.clock.speed:
            refuse_going_back(journal, self.vector, as_ns(self.clock.station))
        else:
            self.clock = clock
            newest_ns = journal.newest_ns(self.vector.topic) or 0
            self._next_s = max(clock.at(time.time_ns()), newest_ns) // _NS + 1
        if self._autodif:
            measured_ns = journal.newest_ns(self._autodif.stream.topic)
            self._autodif.resume(measured_ns, self._next_s * _NS, as_ns(self.clock.station))

    def metas(self) -> list[tuple[Stream, Meta]]:
        absolute = [(self._autodif.stream, self._autodif.meta(self.clock))] if self._autodif else []
        return [
            (
                self.vector,
                Meta(
                    format=FORMAT,
                    valid_from=self.clock.station,
                    kind="vector",
                    components=("x", "y", "z"),
                    scale=0.001,
                    delay_s=LEMI_DELAY_S,
                    orientation="XYZ",
                    sensor="LEMI-25 (simulated)",
                    site="Princess Elisabeth, simulated",
                    clock=self.clock,
                ),
            ),
            (
                self.scalar,
                Meta(
                    format=FORMAT,
                    valid_from=self.clock.station,
                    kind="scalar",
                    components=("f",),
                    scale=0.01,
                    delay_s=LEMI_DELAY_S,  # it hands its samples out with the other's
                    sensor="GSM-90 (simulated)",
                    site="Princess Elisabeth, simulated",
                    clock=self.clock,
                ),
            ),
            *absolute,
        ]

    def due(self, now_ns: int) -> list[Outgoing]:
        messages: list[Outgoing] = []
        (vector, about), (scalar, about_scalar), *_ = self.metas()
        while self._sample_ns() <= now_ns:
            second, self._next_s = self._next_s, self._next_s + 1
            field, total, quality = field_nt(second, self._seed)
            at = second * _NS
            messages.append((vector.topic, at, codec.encode(vector, about, at, field)))
            messages.append((scalar.topic, at, codec.encode(scalar, about_scalar, at, [total], quality)))
        return [*messages, *(self._autodif.due(now_ns) if self._autodif else ())]

    def next_ns(self) -> int:
        measured_ns = self._autodif.next_ns() if self._autodif else None
        return min(self._sample_ns(), measured_ns or 2**63)

    def _sample_ns(self) -> int:
        return self._next_s * _NS + round(LEMI_DELAY_S * _NS)


def field_nt(second: int, seed: int) -> tuple[NDArray[np.float64], float, int]:
    """X, Y, Z in nT, F in nT as a scalar magnetometer reads it, and its quality figure (0 to 99)."""
    rng = _random(seed, second, 0)
    field = variometer_nt(second)
    return (
        field + rng.normal(0.0, 0.01, 3),
        float(np.linalg.norm(field) + rng.normal(0.0, 0.02)),
        99 - int(rng.integers(0, 5)),
    )


def variometer_nt(second: float) -> NDArray[np.float64]:
    """X, Y and Z in nT where the vector instrument stands, without its noise."""
    phase = 2 * math.pi * second / _DAY_S
    daily = _DAILY_NT * np.array([math.cos(phase), math.sin(phase), math.cos(2 * phase)])
    pulsation = 0.8 * math.sin(2 * math.pi * second / 45.0) * np.array([1.0, 0.7, 0.2])
    return np.asarray(_FIELD_NT + daily + pulsation)


def _pillar_nt(time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    return on_pillar(("x", "y", "z"), np.array([variometer_nt(at / _NS) for at in time_ns.tolist()]))


class Satellite:
    """Holds messages back as a link with latency, jitter and outages would; order is kept.

    ``link_model`` computes the same for months at once, and with the link's rate.

    A gate for ``Publisher``: an entry may go when its release time has come on the station's clock.
    """

    def __init__(self, clock: Clock, preset: Preset, *, seed: int = 1) -> None:
        self._clock, self._preset, self._seed = clock, preset, seed
        self._begin_ns = as_ns(clock.station)
        self._released_ns = 0

    def __call__(self, entry: Entry) -> bool:
        now_ns = self._clock.at(time.time_ns())
        ready_ns = _measured_ns(entry) or entry.time_ns + round(LEMI_DELAY_S * _NS)
        release_ns = max(self._released_ns, ready_ns + round(self.latency_s(entry.seq) * _NS))
        if now_ns < release_ns or self.is_out(now_ns):
            return False
        self._released_ns = release_ns
        return True

    def latency_s(self, seq: int) -> float:
        """Time on the way: a floor of half the mean, and a gamma tail for the rest."""
        preset = self._preset
        if preset.jitter_s <= 0:
            return preset.latency_s
        mean = preset.latency_s / 2
        scale = preset.jitter_s**2 / mean
        return mean + float(_random(self._seed, seq, 1).gamma(mean / scale, scale))

    def is_out(self, now_ns: int) -> bool:
        """Whether the link is down: the long outage, or the one somewhere in each mean interval."""
        since_s = (now_ns - self._begin_ns) / _NS - self._preset.long_outage_at_s
        if 0 <= since_s < self._preset.long_outage_s:
            return True
        if self._preset.outages_per_day <= 0:
            return False
        every_s = _DAY_S / self._preset.outages_per_day
        number, into_s = divmod(max(0, now_ns - self._begin_ns) / _NS, every_s)
        rng = _random(self._seed, int(number), 2)
        length_s = outage_s(self._preset, every_s, rng)
        begin_s = float(rng.uniform(0.0, every_s - length_s))
        return bool(begin_s <= into_s < begin_s + length_s)


def _measured_ns(entry: Entry) -> int | None:
    """Time of the last reading of an absolute measurement; None of another entry."""
    body = entry.payload[4:]
    if not entry.topic.endswith(f"/{IRREGULAR}") or len(body) != autodif.BODY_BYTES:
        return None
    return entry.time_ns + round(float(autodif.lasting_s(body)[0]) * _NS)


def _random(seed: int, key: int, purpose: int) -> np.random.Generator:
    """A generator that depends on its key only, so that a restarted simulation repeats itself."""
    return np.random.Generator(np.random.Philox(key=(seed * 4 + purpose) & (2**64 - 1), counter=key))
