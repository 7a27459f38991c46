"""Streams, metadata, messages and small helpers that the telemetry tests share."""

import struct
import time

import numpy as np

from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime

NS = 1_000_000_000
T0_S = 1_715_360_700  # 2024-05-10T17:05Z, the onset of the storm
LEMI = Stream("PEA", "lemi0001")
GSM = Stream("PEA", "gsm0001")


def vector_meta(**changes):
    return _meta({"kind": "vector", "components": ("x", "y", "z"), "scale": 0.001, **changes})


def scalar_meta(**changes):
    return _meta({"kind": "scalar", "components": ("f",), "scale": 0.01, **changes})


def _meta(facts):
    return Meta(**{"format": FORMAT, "valid_from": as_datetime(0), **facts})


def vector_payload(second, x=1000, y=-2000, z=3000):
    """16 bytes written by hand, without the codec."""
    return struct.pack("<Iiii", second, x, y, z)


def arrivals(seconds, bodies=None, *, stream=LEMI, late=(), arrival_ns=None):
    """Samples at whole seconds in this order; the body tells the second unless given."""
    bodies = [struct.pack("<iii", second % 2**31, 0, 0) for second in seconds] if bodies is None else bodies
    return Arrivals(
        stream,
        np.array(seconds, dtype=np.int64) * NS,
        np.full(len(seconds), T0_S * NS if arrival_ns is None else arrival_ns, dtype=np.int64),
        len(bodies[0]) if bodies else 12,
        b"".join(bodies),
        np.isin(seconds, late),
    )


def batch(*groups, **parts):
    return Batch(arrivals=list(groups), **parts)


def wait_for(condition, timeout_s=20.0, what="it"):
    """Return as soon as the condition holds; fail when it never does."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen in {timeout_s:g} s"
        time.sleep(0.01)
    return found
