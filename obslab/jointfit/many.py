"""Many fits at once: fields, bands or nights on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client


def fit_many(
    datasets: Mapping[str, Path | str | Any],
    *,
    client: Client | None = None,
    out: Path | str | None = None,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """The reports of one fit for each entry of ``datasets``, in the order given; each is written to ``out``/<name>.

    An entry is a dataset folder, which workers must see, or (folder, options of ``load``), as in
    ``{"r": ("night", {"bands": ["r"]})}``, or a Loaded. ``options`` are those of ``fit``. A fit that fails has
    {"error": why} in place of a report: the others go on. Without a ``client``, they run here, one after the other.
    """
    folder = None if out is None else str(Path(out).resolve())
    work = {name: (_portable(what), options, folder and f"{folder}/{name}") for name, what in datasets.items()}
    if client is None:
        return {name: _one(*task) for name, task in work.items()}
    # One thread a fit: the cluster's workers share the cores among themselves.
    futures = {name: client.submit(_one, *task, key=f"jointfit-{name}", pure=False) for name, task in work.items()}
    return {name: future.result() for name, future in futures.items()}


def _one(what: Any, options: dict[str, Any], out: str | None) -> dict[str, Any]:
    """One fit, in whichever process; its report."""
    from obslab.errors import ObslabError
    from obslab.jointfit.astrometry import fit
    from obslab.jointfit.catalogue import load
    from obslab.jointfit.output import write

    try:
        kind, content, part = what
        loaded = load(content, **part) if kind == "folder" else content
        result = fit(*loaded, **options)
        if out is not None:
            write(result, out)
    except ObslabError as error:
        return {"error": f"{type(error).__name__}: {error.message}"}
    return result.report


def _portable(what: Any) -> tuple[str, Any, dict[str, Any]]:
    """What a worker is sent: a path with the options of ``load``, or tables."""
    if isinstance(what, str | Path):
        return "folder", str(Path(what).resolve()), {}
    if len(what) == 2 and isinstance(what[1], dict):
        return "folder", str(Path(what[0]).resolve()), what[1]
    return "tables", tuple(what), {}
