"""Measurements that came over MQTT: an AUTODIF's record on ``<iaga>/<instrument>/abs`` and a Measurement."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from obslab.errors import CodecError, NoStreamError, SheetError
from obslab.telemetry import autodif
from obslab.telemetry.absolutes.measurement import NO_TIME_NS, Measurement, reading_rows
from obslab.telemetry.readings import Stored
from obslab.telemetry.sample import IRREGULAR, Meta, Stream, valid_at
from obslab.times import Instant, as_ns, iso

log = logging.getLogger(__name__)

_NS = 1_000_000_000
_EVER = (-(2**63), 2**63 - 1)
_STEP_DEG = 1e-6


class Holder(Protocol):
    """What of an archive is needed here."""

    def streams(self) -> list[Stream]: ...
    def metas(self, stream: Stream) -> tuple[Meta, ...]: ...
    def stored(self, stream: Stream, begin_ns: int, end_ns: int) -> Stored: ...


def measurements(
    archive: Holder,
    station: str | None = None,
    instrument: str | None = None,
    begin: Instant | None = None,
    end: Instant | None = None,
) -> tuple[Measurement, ...]:
    """Those in an archive whose first reading is in ``[begin, end)``, by instrument in order of time.

    Raises NoStreamError when the station or the instrument named has none.
    """
    held = [stream for stream in archive.streams() if stream.samplerate == IRREGULAR]
    chosen = [
        stream
        for stream in held
        if (station is None or stream.station == station.upper()) and instrument in (None, stream.instrument)
    ]
    if not chosen and (station or instrument):
        asked = " ".join(name for name in (station, instrument) if name)
        raise NoStreamError(
            f"archive has no absolute measurements of {asked}; it has {', '.join(map(str, held)) or 'none'}",
            held=held,
        )
    begin_ns = _EVER[0] if begin is None else as_ns(begin)
    end_ns = _EVER[1] if end is None else as_ns(end)
    return tuple(
        one
        for stream in chosen
        for one in _of_stream(stream, archive.metas(stream), archive.stored(stream, begin_ns, end_ns))
    )


def of_record(stream: Stream, meta: Meta, time_ns: int, body: bytes) -> Measurement:
    """The measurement in one body, made at ``time_ns``. Raises SheetError, naming stream and time.

    A residual that the instrument does not tell is zero: it stops where it finds no field.
    """
    name = f"{stream.topic} {iso(time_ns)}"
    try:
        problem = "; ".join(autodif.faults(body)) if len(body) == autodif.BODY_BYTES else f"{len(body)} bytes"
    except CodecError as error:
        problem = error.message
    if problem:
        raise SheetError(f"{name} is no absolute measurement: {problem}", source=name)
    records = autodif.unpack(body)
    after_ns = np.rint(records.after_s[0] * _NS).astype(np.int64)
    rows = []
    for number, code in enumerate(autodif.ORDER):
        kind, position = autodif.CODES[code]
        vertical_deg = np.nan if kind == "mark" else records.vertical_deg[0, number]
        residual_nt = np.nan if kind == "mark" else np.nan_to_num(records.residual_nt[0, number])
        angles = (records.horizontal_deg[0, number], vertical_deg)
        rows.append((kind, position, 0, time_ns + after_ns[number], *angles, residual_nt))
    return Measurement(
        method="autodif",
        azimuth_deg=np.nan if meta.azimuth_deg is None else meta.azimuth_deg,
        readings=reading_rows(rows),
        station=stream.station,
        observer="AUTODIF",
        theodolite=str(stream),
        sensor=meta.sensor,
        source=name,
        circle_step_deg=_STEP_DEG,
    )


def to_record(measurement: Measurement) -> tuple[int, bytes]:
    """Time in ns and body of a measurement with the 12 readings of an AUTODIF, in whatever order they are.

    The time is that of the first reading, to the nearest second. Raises SheetError when readings lack or are
    more, or have no time.
    """
    rows = measurement.readings
    order = _in_order(measurement, rows["kind"].tolist(), rows["position"].tolist(), rows["time_ns"].tolist())
    rows = rows[order]
    time_ns = round(int(rows["time_ns"][0]) / _NS) * _NS
    after_s = np.maximum(0.0, (rows["time_ns"] - time_ns) / _NS)
    after_s[0] = 0.0
    records = autodif.Records(
        after_s[None],
        rows["horizontal_deg"][None],
        rows["vertical_deg"][None],
        rows["residual_nt"][None],
        np.zeros((1, autodif.READINGS), dtype=np.uint8),
    )
    try:
        body = autodif.pack(records)
        problem = autodif.faults(body)[0]
    except CodecError as error:
        problem = error.message
    if problem:
        raise SheetError(f"{measurement.name}: {problem}", source=measurement.source)
    return time_ns, body


def _of_stream(stream: Stream, metas: tuple[Meta, ...], stored: Stored) -> list[Measurement]:
    found, place = [], 0
    for time_ns, size in zip(stored.time_ns.tolist(), stored.size.tolist(), strict=True):
        body, place = stored.bodies[place : place + size], place + size
        meta = valid_at(metas, time_ns)
        try:
            if meta is None or meta.kind != "absolute":
                raise SheetError(f"{stream.topic} {iso(time_ns)} is no absolute measurement by its metadata")
            found.append(of_record(stream, meta, time_ns, body))
        except SheetError as error:  # stored by what looks at no readings; the others are good all the same
            log.warning("left out: %s", error.message)
    return found


def _in_order(
    measurement: Measurement, kinds: Sequence[str], positions: Sequence[str], times_ns: Sequence[int]
) -> list[int]:
    """Which reading is at each place of a record; of two of the mark the earlier one comes first."""
    if NO_TIME_NS in times_ns:
        raise SheetError(
            f"{measurement.name}: a reading without a time; a record on .../abs needs that of every reading",
            source=measurement.source,
        )
    left = sorted(range(len(times_ns)), key=lambda row: times_ns[row])
    order = []
    for code in autodif.ORDER:
        wanted = autodif.CODES[code]
        row = next((row for row in left if (kinds[row], positions[row]) == wanted), None)
        if row is None:
            raise SheetError(
                f"{measurement.name}: no reading {' '.join(wanted)}; a record has four readings of the mark "
                "and one for each position",
                source=measurement.source,
            )
        left.remove(row)
        order.append(row)
    if left:
        raise SheetError(
            f"{measurement.name}: {len(times_ns)} readings do not fit the {autodif.READINGS} of a record",
            source=measurement.source,
        )
    return order
