"""`obslab collect`: from a broker into an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from obslab.cli.options import BrokerUrl, WithParent
from obslab.errors import BrokerError


def collect(
    broker: BrokerUrl = None,
    archive: Annotated[
        Path | None, typer.Option(help="Folder of the archive; made when it is not there.")
    ] = None,
    topics: Annotated[list[str] | None, typer.Option(help="Topic filters; default: everything.")] = None,
    name: Annotated[
        str, typer.Option(help="Name of the archive; stations free their journals by the word of one.")
    ] = "main",
    follow: Annotated[
        bool, typer.Option("--follow", help="Fill this archive too, but confirm nothing to the stations.")
    ] = False,
    share: Annotated[
        str, typer.Option(help="Group of collectors that share the load of one archive (MQTT 5).")
    ] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for the broker at the start.")] = 10.0,
    with_parent: WithParent = False,
) -> None:
    """Collect what arrives at a broker into an archive, until interrupted."""
    from time import monotonic

    from obslab import config
    from obslab.lifetime import until_told
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.collect.collector import Collector

    ending = until_told(with_parent=with_parent)
    settings = config.load()
    address = config.broker_at(broker) if broker else settings.broker
    with open_archive(archive or settings.archive_dir, write=True, shared=bool(share)) as opened:
        collector = Collector(
            opened,
            address,
            tuple(topics or settings.topics),
            name=name,
            confirms=not follow,
            share=share,
            keep_days=settings.archive_keep_days,
            seal_after_days=settings.archive_seal_after_days,
        )
        collector.start()
        try:
            until, state = monotonic() + wait, collector.link
            while not (state.connected or state.refused or ending.is_set()) and monotonic() < until:
                state = collector.wait_link(0.2)
            if not state.connected and not ending.is_set():
                raise BrokerError(state.detail)
            ending.wait()
        finally:
            collector.stop()
