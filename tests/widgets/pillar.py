"""Absolute measurements on a pillar with known bases: four months with a drift, a step and an outlier, or the
storm of May 2024."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from obslab import conrad
from obslab.telemetry import bodies
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.datasets import ABSOLUTES, samples_schema
from obslab.times import as_ns, from_ns, to_ns

MINUTE_NS = 60_000_000_000
DAY_NS = 1440 * MINUTE_NS
BEGIN_NS = as_ns("2024-02-01")
STEP_NS = as_ns("2024-04-01T12:00Z")
DRIFT_NT = 12.0  # of H0, a year
STEP_NT = 6.0  # of H0
PIER_NT = 2.5
OUTLIER = 30
STORM_STEP_NS = as_ns("2024-05-11T00:00Z")
STORM_STEP_NT = 4.0


@dataclass(frozen=True)
class Pillar:
    """What an editor is given."""

    absolutes: xr.Dataset
    vector: xr.Dataset
    scalar: xr.Dataset


def bases(time_ns):
    """H0 in nT, D0 in degrees, Z0 in nT of the four months, shape (n, 3)."""
    days = (time_ns - BEGIN_NS) / DAY_NS
    h0 = 20.0 + DRIFT_NT * days / 365.25 + STEP_NT * (time_ns >= STEP_NS)
    return np.stack([h0, 4.25 + 0.0 * days, -19.0 + 0.5 * np.sin(days / 20.0)], axis=1)


def four_months(count=80, seed=7, outlier=OUTLIER):
    """A variometer hez by the minute, and a scalar that reads PIER_NT less than there is on the pillar."""
    rng = np.random.default_rng(seed)
    time_ns = BEGIN_NS + np.arange(120 * 1440, dtype=np.int64) * MINUTE_NS
    turn = 2 * np.pi * (time_ns % DAY_NS) / DAY_NS
    h, e, z = 20_850 + 15 * np.sin(turn), 10 * np.cos(turn), 43_900 + 8 * np.sin(2 * turn)
    facts = {"station": "WIC", "samplerate": "min", "cadence_s": 60.0}
    vector = samples_schema({"h": "nT", "e": "nT", "z": "nT"}).build(
        facts | {"instrument": "lemi036"}, time=from_ns(time_ns), h=h, e=e, z=z
    )
    base = bases(time_ns)
    f = np.sqrt((base[:, 0] + h) ** 2 + e**2 + (base[:, 2] + z) ** 2)
    read = f - PIER_NT + rng.normal(0, 0.05, h.size)
    scalar = samples_schema({"f": "nT"}).build(
        facts | {"instrument": "gp20s3"}, time=from_ns(time_ns), f=read
    )
    at = np.linspace(700, h.size - 700, count).astype(int)
    return Pillar(measured(vector, at, base[at], rng, outlier=outlier), vector, scalar)


def storm_pillar(vector, count=20, seed=3):
    """Measurements in the storm's days; H0 steps in the middle of the four."""
    rng = np.random.default_rng(seed)
    time_ns = to_ns(vector["time"].values)
    at = np.sort(rng.choice(np.arange(3600, time_ns.size - 3600), count, replace=False))
    base = np.tile([25.4, 4.2499, -19.4], (count, 1))
    base[:, 0] += STORM_STEP_NT * (time_ns[at] >= STORM_STEP_NS)
    return measured(vector, at, base, rng)


def measured(vector, at, base, rng, outlier=None):
    """ABSOLUTES at places of a variometer of the frame hez that has these bases."""
    h, e, z = (vector[name].values[at] for name in "hez")
    count = len(at)
    across = np.hypot(base[:, 0] + h, e) + rng.normal(0, 0.3, count)
    below = base[:, 2] + z + rng.normal(0, 0.3, count)
    d = base[:, 1] + np.degrees(np.arctan2(e, base[:, 0] + h)) + rng.normal(0, 0.001, count)
    if outlier is not None:
        across[outlier] += 25.0
    none, text = np.zeros(count), np.full(count, "")
    time = vector["time"].values[at]
    return ABSOLUTES.build(
        {"station": "WIC"},
        time=time,
        end=time + np.timedelta64(20 * MINUTE_NS, "ns"),
        d=d,
        i=np.degrees(np.arctan2(below, across)),
        f=np.hypot(across, below),
        d_error=np.full(count, 0.001),
        i_error=np.full(count, 0.0003),
        f_error=np.full(count, 0.1),
        **dict.fromkeys(("offset_d", "offset_i", "delta", "epsilon_d", "epsilon_i", "rms", "azimuth"), none),
        scale=none + np.nan,
        method=np.full(count, "residual"),
        instrument=text,
        pillar=text,
        observer=np.full(count, "NN"),
        source=text,
        used=np.ones(count, bool),
        note=text,
    )


def one_day(folder):
    """An archive of the storm's first day, and eight measurements in it."""
    first = conrad.day(conrad.DAYS[0])
    with open_archive(folder / "archive", write=True) as archive:
        for track in first.tracks:
            archive.add(Batch(metas={track.stream.meta_topic: (track.meta,)}))
            body = bodies.of_values(track.meta, track.values)
            archive.import_day(track.stream, track.meta, track.time_ns, track.time_ns, body)
        vector = archive.dataset(conrad.STATION, conrad.VECTOR)
    return folder / "archive", storm_pillar(vector, count=8)
