"""How a person is reached: a command, a webhook, a mail. Each sends one notice or raises ActionError.

No message or log line repeats a webhook's URL, a user or a password: they may be secrets. They come from
the environment only, so the rules can be shown, copied and committed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from obslab.errors import ActionError
from obslab.telemetry.watch.notice import Notice
from obslab.times import iso

log = logging.getLogger(__name__)

Seconds = Annotated[float, Meta(gt=0, le=600)]
Text = Annotated[str, Meta(min_length=1)]
Texts = Annotated[tuple[Text, ...], Meta(min_length=1)]

# What a command has no business to know.
_SECRETS = ("OBSLAB_MQTT_PASSWORD", "OBSLAB_SMTP_PASSWORD")
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_LONGEST = 30_000  # a variable of the environment may have 128 kB, and trouble may come with a long text


@dataclass(frozen=True, kw_only=True)
class Command:
    """Runs ``argv`` without a shell: facts as ``OBSLAB_ALARM_*`` and as JSON on its standard input.

    What it prints goes where our own log goes. Anything but exit code 0 in time is a failure.
    """

    name: str
    argv: Texts
    timeout_s: Seconds = 30.0

    def send(self, notice: Notice) -> None:
        program = self.argv[0]
        try:
            # A session of its own, so that at the time-out its children end with it.
            process = subprocess.Popen(
                self.argv, stdin=subprocess.PIPE, stdout=2, env=_environment(notice), start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise ActionError(f"action {self.name!r}: {program!r} cannot be run: {error}") from None
        try:
            process.communicate(json.dumps(notice.plain()).encode(), self.timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ActionError(
                f"action {self.name!r}: {program!r} did not end in {self.timeout_s:g} s and was killed; "
                "raise its timeout_s, or let it do its work in the background"
            ) from None
        if process.returncode:
            raise ActionError(f"action {self.name!r}: {program!r} ended with code {process.returncode}")


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """POSTs the notice as JSON; any answer but 2xx is a failure. ``url`` may hold secrets."""

    name: str
    url: Text = field(repr=False)
    timeout_s: Seconds = 20.0

    def send(self, notice: Notice) -> None:
        content = json.dumps(notice.plain()).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "obslab"}
        try:
            request = urllib.request.Request(self.url, content, headers, method="POST")
            with _OPENER.open(request, timeout=self.timeout_s) as answer:
                code = answer.status
        except urllib.error.HTTPError as error:
            error.close()
            code = error.code
        except (OSError, ValueError, http.client.HTTPException) as error:
            # Only the kind of a ValueError or HTTPException: their texts repeat parts of the URL.
            why = getattr(error, "reason", None) or error if isinstance(error, OSError) else type(error)
            raise ActionError(f"action {self.name!r}: its webhook cannot be reached: {_told(why)}") from None
        if not 200 <= code < 300:
            hint = "; give the address it is redirected to" if 300 <= code < 400 else ""
            raise ActionError(f"action {self.name!r}: its webhook answered {code}{hint}", code=code)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """Sends a mail; STARTTLS with a certificate that is checked, unless ``security`` says otherwise.

    The login comes from ``OBSLAB_SMTP_USER`` and ``OBSLAB_SMTP_PASSWORD`` when they are set; ``ca`` is the
    certificate of a CA that this machine does not trust already.
    """

    name: str
    host: Text
    from_: Text
    to: Texts
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: str | None = None
    timeout_s: Seconds = 30.0
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def send(self, notice: Notice) -> None:
        where = f"{self.host}:{self.port or _PORTS[self.security]}"
        try:
            server = self._connected()
            try:
                if self.user:
                    server.login(self.user, self.password or "")
                refused = server.send_message(self._message(notice))
            finally:
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    server.quit()
        except smtplib.SMTPAuthenticationError as error:
            raise ActionError(
                f"action {self.name!r}: {where} refused the login ({error.smtp_code}); "
                "check OBSLAB_SMTP_USER and OBSLAB_SMTP_PASSWORD"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise ActionError(
                f"action {self.name!r}: the certificate of {where} is not trusted: {error.verify_message}; "
                "set ca to the certificate of the CA that signed it"
            ) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise ActionError(f"action {self.name!r}: mail through {where} failed: {_told(error)}") from None
        if refused:  # not all of them: the others have it, and to send again would give it to them twice
            log.warning("action %r: %s refused %s; the others have it", self.name, where, ", ".join(refused))

    def _connected(self) -> smtplib.SMTP:
        port, context = self.port or _PORTS[self.security], ssl.create_default_context(cafile=self.ca)
        # smtplib would ask the name service for our own name, which may take minutes where there is none.
        own = socket.gethostname()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, port, own, timeout=self.timeout_s, context=context)
        server = smtplib.SMTP(self.host, port, own, timeout=self.timeout_s)
        if self.security == "starttls":
            try:
                server.starttls(context=context)  # without a context no certificate is checked
            except BaseException:
                server.close()
                raise
        return server

    def _message(self, notice: Notice) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"] = self.from_, ", ".join(self.to)
        message["Subject"] = f"[obslab] {notice.line}"[:200]
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="obslab.invalid")
        message["Auto-Submitted"] = "auto-generated"  # so that no holiday answer comes back
        facts = "\n".join(f"{name}: {value}" for name, value in notice.facts.items())
        message.set_content(
            f"{notice.line}\n\nat {iso(notice.at_ns, 0)}\nsince {iso(notice.since_ns, 0)}\n{facts}\n"
        )
        return message


Action = Command | Webhook | Mail


def login(environ: Mapping[str, str] = os.environ) -> tuple[str | None, str | None]:
    """User and password for mail."""
    return environ.get("OBSLAB_SMTP_USER") or None, environ.get("OBSLAB_SMTP_PASSWORD") or None


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def runnable(program: str) -> bool:
    """Whether a command's program is there."""
    import shutil

    return shutil.which(program) is not None if "/" not in program else os.access(Path(program), os.X_OK)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would follow a redirected POST with a GET: the notice lost, and taken for delivered."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _environment(notice: Notice) -> dict[str, str]:
    facts = {**{k: v for k, v in notice.plain().items() if k != "facts"}, **notice.facts}
    ours = {
        f"OBSLAB_ALARM_{name.upper()}": str("" if value is None else value).replace("\0", "")[:_LONGEST]
        for name, value in facts.items()
    }
    return {name: value for name, value in os.environ.items() if name not in _SECRETS} | ours


def _told(why: object) -> str:
    if isinstance(why, type):
        return why.__name__
    return " ".join(str(why).split()) or type(why).__name__
