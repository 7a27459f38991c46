import base64
import itertools
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from telemetry.makers import wait_for
from typer.testing import CliRunner

from obslab.cli import app
from obslab.config import broker_at
from obslab.errors import ConfigError, TopicError
from obslab.telemetry.broker import bridge
from obslab.telemetry.broker.access import SAMPLERATES, User, access_list, password_file, station_user
from obslab.telemetry.broker.brokers import free_port, mosquitto_program
from obslab.telemetry.broker.folders import Plan, parse_user, write
from obslab.telemetry.broker.link import Link
from obslab.telemetry.broker.lint import lint
from obslab.telemetry.broker.relay import Relay

HOUR_S = 3600
STATE = "$SYS/broker/connection/bridge-pea/state"
_numbers = itertools.count()


# ---- what is written


@pytest.fixture
def plan():
    def make(**changes):
        return Plan(**{"stations": ("PEA",), "centre_host": "data.example.org", **changes})

    return make


def passwords_of(out):
    return [path.read_text().splitlines()[1].partition("=")[2] for path in out.glob("logins/*/*.env")]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_password_is_hashed_as_mosquitto_passwd_would():
    user, _, hashed = password_file({"pea": "a secret of Pea"}).strip().partition(":")
    kind, rounds, salt, key = hashed.split("$")[1:]
    # The same by openssl, as PBKDF2 with HMAC-SHA-512.
    salt_hex, key_hex = (base64.b64decode(text).hex() for text in (salt, key))
    done = subprocess.run(
        ["openssl", "kdf", "-keylen", "64", "-kdfopt", "digest:SHA512", "-kdfopt", "pass:a secret of Pea",
         "-kdfopt", f"hexsalt:{salt_hex}", "-kdfopt", f"iter:{rounds}", "PBKDF2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (user, kind) == ("pea", "7")
    assert done.stdout.strip().replace(":", "").lower() == key_hex


def test_what_is_generated_has_nothing_to_lint(plan, tmp_path):
    write(plan(make_certificates=True, stations=("PEA", "WIC")), tmp_path, environ={})
    for name in ("station-pea", "station-wic", "centre"):
        assert lint(tmp_path / name / "mosquitto.conf") == []


def test_what_is_generated_for_another_machine_has_nothing_to_lint_here(plan, tmp_path):
    write(plan(make_certificates=True, at=Path("/etc/mosquitto/obslab")), tmp_path, environ={})
    text = (tmp_path / "station-pea" / "mosquitto.conf").read_text()
    assert "password_file /etc/mosquitto/obslab/station-pea/passwords" in text
    assert str(tmp_path) not in text
    assert lint(tmp_path / "station-pea" / "mosquitto.conf") == []
    assert lint(tmp_path / "centre" / "mosquitto.conf") == []


def test_missing_certificates_are_told_by_lint(plan, tmp_path):
    write(plan(kind="centre"), tmp_path, environ={})
    assert {finding.setting for finding in lint(tmp_path / "centre" / "mosquitto.conf")} == {
        "cafile",
        "certfile",
        "keyfile",
    }


def test_passwords_stand_only_in_files_for_their_owner(plan, tmp_path):
    command = [
        "broker",
        "config",
        "--out",
        str(tmp_path / "out"),
        "--station",
        "pea",
        "--centre-host",
        "data",
    ]
    done = CliRunner().invoke(app, [*command, "--make-certificates"])
    assert done.exit_code == 0
    words = passwords_of(tmp_path / "out")
    assert len(set(words)) == len(words) == 8  # pea, operator, viewer; these, archive and the bridge there
    assert all(len(word) >= 32 for word in words)
    holding = set()
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        text = path.read_text()
        if any(word in text for word in words) or "PRIVATE KEY" in text:
            holding.add(path.name)
            assert mode(path) == 0o600, path
    assert holding >= {"pea.env", "bridge-pea.env", "bridge.conf", "server.key", "ca.key"}
    assert "mosquitto.conf" not in holding
    assert mode(tmp_path / "out" / "station-pea" / "passwords") == 0o600
    assert not any(word in done.output for word in words)


def test_passwords_from_the_environment_are_used_and_those_made_before_are_kept(plan, tmp_path):
    environ = {"OBSLAB_PASSWORD_BRIDGE_PEA": "of-the-bridge-7"}
    write(plan(), tmp_path, environ=environ)
    login = (tmp_path / "logins" / "centre" / "bridge-pea.env").read_text()
    assert login == "OBSLAB_MQTT_USER=bridge-pea\nOBSLAB_MQTT_PASSWORD=of-the-bridge-7\n"
    assert "remote_password of-the-bridge-7\n" in (tmp_path / "station-pea/bridge.d/bridge.conf").read_text()
    before = sorted(passwords_of(tmp_path))
    write(plan(), tmp_path, environ={}, force=True)
    assert sorted(passwords_of(tmp_path)) == before


@pytest.mark.parametrize("word", ["two words", "line\nbreak", 'quo"te', "back\\slash", "#hash", "ümlaut"])
def test_a_password_that_files_would_change_is_refused_and_not_shown(plan, tmp_path, word):
    with pytest.raises(ConfigError, match=r"OBSLAB_PASSWORD_PEA \(not shown\)") as refusal:
        write(plan(), tmp_path / "out", environ={"OBSLAB_PASSWORD_PEA": word})
    assert word not in refusal.value.message
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone_unless_forced(plan, tmp_path):
    mine = tmp_path / "station-pea" / "bridge.d" / "mine.conf"
    mine.parent.mkdir(parents=True)
    mine.write_text("connection mine\n")
    with pytest.raises(ConfigError) as refusal:
        write(plan(), tmp_path, environ={})
    assert refusal.value.message == f"{mine} would be overwritten; choose another --out, or --force it"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    write(plan(kind="centre"), tmp_path, environ={})  # another broker beside it
    write(plan(), tmp_path, environ={}, force=True)
    assert mine.read_text() == "connection mine\n"


def test_a_file_in_place_of_the_folder_is_named(plan, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="out is a file; give a folder"):
        write(plan(), tmp_path / "out", environ={})


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"stations": ()}, ConfigError, "no station is given"),
        ({"stations": ("pea",)}, TopicError, "station 'pea' is not an IAGA code"),
        ({"stations": ("../X",)}, TopicError, "is not an IAGA code"),
        ({"stations": ("PEA", "PEA")}, ConfigError, "user 'pea' is there twice"),
        ({"centre_host": ""}, ConfigError, "no data centre is given"),
        ({"centre_host": "mqtt://data:8883"}, ConfigError, "give it without mqtt:// and port"),
        ({"centre_host": "data example"}, ConfigError, "is no host name"),
        ({"centre_host": "data\nuser root"}, ConfigError, "is no host name"),
        ({"centre_host": "1.2.3"}, ConfigError, "is no host name"),
        ({"centre_host": "a" * 64}, ConfigError, "is no host name"),
        ({"station_host": "-x"}, ConfigError, "is no host name"),
        ({"bind": "all"}, None, ""),  # a name that may well be in /etc/hosts
        ({"bind": "*"}, ConfigError, "the address to listen on"),
        ({"kind": "moon"}, ConfigError, "--kind 'moon' is none of station, centre, all"),
        ({"samplerates": ("sec", "30khz")}, TopicError, "samplerate '30khz'"),
        ({"users": (User("viewer", "viewer"),)}, ConfigError, "user 'viewer' is there twice"),
    ],
)
def test_bad_plans_are_refused_before_anything_is_written(plan, tmp_path, changes, error, words):
    if error is None:
        plan(**changes)
        return
    with pytest.raises(error) as refusal:
        write(plan(**changes), tmp_path / "out", environ={})
    assert words in refusal.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["dtu", "dtu=", "dtu=root", "=viewer", "d:u=viewer", "dtu=station"])
def test_bad_users_are_refused(text):
    with pytest.raises(ConfigError):
        parse_user(text)


def test_every_samplerate_and_word_of_a_station_is_granted_and_crosses_the_bridge(plan, tmp_path):
    write(plan(samplerates=(*SAMPLERATES, "30hz")), tmp_path, environ={})
    acl = (tmp_path / "centre" / "acl").read_text()
    bridged = (tmp_path / "station-pea" / "bridge.d" / "bridge.conf").read_text()
    for word in ("sec", "min", "abs", "10hz", "30hz", "$meta", "$status", "$ledger", "$block"):
        assert f"topic write pea/+/{word}\n" in acl
        assert f"topic pea/+/{word} out 1\n" in bridged
    for word in ("$cmd", "$want", "$confirm"):
        assert f"topic read pea/+/{word}\n" in acl
        assert f"topic pea/+/{word} in 1\n" in bridged
        assert f"topic write pea/+/{word}\n" not in acl
    assert "user pea\n" in access_list([station_user("PEA")])


def test_a_ca_without_its_key_is_named(plan, tmp_path):
    write(plan(make_certificates=True), tmp_path, environ={})
    (tmp_path / "ca" / "ca.key").unlink()
    with pytest.raises(ConfigError, match=r"ca\.crt is there without ca\.key"):
        write(plan(make_certificates=True), tmp_path, environ={}, force=True)


# ---- the same files in a real Mosquitto


class Observatory:
    """A station's broker and a data centre's, from generated files, and clients that log in to them."""

    def __init__(self, *, relayed=False):
        # Not pytest's folder: Mosquitto started by root becomes the user mosquitto, who may not enter it.
        self.out = Path(tempfile.mkdtemp(prefix="obslab-brokers-"))
        self.out.chmod(0o755)
        self.ports = {"station-pea": free_port(), "centre": free_port()}
        self.tls, centre_tls = free_port(), free_port()
        self.relay = Relay("127.0.0.1", centre_tls) if relayed else None
        if self.relay:
            self.relay.start()
        to_centre = self.relay.port if self.relay else centre_tls
        made = {"stations": ("PEA",), "centre_host": "127.0.0.1", "make_certificates": True}
        made |= {"bind": "127.0.0.1", "port": self.tls}
        for kind, name, port in (("station", "station-pea", to_centre), ("centre", "centre", centre_tls)):
            plan = Plan(**made, kind=kind, local_port=self.ports[name], centre_port=port)
            write(plan, self.out, environ={})
        self._processes, self._clients = {}, []
        for name in self.ports:
            self.start(name)

    def start(self, name):
        log = (self.out / f"{name}.log").open("ab")
        config = self.out / name / "mosquitto.conf"
        self._processes[name] = subprocess.Popen([mosquitto_program(), "-c", config], stderr=log)

    def signal(self, name, number):
        self._processes[name].send_signal(number)
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._processes[name].wait()

    def password(self, broker, user):
        return (self.out / "logins" / broker / f"{user}.env").read_text().split("PASSWORD=")[1].strip()

    def client(self, broker, user, *topics, name=None, password=None, **options):
        """A client that knows nothing of obslab, and the messages that it hears, as they come."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, name or f"test-{next(_numbers)}", **options)
        client.heard, client.ready, client.refused, client.losses = [], threading.Event(), [], []
        if user:
            client.username_pw_set(user, password or self.password(broker, user))
        client.max_inflight_messages_set(1000)
        client.reconnect_delay_set(1, 1)

        def connected(_c, _u, _f, reason, _p):
            if reason.is_failure:
                client.refused.append(str(reason))
            elif topics:
                client.subscribe([(topic, 1) for topic in topics])
            else:
                client.ready.set()

        client.on_connect = connected
        client.on_subscribe = lambda *_: client.ready.set()
        client.on_disconnect = lambda *_: client.losses.append(1)
        client.on_message = lambda _c, _u, message: client.heard.append((message.topic, message.payload))
        self._clients.append(client)
        wait_for(lambda: _connect(client, self.ports[broker]), what=f"broker {broker}")
        client.loop_start()
        wait_for(lambda: client.ready.is_set() or client.refused, what="an answer")
        return client

    def leave(self, *clients):
        for client in clients:
            client.disconnect()
            client.loop_stop()
            self._clients.remove(client)

    def wait_until_bridged(self):
        viewer = self.client("station-pea", "viewer", STATE)
        wait_for(lambda: viewer.heard and viewer.heard[-1] == (STATE, b"1"), what="the bridge")
        self.leave(viewer)

    def close(self):
        self.leave(*list(self._clients))
        for process in self._processes.values():
            process.kill()
            process.wait()
        if self.relay:
            self.relay.stop()
        shutil.rmtree(self.out)


def _connect(client, port):
    try:
        return client.connect("127.0.0.1", port, keepalive=10) == 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def shared():
    """For tests that leave brokers as they are."""
    observatory = Observatory()
    observatory.wait_until_bridged()
    yield observatory
    observatory.close()


@pytest.fixture
def observatory():
    observatory = Observatory()
    observatory.wait_until_bridged()
    yield observatory
    observatory.close()


@pytest.fixture
def relayed():
    observatory = Observatory(relayed=True)
    observatory.wait_until_bridged()
    yield observatory
    observatory.close()


def say(client, topic, payload, *, retain=False):
    client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)


def heard(client, *message):
    wait_for(lambda: message in client.heard, what=f"{message}")


@pytest.mark.mosquitto
def test_a_publisher_cannot_read_samples_and_a_reader_cannot_write(shared):
    archive = shared.client("centre", "archive", "#")
    publisher = shared.client("centre", "pea", "#", "pea/+/sec")
    viewer = shared.client("centre", "viewer", "#")
    say(publisher, "pea/lemi0001/sec", b"sample")
    say(viewer, "pea/lemi0001/sec", b"forged")
    say(viewer, "pea/lemi0001/$cmd", b"forged")
    say(viewer, "pea/lemi0001/$confirm", b"forged")
    # What is let through comes after what is not, and in order.
    say(viewer, "wic/lemi0001/sec", b"forged")
    say(archive, "pea/lemi0001/$confirm", b"last")
    for reader in (archive, viewer):
        heard(reader, "pea/lemi0001/$confirm", b"last")
        assert ("pea/lemi0001/sec", b"sample") in reader.heard
        assert not [payload for _, payload in reader.heard if payload == b"forged"]
    heard(publisher, "pea/lemi0001/$confirm", b"last")
    assert {topic for topic, _ in publisher.heard} == {"pea/lemi0001/$confirm"}
    shared.leave(archive, publisher, viewer)


@pytest.mark.mosquitto
@pytest.mark.parametrize("broker", ["station-pea", "centre"])
def test_each_role_writes_its_words_and_no_others(shared, broker):
    words = (
        "sec",
        "min",
        "abs",
        "100hz",
        "$meta",
        "$status",
        "$ledger",
        "$block",
        "$want",
        "$confirm",
        "$cmd",
    )
    said = {"sec", "min", "abs", "100hz", "$meta", "$status", "$ledger", "$block"}
    writes = {
        "pea": {f"pea/unit/{word}" for word in said},
        "operator": {"pea/unit/$cmd", "wic/unit/$cmd"},
        "viewer": set(),
    }
    if broker == "centre":
        writes["archive"] = {
            f"{code}/unit/{word}" for code in ("pea", "wic") for word in ("$want", "$confirm")
        }
        writes["bridge-pea"] = writes["pea"]
    witness = shared.client(broker, "viewer", "#", "$SYS/broker/connection/#")
    operator = shared.client(broker, "operator")
    for user, granted in writes.items():
        client = shared.client(broker, user)
        mark = f"by {user}".encode()
        for code, word in itertools.product(("pea", "wic"), words):
            say(client, f"{code}/unit/{word}", mark)
        say(client, "impf/pea/pt1s/1/xyzs", mark)
        say(client, "$SYS/broker/connection/another/state", mark)
        say(operator, "pea/unit/$cmd", b"end of " + mark)
        heard(witness, "pea/unit/$cmd", b"end of " + mark)
        impf = {"impf/pea/pt1s/1/xyzs"} if user in ("pea", "bridge-pea") else set()
        assert {topic for topic, payload in witness.heard if payload == mark} == granted | impf
        assert client.losses == []  # a message that is refused does not cost the connection
        shared.leave(client)
    shared.leave(witness, operator)


@pytest.mark.mosquitto
@pytest.mark.parametrize("broker", ["station-pea", "centre"])
@pytest.mark.parametrize(("user", "password"), [(None, None), ("pea", "guess-77"), ("nobody", "guess-77")])
def test_anonymous_clients_and_wrong_passwords_get_nothing(shared, broker, user, password):
    stranger = shared.client(broker, user, "#", password=password)
    publisher = shared.client(broker, "pea")
    viewer = shared.client(broker, "viewer", "#")
    say(publisher, "pea/lemi0001/sec", b"sample")
    heard(viewer, "pea/lemi0001/sec", b"sample")
    assert stranger.refused[0] in ("Not authorized", "Bad user name or password")
    assert stranger.heard == []
    assert not stranger.ready.is_set()
    shared.leave(stranger, publisher, viewer)


@pytest.mark.mosquitto
def test_tls_is_trusted_with_the_ca_that_was_made_and_not_without(shared):
    url, ca = f"mqtts://127.0.0.1:{shared.tls}", shared.out / "ca" / "ca.crt"
    login = {"OBSLAB_MQTT_USER": "pea", "OBSLAB_MQTT_PASSWORD": shared.password("station-pea", "pea")}
    for environ, connected in ((login | {"OBSLAB_MQTT_CA": str(ca)}, True), (login, False)):
        link = Link(broker_at(url, environ), f"test-{next(_numbers)}")
        link.start()
        try:
            assert link.wait(20).connected is connected
        finally:
            link.stop()
    # A name that the certificate does not have, by Python's own rules.
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.1", shared.tls), 5) as plain,
        pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'data\.example\.org'"),
    ):
        context.wrap_socket(plain, server_hostname="data.example.org")


@pytest.mark.mosquitto
def test_control_words_cross_the_bridge_towards_the_station_and_samples_from_it(shared):
    publisher = shared.client("station-pea", "pea", "pea/+/$cmd", "pea/+/$want", "pea/+/$confirm")
    archive = shared.client("centre", "archive", "#")
    operator = shared.client("centre", "operator")
    say(publisher, "pea/lemi0002/$block", b"x" * 4096)
    say(operator, "pea/lemi0002/$cmd", b"pause")
    say(archive, "pea/lemi0002/$want", b"some")
    heard(archive, "pea/lemi0002/$block", b"x" * 4096)
    heard(publisher, "pea/lemi0002/$cmd", b"pause")
    heard(publisher, "pea/lemi0002/$want", b"some")
    shared.leave(publisher, archive, operator)


def samples(client):
    return [message for message in client.heard if message[0].endswith("/sec")]


def an_hour_through(observatory, cut, restore, states_at):
    """Publish an hour of two instruments while the link is cut; what an archive got, and what was sent."""
    archive = observatory.client("centre", "archive", "#", name="archive", clean_session=False)
    states = observatory.client(states_at, "viewer", STATE)
    publisher = observatory.client("station-pea", "pea")
    heard(states, STATE, b"1")
    cut()
    wait_for(lambda: states.heard[-1] == (STATE, b"0"), timeout_s=90, what="the bridge going down")
    sent = [
        (f"pea/{instrument}/sec", second.to_bytes(size, "little"))
        for second in range(HOUR_S)
        for instrument, size in (("lemi0001", 16), ("gsm0001", 8))
    ]
    for topic, payload in sent:
        last = publisher.publish(topic, payload, qos=1)
    last.wait_for_publish(60)
    restore()
    wait_for(lambda: states.heard[-1] == (STATE, b"1"), timeout_s=90, what="the bridge coming up")
    wait_for(lambda: len(set(samples(archive))) >= len(sent), timeout_s=90, what="the whole hour")
    seen = [bridge.parse(*state) for state in states.heard]
    assert [up for _, up in seen] == [True, False, True]
    assert {name for name, _ in seen} == {"bridge-pea"}
    return samples(archive), sent


@pytest.mark.mosquitto
def test_an_hour_of_samples_comes_through_an_outage_of_the_data_centre(observatory):
    got, sent = an_hour_through(
        observatory,
        lambda: observatory.signal("centre", signal.SIGTERM),
        lambda: observatory.start("centre"),
        "station-pea",
    )
    # What was under way when the link broke may come twice, and behind what followed it: that is QoS 1.
    assert set(got) == set(sent)
    assert len(set(sent)) == 7200


@pytest.mark.long
@pytest.mark.mosquitto
def test_an_hour_of_samples_comes_through_a_frozen_link_that_the_data_centre_notices(relayed):
    # Nothing comes through and nobody is told: only the keep-alive can tell, at the data centre.
    got, sent = an_hour_through(relayed, relayed.relay.freeze, relayed.relay.restore, "centre")
    assert set(got) == set(sent)


@pytest.mark.mosquitto
def test_a_bridge_stays_up_after_both_brokers_restarted_with_retained_confirmations(observatory):
    # With pea/+/+ as its topic it would send the $confirm that came in out again, and be thrown out for it.
    publisher = observatory.client("station-pea", "pea", "pea/+/$confirm")
    archive = observatory.client("centre", "archive", "#")
    say(publisher, "pea/lemi0001/$meta", b"meta", retain=True)
    say(archive, "pea/lemi0001/$confirm", b"all", retain=True)
    heard(publisher, "pea/lemi0001/$confirm", b"all")
    heard(archive, "pea/lemi0001/$meta", b"meta")
    observatory.leave(publisher, archive)
    for name in ("station-pea", "centre"):
        observatory.signal(name, signal.SIGTERM)
    for name in ("centre", "station-pea"):
        observatory.start(name)
    observatory.wait_until_bridged()
    states = observatory.client("station-pea", "viewer", STATE)
    late = observatory.client("station-pea", "pea", "pea/+/$confirm")
    viewer = observatory.client("centre", "viewer", "#")
    heard(late, "pea/lemi0001/$confirm", b"all")
    heard(viewer, "pea/lemi0001/$meta", b"meta")
    say(late, "pea/lemi0001/sec", b"sample")
    heard(viewer, "pea/lemi0001/sec", b"sample")
    assert [payload for _, payload in states.heard] == [b"1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.mosquitto
def test_files_written_by_root_belong_to_the_user_mosquitto(shared):
    owners = {path.owner() for path in (shared.out / "centre").rglob("*")}
    assert owners == {"mosquitto"}
    assert {path.owner() for path in (shared.out / "logins").rglob("*")} == {"root"}
