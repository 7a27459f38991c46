"""`obslab watch`: rules over an archive, and a call for help when one is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from obslab.cli.options import Json, WithParent, say
from obslab.errors import ActionError

if TYPE_CHECKING:
    from obslab.telemetry.watch.rules import Rules
    from obslab.telemetry.watch.watcher import Watcher

RULES_NAME = "watch.toml"


def watch(
    archive: Annotated[Path | None, typer.Option(help="Folder of the archive.")] = None,
    rules: Annotated[
        Path, typer.Option(help="Rules and actions; `obslab init` writes some to begin with.")
    ] = Path(RULES_NAME),
    once: Annotated[
        bool, typer.Option("--once", help="Look once; exit code 1 when an alarm stands.")
    ] = False,
    test: Annotated[bool, typer.Option("--test", help="Send a test message by every action.")] = False,
    state: Annotated[
        Path | None, typer.Option(help="File that remembers what was told; default: in the state folder.")
    ] = None,
    as_json: Json = False,
    with_parent: WithParent = False,
) -> None:
    """Watch an archive by rules until interrupted; call a command, a webhook or a mail server."""
    import zlib

    from obslab import config
    from obslab.lifetime import until_told
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.watch import rulesfile
    from obslab.telemetry.watch.memory import Memory
    from obslab.telemetry.watch.notice import Notice
    from obslab.telemetry.watch.watcher import Watcher

    ending = until_told(with_parent=with_parent)
    settings = config.load()
    loaded = rulesfile.load(rules)
    if test:
        _test(loaded, as_json)
        return
    folder = (archive or settings.archive_dir).absolute()
    if once:
        open_archive(folder).close()  # a loop waits for an archive and tells of it; here somebody looks
    # Named after what is watched by what, so that two watchers do not share it by accident.
    key = zlib.crc32(f"{folder}\n{rules.absolute()}".encode())
    memory = Memory(state or settings.state_dir / "watch" / f"{rules.stem}-{key:08x}.json")

    def told(notice: Notice) -> None:
        say(json.dumps(notice.plain()) if as_json else notice.line)

    try:
        watcher = Watcher(folder, loaded, memory, (lambda _: None) if once and as_json else told)
        if once:
            _once(watcher, as_json)
            return
        if not loaded.actions and not as_json:
            say(f"{rules} has no action: alarms are printed here and nobody is called")
        watcher.run(ending)
    finally:
        memory.close()


def _once(watcher: Watcher, as_json: bool) -> None:
    from obslab.times import now_ns

    at_ns = now_ns()
    notices = watcher.round(at_ns)
    if as_json:
        standing = [alarm.notice("alarm", at_ns).plain() for alarm in watcher.standing]
        told: dict[str, Any] = {"alarms": standing, "told": [notice.plain() for notice in notices]}
        say(json.dumps(told | {"waiting": watcher.waiting}))
    else:
        new = {(notice.rule, notice.subject) for notice in notices}
        for alarm in watcher.standing:
            if (alarm.rule, alarm.subject) not in new:
                say(f"still {alarm.notice('alarm', at_ns).line}")
        say(f"{len(watcher.standing)} alarms stand" if watcher.standing else "no alarm stands")
    if watcher.standing:
        raise typer.Exit(1)


def _test(loaded: Rules, as_json: bool) -> None:
    from obslab.telemetry.watch.notice import trial
    from obslab.telemetry.watch.outbox import send_now
    from obslab.times import now_ns

    if not loaded.actions:
        raise ActionError("the rules have no action to test; add one, such as [action.phone]")
    failed = {name: send_now(action, trial(now_ns())) for name, action in loaded.actions.items()}
    if as_json:
        say(json.dumps({name: {"ok": not why, "told": why} for name, why in failed.items()}))
    else:
        for name, why in failed.items():
            say(f"failed  {why}" if why else f"ok      action {name!r} took the test message")
    if any(failed.values()):
        raise typer.Exit(1)
