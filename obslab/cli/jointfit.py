"""``obslab jointfit``: datasets from catalogues, and the joint fit of one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from obslab.cli.options import Json, say
from obslab.errors import ConfigError

if TYPE_CHECKING:
    from obslab.jointfit.solve.newton import Iteration

app = typer.Typer(no_args_is_help=True, help="Joint astrometric and photometric fit of many images.")

_Columns = Annotated[
    list[str] | None, typer.Option("--column", help="NAME=COLUMN of the catalogues, such as flux=FLUX_PSF.")
]


@app.command("import")
def import_(
    catalogues: Annotated[
        list[Path], typer.Argument(help="FITS_LDAC files, or tables with a WCS beside them.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Dataset folder to write.")],
    reference: Annotated[
        Path | None, typer.Option(help="Reference catalogue: Gaia, SCAMP's, positions.")
    ] = None,
    epoch: Annotated[float | None, typer.Option(help="Julian year of a reference without one.")] = None,
    position_error: Annotated[
        float | None, typer.Option("--position-error", help="Error, mas, of a reference without one.")
    ] = None,
    header: Annotated[
        list[Path] | None, typer.Option(help="Files with the tables' headers, in order.")
    ] = None,
    column: _Columns = None,
    reference_column: Annotated[
        list[str] | None, typer.Option(help="NAME=COLUMN of the reference, such as mag=JMAG.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="NAME=CARD, for exposure, detector, band, instrument.")
    ] = None,
    minimum_error: Annotated[float, typer.Option(help="Smallest error of a position, pixel.")] = 0.0,
    first_pixel: Annotated[
        int, typer.Option(min=0, max=1, help="What the first pixel's centre is called.")
    ] = 1,
) -> None:
    """A dataset folder from SExtractor's FITS_LDAC catalogues (with .head and .ahead) or plain tables."""
    from obslab.jointfit.catalogue import save
    from obslab.jointfit.catalogue.importing import import_catalogues

    loaded = import_catalogues(
        catalogues, reference=reference, epoch=epoch, position_error_mas=position_error, headers=header,
        columns=_pairs("--column", column), reference_columns=_pairs("--reference-column", reference_column),
        keys=_pairs("--key", key), minimum_error_pixel=minimum_error, first_pixel=first_pixel,
    )  # fmt: skip
    save(loaded, out)
    m = loaded.measured.sizes
    stars = (
        "no reference"
        if loaded.reference is None
        else f"{loaded.reference.sizes['reference']:,} reference stars"
    )
    say(
        f"{out}: {m['measured']:,} measurements on {m['image']} images of "
        f"{loaded.exposures.sizes['exposure']} "
        f"exposures, {stars}"
    )


@app.command()
def run(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for headers, fit.json, residuals.nc, fitted.nc.")
    ],
    model: Annotated[str, typer.Option(help="simple or constrained.")] = "constrained",
    device_degree: Annotated[int, typer.Option(min=1, max=9, help="Of each detector's polynomial.")] = 4,
    exposure_degree: Annotated[int, typer.Option(min=1, max=9, help="Of each exposure's polynomial.")] = 2,
    degree: Annotated[int, typer.Option(min=1, max=9, help="Of each image's, with the simple model.")] = 3,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            help="What is fitted, repeatable: mappings, mappings:exposures, positions, pm, ...; with +."
        ),
    ] = None,
    refraction: Annotated[str | None, typer.Option(help="'tan z' or 'constant'.")] = None,
    motion: Annotated[
        bool | None, typer.Option("--motion/--no-motion", help="Proper motions; default: by rule.")
    ] = None,
    parallax: Annotated[
        bool | None, typer.Option("--parallax/--no-parallax", help="Default: by rule.")
    ] = None,
    photometry: Annotated[
        bool, typer.Option("--photometry", help="Zero points of the same stars too.")
    ] = False,
    turbulence: Annotated[
        bool, typer.Option("--turbulence", help="A Gaussian process for each exposure.")
    ] = False,
    image_to_image: Annotated[
        bool, typer.Option("--image-to-image", help="Transforms between images, without the reference.")
    ] = False,
    held: Annotated[int | None, typer.Option(help="Exposure that holds the gauge.")] = None,
    floor: Annotated[
        str, typer.Option(help="Error floor: mas, or fit, 'fit per exposure', 'fit per detector'.")
    ] = "0",
    reference_error: Annotated[
        float | None, typer.Option(help="Error of all reference positions, mas.")
    ] = None,
    clip: Annotated[float, typer.Option(min=0, help="Outliers beyond so many sigma; 0: none.")] = 5.0,
    holdout: Annotated[float, typer.Option(min=0, max=0.9, help="Share of stars to check with.")] = 0.1,
    match_cut: Annotated[float, typer.Option(min=0.01, help="Association on rough WCS, arcsec.")] = 3.0,
    exposure: Annotated[list[int] | None, typer.Option(help="Only these exposures.")] = None,
    detector: Annotated[list[int] | None, typer.Option(help="Only these detectors.")] = None,
    band: Annotated[list[str] | None, typer.Option(help="Only these bands.")] = None,
    night: Annotated[list[str] | None, typer.Option(help="Only these nights, YYYY-MM-DD.")] = None,
    instrument_key: Annotated[str, typer.Option(help="Card that names the instrument epoch.")] = "",
    exclude_troubled: Annotated[
        bool, typer.Option("--exclude-troubled", help="Leave out, by name, what cannot be fitted.")
    ] = False,
    wcs: Annotated[str, typer.Option("--wcs", help="Form of the headers: sip, tpv or scamp.")] = "sip",
    heads: Annotated[bool, typer.Option("--heads", help="SCAMP's .head files too.")] = False,
    text: Annotated[bool, typer.Option("--text", help="jointcal's text ntuples too.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="The exact model as ASDF too.")] = False,
    tables: Annotated[bool, typer.Option("--tables/--no-tables", help="residuals.nc and fitted.nc.")] = True,
    as_json: Json = False,
) -> None:
    """Fit all images of a dataset together and write a WCS header for each."""
    from obslab.jointfit.astrometry import fit
    from obslab.jointfit.catalogue import load
    from obslab.jointfit.compiling import announce
    from obslab.jointfit.output import write

    loaded = load(
        dataset,
        exposures=exposure,
        detectors=detector,
        bands=band,
        nights=night,
        instrument_key=instrument_key,
    )
    announce()
    reference = None if image_to_image else loaded.reference
    with _Bar(quiet=as_json) as bar:
        result = fit(
            loaded.measured, reference, loaded.exposures, model=model, device_degree=device_degree,
            exposure_degree=exposure_degree, degree=degree, held=held, stages=stage,
            match_cut_arcsec=match_cut,
            on_trouble="exclude" if exclude_troubled else "raise",
            motion="auto" if motion is None else motion,
            parallax="auto" if parallax is None else parallax, refraction=refraction, floor_mas=_floor(floor),
            reference_error_mas=reference_error, projector="identity" if image_to_image else "gnomonic",
            clip_sigma=clip, holdout=holdout, photometry=photometry, turbulence=turbulence, progress=bar,
        )  # fmt: skip
    write(result, out, form=wcs, heads=heads, text=text, exact=exact, tables=tables)
    if as_json:
        say(json.dumps(json.loads((out / "fit.json").read_text(encoding="utf-8"))))
    else:
        say(result.summary())
        say(f"written to {out}")


class _Bar:
    """A tqdm bar on standard error: an iteration a tick, chi2 beside it."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()

    def __enter__(self) -> _Bar:
        if not self._quiet:
            from tqdm.auto import tqdm

            self._bar: Any = tqdm(unit=" iterations", file=sys.stderr)
        return self

    def __call__(self, iteration: Iteration) -> None:
        if not self._quiet:
            ratio = iteration.chi2 / max(iteration.degrees_of_freedom, 1)
            self._bar.set_description(iteration.stage[:40], refresh=False)
            self._bar.set_postfix_str(
                f"chi2/dof {ratio:.4f}, step {iteration.step_sigma:.3g} sigma", refresh=False
            )
            self._bar.update()

    def __exit__(self, *_: object) -> None:
        if not self._quiet:
            self._bar.close()


def _floor(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _pairs(option: str, given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    for pair in given:
        if "=" not in pair:
            raise ConfigError(f"{option} {pair!r} is not NAME=VALUE", option=option)
    return dict(pair.split("=", 1) for pair in given)
