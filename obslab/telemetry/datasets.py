"""The Datasets of telemetry: every variable declared once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from obslab.schema import Schema, Var
from obslab.times import from_ns

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.readings import Readings
    from obslab.telemetry.sample import Meta, Stream

SAMPLES = Schema(
    "samples",
    {
        "time": Var(("time",), "datetime64[ns]", "", "Time of the sample by the station's clock."),
        "arrival": Var(
            ("time",), "datetime64[ns]", "", "When the message reached the archive.", optional=True
        ),
        "quality": Var(
            ("time",), "uint8", "1", "Quality figure given by a scalar instrument.", optional=True
        ),
    },
)
"""Samples in order of time; ``samples_schema`` adds the components, named as INTERMAGNET does, in small
letters: x y z h e f s in nT, d and i in arcmin. Attributes say what they are of: see ``samples_facts``."""

REJECTED = Schema(
    "rejected",
    {
        "arrival": Var(("message",), "datetime64[ns]", "", "When the message first reached the archive."),
        "topic": Var(("message",), "str", "", "Topic it was sent to."),
        "payload_hex": Var(("message",), "str", "", "Its bytes as they came, in hexadecimal."),
        "reason": Var(("message",), "str", "", "Why it was not taken as a sample."),
        "times": Var(("message",), "int64", "1", "How often the same bytes came."),
    },
)
"""Messages kept but not understood, in order of arrival."""


HOLES = Schema(
    "holes",
    {
        "stream": Var(("hole",), "str", "", "Stream that lacked samples."),
        "begin": Var(("hole",), "datetime64[ns]", "", "Where samples began to lack."),
        "end": Var(("hole",), "datetime64[ns]", "", "Where they were there again."),
        "state": Var(("hole",), "str", "", "open, asked, filled, or lost: the station has none either."),
        "filled": Var(("hole",), "int64", "1", "Messages that the station brought when asked."),
        "why": Var(("hole",), "str", "", "How it was noticed."),
    },
)
"""What the archive asked the stations for, in order of time."""


ABSOLUTES = Schema(
    "absolutes",
    {
        "time": Var(("measurement",), "datetime64[ns]", "", "First reading; d, i and f are of this time."),
        "end": Var(("measurement",), "datetime64[ns]", "", "Last reading."),
        "d": Var(("measurement",), "float64", "deg", "Declination, east of geographic north."),
        "i": Var(("measurement",), "float64", "deg", "Inclination, down from the horizontal."),
        "f": Var(("measurement",), "float64", "nT", "Total field on the absolute pillar."),
        "d_error": Var(("measurement",), "float64", "deg", "Standard error of d."),
        "i_error": Var(("measurement",), "float64", "deg", "Standard error of i."),
        "f_error": Var(("measurement",), "float64", "nT", "Standard error of f."),
        "offset_d": Var(("measurement",), "float64", "nT", "Sensor offset S0, out of the readings for D."),
        "offset_i": Var(("measurement",), "float64", "nT", "Sensor offset S0, out of the readings for I."),
        "delta": Var(("measurement",), "float64", "arcmin", "Collimation of the sensor in the horizontal."),
        "epsilon_d": Var(("measurement",), "float64", "arcmin", "Collimation in the vertical, from D."),
        "epsilon_i": Var(("measurement",), "float64", "arcmin", "Collimation in the vertical, from I."),
        "scale": Var(("measurement",), "float64", "1", "Field found over field read, by a tilt; NaN: none."),
        "rms": Var(("measurement",), "float64", "nT", "What the readings leave unexplained."),
        "azimuth": Var(("measurement",), "float64", "deg", "Azimuth of the mark that was used."),
        "method": Var(("measurement",), "str", "", "residual, null or autodif."),
        "instrument": Var(("measurement",), "str", "", "Theodolite, or the AUTODIF's stream."),
        "pillar": Var(("measurement",), "str", "", "Where it was made."),
        "observer": Var(("measurement",), "str", "", "Who made it."),
        "source": Var(("measurement",), "str", "", "File or topic it came from."),
        "used": Var(("measurement",), "bool", "", "Whether baselines may be made of it."),
        "note": Var(("measurement",), "str", "", "Why not, or what is odd; empty when all is well."),
    },
)
"""Reduced absolute measurements in order of time; attribute ``station``. NaN where one cannot be given."""

SPOTS = Schema(
    "spot baselines",
    {
        "time": Var(("spot",), "datetime64[ns]", "", "Time of the absolute measurement."),
        "base": Var(("spot", "component"), "float64", "", "Absolute minus variometer, in unit of component."),
        "error": Var(("spot", "component"), "float64", "", "Its standard error, in unit of component."),
        "component": Var(("component",), "str", "", "h d z, x y z, or d i f: see attribute frame."),
        "unit": Var(("component",), "str", "", "nT or deg."),
        "observer": Var(("spot",), "str", "", "Who measured."),
        "source": Var(("spot",), "str", "", "File or topic of the measurement."),
        "used": Var(
            ("spot",), "bool", "", "Whether the fit may use it; false when rejected, by whom in note."
        ),
        "note": Var(("spot",), "str", "", "Why it is not used, or what is odd."),
    },
)
"""Spot baselines in order of time; attributes ``station``, ``instrument``, ``frame``,
``pier_difference_nt``."""

FLAGS = Schema(
    "flags",
    {
        "id": Var(("flag",), "int64", "1", "Number of the flag in its book."),
        "stream": Var(("flag",), "str", "", "As in ``WIC lemi036 sec``."),
        "component": Var(("flag",), "str", "", "The component meant; empty: all."),
        "begin": Var(("flag",), "datetime64[ns]", "", "First sample flagged."),
        "end": Var(("flag",), "datetime64[ns]", "", "First sample after it that is not."),
        "kind": Var(("flag",), "str", "", "spike, step or mark."),
        "size": Var(("flag",), "float64", "", "Height of the spike or step, in the component's unit."),
        "state": Var(("flag",), "str", "", "proposed, confirmed or withdrawn."),
        "author": Var(("flag",), "str", "", "Who set it: a person, or the name of the detector."),
        "reason": Var(("flag",), "str", "", "Why, in words."),
    },
)
"""Flags of samples in order of time. Confirmed ones take samples out of adjusted and definitive data."""


def samples_schema(units: Mapping[str, str]) -> Schema:
    """``SAMPLES`` with one variable for each component, given with its unit."""
    return SAMPLES.plus(
        **{
            name: Var(("time",), "float64", unit, f"Component {name}; NaN is missing.")
            for name, unit in units.items()
        }
    )


def samples_dataset(readings: Readings, meta: Meta | None) -> xr.Dataset:
    """Decoded samples as a Dataset; station and instrument facts are its attributes."""
    stream = readings.stream
    columns: dict[str, Any] = {name: readings.values[:, i] for i, name in enumerate(readings.components)}
    if meta is not None and meta.kind == "scalar":
        columns["quality"] = readings.quality
    return samples_schema(dict(zip(readings.components, readings.units, strict=True))).build(
        samples_facts(stream, meta),
        time=from_ns(readings.time_ns),
        arrival=from_ns(readings.arrival_ns),
        **columns,
    )


def samples_facts(stream: Stream, meta: Meta | None) -> dict[str, Any]:
    """What station and instrument are, as attributes of a Dataset."""
    facts: dict[str, Any] = {
        "station": stream.station,
        "instrument": stream.instrument,
        "samplerate": stream.samplerate,
        "cadence_s": stream.cadence_s,
    }
    if meta is not None:
        known = (
            "site",
            "sensor",
            "orientation",
            "latitude_deg",
            "longitude_deg",
            "elevation_m",
            "delay_s",
            "attribution",
            "publication_level",
            "baseline",
            "azimuth_deg",
            "k9_limit_nt",
        )
        facts |= {name: value for name in known if (value := getattr(meta, name)) not in (None, "")}
    return facts
