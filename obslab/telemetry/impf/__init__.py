"""INTERMAGNET's JSON over MQTT (IMPF): topics and payloads, written and read, every item checked.

    impf/<iaga code>/<pt1s | 1hz | pt1m>/<publication level 1-4>/<xyzs | hdzs | difs>

A payload is one JSON object: ``startDate`` of the first sample, one to four arrays of equal length
(``geomagneticFieldX`` ...) with ``null`` for missing, and optional facts about the observatory. Format and
rules: INTERMAGNET's Technical Manual, appendix "Intermagnet MQTT format", and its JSON schema; that
schema puts minimum and maximum on the arrays, where they check nothing, so the items are checked here.

**D and I are in minutes of arc**: so says the manual's text today, and so does IAGA-2002. An earlier
draft, and the descriptions inside the schema to this day, say degrees, and nothing in a message tells
which. Whoever knows a publisher to send degrees says so, ``decode(..., angles="deg")``, and they are
converted; here and in the archive such a stream is in arc-minutes.

A publisher uses QoS 1; a subscriber QoS 2 and a persistent session. A newer message overwrites an
older one at the same level, but its nulls do not: see ``bodies.revised``.

facts -> items -> address -> message
"""

from obslab.telemetry.impf.address import QOS_PUBLISH, QOS_SUBSCRIBE, TOPICS, Address, is_impf, topic_of
from obslab.telemetry.impf.facts import facts_of
from obslab.telemetry.impf.items import Angles, arcmin_of_deg, deg_of_arcmin
from obslab.telemetry.impf.message import Decoded, Record, decode, encode

__all__ = [
    "QOS_PUBLISH",
    "QOS_SUBSCRIBE",
    "TOPICS",
    "Address",
    "Angles",
    "Decoded",
    "Record",
    "arcmin_of_deg",
    "decode",
    "deg_of_arcmin",
    "encode",
    "facts_of",
    "is_impf",
    "topic_of",
]
