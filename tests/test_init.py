"""`obslab init` and `obslab check`: what a machine is given to begin with, and whether it is ready."""

import configparser
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import failure, run
from telemetry.makers import LEMI, arrivals, batch

from obslab import config
from obslab.config import broker_at
from obslab.errors import ConfigError
from obslab.setup import checks, templates
from obslab.setup.folder import prepare
from obslab.setup.units import Place, units
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker, MosquittoBroker

NOWHERE = "mqtt://127.0.0.1:9"  # the discard port: nobody listens
SECRET = "hunter2hunter2"

# systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5) of systemd 247 (Debian 11) and later.
KNOWN = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
    "Install": {"WantedBy"},
    "Service": {
        *["Type", "User", "WorkingDirectory", "Environment", "EnvironmentFile", "ExecStart"],
        *["Restart", "RestartSec", "TimeoutStopSec", "WatchdogSec", "NotifyAccess"],
        *["SupplementaryGroups", "DevicePolicy", "DeviceAllow", "PrivateDevices", "UMask"],
        *["NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem"],
        *["ReadWritePaths", "ProtectHome", "PrivateTmp", "ProtectClock", "ProtectControlGroups"],
        *["ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"],
        *["RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID"],
        *["LockPersonality", "SystemCallArchitectures", "SystemCallFilter"],
    },
}


@pytest.fixture(autouse=True)
def private(state_dir, monkeypatch, tmp_path):
    """No test meets the user's configuration or login."""
    for name in ("OBSLAB_CONFIG", "OBSLAB_MQTT_USER", "OBSLAB_MQTT_PASSWORD", "OBSLAB_MQTT_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


# ---- init


def test_the_configuration_has_every_key_and_gives_the_paths_beside_it(tmp_path):
    prepare(tmp_path)
    settings = config.load(tmp_path / "obslab.toml", {})
    assert settings.broker.url == "mqtt://127.0.0.1:1883"
    assert settings.topics == ("#",)
    dirs = (settings.archive_dir, settings.journal_dir, settings.state_dir)
    assert dirs == (tmp_path / "archive", tmp_path / "journal", tmp_path / "state")
    everything = re.sub(r"^#(?=\w+ = )", "", templates.CONFIGURATION, flags=re.MULTILINE)
    content = tomllib.loads(everything)
    assert {f"{table}.{key}" for table, found in content.items() for key in found} == set(config._KEYS)
    (tmp_path / "all.toml").write_text(everything)  # what is only shown must be right, too
    assert config.load(tmp_path / "all.toml", {}).archive_keep_days == 3650


def test_nothing_is_ever_overwritten(tmp_path):
    (tmp_path / "obslab.toml").write_text("mine")
    (tmp_path / "watch.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="were there already and stay as they are; move"):
        prepare(tmp_path)
    assert (tmp_path / "obslab.toml").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_services_can_be_added_to_a_folder_that_is_ready(tmp_path):
    prepare(tmp_path)
    (tmp_path / "obslab.toml").write_text('[archive]\ndir = "/srv/data"\n')
    done = prepare(tmp_path, systemd=True, user="obslab")
    assert [path.name for path in done.kept] == ["obslab.toml", "watch.toml"]
    assert [path.name for path in done.written] == [
        "obslab.env",
        "obslab-station.service",
        "obslab-collector.service",
        "obslab-watch.service",
    ]
    text = (tmp_path / "systemd" / "obslab-collector.service").read_text()
    assert "-/srv/data" in text  # a folder of the configuration that lies elsewhere may be written too
    assert any("/srv/data" in step for step in done.next_steps)


def test_the_file_for_secrets_is_for_its_owner_only_and_sets_nothing_yet(tmp_path):
    old = os.umask(0)
    try:
        prepare(tmp_path, systemd=True, user="obslab")
    finally:
        os.umask(old)
    file = tmp_path / "obslab.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert all(line.startswith("#") for line in file.read_text().splitlines())


@pytest.fixture(params=["plain", "50 % of a $place"])
def services(request, tmp_path):
    """The units for a folder, as their file names and texts."""
    folder = tmp_path / request.param
    prepare(folder, systemd=True, user="root")
    return {path.name: path.read_text() for path in sorted((folder / "systemd").iterdir())}


def _parse(text):
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read_string(text)
    return parser


def test_units_have_known_lines_only_and_never_give_up(services):
    assert len(services) == 3
    for name, text in services.items():
        unit = _parse(text)
        assert {section: set(unit[section]) - KNOWN[section] for section in unit.sections()} == {
            section: set() for section in KNOWN
        }, name
        service = unit["Service"]
        assert (service["Restart"], unit["Unit"]["StartLimitIntervalSec"]) == ("always", "0")
        assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
        assert service["EnvironmentFile"].startswith("-/")
        assert "{" not in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_itself_takes_the_units(services, tmp_path):
    for name, text in services.items():
        (tmp_path / name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True
        )
        told = [line for line in done.stderr.splitlines() if name in line]
        assert (done.returncode, told) == (0, []), done.stderr


def test_the_commands_in_the_units_are_commands_of_ours(services):
    for name, command in [("station", "station run"), ("collector", "collect"), ("watch", "watch")]:
        text = services[f"obslab-{name}.service"]
        line = re.search(r"^ExecStart=(.*(?:\\\n.*)*)", text, re.MULTILINE)[1]
        assert line.startswith(f"{sys.executable} -m obslab {command}")
        options = set(re.findall(r"--[a-z-]+", line))
        told = run(*command.split(), "--help", COLUMNS="200").stdout
        assert "Usage:" in told
        assert {option for option in options if option not in told} == set()


@pytest.mark.parametrize("folder", ['a "quote"', "line\nbreak", "back\\slash"])
def test_a_path_that_no_unit_can_hold_is_refused(folder):
    with pytest.raises(ConfigError, match="cannot be in a systemd unit"):
        units(Place(Path("/usr/bin/python3"), Path("/srv") / folder, "obslab"))


def test_a_user_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="user 'me; rm' is not a name"):
        units(Place(Path("/usr/bin/python3"), Path("/srv"), "me; rm"))


def test_init_says_what_it_wrote_and_what_comes_next(tmp_path):
    done = run("init", tmp_path / "new", "--systemd", "--user", "obslab")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 6
    assert "obslab check" in done.stdout
    assert "systemctl enable --now" in done.stdout
    told = failure("init", tmp_path / "new")
    assert told.startswith("obslab: nothing was written: ")


# ---- check


@pytest.fixture
def settings(tmp_path):
    prepare(tmp_path)
    return config.load(tmp_path / "obslab.toml", {})


@pytest.fixture
def broker():
    broker = IotcoreBroker()
    broker.start()
    yield broker
    broker.stop()


def states(found):
    return {one.what: one.state for one in found}


def test_a_machine_that_is_ready_passes(tmp_path, broker):
    prepare(tmp_path)
    done = run("check", OBSLAB_BROKER_URL=broker.url)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert f"ok      broker: {broker.url} takes us without a login" in lines
    assert "ok      topics: we may read #" in lines
    assert [line.split()[1] for line in lines if line.startswith(("ok", "warning"))] == [
        "configuration:",
        "broker:",
        "topics:",
        "archive:",
        "journal:",
        "state:",
        "disk:",
        "clock:",
        "rules:",
    ]
    assert not {"archive", "journal"} & {path.name for path in tmp_path.iterdir()}  # it only looks


def test_a_broker_that_is_not_there_fails_the_check(tmp_path):
    done = run("check", "--wait", 1, "--json", OBSLAB_BROKER_URL=NOWHERE)
    assert done.returncode == 1
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert found["broker"]["state"] == "failed"
    assert f"no broker answers at {NOWHERE}" in found["broker"]["told"]
    assert "topics" not in found  # for the same reason
    assert found["archive"]["state"] == "ok"


def test_a_configuration_with_a_mistake_fails_the_check(tmp_path):
    (tmp_path / "obslab.toml").write_text("[brokr]\n")
    done = run("check")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stdout.startswith("failed  configuration: [brokr] in ")


@pytest.mark.mosquitto
def test_a_login_that_is_refused_fails_the_check_and_is_not_repeated(settings):
    broker = MosquittoBroker(users={"pea": "right"})
    broker.start()
    try:
        for password, state in [(SECRET, "failed"), ("right", "ok")]:
            login = {"OBSLAB_MQTT_USER": "pea", "OBSLAB_MQTT_PASSWORD": password}
            found = checks.broker(_at(settings, broker.url, login), 10)
            assert found.state == state
            assert "'pea'" in found.told
            assert SECRET not in found.told
    finally:
        broker.stop()


def _at(settings, url, environ=()):
    return replace(settings, broker=broker_at(url, dict(environ)))


def test_an_archive_is_opened_and_what_is_in_it_told(settings):
    with open_archive(settings.archive_dir, write=True) as archive:
        archive.add(batch(arrivals([1_715_360_700], stream=LEMI)))
        found = checks.archive(settings.archive_dir)  # while a collector has it
    assert found.state == "ok"
    assert "has 1 streams, the newest of 2024-05-10T17:05:00Z" in found.told
    (settings.archive_dir / "hot.db").write_bytes(b"no database" * 500)
    for file in settings.archive_dir.glob("hot.db-*"):
        file.unlink()
    found = states(checks.check_all(_at(settings, NOWHERE), wait_s=0.2))
    assert (found["archive"], found["journal"]) == ("failed", "ok")


def test_a_folder_that_cannot_be_written_fails(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    assert checks.folder("journal", file / "journal").state == "failed"
    assert checks.folder("journal", file).state == "failed"
    assert "see [journal] dir" in checks.folder("journal", file).told

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "cannot be written: No space left" in checks.folder("state", tmp_path).told
    assert not list(tmp_path.glob(".obslab-check-*"))


def test_a_disk_that_is_nearly_full_is_told_once(settings, monkeypatch):
    for free, state in [(10**8, "failed"), (2 * 10**9, "warning"), (10**11, "ok")]:
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        (found,) = checks.disks(settings)
        assert found.state == state


def test_a_clock_that_shows_the_past_fails():
    assert checks.clock(0).state == "failed"
    assert "1970-01-01" in checks.clock(0).told


def test_rules_with_a_mistake_fail_and_without_an_action_are_warned_of(settings, tmp_path):
    rules = tmp_path / "watch.toml"
    assert checks.watch_rules(rules).state == "warning"
    rules.write_text(templates.RULES + '[action.a]\nkind = "command"\nargv = ["/bin/true"]\n')
    assert checks.watch_rules(rules).state == "ok"
    rules.write_text("[[rule]]\n")
    found = checks.check_all(_at(settings, NOWHERE), wait_s=0.1, rules=rules)
    assert states(found)["rules"] == "failed"
    assert "[[rule]] 1 has no kind" in found[-1].told
