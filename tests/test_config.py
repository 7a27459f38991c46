import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obslab.config import Broker, broker_at, load
from obslab.errors import ConfigError

SECRET = "hunter2hunter2"


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "obslab.toml").write_text(text)
        return tmp_path / "obslab.toml"

    return write


def test_without_file_or_variables_there_are_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load(environ={})
    assert config.broker.url == "mqtt://127.0.0.1:1883"
    assert config.topics == ("#",)
    assert config.state_dir == tmp_path / ".local/state/obslab"
    assert config.archive_dir == config.state_dir / "archive"
    assert config.journal_dir == config.state_dir / "journal"
    assert config.file is None


def test_state_dir_follows_the_xdg_standard_and_its_own_variable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(environ={"XDG_STATE_HOME": "/var/state"}).state_dir == Path("/var/state/obslab")
    assert load(environ={"XDG_STATE_HOME": "relative"}).state_dir == Path.home() / ".local/state/obslab"
    both = {"XDG_STATE_HOME": "/var/state", "OBSLAB_STATE_DIR": "/srv/obslab"}
    assert load(environ=both).archive_dir == Path("/srv/obslab/archive")


def test_file_overrules_defaults_and_variables_overrule_the_file(write):
    file = write(
        """
        [broker]
        url = "mqtts://broker.example.org"
        topics = ["pea/#", "+/+/sec"]
        [archive]
        dir = "archive"
        [journal]
        dir = "/var/journal"
        """
    )
    config = load(file, environ={})
    assert config.broker == Broker("broker.example.org", 8883, tls=True)
    assert config.topics == ("pea/#", "+/+/sec")
    assert config.archive_dir == file.parent / "archive"
    assert config.journal_dir == Path("/var/journal")
    assert config.file == file
    env = {
        "OBSLAB_CONFIG": str(file),
        "OBSLAB_BROKER_URL": "mqtt://[::1]:1884",
        "OBSLAB_BROKER_TOPICS": "wic/#, pea/#",
    }
    config = load(environ=env)
    assert (config.broker.host, config.broker.url) == ("::1", "mqtt://[::1]:1884")
    assert config.topics == ("wic/#", "pea/#")
    assert config.archive_dir == file.parent / "archive"


def test_file_in_the_current_folder_is_found(write, monkeypatch):
    monkeypatch.chdir(write('[state]\ndir = "~/here"').parent)
    assert load(environ={}).state_dir == Path.home() / "here"


def test_login_comes_from_the_environment_and_is_not_shown(tmp_path):
    ca = tmp_path / "ca.pem"
    ca.touch()
    broker = broker_at(
        "mqtts://h", {"OBSLAB_MQTT_USER": "pea", "OBSLAB_MQTT_PASSWORD": SECRET, "OBSLAB_MQTT_CA": str(ca)}
    )
    assert (broker.user, broker.password, broker.ca) == ("pea", SECRET, ca)
    config = load(
        environ={"OBSLAB_STATE_DIR": str(tmp_path), "OBSLAB_MQTT_USER": "pea", "OBSLAB_MQTT_PASSWORD": SECRET}
    )
    assert config.broker.password == SECRET
    for text in (repr(broker), str(broker), broker.url, repr(config), f"{config}"):
        assert SECRET not in text


@pytest.mark.parametrize(
    "toml",
    [
        f'[broker]\npassword = "{SECRET}"',
        f'[broker]\nPassword = "{SECRET}"',
        f'[broker]\nurl = "mqtt://pea:{SECRET}@example.org:1883"',
        f'[broker]\nurl = "mqtt://{SECRET}@example.org"',
        f'[broker]\nurl = "mqtt://pea:{SECRET}"',
        f'[broker]\nurl = "mqtt://pea:p/{SECRET}@example.org"',
        f'[broker]\nurl = "mqtt://pea:p#{SECRET}%40example.org"',
        f'[broker]\nurl = "mqtt://example.org/?password={SECRET}"',
        f'[broker]\nurl = ["mqtt://pea:{SECRET}@example.org"]',
        f'broker = "mqtt://pea:{SECRET}@example.org"',
        f'password = "{SECRET}"',
        f'[password]\nvalue = "{SECRET}"',
    ],
)
def test_a_password_in_the_file_is_refused_and_never_repeated(write, toml):
    with pytest.raises(ConfigError) as caught:
        load(write(toml), environ={})
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in repr(caught.value.facts)
    assert "obslab.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_in_the_url_variable_is_refused_and_never_repeated():
    with pytest.raises(ConfigError, match="OBSLAB_BROKER_URL holds a user or password") as caught:
        load(environ={"OBSLAB_BROKER_URL": f"mqtt://pea:{SECRET}@example.org"})
    assert SECRET not in str(caught.value)


@given(st.text(alphabet="abcAB12:/@?#%[]. ", max_size=12), st.text(alphabet=":/@?#%", min_size=1, max_size=4))
def test_no_url_with_a_secret_is_repeated(before, after):
    # Wherever a password may stand in a URL, it is after a colon.
    try:
        broker_at(f"mqtt://{before}:{SECRET}{after}", {})
    except ConfigError as error:
        assert SECRET not in str(error)
    else:
        pytest.fail("a port that is not a number was accepted")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org", "not mqtt://host:port"),
        ("example.org:1883", "not mqtt://host:port"),
        ("mqtt://", "not mqtt://host:port"),
        ("mqtt://example.org:0", "port that is not a number from 1 to 65535"),
        ("mqtt://example.org:70000", "port that is not a number from 1 to 65535"),
        ("mqtt://example.org:1883/topic", "port that is not a number"),
        ("mqtt://::1:1883", "not mqtt://host:port|port that is not a number"),
    ],
)
def test_a_url_that_is_none_is_refused(url, message):
    with pytest.raises(ConfigError, match=message):
        broker_at(url, {})


@pytest.mark.parametrize("url", ["mqtt://h", "mqtt://h/", "mqtt://h:1883", "mqtt://h:1883/"])
def test_port_is_optional(url):
    assert broker_at(url, {}).url == "mqtt://h:1883"


def test_half_a_login_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="without OBSLAB_MQTT_USER"):
        broker_at("mqtt://h", {"OBSLAB_MQTT_PASSWORD": SECRET})
    with pytest.raises(ConfigError, match=r"OBSLAB_MQTT_CA names '/nowhere/ca\.pem', which is not a file"):
        broker_at("mqtts://h", {"OBSLAB_MQTT_CA": "/nowhere/ca.pem"})


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[broker]\nulr = "mqtt://h"', r"broker.ulr in .*obslab.toml is unknown; did you mean broker.url\?"),
        ("[achive]\n", r"\[achive\] in .*obslab.toml is unknown; did you mean archive\?"),
        (
            "[telescope]\n",
            r"\[telescope\] in .*obslab.toml is unknown; known are archive, broker, journal, state",
        ),
        ("state_dir = 'x'", "state_dir in .*obslab.toml is unknown; did you mean state"),
        ("state = 'x'", r"state in .*obslab.toml must be a table: \[state\]"),
        ("[broker]\nurl = 1883", "broker.url in .*obslab.toml wants a text, not a int"),
        ("[state]\ndir = ''", "state.dir in .*obslab.toml wants a text, not an empty text"),
        ("[broker]\ntopics = 'pea/#'", "broker.topics in .*obslab.toml wants a list"),
        ("[broker]\ntopics = []", "wants a list"),
        ("[broker]\ntopics = ['#/pea']", "'#/pea' is not a topic filter"),
        ("[broker]\ntopics = ['pea#']", "'pea#' is not a topic filter"),
        ("[broker]\nurl = mqtt", "obslab.toml is not TOML: .*line 2"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_key_file_and_next_step(write, toml, message):
    with pytest.raises(ConfigError, match=message):
        load(write(toml), environ={})


def test_a_misspelt_variable_is_refused_and_a_foreign_one_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"OBSLAB_ARCHIVE_DRI is unknown; did you mean OBSLAB_ARCHIVE_DIR\?"
    ):
        load(environ={"OBSLAB_ARCHIVE_DRI": "x"})
    with pytest.raises(ConfigError, match=r"did you mean OBSLAB_MQTT_PASSWORD\?"):
        load(environ={"OBSLAB_MQTT_PASWORD": SECRET})
    load(environ={"OBSLAB_REQUIRE_ALL": "1"})


def test_a_named_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="is not a file"):
        load(tmp_path / "none.toml", environ={})


@pytest.mark.parametrize("value", ["0", "-1", "'many'", "true", "inf", "nan"])
def test_days_are_a_positive_number(tmp_path, value):
    file = tmp_path / "obslab.toml"
    file.write_text(f"[archive]\nkeep_days = {value}\n")
    with pytest.raises(ConfigError, match=r"archive.keep_days in .* wanted is a positive number of days"):
        load(file, {})


def test_days_come_from_the_file_or_the_environment(tmp_path):
    file = tmp_path / "obslab.toml"
    file.write_text("[archive]\nkeep_days = 400\n")
    settings = load(file, {"OBSLAB_JOURNAL_KEEP_DAYS": "7.5"})
    assert (settings.archive_keep_days, settings.journal_keep_days) == (400, 7.5)
    assert load(file, {}).journal_keep_days == 30
