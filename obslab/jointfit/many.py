"""Many fits at once: fields, bands or nights on the workers of a Dask cluster."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obslab.errors import ObslabError

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


class ManyError(ObslabError, ValueError):
    """Entries of ``fit_many`` that are none."""


def fit_many(
    datasets: Mapping[str, Path | str | Any],
    *,
    client: Client | None = None,
    out: Path | str | None = None,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """The reports of one fit for each entry of ``datasets``, in the order given; each is written to
    ``out``/<name>.

    An entry is a dataset folder, which workers must see, or (folder, options of ``load``), as in
    ``{"r": ("night", {"bands": ["r"]})}``, or a Loaded. ``options`` are those of ``fit``. A fit that fails
    has {"error": why} in place of a report: the others go on. Without a ``client``, they run here, one after
    the other.
    """
    folder = None if out is None else str(Path(out).resolve())
    for name in datasets:
        if folder is not None and (not name or Path(name).name != name or name in (".", "..")):
            raise ManyError(f"{name!r} is no name of a folder in {folder}, where its result goes", name=name)
    work = {
        name: (_portable(name, what), options, folder and f"{folder}/{name}")
        for name, what in datasets.items()
    }
    if client is None:
        return {name: _one(*task) for name, task in work.items()}
    run, here = uuid.uuid4().hex[:8], os.getpid()  # a key that was used before would give the earlier answer
    futures = {
        name: client.submit(_one, *task, here, key=f"jointfit-{name}-{run}", pure=False)
        for name, task in work.items()
    }
    return {name: _answer(name, future) for name, future in futures.items()}


def _answer(name: str, future: Any) -> dict[str, Any]:
    """The report, or why there is none: a fit may take its worker with it."""
    try:
        return dict(future.result())
    except Exception as error:
        log.exception("the fit of %s failed on its worker", name)
        return {"error": f"{type(error).__name__}: {error}"}


def _one(what: Any, options: dict[str, Any], out: str | None, client: int | None = None) -> dict[str, Any]:
    """One fit, in whichever process; its report."""
    from obslab.jointfit.astrometry import fit
    from obslab.jointfit.catalogue import load
    from obslab.jointfit.output import write

    if client not in (None, os.getpid()):
        os.environ.setdefault(
            "OBSLAB_THREADS", str(_threads_of_worker())
        )  # the others are there for other fits
    try:
        kind, content, part = what
        loaded = load(content, **part) if kind == "folder" else content
        result = fit(*loaded, **options)
        if out is not None:
            write(result, out)
    except ObslabError as error:
        return {"error": f"{type(error).__name__}: {error.message}"}
    except Exception as error:
        log.exception("a fit failed")
        return {"error": f"{type(error).__name__}: {error}"}
    return result.report


def _threads_of_worker() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def _portable(name: str, what: Any) -> tuple[str, Any, dict[str, Any]]:
    """What a worker is sent: a path with the options of ``load``, or tables."""
    if isinstance(what, str | Path):
        return "folder", str(Path(what).resolve()), {}
    if isinstance(what, tuple) and len(what) == 2 and isinstance(what[1], dict):
        return "folder", str(Path(what[0]).resolve()), what[1]
    if isinstance(what, tuple) and len(what) == 3:
        return "tables", tuple(what), {}
    raise ManyError(
        f"{name!r} is {type(what).__name__}, wanted a dataset folder, (folder, options of load), or a Loaded",
        name=name,
    )
