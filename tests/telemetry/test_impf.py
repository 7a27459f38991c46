"""INTERMAGNET's MQTT format: its published example, its schema's rules, messages written by hand."""

import json

import numpy as np
import pytest
from telemetry.makers import GSM, LEMI, NS, scalar_meta, vector_meta

from obslab.errors import CodecError, TopicError
from obslab.telemetry import bodies, codec, impf
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.collect.exchange import Exchange
from obslab.telemetry.collect.intake import Message
from obslab.telemetry.sample import Stream, as_datetime
from obslab.times import as_ns

T0 = as_ns("2023-01-01T00:00:00Z")
XYZ = "impf/esk/pt1s/1/xyzs"
LEMI_MIN = Stream("PEA", "lemi0001", "min")


def payload(**changes):
    content = {
        "startDate": "2023-01-01T00:00:00",
        "geomagneticFieldX": [17595.02, 17595.03],
        "geomagneticFieldY": [-329.19, -329.18],
        "geomagneticFieldZ": [46702.7, 46703.01],
        **changes,
    }
    return json.dumps({key: value for key, value in content.items() if value is not ...}).encode()


def read(topic=XYZ, angles="arcmin", **changes):
    return impf.decode(topic, payload(**changes), angles)


def hdz(**changes):
    gone = dict.fromkeys(("geomagneticFieldX", "geomagneticFieldY"), ...)
    return {**gone, "geomagneticFieldH": [17598.0, 17598.1], "geomagneticFieldD": [-64.3, -64.2], **changes}


# ---- topics


@pytest.mark.parametrize("cadence, rate", [("pt1s", "sec"), ("1hz", "sec"), ("pt1m", "min")])
def test_topic_names_station_cadence_level_and_elements(cadence, rate):
    address = impf.Address.parse(f"impf/esk/{cadence}/3/hdzs")
    assert address == impf.Address("ESK", rate, 3, "HDZ")
    assert impf.Address.parse(address.topic) == address


@pytest.mark.parametrize(
    "topic",
    [
        "impf/ESK/pt1m/1/hdzs",
        "impf/esk/pt1m/1/HDZS",
        "impf/esk/pt1h/1/hdzs",
        "impf/esk/pt1m/0/hdzs",
        "impf/esk/pt1m/5/hdzs",
        "impf/esk/pt1m/1/hdz",
        "impf/esk/pt1m/1/hezs",
        "impf/esk/pt1m/1",
        "impf/esk/pt1m/1/hdzs/",
        "impf/eskd/pt1m/1/hdzs",
        "esk/pt1m/1",
        "",
    ],
)
def test_any_other_topic_is_refused_and_told_how_it_should_be(topic):
    with pytest.raises(TopicError, match="impf/esk/pt1m/1/hdzs"):
        impf.decode(topic, payload())


def test_stream_is_published_where_its_components_say():
    assert impf.topic_of(LEMI, vector_meta()) == "impf/pea/pt1s/1/xyzs"
    minutes = vector_meta(components=("h", "d", "z"), units=("nT", "arcmin", "nT"))
    assert impf.topic_of(LEMI_MIN, minutes, level=2) == "impf/pea/pt1m/2/hdzs"
    angles = vector_meta(components=("d", "i", "f"), units=("deg", "deg", "nT"))
    assert impf.topic_of(LEMI, angles) == "impf/pea/pt1s/1/difs"
    assert impf.topic_of(GSM, scalar_meta(), beside="HDZ") == "impf/pea/pt1s/1/hdzs"


@pytest.mark.parametrize(
    "stream, meta, wanted",
    [
        (LEMI, vector_meta(components=("h", "e", "z")), "h, e, z"),
        (LEMI, vector_meta(components=("x", "d", "z")), "d, x, z"),
        (LEMI, vector_meta(components=("t1", "t2", "u")), "t1, t2, u"),
        (GSM, scalar_meta(components=("t",)), "components t"),
        (Stream("PEA", "lemi0001", "10hz"), vector_meta(), "1 s and 1 min"),
        (Stream("PEA", "dim", "abs"), vector_meta(), "1 s and 1 min"),
    ],
)
def test_stream_without_a_place_in_the_format_is_refused(stream, meta, wanted):
    with pytest.raises(CodecError, match=wanted):
        impf.topic_of(stream, meta)
    with pytest.raises(CodecError, match="level 5"):
        impf.topic_of(LEMI, vector_meta(), level=5)


# ---- reading


def test_published_example_of_intermagnet_is_read():
    # Technical Manual, appendix "Intermagnet MQTT format", first example: three minutes, one X missing.
    example = b"""{ "startDate": "2023-01-01T00:00",
        "geomagneticFieldX": [ 17595.02, null, 17594.99 ],
        "geomagneticFieldY": [ -329.19, -329.18, -329.21 ],
        "geomagneticFieldZ": [ 46702.70, 46703.01, 46703.24 ] }"""
    decoded = impf.decode("impf/esk/pt1m/1/xyzs", example)
    assert not decoded.notes
    (record,) = decoded.records
    assert (str(record.stream), record.level) == ("ESK impf1-xyz min", 1)
    assert record.meta.components == ("x", "y", "z")
    assert record.meta.component_units == ("nT", "nT", "nT")
    np.testing.assert_array_equal(record.time_ns, T0 + np.arange(3) * 60 * NS)
    wanted = [[17595.02, -329.19, 46702.7], [np.nan, -329.18, 46703.01], [17594.99, -329.21, 46703.24]]
    np.testing.assert_array_equal(record.values, wanted)


def test_scalar_alone_becomes_a_stream_of_its_own():
    decoded = impf.decode(
        "impf/esk/pt1s/2/hdzs",
        b'{"startDate": "2023-01-01T00:00:00", "geomagneticFieldS": [49000, null, 49000.34]}',
    )
    (record,) = decoded.records
    assert str(record.stream) == "ESK impf2-s sec"
    assert (record.meta.kind, record.meta.components) == ("scalar", ("s",))
    np.testing.assert_array_equal(record.time_ns, T0 + np.array([0, 2]) * NS)
    assert record.values.tolist() == [[49000.0], [49000.34]]


def test_vector_and_scalar_of_one_message_are_two_records():
    vector, scalar = read(geomagneticFieldS=[49000.0, None]).records
    assert (vector.time_ns.size, scalar.time_ns.size) == (2, 1)
    assert scalar.stream.instrument == "impf1-s"


def test_time_at_which_all_is_null_is_no_sample():
    (record,) = read(
        geomagneticFieldX=[None, 1.0], geomagneticFieldY=[None, None], geomagneticFieldZ=[None, 2.0]
    ).records
    assert record.time_ns.tolist() == [T0 + NS]
    np.testing.assert_array_equal(record.values, [[1.0, np.nan, 2.0]])
    nothing = {f"geomagneticField{one}": [None] for one in "XYZ"}
    assert read(**nothing).records == ()


def test_elements_may_come_in_messages_of_their_own_and_meet_in_one_sample():
    x = read(geomagneticFieldY=..., geomagneticFieldZ=...)
    assert x.notes == ("Y, Z not in this message: taken as missing",)
    yz = read(geomagneticFieldX=...)
    both = [
        bodies.revised(x.records[0].bodies[at : at + 12], yz.records[0].bodies[at : at + 12])
        for at in (0, 12)
    ]
    values, _ = codec.unpack(x.records[0].meta, b"".join(both))
    np.testing.assert_allclose(
        values, [[17595.02, -329.19, 46702.7], [17595.03, -329.18, 46703.01]], atol=1e-9
    )


def test_declination_is_in_minutes_of_arc_unless_the_publisher_is_known_to_send_degrees():
    (minutes,) = read("impf/esk/pt1s/1/hdzs", **hdz()).records
    assert minutes.meta.units == ("nT", "arcmin", "nT")
    assert minutes.values[:, 1].tolist() == [-64.3, -64.2]
    (degrees,) = read("impf/esk/pt1s/1/hdzs", "deg", **hdz(geomagneticFieldD=[-4.5, 1.25])).records
    assert degrees.meta.units == ("nT", "arcmin", "nT")
    assert degrees.values[:, 1].tolist() == [-270.0, 75.0]
    # A degree has 60 minutes: 4 deg 20 min 36 s, a declination of the Conrad Observatory.
    assert impf.arcmin_of_deg(4 + 20 / 60 + 36 / 3600) == pytest.approx(260.6)
    assert impf.deg_of_arcmin(impf.arcmin_of_deg(-64.37046)) == pytest.approx(-64.37046)


def test_inclination_that_looks_like_degrees_is_pointed_out():
    gone = dict.fromkeys((f"geomagneticField{one}" for one in "XYZ"), ...)
    dif = {
        "geomagneticFieldD": [4.3, 4.3],
        "geomagneticFieldI": [64.37, 64.38],
        "geomagneticFieldF": [48622.8] * 2,
    }
    (note,) = read("impf/wic/pt1s/1/difs", **gone, **dif).notes
    assert "degrees" in note
    decoded = read("impf/wic/pt1s/1/difs", "deg", **gone, **dif)
    assert decoded.notes == ()
    assert decoded.records[0].values[0, 1] == pytest.approx(64.37 * 60)


BAD_ITEMS = {
    "too far": ([0, 80_000.1], r"X\[1\] is 80000.1, not within -80000 to 80000 nT$"),
    "the missing of IAGA-2002": ([0, 99999.0], r"X\[1\] is 99999, .*; missing is null"),
    "a text": ([0, "17595.02"], r"X\[1\] is a JSON text; a number within -80000 to 80000 nT, or null"),
    "a truth": ([0, True], r"X\[1\] is a JSON true or false"),
    "a list": ([0, [1.0]], r"X\[1\] is a JSON array"),
    "an object": ([{}, 0], r"X\[0\] is a JSON object"),
    "a number beyond all": ([0, 10**60], r"X\[1\] is 1e\+60"),
    "nothing": ([], "X has 0 items"),
    "a number instead of an array": (17595.02, "X has a JSON number"),
    "null instead of an array": (None, "X has a JSON null"),
    "too many": ([0.0] * 172_801, "X has 172801 items"),
}


@pytest.mark.parametrize("what", BAD_ITEMS)
def test_bad_item_is_refused_with_its_place_value_and_limits(what):
    items, wanted = BAD_ITEMS[what]
    with pytest.raises(CodecError, match=wanted) as caught:
        read(geomagneticFieldX=items)
    assert "\n" not in caught.value.message and len(caught.value.message) < 200
    if isinstance(items, list) and len(items) == 2:
        assert caught.value.limits == (-80_000.0, 80_000.0)
        assert caught.value.value == items[caught.value.item]


@pytest.mark.parametrize(
    "letter, topic, angles, good, bad",
    [
        ("S", XYZ, "arcmin", [0, 80_000], -0.01),
        ("F", "impf/esk/pt1s/1/difs", "arcmin", [0, 80_000], -0.01),
        ("H", "impf/esk/pt1s/1/hdzs", "arcmin", [-80_000, 80_000], 80_001),
        ("D", "impf/esk/pt1s/1/hdzs", "arcmin", [-10_800, 21_600], 21_601),
        ("D", "impf/esk/pt1s/1/hdzs", "deg", [-180, 360], 361),
        ("I", "impf/esk/pt1s/1/difs", "arcmin", [-5_400, 5_400], 5_401),
        ("I", "impf/esk/pt1s/1/difs", "deg", [-90, 90], -91),
    ],
)
def test_each_element_has_limits_of_its_own(letter, topic, angles, good, bad):
    gone = dict.fromkeys((f"geomagneticField{one}" for one in "XYZ"), ...)
    name = f"geomagneticField{letter}"
    assert read(topic, angles, **gone, **{name: good}).records[0].time_ns.size == 2
    with pytest.raises(CodecError, match=rf"{letter}\[1\] is {bad}, not within"):
        read(topic, angles, **gone, **{name: [0, bad]})


@pytest.mark.parametrize(
    "content, wanted",
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"startDate": "2023-01-01T00:00:00", "geomagneticFieldX": [NaN]}', "not JSON"),
        (b'{"startDate": "2023-01-01T00:00:00", "geomagneticFieldX": [1e999]}', "not JSON|beyond all bounds"),
        (b'{"startDate": "2023-01-01T00:00:00", "geomagneticFieldX": [' + b"9" * 400 + b"]}", "JSON|bounds"),
        (b"[1]", "is a JSON array, an object is wanted"),
        (b"3", "is a JSON number"),
        (payload(geomagneticFieldY=[1.0]), "lengths: geomagneticFieldX 2, geomagneticFieldY 1"),
        (payload(**{f"geomagneticField{one}": ... for one in "XYZ"}), "no array of X, Y, Z, S"),
    ],
)
def test_payload_that_is_not_a_message_is_refused_in_one_line(content, wanted):
    with pytest.raises(CodecError, match=wanted) as caught:
        impf.decode(XYZ, content)
    assert "\n" not in caught.value.message and len(caught.value.message) < 250


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-01T00:00:00",
        "2023-01-01T00:00:00Z",
        "2023-01-01T00:00:00.000",
        "2023-01-01T00:00",
    ],
)
def test_start_is_read_as_utc(text):
    decoded = read(startDate=text)
    assert decoded.records[0].time_ns[0] == T0
    assert decoded.notes == (
        () if text.count(":") == 2 else (f"startDate {text!r} has no seconds: taken as :00",)
    )


@pytest.mark.parametrize(
    "topic, start",
    [
        (XYZ, ...),
        (XYZ, None),
        (XYZ, 1672531200),
        (XYZ, "2023-01-01"),
        (XYZ, "2023-01-01 00:00:00"),
        (XYZ, "2023-01-01T00:00:00+01:00"),
        (XYZ, "2023-02-30T00:00:00"),
        (XYZ, "2023-01-01T00:00:00.5"),
        (XYZ, "0001-01-01T00:00:00"),
        (XYZ, "2016-12-31T23:59:60"),
        ("impf/esk/pt1m/1/xyzs", "2023-01-01T00:00:30"),
    ],
)
def test_start_that_is_no_time_of_its_cadence_is_refused(topic, start):
    with pytest.raises(CodecError, match="startDate"):
        read(topic, startDate=start)


def test_unknown_keys_and_odd_facts_are_told_and_left_out():
    decoded = read(
        name="Eskdalemuir",
        latitude=55.314,
        lattitude=55.3,
        longitude="356.8",
        elevation=1e9,
        ginCode="bgs",
        decbas=1.5,
        comments=["a", 2],
        geomagneticFieldF=[49000, 49001],
        geomagneticFieldQ=[1],
        standardLevel="Full",
    )
    assert decoded.facts == {"name": "Eskdalemuir", "latitude": 55.314, "standardLevel": "Full"}
    told = {note.split()[0] for note in decoded.notes}
    assert told == {
        *("lattitude", "longitude", "elevation", "ginCode", "decbas", "comments"),
        *("geomagneticFieldF", "geomagneticFieldQ"),
    }
    assert any("did they mean latitude" in note for note in decoded.notes)


def test_facts_become_metadata_and_a_message_without_them_takes_none_away():
    (record,) = read(name="Eskdalemuir", latitude=55.314, institute="BGS").records
    meta = record.news(())
    assert (meta.site, meta.latitude_deg, meta.attribution) == ("Eskdalemuir", 55.314, "BGS")
    assert meta.valid_from == as_datetime(0)
    (silent,) = read().records
    assert silent.news((meta,)) is None
    (moved,) = read(latitude=55.315).records
    assert (moved.news((meta,)).site, moved.news((meta,)).latitude_deg) == ("Eskdalemuir", 55.315)


# ---- writing

# The rules of INTERMAGNET's JSON schema (2020-12, "mqtt_exchange"), stated anew and with item limits
# where the original puts them on the array.
ORIENTATIONS = {"XYZ": "HDI", "HDZ": "XYI", "DIF": "XYH"}
NAME = "geomagneticField{}".format
SCHEMA = {
    "type": "object",
    "required": ["startDate"],
    "additionalProperties": False,
    "properties": {
        "startDate": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$"},
        "name": {"type": "string"},
        "institute": {"type": "string"},
        "sensorOrientation": {"type": "string"},
        "latitude": {"type": "number", "minimum": -90, "maximum": 90},
        "longitude": {"type": "number", "minimum": -180, "maximum": 360},
        "elevation": {"type": "number", "minimum": -10000, "maximum": 10000},
        **{
            NAME(letter): {
                "type": "array",
                "items": {"type": ["number", "null"], "minimum": low, "maximum": 99999},
            }
            for letter, low in {
                **dict.fromkeys("XYZH", -99999),
                **dict.fromkeys("FS", 0),
                "D": -10800,
                "I": -5400,
            }.items()
        },
    },
    "oneOf": [
        {
            "required": [NAME(one) for one in letters],
            "not": {"anyOf": [{"required": [NAME(one)]} for one in without]},
        }
        for letters, without in {**ORIENTATIONS, "S": "XYZHDI"}.items()
    ],
}


@pytest.mark.parametrize(
    "stream, meta, values",
    [
        (LEMI, vector_meta(), [[21000.251, -310.5, 43210.99], [np.nan, -310.751, 43211.0]]),
        (
            LEMI,
            vector_meta(components=("h", "d", "z"), units=("nT", "arcmin", "nT")),
            [[1.5, -64.31, 3], [1, 2, 3]],
        ),
        (
            LEMI,
            vector_meta(components=("d", "i", "f"), units=("arcmin", "arcmin", "nT")),
            [[1, 3800, 3], [1, 2, 3]],
        ),
        (GSM, scalar_meta(), [[48048.12], [48048.46]]),
        (LEMI_MIN, vector_meta(), [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_what_is_published_is_valid_and_reads_back_the_same(stream, meta, values):
    jsonschema = pytest.importorskip("jsonschema")
    times = T0 + np.array([0, 1]) * round(stream.cadence_s) * NS
    facts = impf.facts_of(
        vector_meta(site="Pea", latitude_deg=52.1, elevation_m=14.0, attribution="An institute")
    )
    content = impf.encode(stream, meta, times, np.array(values, dtype=float), facts)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(content))
    decoded = impf.decode(impf.topic_of(stream, meta), content)
    assert decoded.notes == ()
    (record,) = decoded.records
    np.testing.assert_array_equal(record.time_ns, times)
    np.testing.assert_array_equal(record.values, values)
    assert record.meta.site == "Pea"


def test_published_text_is_the_short_one_and_a_lost_second_is_null():
    content = impf.encode(
        GSM, scalar_meta(), T0 + np.array([0, 2]) * NS, np.array([[48048.12], [48048.1 + 1e-9]])
    )
    assert content == b'{"startDate":"2023-01-01T00:00:00","geomagneticFieldS":[48048.12,null,48048.1]}'
    minute = impf.encode(Stream("PEA", "gsm0001", "min"), scalar_meta(), np.array([T0]), np.array([[1.0]]))
    assert json.loads(minute)["startDate"] == "2023-01-01T00:00"


def test_degrees_are_published_as_minutes_of_arc_and_nanotesla_are_not_taken_for_an_angle():
    meta = vector_meta(components=("h", "d", "z"), units=("nT", "deg", "nT"))
    content = json.loads(impf.encode(LEMI, meta, np.array([T0]), np.array([[20000.0, -4.5, 43000.0]])))
    assert content["geomagneticFieldD"] == [-270.0]
    for units, wanted in ((("nT", "nT", "nT"), "d is in nT"), (("uT", "arcmin", "nT"), "h is in uT")):
        meta = vector_meta(components=("h", "d", "z"), units=units)
        with pytest.raises(CodecError, match=wanted):
            impf.encode(LEMI, meta, np.array([T0]), np.array([[1.0, 2.0, 3.0]]))


@pytest.mark.parametrize(
    "times, values, wanted",
    [
        ([T0], [[1, 2, 99_999]], "z of sample 0 is 99999, not within"),
        ([T0], [[1, 2, np.inf]], "z of sample 0 is inf"),
        ([T0 + NS // 2], [[1, 2, 3]], "not whole secs"),
        ([T0 + NS, T0], [[1, 2, 3]] * 2, "each later"),
        ([T0, T0], [[1, 2, 3]] * 2, "each later"),
        ([T0, T0 + 200_000 * NS], [[1, 2, 3]] * 2, "within 172800"),
        ([T0], [[1, 2]], "shape"),
        ([], np.zeros((0, 3)), "0 times"),
    ],
)
def test_what_the_format_cannot_hold_is_not_published(times, values, wanted):
    with pytest.raises(CodecError, match=wanted):
        impf.encode(LEMI, vector_meta(), np.array(times, dtype=np.int64), np.array(values, dtype=float))


def test_time_stamp_within_the_standards_hundredth_of_a_second_is_published():
    content = impf.encode(
        LEMI, vector_meta(offset_s=0.01), np.array([T0 + NS // 100]), np.array([[1.0, 2.0, 3.0]])
    )
    assert json.loads(content)["startDate"] == "2023-01-01T00:00:00"


# ---- bodies


@pytest.mark.parametrize("stream, meta", [(LEMI, vector_meta()), (GSM, scalar_meta(offset_s=0.25))])
def test_many_samples_give_the_bytes_of_one_by_one(stream, meta):
    rng = np.random.default_rng(5)
    values = rng.uniform(0, 60_000, (500, len(meta.components)))
    values[rng.random(values.shape) < 0.1] = np.nan
    times = T0 + np.arange(500) * NS + round(meta.offset_s * NS)
    wanted = [codec.encode(stream, meta, int(at), row) for at, row in zip(times, values, strict=True)]
    assert bodies.messages(meta, times, bodies.of_values(meta, values)) == wanted
    assert bodies.of_values(meta, values) == b"".join(one[4:] for one in wanted)


def test_values_and_times_that_do_not_fit_are_refused():
    with pytest.raises(CodecError, match="y 3e\\+06 nT in row 1 does not fit the vector"):
        bodies.of_values(vector_meta(), np.array([[0, 0, 0], [0, 3e6, 0]]))
    with pytest.raises(CodecError, match="f -1 nT in row 0"):
        bodies.of_values(scalar_meta(), np.array([[-1.0]]))
    with pytest.raises(CodecError, match="whole seconds"):
        bodies.messages(scalar_meta(), np.array([T0 + 1]), b"\0" * 4)


def test_newer_value_overwrites_and_null_never_does():
    nan, meta = np.nan, vector_meta()

    def body(*values):
        return bodies.of_values(meta, np.array([values], dtype=float))

    assert bodies.revised(body(1, 2, 3), body(4, 5, 6)) == body(4, 5, 6)
    assert bodies.revised(body(1, 2, 3), body(nan, 5, nan)) == body(1, 5, 3)
    assert bodies.revised(body(nan, 2, nan), body(4, nan, nan)) == body(4, 2, nan)
    assert bodies.revised(body(1, 2, 3), body(nan, nan, nan)) == body(1, 2, 3)
    with_quality = codec.encode(GSM, scalar_meta(), T0, [48000.0], 99)[4:]
    assert bodies.revised(with_quality, codec.encode(GSM, scalar_meta(), T0, [nan], 3)[4:]) == with_quality
    assert bodies.revised(b"\0" * 4, body(1, 2, 3)) == body(1, 2, 3)


# ---- into the archive

NOW = T0 + 10 * NS
STREAM = Stream("ESK", "impf1-xyz")


def message(topic=XYZ, arrival_ns=NOW, **changes):
    return Message(topic, payload(**changes), arrival_ns)


@pytest.fixture
def esk(tmp_path):
    with open_archive(tmp_path / "esk", write=True) as archive:
        yield archive


def put(archive, *messages, **options):
    return archive.add(Exchange(archive.all_metas(), **options).sort(messages))


def values(archive, stream=STREAM):
    return archive.readings(stream, 0, 2**62).values.round(3).tolist()  # counts of 0.001


def versions(archive):
    """Earlier bodies of all samples, as x of each."""
    rows = archive._hot.rows("SELECT body FROM contradiction ORDER BY rowid")
    return [int.from_bytes(body[:4], "little", signed=True) / 1000 for (body,) in rows]


def test_messages_become_samples_of_a_stream_for_each_level(esk):
    counted = put(esk, message(geomagneticFieldS=[49000.0, 49000.5]), message("impf/esk/1hz/2/xyzs"))
    assert counted["unique"] == 6
    assert [str(stream) for stream in esk.streams()] == [
        "ESK impf1-s sec",
        "ESK impf1-xyz sec",
        "ESK impf2-xyz sec",
    ]
    assert values(esk) == [[17595.02, -329.19, 46702.7], [17595.03, -329.18, 46703.01]]
    assert values(esk, Stream("ESK", "impf1-s")) == [[49000.0], [49000.5]]
    assert esk.dataset("ESK", "impf1-xyz").x.attrs["units"] == "nT"


def test_newer_message_is_a_new_version_and_the_earlier_one_is_kept(esk):
    put(esk, message())
    row = esk.last_row()
    counted = put(esk, message(geomagneticFieldX=[17600.0, 17595.03], arrival_ns=NOW + NS))
    assert counted == {"revised": 1, "duplicate": 1}
    assert [x for x, _, _ in values(esk)] == [17600.0, 17595.03]
    assert versions(esk) == [17595.02]
    ((_, seen),) = esk.follow(row)  # a follower sees the new version
    assert seen.values[:, 0].tolist() == [17600.0]
    assert put(esk, message(geomagneticFieldX=[17600.0, 17595.03])) == {"duplicate": 2}


def test_null_never_overwrites_and_fills_in_nothing(esk):
    put(esk, message(geomagneticFieldZ=[None, 46703.01]))
    counted = put(esk, message(geomagneticFieldX=[None, None], geomagneticFieldY=[None, -400.0]))
    assert counted == {"revised": 2}
    assert values(esk) == [[17595.02, -329.19, 46702.7], [17595.03, -400.0, 46703.01]]
    nothing = {f"geomagneticField{one}": [None, None] for one in "XYZ"}
    assert put(esk, message(**nothing)) == {}
    assert len(values(esk)) == 2


def test_elements_in_messages_of_their_own_meet_in_the_archive(esk):
    for letter in "XYZ":
        gone = dict.fromkeys((f"geomagneticField{one}" for one in set("XYZ") - {letter}), ...)
        put(esk, message(**gone))
    assert values(esk) == [[17595.02, -329.19, 46702.7], [17595.03, -329.18, 46703.01]]


def test_new_version_of_a_sealed_day_is_read_and_sealed_in_its_turn(esk):
    put(esk, message())
    later = T0 + 10 * 86_400 * NS
    assert esk.seal(later) == 1
    assert put(esk, message(geomagneticFieldX=[17600.0, None], arrival_ns=later)) == {
        "revised": 1,
        "duplicate": 1,
    }
    assert [x for x, _, _ in values(esk)] == [17600.0, 17595.03]
    assert put(esk, message(geomagneticFieldX=[17601.0, None], arrival_ns=later)) == {
        "revised": 1,
        "duplicate": 1,
    }
    assert esk.seal(later + 86_400 * NS) == 1
    assert [x for x, _, _ in values(esk)] == [17601.0, 17595.03]
    assert len(esk.stored(STREAM, 0, 2**62)) == 2
    assert versions(esk) == [17595.02, 17600.0]
    day = esk.days(STREAM, T0, T0 + NS)
    assert [one.n for one in day] == [2]


def test_bad_message_is_kept_as_rejected_and_the_next_one_stored(esk):
    counted = put(
        esk,
        message(geomagneticFieldX=[1.0, 99999.0]),
        message("impf/esk/pt1h/1/xyzs"),
        message(startDate="2023-01-01T01:00:00"),
        message(startDate="1980-01-06T00:00:00"),
        message(),
    )
    assert counted == {"rejected": 4, "unique": 2}
    reasons = esk.rejected().reason.values.tolist()
    for reason, wanted in zip(
        reasons, ("missing is null", "pt1h", "in the future", "before 1990"), strict=True
    ):
        assert wanted in reason


def test_facts_reach_the_archives_metadata_and_stay(esk):
    put(esk, message(name="Eskdalemuir", latitude=55.314))
    put(esk, message(startDate="2023-01-01T00:00:02"))
    (meta,) = esk.metas(STREAM)
    assert (meta.site, meta.latitude_deg) == ("Eskdalemuir", 55.314)


def test_publisher_known_to_send_degrees_is_read_so(esk):
    degrees = message("impf/esk/pt1s/1/hdzs", **hdz(geomagneticFieldD=[-4.5, 1.25]))
    put(esk, degrees, angles={"ESK": "deg"})
    assert [d for _, d, _ in values(esk, Stream("ESK", "impf1-hdz"))] == [-270.0, 75.0]
    assert esk.dataset("ESK", "impf1-hdz").d.attrs["units"] == "arcmin"


def test_second_data_30_s_old_and_minute_data_2_min_old_are_late(esk):
    put(esk, message(arrival_ns=T0 + 31 * NS))
    assert esk.counters()[STREAM]["late"] == 1
    put(esk, message("impf/esk/pt1m/1/xyzs", arrival_ns=T0 + 121 * NS))
    assert esk.counters()[Stream("ESK", "impf1-xyz", "min")]["late"] == 1
