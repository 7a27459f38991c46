"""Rules files: what they become, and every mistake told at once with its line."""

import pytest

from obslab.errors import ConfigError
from obslab.setup import templates
from obslab.telemetry.watch import rulesfile
from obslab.telemetry.watch.actions import Command, Mail, Webhook
from obslab.telemetry.watch.rules import KINDS, Stale, Temperature, fits

SECRET = "hunter2hunter2"
ALL = {kind for kind in KINDS if kind not in ("value", "delta_f")}
DELTA_F = 'kind = "delta_f"\nvector = "pea/lemi0001-adj/sec"\nscalar = "pea/gsm90001/sec"\n'


@pytest.fixture
def load(tmp_path):
    def load(text, environ=()):
        (tmp_path / "watch.toml").write_text(text)
        return rulesfile.load(tmp_path / "watch.toml", dict(environ))

    return load


@pytest.fixture
def problems(load):
    def problems(text, environ=()):
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        assert "\n" not in caught.value.message
        assert SECRET not in caught.value.message
        assert all(problem in caught.value.message for problem in caught.value.problems)
        return list(caught.value.problems)

    return problems


def test_rules_become_dataclasses_with_defaults(load):
    rules = load('every_s = 10\n[[rule]]\nkind = "stale"\nafter_s = 5\nstreams = ["pea/#"]\nhold_s = 2\n')
    assert rules.every_s == 10
    assert rules.rules == (Stale(name="stale", after_s=5.0, streams=("pea/#",), hold_s=2.0),)
    assert rules.actions == {}


def test_the_rules_that_init_writes_are_taken_and_have_every_kind_that_names_nothing(load):
    rules = load(templates.RULES)
    assert {rule.name for rule in rules.rules} == ALL
    assert rules.actions == {}


def test_the_examples_in_the_rules_that_init_writes_are_taken_too(load):
    lines = templates.RULES.replace("/usr/local/bin/siren", "/bin/true").splitlines()
    text = "\n".join(line if line.startswith("# ") else line.removeprefix("#") for line in lines)
    rules = load(text, {"OBSLAB_WEBHOOK_URL": "https://chat.example.org/x"})
    assert {type(one) for one in rules.actions.values()} == {Command, Webhook, Mail}
    assert {rule.name for rule in rules.rules} == ALL | {"battery", "delta_f"}


def test_every_problem_is_told_at_once_with_line_key_and_near_miss(problems):
    text = """\
evry_s = 5
[action.mail]
kind = "mial"
[action.bell]
kind = "command"
argv = "ring"
[[rule]]
kind = "stale"
afer_s = 300
[[rule]]
kind = "gap"
longer_than_s = -1
do = ["bel"]
[[rule]]
kind = "temperature"
component = "t_sensor"
"""
    assert sorted(problems(text)) == sorted(
        [
            "line 1: evry_s is unknown; did you mean every_s?",
            "line 3: action 'mail': kind 'mial' is unknown; did you mean mail?",
            "line 6: action 'bell': argv: expected a list, got text",
            "line 9: rule 'stale': afer_s is unknown; did you mean after_s?",
            "line 12: rule 'gap': longer_than_s -1: expected a number > 0.0",
            "line 14: rule 'temperature': neither min nor max is given; give one of them, or both",
        ]
    )


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (DELTA_F.splitlines()[0] + '\nvector = "pea/x-adj/sec"', "rule 'delta_f': scalar is missing"),
        (f"{DELTA_F}above_nt = 0", "above_nt 0: expected a number > 0.0"),
        (DELTA_F, "neither above_nt nor change_nt is given"),
        (DELTA_F.replace("lemi0001-adj", "+") + "above_nt = 3", "vector: instrument '+' is not"),
        (DELTA_F.replace("pea/gsm", "dou/gsm") + "above_nt = 3", "are of two stations, DOU and PEA"),
        ('kind = "stale"\nafter_s = nan', "after_s nan: expected a number > 0.0"),
        ('kind = "stale"\nafter_s = inf', "after_s inf: expected a number <= "),
        ('kind = "stale"\nafter_s = "5"', "after_s '5': expected a number, got text"),
        ('kind = "stale"\nstreams = ["pea/#/sec"]', "is not a topic filter"),
        ('kind = "stale"\nstreams = []', "streams []: expected a list of length >= 1"),
        ('kind = "disk"', "give one of archive_below_gb, unit_below_gb, journal_above"),
        ('kind = "value"\nmin = 1', "component is missing"),
        ('kind = "value"\ncomponent = "u"\nmin = 5\nmax = 5', "nothing is between min 5 and max 5"),
        ('kind = "temperature"\nmin = 1\nmax = 4\nmargin = 2', "nothing is between min 1 and max 4 with"),
        ('kind = "stale"\nname = "watch"', "the name 'watch' is the watcher's own"),
        ('kind = "stale"\ndo = ["phone"]', "there is no [action.phone]; known are none"),
        ("kind = 3", "kind 3 is unknown"),
        ("", "[[rule]] 1 has no kind; known are clock, collector,"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(problems, rule, told):
    (problem,) = problems(f"[[rule]]\n{rule}\n")
    assert told in problem
    assert problem.startswith("line ")


def test_rules_of_one_kind_need_names(problems, load):
    two = '[[rule]]\nkind = "stale"\n[[rule]]\nkind = "stale"\n'
    assert problems(two) == ["line 1: two rules are named 'stale'; give each a name = of its own"]
    assert len(load(two + 'name = "other"\n').rules) == 2


def test_a_file_without_rules_or_that_is_no_toml_is_refused(load, tmp_path):
    for text, told in [
        ("", "there is no rule"),
        ("[[rule", "is not TOML"),
        ("rule = 5", "wants a list of tables"),
    ]:
        with pytest.raises(ConfigError, match=told.replace("[", r"\[")):
            load(text)
    with pytest.raises(ConfigError, match="`obslab init` writes some"):
        rulesfile.load(tmp_path / "no.toml", {})


RULE = '[[rule]]\nkind = "stale"\n'


def test_a_webhook_takes_its_secrets_from_the_environment_only_and_never_shows_them(load, problems):
    text = RULE + '[action.chat]\nkind = "webhook"\nurl = "https://chat.example.org/${TOKEN}?k=${KEY}"\n'
    rules = load(text, {"TOKEN": SECRET, "KEY": "k"})
    assert rules.actions["chat"].url == f"https://chat.example.org/{SECRET}?k=k"
    assert SECRET not in repr(rules)
    assert problems(text, {"TOKEN": SECRET}) == [
        "line 5: action 'chat': url needs the variable KEY, which is not set"
    ]


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "file:///etc/passwd", "chat", "https:/", "http://h:99999/", "http://h/a b"]
)
def test_an_address_that_is_not_http_is_refused_and_not_shown(problems, url):
    (problem,) = problems(RULE + '[action.a]\nkind = "webhook"\nurl = "${U}"\n', {"U": url + SECRET})
    assert "url is not http:// or https://" in problem


def test_a_login_in_the_file_is_refused_and_not_shown(problems):
    found = problems(
        RULE
        + f'[action.a]\nkind = "webhook"\nurl = "http://me:{SECRET}@host/"\n'
        + '[action.b]\nkind = "mail"\nhost = "h"\nfrom = "a@b.org"\nto = ["c@d.org"]\n'
        + f'password = "{SECRET}"\n'
    )
    assert found == [
        "line 5: action 'a': url holds a user or password (not shown); a webhook takes none there",
        "line 11: action 'b': password must not be here; set OBSLAB_SMTP_PASSWORD instead",
    ]


MAIL = RULE + '[action.m]\nkind = "mail"\nhost = "h.org"\nfrom = "a@b.org"\nto = ["c@d.org"]\n'


def test_a_mail_has_its_login_from_the_environment(load):
    login = {"OBSLAB_SMTP_USER": "me", "OBSLAB_SMTP_PASSWORD": SECRET}
    action = load(MAIL, login).actions["m"]
    assert (action.user, action.password, action.security) == ("me", SECRET, "starttls")
    assert SECRET not in repr(action)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('security = "none"', "would send it readable"),
        ('security = "ssl"', "security: "),
        ('ca = "/no/such/file"', "which is not a file"),
        ("port = 70000", "port: expected a whole number <= 65535"),
    ],
)
def test_a_mail_that_would_not_work_or_not_be_safe_is_refused(problems, more, told):
    (problem,) = problems(MAIL + more, {"OBSLAB_SMTP_USER": "me"})
    assert told in problem


def test_addresses_and_programs_are_checked(problems):
    found = problems(
        MAIL.replace("c@d.org", "nobody") + '[action.c]\nkind = "command"\nargv = ["/no/such/program"]\n'
    )
    assert found == [
        "line 7: action 'm': to 'nobody' is not an address",
        "line 10: action 'c': '/no/such/program' is not a program that can be run",
    ]


def test_streams_are_chosen_as_a_broker_would():
    import paho.mqtt.client as paho

    topics = ["pea/lemi0001/sec", "pea/lemi0001", "pea", "wic/gsm/min"]
    for wanted in ["#", "pea/#", "pea/+/sec", "pea/lemi0001", "+/+/min", "pea/lemi0001/sec/#", "+", "pea/+"]:
        for topic in topics:
            assert fits(topic, (wanted,)) == paho.topic_matches_sub(wanted, topic), (wanted, topic)


def test_a_temperature_may_name_its_component_or_not(load):
    rules = load('[[rule]]\nkind = "temperature"\nmax = 40\n')
    assert rules.rules == (Temperature(name="temperature", max=40.0),)
