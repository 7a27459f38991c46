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
        "arrival": Var(("time",), "datetime64[ns]", "", "When the message reached the archive."),
        "quality": Var(
            ("time",), "uint8", "1", "Quality figure given by a scalar instrument.", optional=True
        ),
    },
)
"""Samples of one stream in order of time; ``samples_schema`` adds its components."""

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
        )
        facts |= {name: value for name in known if (value := getattr(meta, name)) not in (None, "")}
    return facts
