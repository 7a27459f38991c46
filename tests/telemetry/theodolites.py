"""A field whose truth is known, the instruments that record it, and real sheets, for tests of absolutes."""

from pathlib import Path

import numpy as np

from obslab import conrad
from obslab.telemetry.datasets import samples_schema

DATA = Path(__file__).parents[1] / "data"
SHEETS = {path.stem[-1]: path for path in conrad.sheets()}
BEGIN = "2024-05-10T07:00:00Z"
ARCSEC = 1 / 3600
SENSOR_DEG = 4.2  # declination of the variometer's h axis
BASES = {"h": 25.0, "z": -19.0}  # what the pillar has more than the variometer


def wic():
    """An hour of the variometer and scalar at WIC about the two example sheets."""
    from obslab.telemetry import iaga2002

    return iaga2002.read(conrad.variometer())


def still_field(d_deg, i_deg, f_nt=48_000.0):
    """A field that does not change, as ``simulate`` wants it."""
    d, i = np.radians([d_deg, i_deg])
    vector = f_nt * np.array([np.cos(i) * np.cos(d), np.cos(i) * np.sin(d), np.sin(i)])
    return lambda time_ns: np.tile(vector, (len(time_ns), 1))


def waving_field(time_ns):
    """Tens of nT within the time that a measurement takes."""
    s = (np.asarray(time_ns, float) - 1.5e18) / 1e9
    waves = [60 * np.sin(s / 900), 40 * np.cos(s / 700), 30 * np.sin(s / 1100)]
    return np.array([20_980.0, 1_550.0, 43_880.0]) + np.stack(waves, axis=-1)


def truth(field, time_ns):
    """D and I in degrees, F in nT."""
    x, y, z = field(np.array([time_ns]))[0]
    h = np.hypot(x, y)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, h)), np.hypot(h, z)


def variometer(field=waving_field, frame="hez", begin="2024-05-10T06:50", count=3600, cadence_s=1.0):
    """What a variometer beside the pillar records of a field, with f of a scalar 11.7 nT higher."""
    time = np.datetime64(begin, "ns") + np.arange(count) * np.timedelta64(round(cadence_s * 1e9), "ns")
    x, y, z = field(time.astype(np.int64)).T
    h, d = np.hypot(x, y), np.arctan2(y, x)
    turned = d - np.radians(SENSOR_DEG)
    i, f = np.arctan2(z, h), np.sqrt(x * x + y * y + z * z)
    arcmin = 60 * np.degrees(1)
    columns = {
        "hez": {"h": h * np.cos(turned) - BASES["h"], "e": h * np.sin(turned), "z": z - BASES["z"]},
        "xyz": {"x": x - 12.0, "y": y + 8.0, "z": z - 15.0},
        "hdz": {"h": h - 25.0, "d": d * arcmin - 250.0, "z": z + 19.0},
        "dif": {"d": d * arcmin - 250.0, "i": i * arcmin + 3.0, "f": f},
    }[frame]
    if frame != "dif":
        columns["f"] = f + 11.7
    units = {name: "arcmin" if name in "di" else "nT" for name in columns}
    facts = {"station": "WIC", "instrument": "lemi036", "samplerate": "sec", "cadence_s": cadence_s}
    return samples_schema(units).build(facts, time=time, **columns)
