"""What a run writes: a header for each image, fit.json, residuals.nc and fitted.nc, and on request more."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit import ntuple, projection, wcs
from obslab.jointfit.polynomial import chebyshev_grid
from obslab.jointfit.wcs import Card, Headers, Mapped
from obslab.whole import unfinished

if TYPE_CHECKING:
    from obslab.jointfit.result import FitResult

FORMS = ("sip", "tpv", "scamp")


class OutputError(ObslabError, ValueError):
    """An output that does not exist or that this fit cannot give."""


def headers(result: FitResult, form: str, images: NDArray[Any]) -> Headers:
    """WCS headers of ``images``, with what identifies the image and with what they leave out."""
    if form not in FORMS:
        raise OutputError(f"there is no header of form {form!r}: {', '.join(FORMS)} are there", form=form)
    m, e = result.measured, result.exposures
    row = result.assembled.problem.exposure[images]
    cards = [
        Card("EXPNUM", m.exposure.values[images], "Exposure"),
        Card("CCDNUM", m.detector.values[images], "Detector"),
        Card("FILTER", e.band.values.astype(str)[row].tolist(), "Band"),
        Card("MJD-OBS", e.mjd.values[row], "[d] UTC, mid-exposure"),
        Card("AIRMASS", e.airmass.values[row], "Airmass"),
    ]
    if "request" in e:
        number = e.request.values[row]
        cards.append(Card("REQNUM", [int(n) if n >= 0 else None for n in number], "Observation request"))
    if "observation" in e:
        cards.append(Card("OBSID", [str(o) or None for o in e.observation.values[row]], "Observation"))
    return wcs.headers(mapped_images(result, images), form, extra=cards, leaves_out=left_out(result))


def left_out(result: FitResult) -> tuple[str, ...]:
    """What headers cannot hold of this solution."""
    out = []
    if any(name.startswith("refraction") for term in result.assembled.problem.terms for name in term.names):
        out.append("color")
    if result.turbulence is not None:
        out.append("turbulence")
    return tuple(out)


def mapped_images(result: FitResult, images: NDArray[Any]) -> Mapped:
    """The mappings of ``images`` on the nodes that the header writers want."""
    u, v = chebyshev_grid(wcs.NODES)
    row = result.assembled.problem.exposure[images]
    return Mapped(
        result.plane(images, u, v), result.assembled.frames[row], result.measured.mid.values[images],
        result.measured.half.values[images], result.measured.name.values.astype(str)[images].tolist(),
        lambda some, a, b: result.plane(images[some], a, b),
    )  # fmt: skip


def fitted_images(result: FitResult) -> NDArray[Any]:
    """Images that had measurements in the fit; the others have no mapping of their own to write."""
    used = np.bincount(
        result.assembled.problem.image_of, result.outcome.solver.active[0] > 0, result.measured.sizes["image"]
    )
    outer, inner = result.assembled.problem.outer, result.assembled.problem.inner
    count = len(result.layout.outer_names), len(result.layout.inner_names)
    known = np.bincount(outer, used, count[0])[outer] > 0
    return np.flatnonzero(known & (np.bincount(inner, used, count[1])[inner] > 0))


def write(
    result: FitResult,
    folder: Path | str,
    *,
    form: str = "sip",
    heads: bool = False,
    text: bool = False,
    exact: bool = False,
    tables: bool = True,
) -> list[Path]:
    """Write a result into ``folder``: headers, fit.json, and with ``tables`` residuals.nc and fitted.nc.

    ``heads``: SCAMP's .head files too; ``text``: jointcal's ntuples; ``exact``: the composed model as ASDF
    (needs the extra ``gwcs``). An image-to-image fit has transforms.json, from every image to its held one,
    in place of headers.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    written: list[Path] = []
    if result.choices.projector == "identity":
        written.append(_write_transforms(result, folder))
    else:
        images = fitted_images(result)
        made = headers(result, form, images)
        written += made.write(folder)
        if heads:
            tpv = made if form == "scamp" else headers(result, "scamp", images)
            numbers = result.measured.exposure.values[images]
            written += tpv.write_heads(folder, [f"e{n:03d}" for n in numbers])
        if exact:
            written.append(_write_exact(result, folder, images))
    result.extra.setdefault("seconds", {})["headers"] = time.perf_counter() - begin
    if tables:
        begin = time.perf_counter()
        for name, table in _tables(result).items():
            path = folder / f"{name}.nc"
            _write_netcdf(table, path)
            written.append(path)
        result.extra["seconds"]["tables"] = time.perf_counter() - begin
    if text:
        written += [
            ntuple.write_measured(folder / "residuals-meas.csv", result.residuals, result.fitted),
            ntuple.write_reference(folder / "residuals-ref.csv", result.reference_residuals),
        ]
        if result.photometry is not None:
            written.append(
                ntuple.write_photometry(folder / "residuals-phot.csv", result.photometry.residuals)
            )
    with unfinished(folder / "fit.json", durable=False, folders=True) as part:
        part.write_text(json.dumps(result.report, indent=1, default=_plain) + "\n", encoding="utf-8")
    written.append(folder / "fit.json")
    return written


def _tables(result: FitResult) -> dict[str, xr.Dataset]:
    tables = {"residuals": result.residuals, "fitted": result.fitted}
    if result.reference is not None:
        tables["reference_residuals"] = result.reference_residuals
    if result.photometry is not None:
        tables["photometry"] = result.photometry.residuals
        tables["zero_points"] = result.photometry.zero_points
    if result.turbulence is not None:
        tables["turbulence"] = result.turbulence.table
        tables["correlation_before"] = result.turbulence.before
        tables["correlation_after"] = result.turbulence.after
    return tables


def _write_netcdf(table: xr.Dataset, path: Path) -> None:
    plain = table.assign_attrs(
        {k: list(v) if isinstance(v, tuple) else v for k, v in table.attrs.items() if v is not None}
    )
    with unfinished(path, durable=False, folders=True) as part:
        plain.to_netcdf(
            part, engine="netcdf4", encoding={name: {"contiguous": True} for name in _numeric(plain)}
        )


def _numeric(table: xr.Dataset) -> Sequence[str]:
    return [str(n) for n, v in table.variables.items() if v.dtype.kind in "fiu" and v.size]


def _write_transforms(result: FitResult, folder: Path) -> Path:
    from obslab.jointfit.transforms import between

    held = int(np.flatnonzero(result.layout.held_inner)[0])
    every = [json.loads(between(result, int(i), held).to_json()) for i in fitted_images(result) if i != held]
    path = folder / "transforms.json"
    with unfinished(path, durable=False, folders=True) as part:
        part.write_text(
            json.dumps({"held": str(result.measured.name.values[held]), "transforms": every}, indent=1)
            + "\n",
            encoding="utf-8",
        )
    return path


def _write_exact(result: FitResult, folder: Path, images: NDArray[Any]) -> Path:
    p, s = result.assembled.problem, result.outcome.solver.state
    if any(term.where == "pixel" for term in p.terms):
        raise OutputError("the exact model cannot hold templates yet; write headers, or use result.sky")
    models = {}
    for i in images.tolist():
        tangent = projection.sky(result.assembled.frames[p.exposure[i]][2])
        models[str(result.measured.name.values[i])] = wcs.exact.model(
            wcs.exact.Composed(
                s.inner[p.inner[i]], s.outer[p.outer[i]], result.measured.mid.values[i],
                result.measured.half.values[i], (float(tangent[0]), float(tangent[1])), p.unit,
            )
        )  # fmt: skip
    return wcs.exact.write(folder / "mappings.asdf", models)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
