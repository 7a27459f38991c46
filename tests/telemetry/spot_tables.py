"""Tables of spot baselines whose truth is known, for tests of what is made of them."""

from pathlib import Path

import numpy as np

from obslab.telemetry.datasets import ABSOLUTES, SPOTS, samples_schema

NAMES = {"hez": "hdz", "hdz": "hdz", "xyz": "xyz", "dif": "dif"}
SIGMA = {"h": 0.3, "x": 0.3, "y": 0.3, "z": 0.3, "f": 0.3, "d": 0.001, "i": 0.0005}
BEGIN = np.datetime64("2024-01-01", "ns")
DAY_NS = 86_400_000_000_000
WIC = Path(__file__).parents[1] / "data" / "wic_spots_2023.csv"


def at_days(days):
    """Times so many days after BEGIN."""
    return BEGIN + np.rint(np.asarray(days, float) * DAY_NS).astype("timedelta64[ns]")


def spot_table(time, base, error=None, *, frame="hez", used=None, note=None, instrument="lemi036"):
    names = NAMES[frame]
    count = len(time)
    sigma = np.array([SIGMA[name] for name in names])
    return SPOTS.build(
        {
            "station": "WIC",
            "instrument": instrument,
            "frame": frame,
            "pier_difference_nt": -1.5,
            "mean_h_nt": 21_000.0,
            "mean_f_nt": 48_800.0,
        },
        time=np.asarray(time, "datetime64[ns]"),
        base=base,
        error=np.broadcast_to(sigma, (count, 3)) if error is None else error,
        component=np.array(list(names)),
        unit=np.array(["deg" if name in "di" else "nT" for name in names]),
        observer=np.full(count, "A. Observer"),
        source=np.array([f"sheet{n}.txt" for n in range(count)], str),
        used=np.ones(count, bool) if used is None else used,
        note=np.full(count, "") if note is None else note,
    )


def drifting(days, step_day=np.inf, step=0.0):
    """The truth at these days: an annual wave and a drift, in units of each component's sigma times 10."""
    days = np.asarray(days, float)
    wave = np.sin(2 * np.pi * days / 365) + days / 365 + step * (days >= step_day)
    sigma = np.array([SIGMA[name] for name in "hdz"])
    return np.array([20.0, 4.25, -19.0]) + 10 * sigma * np.stack([wave, -wave, 0.5 * wave], axis=1)


def simulated(rng, count=80, span=365.0, **truth):
    """Spots with normal errors around ``drifting``, unevenly spaced: the table and its days."""
    days = np.sort(rng.uniform(0, span, count))
    sigma = np.array([SIGMA[name] for name in "hdz"])
    error = sigma * rng.uniform(0.7, 1.4, (count, 3))
    base = drifting(days, **truth) + error * rng.normal(size=(count, 3))
    return spot_table(at_days(days), base, error), days


def wic_spots():
    """146 real ones, of the Conrad Observatory."""
    rows = [line.split(",") for line in WIC.read_text().splitlines() if not line.startswith("#")]
    base = np.array([[float(cell) for cell in row[1:]] for row in rows])
    return spot_table(np.array([row[0] for row in rows], "datetime64[ns]"), base, np.full(base.shape, np.nan))


def absolute_table(time, d, i, f, *, error=(0.0, 0.0, 0.0), station="WIC", used=None, minutes=20):
    """ABSOLUTES with what spot baselines need of it."""
    time = np.asarray(time, "datetime64[ns]")
    nothing = np.zeros(len(time))
    text = np.full(len(time), "")
    return ABSOLUTES.build(
        {"station": station},
        time=time,
        end=time + np.timedelta64(minutes, "m"),
        d=np.broadcast_to(np.asarray(d, float), time.shape),
        i=np.broadcast_to(np.asarray(i, float), time.shape),
        f=np.broadcast_to(np.asarray(f, float), time.shape),
        d_error=nothing + error[0],
        i_error=nothing + error[1],
        f_error=nothing + error[2],
        **dict.fromkeys(
            ("offset_d", "offset_i", "delta", "epsilon_d", "epsilon_i", "scale", "rms", "azimuth"), nothing
        ),
        method=np.full(len(time), "residual"),
        instrument=text,
        pillar=text,
        observer=np.full(len(time), "A. Observer"),
        source=text,
        used=np.ones(len(time), bool) if used is None else used,
        note=text,
    )


def variometer(time, values, frame="hez", station="WIC", cadence_s=1.0):
    """Samples in order of the frame's letters."""
    units = {name: "arcmin" if name in "di" else "nT" for name in frame}
    return samples_schema(units).build(
        {"station": station, "instrument": "lemi036", "samplerate": "sec", "cadence_s": cadence_s},
        time=np.asarray(time, "datetime64[ns]"),
        **{name: np.asarray(values, float)[:, place] for place, name in enumerate(frame)},
    )
