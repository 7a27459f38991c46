"""The state of a bridge between brokers, as Mosquitto tells it at ``$SYS/broker/connection/<name>/state``.

A bridge that is down hides behind units that are still online, since those are connected to the station's
broker; it is therefore a link of its own. Look at the data centre's broker, which has the topic through the
bridge's last will: it tells a frozen link 15 s after the last word, with a keep-alive of 10 s. The station's
own broker tells only connections that were closed (measured with Mosquitto 2.0.11: for a frozen one it goes
on saying 1 while it tries in vain).
"""

from __future__ import annotations

from obslab.errors import MetadataError, TopicError

TOPICS = "$SYS/broker/connection/#"

_PREFIX, _SUFFIX = "$SYS/broker/connection/", "/state"
_UP = {b"1": True, b"0": False}


def parse(topic: str, payload: bytes) -> tuple[str, bool]:
    """Name of the bridge (its client id) and whether it is up. Raises TopicError and MetadataError."""
    name = topic.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    if topic != f"{_PREFIX}{name}{_SUFFIX}" or not name:
        raise TopicError(f"topic {topic!r} is not {_PREFIX}<name>{_SUFFIX}", topic=topic)
    if payload not in _UP:
        raise MetadataError(
            f"bridge {name!r} says {payload[:20]!r} of its state, which is neither b'1' (up) nor b'0' (down)",
            bridge=name,
        )
    return name, _UP[payload]
