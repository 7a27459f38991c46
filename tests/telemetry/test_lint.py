import json
import subprocess

import pytest
from typer.testing import CliRunner

from obslab.cli import app
from obslab.errors import ConfigError
from obslab.telemetry.broker import options
from obslab.telemetry.broker.brokers import mosquitto_program
from obslab.telemetry.broker.lint import lint, serious

GOOD = """\
persistence true
persistence_location {folder}/
autosave_interval 300
max_queued_messages 100000000
max_inflight_messages 0
queue_qos0_messages true
allow_zero_length_clientid false
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl
listener 1883 127.0.0.1
"""
BRIDGE = """\
connection pea
address 127.0.0.1:1883
remote_clientid pea
keepalive_interval 10
topic pea/+/sec out 1
"""
LOSES, STALLS, OPENS, NOTE = "loses data", "stalls", "lets people in", "note"


@pytest.fixture
def config(tmp_path):
    """Writes a configuration: the good one, without the lines of a key, and with more lines."""
    (tmp_path / "acl").write_text("user pea\ntopic write pea/+/sec\n")
    (tmp_path / "passwords").write_text("pea:$7$101$c2FsdA==$a2V5\n")
    (tmp_path / "passwords").chmod(0o600)

    def write(more="", without=(), name="mosquitto.conf"):
        lines = [line for line in GOOD.format(folder=tmp_path).splitlines() if line.split()[0] not in without]
        path = tmp_path / name
        path.write_text("\n".join([*lines, more.format(folder=tmp_path), ""]))
        path.chmod(0o600)
        return path

    return write


def told(path):
    return [(finding.severity, finding.setting) for finding in lint(path)]


def test_a_good_configuration_has_nothing_to_say_about(config):
    assert lint(config(BRIDGE)) == []


@pytest.mark.parametrize(
    ("key", "severity"),
    [
        ("persistence", LOSES),
        ("max_queued_messages", LOSES),
        ("autosave_interval", LOSES),
        ("max_inflight_messages", STALLS),
        ("password_file", STALLS),
        ("acl_file", NOTE),  # a listener of this machine only
        ("persistence_location", NOTE),
        ("queue_qos0_messages", NOTE),
        ("allow_zero_length_clientid", NOTE),
    ],
)
def test_a_default_that_is_a_trap_is_told_although_no_line_has_it(config, key, severity):
    (finding,) = lint(config(without=[key]))
    assert (finding.severity, finding.setting, finding.line) == (severity, key, 0)


@pytest.mark.parametrize(
    ("line", "severity", "setting"),
    [
        ("max_queued_messages 1000", LOSES, "max_queued_messages"),
        ("max_queued_messages 0", STALLS, "max_queued_messages"),
        ("max_queued_messages lots", LOSES, "max_queued_messages"),
        ("max_queued_bytes 1000000", LOSES, "max_queued_bytes"),
        ("memory_limit 1000000", LOSES, "memory_limit"),
        ("message_size_limit 1024", LOSES, "message_size_limit"),
        ("max_packet_size 1024", STALLS, "max_packet_size"),
        ("max_keepalive 5", STALLS, "max_keepalive"),
        ("max_inflight_messages 20", STALLS, "max_inflight_messages"),
        ("max_inflight_bytes 100", STALLS, "max_inflight_bytes"),
        ("persistent_client_expiration 1h", LOSES, "persistent_client_expiration"),
        ("retain_available false", LOSES, "retain_available"),
        ("autosave_interval 1800", LOSES, "autosave_interval"),
        ("autosave_interval 0", LOSES, "autosave_interval"),
        ("autosave_on_changes true", STALLS, "autosave_on_changes"),
        ("persistence_location /no/such/folder/", LOSES, "persistence_location"),
        ("listener 1884", OPENS, "listener"),
        ("listener 1884 0.0.0.0", OPENS, "listener"),
        ("listener 1884 ::", OPENS, "listener"),
        ("allow_anonymous true", NOTE, "allow_anonymous"),
        ("allow_anonymous yes", STALLS, "allow_anonymous"),
        ("tls_version tlsv1.1", OPENS, "tls_version"),
        ("max_qos 0", STALLS, "max_qos"),
        ("use_username_as_clientid true", STALLS, "use_username_as_clientid"),
        ("require_certificate true", STALLS, "require_certificate"),
        ("mount_point pea/", NOTE, "mount_point"),
        ("certfile /no/such/file", STALLS, "certfile"),
        ("user root", OPENS, "user"),
        ("max_queued_message 5", STALLS, "max_queued_message"),
        ("  # an indented comment", STALLS, "#"),
        ("log_dest file /var/log/m.log # of today", STALLS, "log_dest"),
        ("persistence", STALLS, "persistence"),
        ("topic # out 1", STALLS, "topic"),
        ("include_dir /no/such/folder", STALLS, "include_dir"),
    ],
)
def test_a_bad_line_is_named_with_its_number(config, line, severity, setting):
    path = config(line)
    number = path.read_text().splitlines().index(line) + 1
    assert (severity, setting, number) in {
        (finding.severity, finding.setting, finding.line) for finding in lint(path)
    }


@pytest.mark.parametrize(
    ("old", "new", "severity", "setting"),
    [
        ("sec out 1", "sec out 0", LOSES, "topic"),
        ("sec out 1", "sec", LOSES, "topic"),
        ("pea/+/sec out 1", "# both 1", NOTE, "topic"),
        ("pea/+/sec out 1", "pea/+/+ out 1\ntopic pea/+/$confirm in 1", NOTE, "topic"),
        ("sec out 1", "sec up 1", STALLS, "topic"),
        ("topic pea/+/sec out 1", "", LOSES, "topic"),
        ("keepalive_interval 10", "", STALLS, "keepalive_interval"),
        ("keepalive_interval 10", "keepalive_interval 60", STALLS, "keepalive_interval"),
        ("remote_clientid pea", "", NOTE, "remote_clientid"),
        ("address 127.0.0.1:1883", "", STALLS, "address"),
        ("127.0.0.1:1883", "data.example.org", OPENS, "address"),
        ("127.0.0.1:1883", "127.0.0.1:1883 [2001:db8::1]:1883", OPENS, "address"),
        ("topic", "cleansession true\ntopic", LOSES, "cleansession"),
        ("topic", "local_cleansession true\ntopic", LOSES, "local_cleansession"),
        ("topic", "bridge_outgoing_retain false\ntopic", LOSES, "bridge_outgoing_retain"),
        ("topic", "bridge_insecure true\ntopic", OPENS, "bridge_insecure"),
        ("topic", "try_private false\ntopic", NOTE, "try_private"),
        ("topic", "notifications false\ntopic", NOTE, "notifications"),
        ("topic", "notifications_local_only true\ntopic", NOTE, "notifications_local_only"),
        ("topic", "notification_topic a/b\ntopic", NOTE, "notification_topic"),
        ("topic", "start_type lazy\ntopic", STALLS, "start_type"),
        ("topic", "start_type once\ntopic", STALLS, "start_type"),
        ("topic", "restart_timeout 10 300\ntopic", STALLS, "restart_timeout"),
        ("topic", "bridge_max_packet_size 512\ntopic", LOSES, "bridge_max_packet_size"),
        ("topic", "bridge_protocol_version mqttv50\ntopic", NOTE, "bridge_protocol_version"),
    ],
)
def test_a_bridge_that_loses_or_stalls_is_told(config, old, new, severity, setting):
    assert old in BRIDGE
    assert told(config(BRIDGE.replace(old, new, 1))) == [(severity, setting)]


def test_a_public_listener_without_tls_anonymous_and_without_an_access_list_lets_people_in(config):
    path = config("allow_anonymous true\nlistener 1884 0.0.0.0", without=["allow_anonymous", "acl_file"])
    assert {setting for severity, setting in told(path) if severity == OPENS} == {
        "listener",
        "allow_anonymous",
        "acl_file",
    }
    assert serious(lint(path))


def test_a_listener_of_this_machine_only_is_not_public(config):
    for host in ("127.0.0.1", "127.0.1.1", "::1", "localhost", "/run/mosquitto.sock"):
        assert lint(config(f"listener 1884 {host}")) == []


def test_tls_makes_a_public_listener_acceptable(config, tmp_path):
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_text("PEM")
        (tmp_path / name).chmod(0o600)
    listener = "listener 8883 0.0.0.0\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key"
    assert lint(config(listener)) == []
    (tmp_path / "server.key").chmod(0o644)
    assert told(config(listener)) == [(OPENS, "keyfile")]


def test_a_port_of_the_default_listener_is_public(config):
    assert (OPENS, "port") in told(config("port 1883", without=["listener"]))
    local = told(config("port 1883\nbind_address 127.0.0.1", without=["listener"]))
    assert not [severity for severity, _ in local if severity == OPENS]


def test_logins_of_each_listener_are_looked_at_when_they_are_apart(config, tmp_path):
    apart = (
        "per_listener_settings true\nlistener 1884 127.0.0.1\nallow_anonymous false\n"
        "allow_zero_length_clientid false\nacl_file {folder}/acl\npassword_file {folder}/passwords\n"
        "listener 1885 127.0.0.1\nallow_anonymous true\n"
    )
    without = ["listener", "allow_anonymous", "password_file", "acl_file", "allow_zero_length_clientid"]
    findings = lint(config(apart, without=without))
    second = apart.splitlines().index("allow_anonymous true")
    lines = config(apart, without=without).read_text().splitlines()
    assert {finding.setting for finding in findings} == {
        "allow_anonymous",
        "acl_file",
        "allow_zero_length_clientid",
    }
    assert {lines[finding.line - 1].split()[0] for finding in findings} == {"allow_anonymous", "listener"}
    assert all(finding.line >= lines.index("listener 1885 127.0.0.1") + 1 for finding in findings), second


def test_open_and_plain_password_files_are_told(config, tmp_path):
    (tmp_path / "passwords").chmod(0o644)
    assert told(config()) == [(OPENS, "password_file")]
    (tmp_path / "passwords").write_text("pea:hunter2\n")
    (tmp_path / "passwords").chmod(0o600)
    (finding,) = lint(config())
    assert (finding.severity, finding.what) == (STALLS, "the password of user 'pea' is not hashed")
    assert "hunter2" not in str(finding)


def test_the_password_of_a_bridge_in_an_open_file_is_told_and_not_shown(config):
    path = config(BRIDGE + "remote_username pea\nremote_password hunter2\n")
    assert lint(path) == []
    path.chmod(0o644)
    (finding,) = lint(path)
    assert (finding.severity, finding.setting) == (OPENS, "remote_password")
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ("pattern write #", [(OPENS, "acl_file")]),
        ("pattern write sensor/%u", []),
        ("user pea\ntopic readwrite #", [(NOTE, "acl_file")]),
        ("user pea\ntopic #", [(NOTE, "acl_file")]),
        ("user pea\ntopic read #", []),
        ("# a comment\n\nuser pea\ntopic deny #", []),
        ("user pea\nwrite pea/+/sec", [(STALLS, "acl_file")]),
    ],
)
def test_an_access_list_that_lets_everybody_write_is_told(config, tmp_path, rules, wanted):
    (tmp_path / "acl").write_text(rules)
    assert told(config()) == wanted


def test_files_of_an_included_folder_are_read_and_named(config, tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "b.conf").write_text("max_queued_messages 1000\n")
    (tmp_path / "conf.d" / "b.txt").write_text("nonsense\n")
    (finding,) = lint(config("include_dir {folder}/conf.d"))
    assert (finding.setting, finding.line) == ("max_queued_messages", 1)
    assert finding.file == str(tmp_path / "conf.d" / "b.conf")


def test_what_is_nearly_an_option_is_told_with_the_option(config):
    (finding,) = lint(config("max_inflight_message 0"))
    assert finding.instead == "did you mean max_inflight_messages?"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.conf cannot be read"):
        lint(tmp_path / "no.conf")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="binary is not a text file"):
        lint(tmp_path / "binary")


def test_the_command_ends_with_1_only_for_what_is_serious(config):
    run = CliRunner().invoke
    clean = run(app, ["broker", "lint", str(config())])
    assert (clean.exit_code, clean.output.endswith("nothing found\n")) == (0, True)
    noted = run(app, ["broker", "lint", str(config(without=["queue_qos0_messages"]))])
    assert (noted.exit_code, noted.output.split(":")[0]) == (0, "note")
    path = config("max_queued_messages 1000")
    bad = run(app, ["broker", "lint", str(path)])
    assert bad.exit_code == 1
    assert bad.output.startswith(f"loses data: {path}:12: max_queued_messages: at most 1000 messages")
    assert "instead: max_queued_messages 100000000" in bad.output
    listed = run(app, ["broker", "lint", str(path), "--json"])
    assert listed.exit_code == 1
    assert [(row["severity"], row["line"]) for row in json.loads(listed.output)] == [(LOSES, 12)]


# ---- Mosquitto itself as the judge


def refusal(path):
    """What Mosquitto says of a configuration that it refuses; fails if it starts."""
    done = subprocess.run([mosquitto_program(), "-c", path], capture_output=True, text=True, timeout=5)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.mosquitto
def test_every_option_is_known_to_mosquitto(tmp_path):
    path = tmp_path / "mosquitto.conf"
    unknown = []
    for key in options.KNOWN:
        # The last line ends it at once, whatever becomes of the first.
        path.write_text(f"{key} 1\nnonsense 1\n")
        if f'Unknown configuration variable "{key}"' in refusal(path):
            unknown.append(key)
    assert unknown == []


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    "line",
    [
        "max_queued_message 5",
        "  # an indented comment",
        "persistence",
        "persistence yes",
        "max_keepalive 5",
        "include_dir /no/such/folder",
        "password_file /no/such/file",
        "acl_file /no/such/file",
        "cleansession false",
    ],
)
def test_mosquitto_does_not_start_with_what_is_said_to_stop_it(tmp_path, line):
    path = tmp_path / "mosquitto.conf"
    path.write_text(f"listener 0 {tmp_path}/socket\n{line}\n")
    assert "Error" in refusal(path)
    assert [finding for finding in lint(path) if finding.severity == STALLS and finding.line == 2]
