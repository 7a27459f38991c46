"""A simulated observatory whose field and bases are known: what the tests of products compare with."""

import numpy as np

from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.baseline import fit
from obslab.telemetry.bodies import of_values
from obslab.telemetry.datasets import SPOTS, samples_schema
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime
from obslab.times import as_ns, from_ns

NS = 1_000_000_000
DAY_NS = 86_400 * NS
NOON = as_ns("2024-05-10T12:00Z")
LEMI = Stream("WIC", "lemi036")
ADJ = Stream("WIC", "lemi036-adj")
GP20 = Stream("WIC", "gp20s3")
PIER_NT = -1.7
FACTS = {
    "format": FORMAT,
    "valid_from": as_datetime(NOON - 30 * DAY_NS),
    "site": "Conrad Observatory",
    "latitude_deg": 47.9275,
    "longitude_deg": 15.8657,
    "elevation_m": 1088.0,
    "attribution": "nobody",
}
VECTOR = Meta(
    kind="vector", components=("h", "e", "z"), scale=0.001, orientation="HEZ", k9_limit_nt=500.0, **FACTS
)
SCALAR = Meta(kind="scalar", components=("f",), scale=0.01, **FACTS)


def days(time_ns):
    return (np.asarray(time_ns, np.int64) - NOON) / DAY_NS


def truth(time_ns):
    """X, Y, Z in nT on the pillar."""
    at = days(time_ns)
    return np.stack(
        [
            21_000 + 40 * np.sin(2 * np.pi * at) + 3 * np.sin(2e3 * at),
            1_600 + 30 * np.cos(2 * np.pi * at) - 2 * np.sin(1.7e3 * at),
            43_800 + 20 * np.sin(2 * np.pi * at + 1) + np.cos(1.3e3 * at),
        ],
        axis=1,
    )


def bases(time_ns):
    """H0 in nT, D0 in degrees, Z0 in nT: linear in time, so that a fit finds them exactly."""
    at = days(time_ns)
    return np.stack([20_950 + 0.8 * at, 3.9 + 0.01 * at, 43_650 - 0.5 * at], axis=1)


def raw(time_ns):
    """h, e, z in nT that the variometer reads of the truth."""
    x, y, z = truth(time_ns).T
    h0, d0, z0 = bases(time_ns).T
    horizontal, angle = np.hypot(x, y), np.arctan2(y, x) - np.radians(d0)
    return np.stack([horizontal * np.cos(angle) - h0, horizontal * np.sin(angle), z - z0], axis=1)


def scalar(time_ns):
    """What the scalar instrument reads, on a pillar of its own."""
    return np.sqrt((truth(time_ns) ** 2).sum(axis=1)) - PIER_NT


def seconds(n, begin_ns=NOON):
    return begin_ns + np.arange(n, dtype=np.int64) * NS


def vector(time_ns, **changes):
    """Raw samples as a Dataset, such as an archive gives."""
    attrs = {"station": "WIC", "instrument": "lemi036", "samplerate": "sec", "cadence_s": 1.0} | changes
    schema = samples_schema(dict.fromkeys("hez", "nT"))
    return schema.build(attrs, time=from_ns(time_ns), **dict(zip("hez", raw(time_ns).T, strict=True)))


def baseline(begin="2024-05-01", end="2024-06-01", *, more=(0.0, 0.0, 0.0), adopted="2024-06-02", **facts):
    """An adopted baseline that is right, or wrong by ``more`` (nT, deg, nT)."""
    time_ns = NOON + np.arange(-20, 20, 4) * DAY_NS
    spots = SPOTS.build(
        {"station": "WIC", "instrument": "lemi036", "frame": "hez", "pier_difference_nt": PIER_NT} | facts,
        time=from_ns(time_ns),
        base=bases(time_ns) + np.array(more),
        error=np.full((time_ns.size, 3), 0.1),
        component=np.array(["h", "d", "z"]),
        unit=np.array(["nT", "deg", "nT"]),
        observer=np.full(time_ns.size, "me"),
        source=np.full(time_ns.size, "test"),
        used=np.ones(time_ns.size, bool),
        note=np.full(time_ns.size, ""),
    )
    made = fit(spots, method="polynomial", degree=1, begin=begin, end=end).baseline
    return made.adopted("me", "for a test", adopted)


def samples(stream, meta, time_ns, values, *, arrival_ns=None, **facts):
    """Arrivals of values of shape (n, components)."""
    came = time_ns + NS // 10 if arrival_ns is None else np.full(time_ns.size, arrival_ns)
    width = 12 if meta.kind == "vector" else 4
    bodies = of_values(meta, np.asarray(values, float).reshape(time_ns.size, -1))
    return Arrivals(stream, time_ns, came, width, bodies, np.zeros(time_ns.size, bool), **facts)


def fill(archive, time_ns):
    """Store what both instruments read at these times."""
    archive.add(
        Batch(
            arrivals=[
                samples(LEMI, VECTOR, time_ns, raw(time_ns)),
                samples(GP20, SCALAR, time_ns, scalar(time_ns)),
            ],
            metas={LEMI.meta_topic: (VECTOR,), GP20.meta_topic: (SCALAR,)},
        )
    )


def values(dataset, names="xyz"):
    return np.stack([dataset[name].values for name in names], axis=1)
