import pytest
from hypothesis import given
from hypothesis import strategies as st

from obslab.errors import MetadataError, TopicError
from obslab.telemetry.broker import bridge


@pytest.mark.parametrize(("payload", "up"), [(b"1", True), (b"0", False)])
def test_the_state_of_a_bridge_has_its_name(payload, up):
    assert bridge.parse("$SYS/broker/connection/bridge-pea/state", payload) == ("bridge-pea", up)


def test_a_bridge_may_be_named_after_its_computer():
    topic = "$SYS/broker/connection/pea.station/one.example.org/state"
    assert bridge.parse(topic, b"1") == ("pea.station/one.example.org", True)


@pytest.mark.parametrize(
    "topic",
    [
        "$SYS/broker/connection//state",
        "$SYS/broker/connection/state",
        "$SYS/broker/connection/bridge-pea",
        "$SYS/broker/uptime",
        "pea/lemi0001/$status",
        "",
    ],
)
def test_another_topic_is_refused_by_name(topic):
    with pytest.raises(TopicError) as refusal:
        bridge.parse(topic, b"1")
    assert repr(topic) in refusal.value.message


@given(st.binary().filter(lambda payload: payload not in (b"0", b"1")))
def test_a_state_that_is_neither_up_nor_down_is_refused(payload):
    with pytest.raises(MetadataError, match="bridge 'bridge-pea' says"):
        bridge.parse("$SYS/broker/connection/bridge-pea/state", payload)
