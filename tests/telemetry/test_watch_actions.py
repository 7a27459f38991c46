"""Commands, webhooks and mails, against real programs and servers."""

import email
import email.policy
import json
import logging
import os
import socket
import sys
from pathlib import Path

import pytest
from telemetry.makers import NS, T0_S, wait_for
from telemetry.watch_servers import Hooks, Mailbox

from obslab.errors import ActionError
from obslab.telemetry.broker.certificates import make_ca, sign
from obslab.telemetry.watch.actions import Command, Mail, Webhook
from obslab.telemetry.watch.notice import Notice
from obslab.telemetry.watch.outbox import Outbox, send_now

SECRET = "hunter2hunter2"
NOTICE = Notice(
    "alarm",
    "stale",
    "stale",
    "pea/lemi0001/sec",
    "PEA lemi0001 sec: no sample\nfor 5 min; °C",
    T0_S * NS,
    (T0_S - 60) * NS,
    {"age_s": 300.5, "newest": None, "nul": "a\0b"},
)
LINE = "ALARM stale: PEA lemi0001 sec: no sample for 5 min; °C"


def command(*argv, **more):
    return Command(name="bell", argv=tuple(map(str, argv)), **more)


def mail(box, **more):
    facts = {"from_": "obslab@example.org", "to": ("a@example.org", "b@example.org"), "security": "none"}
    return Mail(name="mail", host="127.0.0.1", port=box.port, **facts | more)


# ---- command


def test_a_command_gets_facts_in_its_environment_and_as_json_but_no_password(tmp_path, monkeypatch):
    monkeypatch.setenv("OBSLAB_SMTP_PASSWORD", SECRET)
    monkeypatch.setenv("OBSLAB_MQTT_PASSWORD", SECRET)
    script = tmp_path / "bell.py"
    script.write_text(
        "import json, os, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('OBSLAB_')}\n"
        f"json.dump([sys.argv[1:], told, json.load(sys.stdin)], open({str(tmp_path / 'told')!r}, 'w'))\n"
    )
    command(sys.executable, script, "$HOME; touch x").send(NOTICE)
    arguments, told, plain = json.loads((tmp_path / "told").read_text())
    assert arguments == ["$HOME; touch x"]  # no shell has seen it
    assert {name.removeprefix("OBSLAB_ALARM_"): value for name, value in told.items() if "ALARM" in name} == {
        "WHAT": "alarm",
        "RULE": "stale",
        "KIND": "stale",
        "SUBJECT": "pea/lemi0001/sec",
        "TEXT": LINE,
        "AT": "2024-05-10T17:05:00Z",
        "SINCE": "2024-05-10T17:04:00Z",
        "AGE_S": "300.5",
        "NEWEST": "",
        "NUL": "ab",
    }
    assert SECRET not in str(told)
    assert plain["text"] == LINE
    assert plain["facts"]["age_s"] == 300.5


def test_a_command_that_fails_or_is_not_there_is_told():
    with pytest.raises(ActionError, match="action 'bell': '/bin/false' ended with code 1"):
        command("/bin/false").send(NOTICE)
    with pytest.raises(ActionError, match="'/no/such' cannot be run"):
        command("/no/such").send(NOTICE)


def test_a_command_that_reads_nothing_is_fine():
    command("/bin/true").send(NOTICE)
    assert send_now(command("/bin/true"), NOTICE) == ""


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path):
    script = tmp_path / "hang.sh"
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(0o755)
    with pytest.raises(ActionError, match=r"did not end in 0\.5 s and was killed"):
        command(script, timeout_s=0.5).send(NOTICE)
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not _lives(child), what="the end of the child")


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# ---- webhook


def test_a_webhook_posts_json():
    with Hooks().serving() as hooks:
        Webhook(name="chat", url=f"{hooks.url}/{SECRET}").send(NOTICE)
    assert hooks.paths == [f"/{SECRET}"]
    (told,) = hooks.came
    assert (told["text"], told["facts"]["newest"]) == (LINE, None)


@pytest.mark.parametrize("code", [301, 302, 307, 400, 404, 500, 503])
def test_any_other_answer_is_a_failure_and_a_redirect_is_not_followed(code):
    with Hooks([code]).serving() as hooks:
        with pytest.raises(ActionError, match=f"action 'chat': its webhook answered {code}") as caught:
            Webhook(name="chat", url=f"{hooks.url}/{SECRET}").send(NOTICE)
        assert hooks.methods == ["POST"]
    assert SECRET not in caught.value.message


def test_a_webhook_that_cannot_be_reached_is_told_without_its_address():
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it accepts, and never answers
        port = deaf.getsockname()[1]
        with pytest.raises(ActionError, match="cannot be reached: timed out") as caught:
            Webhook(name="chat", url=f"http://127.0.0.1:{port}/{SECRET}", timeout_s=0.3).send(NOTICE)
    assert SECRET not in caught.value.message
    for url in (f"http://127.0.0.1:9/{SECRET}", f"http://[{SECRET}/", f"http://127.0.0.1:9/{SECRET} x"):
        with pytest.raises(ActionError, match="cannot be reached") as caught:
            Webhook(name="chat", url=url).send(NOTICE)
        assert SECRET not in caught.value.message


# ---- mail


def test_a_mail_arrives_at_everybody():
    with Mailbox().serving() as box:
        mail(box).send(NOTICE)
    ((sender, to, content),) = box.mails
    assert "<obslab@example.org>" in sender
    assert to == ["a@example.org", "b@example.org"]
    message = email.message_from_bytes(content, policy=email.policy.default)
    subject = " ".join(message["Subject"].split())  # folding a line with a ° may add a space
    assert subject == f"[obslab] {LINE}"
    assert message["Auto-Submitted"] == "auto-generated"
    assert LINE in message.get_content()
    assert "age_s: 300.5" in message.get_content()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA of our own, and what it signed for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificates")
    make_ca(folder / "ca")
    sign(folder / "ca", folder, ["127.0.0.1"])
    return folder


@pytest.mark.parametrize("at_once", [False, True], ids=["starttls", "tls"])
def test_a_mail_and_its_login_go_encrypted_to_a_server_that_is_trusted(certificates, at_once):
    tls = (certificates / "server.crt", certificates / "server.key")
    security = "tls" if at_once else "starttls"
    login = {"user": "me", "password": SECRET}
    with Mailbox(login=("me", SECRET), tls=tls, at_once=at_once).serving() as box:
        trusting = mail(box, security=security, ca=str(certificates / "ca.crt"), **login)
        trusting.send(NOTICE)
        assert box.encrypted == [True]
        box.commands.clear()
        with pytest.raises(ActionError, match=r"the certificate of 127\.0\.0\.1:.* is not trusted") as caught:
            mail(box, security=security, **login).send(NOTICE)
        assert "AUTH" not in box.commands
    assert len(box.mails) == 1
    assert SECRET not in caught.value.message + repr(trusting)


def test_a_mail_server_without_starttls_gets_nothing_unless_that_is_wanted():
    with Mailbox().serving() as box, pytest.raises(ActionError, match="STARTTLS"):
        mail(box, security="starttls").send(NOTICE)
    assert box.mails == []


def test_a_wrong_login_is_told_and_not_repeated():
    told = r"refused the login \(535\); check OBSLAB_SMTP_USER"
    with (
        Mailbox(login=("me", "right")).serving() as box,
        pytest.raises(ActionError, match=told) as caught,
    ):
        mail(box, user="me", password=SECRET).send(NOTICE)
    assert SECRET not in caught.value.message


def test_a_recipient_who_is_refused_does_not_make_the_others_get_it_again(caplog):
    with Mailbox(refuse=("b@example.org",)).serving() as box, caplog.at_level(logging.WARNING):
        mail(box).send(NOTICE)
        assert [to for _, to, _ in box.mails] == [["a@example.org"]]
        assert "refused b@example.org; the others have it" in caplog.text
    nobody = Mailbox(refuse=("a@example.org", "b@example.org"))
    with nobody.serving() as box, pytest.raises(ActionError, match="mail through"):
        mail(box).send(NOTICE)


def test_a_mail_server_that_says_nothing_is_given_up():
    with Mailbox(silent=True).serving() as box, pytest.raises(ActionError, match="timed out"):
        mail(box, timeout_s=0.3).send(NOTICE)


# ---- outbox


class Fake:
    """An action that fails with what it is told to."""

    name, timeout_s = "fake", 0.1

    def __init__(self, *failures):
        self.failures, self.sent = list(failures), []

    def send(self, notice):
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        self.sent.append(notice)


def test_a_notice_is_tried_again_with_growing_pauses_logged_once_and_not_lost(caplog):
    action = Fake(*[ActionError("no line")] * 9)
    outbox = Outbox({"fake": action})
    outbox.put(NOTICE, ("fake",))
    tries, left = [], len(action.failures)
    for second in range(0, 30_000, 10):
        outbox.deliver((T0_S + second) * NS, lambda: None)
        if len(action.failures) < left:
            tries.append(second)
            left = len(action.failures)
    assert tries == [0, 30, 90, 210, 450, 930, 1890, 3810, 7410]
    assert action.sent == [NOTICE]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert caplog.messages == [
        "no line; 1 notices wait",
        "action 'fake' works again after 9 failures",
    ]


def test_a_failure_of_a_new_kind_is_survived():
    action = Fake(ZeroDivisionError("what?"))
    outbox = Outbox({"fake": action})
    outbox.put(NOTICE, ("fake",))
    assert outbox.deliver(0, lambda: None) == 0
    assert outbox.queues["fake"].why == "action 'fake' failed: ZeroDivisionError('what?')"
    assert outbox.deliver(31 * NS, lambda: None) == 1


def test_an_action_that_hangs_for_ever_does_not_hold_up_the_others(monkeypatch):
    import threading

    forever = threading.Event()
    stuck, fine = Fake(), Fake()
    stuck.name = "stuck"
    stuck.send = lambda _: forever.wait(60)
    outbox = Outbox({"stuck": stuck, "fine": fine}, grace_s=0.0)
    outbox.put(NOTICE, ("stuck", "fine"))
    assert outbox.deliver(0, lambda: None) == 1
    assert "it did not end in 0.2 s" in outbox.queues["stuck"].why
    outbox.deliver(60 * NS, lambda: None)
    assert "an earlier try has not ended yet" in outbox.queues["stuck"].why
    forever.set()
    wait_for(lambda: outbox.deliver(3600 * NS * 9, lambda: None) or True)
    assert fine.sent == [NOTICE]


def test_a_long_outage_does_not_fill_the_memory():
    outbox = Outbox({"fake": Fake(*[ActionError("no line")] * 1000)})
    for n in range(700):
        outbox.put(Notice("alarm", "r", "r", f"s{n}", "t", n, n), ("fake",))
        outbox.put(Notice("reminder", "r", "r", "same", "t", n, 0), ("fake",))
    queue = outbox.queues["fake"]
    assert (len(queue.notices), queue.dropped) == (500, 201)
    assert sum(one.what == "reminder" for one in queue.notices) == 1
    assert queue.notices[-2].subject == "s699"


def test_a_clock_put_back_does_not_keep_a_notice_for_a_year():
    action = Fake(ActionError("no line"))
    outbox = Outbox({"fake": action})
    outbox.put(NOTICE, ("fake",))
    outbox.deliver(T0_S * NS, lambda: None)
    assert outbox.deliver((T0_S - 400 * 86_400) * NS, lambda: None) == 1


def test_what_a_command_prints_does_not_go_to_our_standard_output(capfd):
    command("/bin/echo", "printed").send(NOTICE)
    told = capfd.readouterr()
    assert told.out == ""
    assert "printed" in told.err
    assert os.environ.get("OBSLAB_ALARM_TEXT") is None
