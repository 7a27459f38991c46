"""A rules file (TOML) becomes ``Rules``; all its problems are told at once, each with its line.

every_s = 30
[action.phone]
kind = "webhook"
url = "${OBSLAB_WEBHOOK_URL}"
[[rule]]
kind = "stale"
after_s = 300
"""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import msgspec

from obslab.config import check_filter
from obslab.errors import ConfigError, TopicError
from obslab.telemetry.sample import Stream
from obslab.telemetry.watch.actions import Action, Command, Mail, Webhook, is_loopback, login, runnable
from obslab.telemetry.watch.lines import Place, lines_of
from obslab.telemetry.watch.rules import KINDS, OWN, DeltaF, Disk, Rule, Rules, Value

_ACTIONS: dict[str, type[Action]] = {"command": Command, "webhook": Webhook, "mail": Mail}
_TABLES = ("every_s", "action", "rule")
_EVERY_S = (1.0, 3600.0)
_SECRETS = {
    **dict.fromkeys(("user", "username", "login"), "OBSLAB_SMTP_USER"),
    **dict.fromkeys(("password", "passwd", "pass", "secret"), "OBSLAB_SMTP_PASSWORD"),
}
_TOML_WORDS = (("float", "a number"), ("int", "a whole number"), ("str", "text"), ("array", "a list"))
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Rules:
    """The rules in a file. Raises ConfigError with every problem."""
    try:
        text = Path(file).read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}", file=file) from None
    except OSError as error:
        raise ConfigError(
            f"rules {file} cannot be read: {error.strerror}; `obslab init` writes some to begin with",
            file=file,
        ) from None
    reader = _Reader(lines_of(text), environ)
    rules = reader.rules(content)
    if reader.problems:
        count = f"{len(reader.problems)} problems" if len(reader.problems) > 1 else "a problem"
        raise ConfigError(
            f"{file} has {count}: {'; '.join(reader.problems)}", file=file, problems=tuple(reader.problems)
        )
    return rules


class _Reader:
    """Goes on after a problem, so that a file is put right in one go."""

    def __init__(self, lines: Mapping[Place, int], environ: Mapping[str, str]) -> None:
        self._lines, self._environ = lines, environ
        self.problems: list[str] = []

    def rules(self, content: Mapping[str, Any]) -> Rules:
        for key in content.keys() - set(_TABLES):
            self._problem((key,), f"{key} is unknown; {_hint(key, _TABLES)}")
        actions, tables = content.get("action", {}), content.get("rule", [])
        if not isinstance(actions, dict) or not all(isinstance(one, dict) for one in actions.values()):
            self._problem(("action",), "action wants tables with a name, as [action.phone]")
            actions = {}
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            self._problem(("rule",), "rule wants a list of tables: [[rule]]")
            tables = []
        elif not tables:
            self._problem((), "there is no rule; add [[rule]] with a kind, such as stale")
        known = {name: self._action(name, dict(one)) for name, one in actions.items()}
        rules = [self._rule(place, dict(one), actions) for place, one in enumerate(tables)]
        self._no_name_twice(rules)
        every_s = content.get("every_s", 30.0)
        if isinstance(every_s, bool) or not isinstance(every_s, int | float):
            self._problem(("every_s",), f"every_s wants a number of seconds, not {every_s!r}")
        elif not _EVERY_S[0] <= every_s <= _EVERY_S[1]:
            self._problem(("every_s",), f"every_s {every_s!r} is not from 1 to 3600 s")
        return Rules(
            tuple(rule for rule in rules if rule),
            {name: action for name, action in known.items() if action},
            every_s,
        )

    def _rule(self, place: int, table: dict[str, Any], actions: Iterable[str]) -> Rule | None:
        at: Place = ("rule", place)
        kind = self._kind(at, table, KINDS)
        if kind is None:
            return None
        named = table.get("name")
        rule: Rule | None = self._fill(at, f"rule {named or table['kind']!r}", KINDS[kind], table, name=kind)
        if rule is None:
            return None
        what = f"rule {rule.name!r}"
        for name in rule.do:
            if name not in actions:
                self._problem((*at, "do"), f"{what}: there is no [action.{name}]; {_hint(name, actions)}")
        for key in ("streams", "units"):
            for one in getattr(rule, key, ()):
                try:
                    check_filter(one, f"{key} of {what}")
                except ConfigError as error:
                    self._problem((*at, key), error.message)
        if isinstance(rule, Value):
            if rule.min is None and rule.max is None:
                self._problem(at, f"{what}: neither min nor max is given; give one of them, or both")
            elif rule.min is not None and rule.max is not None and not rule.min < rule.max - 2 * rule.margin:
                self._problem(
                    at, f"{what}: nothing is between min {rule.min:g} and max {rule.max:g} with its margin"
                )
        if isinstance(rule, DeltaF):
            self._delta_f(at, what, rule)
        if isinstance(rule, Disk) and rule.archive_below_gb is rule.unit_below_gb is rule.journal_above:
            self._problem(at, f"{what}: give one of archive_below_gb, unit_below_gb, journal_above")
        return rule

    def _delta_f(self, at: Place, what: str, rule: DeltaF) -> None:
        stations = set()
        for key in ("vector", "scalar"):
            try:
                stations.add(Stream.parse(getattr(rule, key)).station)
            except TopicError as error:
                self._problem((*at, key), f"{what}: {key}: {error.message}")
        if len(stations) > 1:
            self._problem(
                at, f"{what}: vector and scalar are of two stations, {' and '.join(sorted(stations))}"
            )
        if rule.above_nt is rule.change_nt is None:
            self._problem(at, f"{what}: neither above_nt nor change_nt is given; give one of them, or both")

    def _action(self, name: str, table: dict[str, Any]) -> Action | None:
        at: Place = ("action", name)
        kind = self._kind(at, table, _ACTIONS)
        what = f"action {name!r}"
        for key in [key for key in table if key.lower() in _SECRETS]:
            self._problem((*at, key), f"{what}: {key} must not be here; set {_SECRETS[key.lower()]} instead")
            del table[key]
        if kind is None:
            return None
        # A value is not repeated: it may be a secret in the wrong place.
        action: Action | None = self._fill(at, what, _ACTIONS[kind], table, name=name, secret=True)
        if isinstance(action, Webhook):
            return self._webhook((*at, "url"), what, action)
        if isinstance(action, Mail):
            return self._mail(at, what, action)
        if isinstance(action, Command) and not runnable(action.argv[0]):
            self._problem((*at, "argv"), f"{what}: {action.argv[0]!r} is not a program that can be run")
        return action

    def _webhook(self, at: Place, what: str, action: Webhook) -> Webhook:
        names = _VARIABLE.findall(action.url)
        missing = [name for name in names if not self._environ.get(name)]
        for name in missing:
            self._problem(at, f"{what}: url needs the variable {name}, which is not set")
        if missing:
            return action
        url = _VARIABLE.sub(lambda found: self._environ[found[1]], action.url).strip()
        try:
            parts = urlsplit(url)
            fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            parts, fine = None, False
        if not fine or re.search(r"[\s\x00-\x1f\x7f]", url) or not url.isascii():
            self._problem(at, f"{what}: url is not http:// or https:// (not shown, it may hold a secret)")
        elif parts and "@" in parts.netloc:
            self._problem(at, f"{what}: url holds a user or password (not shown); a webhook takes none there")
        return replace(action, url=url)

    def _mail(self, at: Place, what: str, action: Mail) -> Mail:
        for key, addresses in (("from", (action.from_,)), ("to", action.to)):
            for one in addresses:
                if not re.fullmatch(r"[^@\s]+@[^@\s,<>]+", one):
                    self._problem((*at, key), f"{what}: {key} {one!r} is not an address")
        user, password = login(self._environ)
        if action.ca and not Path(action.ca).expanduser().is_file():
            self._problem((*at, "ca"), f"{what}: ca names {action.ca!r}, which is not a file")
        if user and action.security == "none" and not is_loopback(action.host):
            self._problem(
                (*at, "security"),
                f'{what}: OBSLAB_SMTP_USER is set and security = "none" would send it readable; use starttls',
            )
        ca = str(Path(action.ca).expanduser()) if action.ca else None
        return replace(action, user=user, password=password, ca=ca)

    def _kind(self, at: Place, table: dict[str, Any], known: Iterable[str]) -> str | None:
        kind = table.get("kind")
        what = f"[[rule]] {int(at[1]) + 1}" if at[0] == "rule" else f"action {at[1]!r}"
        if isinstance(kind, str) and kind in known:
            return kind
        if kind is None:
            self._problem(at, f"{what} has no kind; {_hint('', known)}")
        else:
            self._problem((*at, "kind"), f"{what}: kind {kind!r} is unknown; {_hint(str(kind), known)}")
        return None

    def _fill(
        self, at: Place, what: str, into: type[Any], table: dict[str, Any], *, name: str, secret: bool = False
    ) -> Any:
        """The dataclass of this table; None when a value does not fit."""
        hints = get_type_hints(into, include_extras=True)
        wanted = {one.name.rstrip("_"): one for one in fields(into)}
        if secret:  # the name of an action is in its header, a mail's login in the environment
            wanted = {key: one for key, one in wanted.items() if key not in ("name", "user", "password")}
        given: dict[str, Any] = {"name": name}
        before = len(self.problems)
        for key, value in table.items():
            if key == "kind":
                continue
            if key not in wanted:
                self._problem((*at, key), f"{what}: {key} is unknown; {_hint(key, wanted)}")
                continue
            try:
                given[wanted[key].name] = msgspec.convert(value, hints[wanted[key].name])
            except msgspec.ValidationError as error:
                met = "" if secret else f" {value!r}"
                self._problem((*at, key), f"{what}: {key}{met}: {_plain(error)}")
        for key, one in wanted.items():
            if one.default is MISSING and key not in (*table, "name"):
                self._problem(at, f"{what}: {key} is missing")
        return into(**given) if len(self.problems) == before else None

    def _no_name_twice(self, rules: list[Rule | None]) -> None:
        seen = Counter(rule.name for rule in rules if rule)
        for place, rule in enumerate(rules):
            if rule and rule.name == OWN:
                self._problem(("rule", place), f"the name {OWN!r} is the watcher's own; choose another")
            if rule and seen[rule.name] > 1:
                seen[rule.name] = 0  # told once
                self._problem(
                    ("rule", place), f"two rules are named {rule.name!r}; give each a name = of its own"
                )

    def _problem(self, at: Place, text: str) -> None:
        line = next((self._lines[path] for path in _upwards(at) if path in self._lines), None)
        self.problems.append(f"line {line}: {text}" if line else text)


def _upwards(at: Place) -> Iterator[Place]:
    while at:
        yield at
        at = at[:-1]


def _hint(name: str, known: Iterable[str]) -> str:
    choice = sorted(known)
    close = get_close_matches(name, choice, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(choice) or 'none'}"


def _plain(error: msgspec.ValidationError) -> str:
    """``Expected `float | null`, got `str` `` in the words of TOML."""
    text = str(error).replace("`", "").replace(" | null", "").replace("Expected", "expected")
    for python, toml in _TOML_WORDS:
        text = re.sub(rf"\b{python}\b", toml, text)
    return text
