"""A small dataset as arrays, and what others write of it: astropy's FITS tables, LDAC files, headers."""

import re

import numpy as np
from astropy.io import fits
from astropy.table import Table

PIXELS = 2048
SCALE = 0.263 / 3600
EXPOSURES = (3, 7)
DETECTORS = (1, 2)
MJD = {3: 60_000.25, 7: 60_001.30}
STARS = 30
LATITUDE = -30.17


def header(exposure=3, detector=1, **changes):
    """A plain TAN header of one image; a change to None takes the card away."""
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
        "CRVAL1": 150.0 + 0.01 * exposure, "CRVAL2": 2.2, "CRPIX1": 3189.27 - 2168 * (detector - 1),
        "CRPIX2": 986.8, "CD1_1": -7.3077540355523e-05, "CD1_2": -3.23e-08, "CD2_1": -8.99e-09,
        "CD2_2": 7.30765631123097e-05,
        "EXPTIME": 30.0, "FILTER": "r", "QRUNID": f"run{exposure}", "AIRMASS": 1.2 + 0.01 * exposure,
        "PARANG": 12.5 * exposure, "EXPNUM": exposure, "CCDNUM": detector,
        "MJD-OBS": MJD.get(exposure, 60_002.0),
    }  # fmt: skip
    made = fits.Header()
    for key, value in {**cards, **changes}.items():
        if value is not None:
            made[key] = value
    return made


def stars(exposure=3, detector=1, rows=STARS):
    """Columns of the CAT table of one image."""
    rng = np.random.default_rng([exposure, detector])
    x, y = rng.uniform(1, PIXELS, (2, rows))
    flux = 10 ** rng.uniform(2, 5, rows)
    return {
        "ID": np.arange(rows, dtype=np.int32) + 1000 * exposure + 100 * detector,
        "X": x,
        "Y": y,
        "SIGMA": rng.uniform(0.01, 0.05, rows).astype(np.float32),
        "FLUX": flux.astype(np.float32),
        "FLUXERR": np.sqrt(flux).astype(np.float32),
        "FLAGS": rng.integers(0, 4, rows).astype(np.int16),
    }


def image_hdus(columns, cards):
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    return fits.HDUList([primary, fits.BinTableHDU(Table(columns), name="CAT")])


def reference(rows=20):
    rng = np.random.default_rng(5)
    known = {
        name: rng.uniform(0.05, 1, rows) for name in ("RA_ERR", "DEC_ERR", "PMRA_ERR", "PMDEC_ERR", "PLX_ERR")
    }
    motion = {name: rng.normal(0, 5, rows) for name in ("PMRA", "PMDEC", "PLX")}
    return {
        "RA": 150 + rng.uniform(-0.1, 0.1, rows),
        "DEC": 2.2 + rng.uniform(-0.1, 0.1, rows),
        **known,
        **motion,
        "MAG": rng.uniform(15, 20, rows),
        "COLOR": rng.uniform(0, 2, rows),
        "EPOCH": np.full(rows, 2016.0),
    }


def write_dataset(folder, exposures=EXPOSURES, detectors=DETECTORS, **changes):
    """The folder as the architecture describes it, written by astropy."""
    (folder / "images").mkdir(parents=True)
    for e in exposures:
        for d in detectors:
            image_hdus(stars(e, d), header(e, d, **changes)).writeto(
                folder / "images" / f"e{e:03d}_c{d:02d}.fits"
            )
    exposure_table(exposures).write(folder / "exposures.fits")
    Table(reference()).write(folder / "refcat.fits")
    return folder


def exposure_table(exposures=EXPOSURES):
    mjd = np.array([MJD[e] for e in exposures])
    return Table(
        {
            "EXP": list(exposures),
            "MJD": mjd,
            "EPOCH": 2000 + (mjd - 51_544.5) / 365.25,
            "RA0": [150.0 + 0.01 * e for e in exposures],
            "DEC0": [2.2] * len(exposures),
            "AIRMASS": [1.2 + 0.01 * e for e in exposures],
            "PARANG": [12.5 * e for e in exposures],
        }
    )


def header_cell(cards, end=True):
    """The bytes of a header as SExtractor puts them in LDAC_IMHEAD."""
    text = cards.tostring(sep="", endcard=False, padding=False).encode("latin-1")
    return text + (b"END".ljust(80) if end else b"")


def write_ldac(path, images, patch=lambda text: text):
    """LDAC_IMHEAD and LDAC_OBJECTS for each (header cell, columns) of the images.

    astropy strips the blanks of text cells: the header is written as bytes, and its TFORM changed afterwards.
    """
    hdus = [fits.PrimaryHDU()]
    for cell, columns in images:
        column = fits.Column("Field Header Card", f"{len(cell)}B", array=np.frombuffer(cell, np.uint8)[None])
        head = fits.BinTableHDU.from_columns([column], name="LDAC_IMHEAD")
        head.header["TDIM1"] = f"(80, {len(cell) // 80})"
        hdus += [head, fits.BinTableHDU(Table(columns), name="LDAC_OBJECTS")]
    fits.HDUList(hdus).writeto(path)
    as_text = rb"(TTYPE1  = 'Field Header Card' {51}TFORM1  = '\d+)B"
    path.write_bytes(patch(re.sub(as_text, rb"\1A", path.read_bytes())))
    return path


def sextractor(exposure=3, detector=1, **changes):
    """The same stars as SExtractor's columns."""
    cat = stars(exposure, detector)
    columns = {
        "NUMBER": cat["ID"],
        "XWIN_IMAGE": cat["X"],
        "YWIN_IMAGE": cat["Y"],
        "ERRAWIN_IMAGE": cat["SIGMA"],
        "ERRBWIN_IMAGE": cat["SIGMA"],
        "ERRTHETAWIN_IMAGE": np.zeros(len(cat["ID"]), np.float32),
        "FLUX_AUTO": cat["FLUX"],
        "FLUXERR_AUTO": cat["FLUXERR"],
        "FLAGS": cat["FLAGS"],
        "IMAFLAGS_ISO": np.ones(len(cat["ID"]), np.int32),
    }
    return {name: values for name, values in {**columns, **changes}.items() if values is not None}


def size_of_image(cards):
    """The header as SExtractor saw it, with the image's own size in front."""
    made = fits.Header(
        [("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 2), ("NAXIS1", PIXELS), ("NAXIS2", PIXELS)]
    )
    made.update(cards)
    return made
