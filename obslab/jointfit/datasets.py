"""The tables of a joint fit: measured stars with their images, exposures, reference, fitted stars, residuals.

Pixels are FITS pixels everywhere: the centre of the first one is (1, 1). Sky angles are ICRS degrees, and a
displacement in right ascension is multiplied by cos(dec). Errors are standard deviations, never variances.
"""

from __future__ import annotations

import xarray as xr

from obslab.schema import Schema, Var

MEASURED = Schema(
    "measured",
    {
        "id": Var(("measured",), "int64", "1", "Number of the measurement in its catalogue."),
        "image": Var(("measured",), "int32", "1", "Its image: position along dimension image."),
        "x": Var(("measured",), "float64", "pixel", "FITS pixel coordinate, first pixel 1."),
        "y": Var(("measured",), "float64", "pixel", "FITS pixel coordinate, first pixel 1."),
        "sigma": Var(("measured",), "float32", "pixel", "Error of x and of y; their mean where they differ."),
        "flux": Var(("measured",), "float32", "count", "Instrumental flux."),
        "flux_error": Var(("measured",), "float32", "count", "Error of the flux."),
        "flags": Var(("measured",), "int32", "1", "SExtractor's flags; 0 is good."),
        "sigma_x": Var(("measured",), "float32", "pixel", "Error of x, where it differs.", optional=True),
        "sigma_y": Var(("measured",), "float32", "pixel", "Error of y, where it differs.", optional=True),
        "covariance_xy": Var(("measured",), "float32", "pixel2", "Covariance of x and y.", optional=True),
        "color": Var(("measured",), "float32", "mag", "Color of the star; NaN: unknown.", optional=True),
        "name": Var(("image",), "str", "", "Name of the image: its file without .fits."),
        "exposure": Var(("image",), "int32", "1", "Number of its exposure."),
        "detector": Var(("image",), "int32", "1", "Number of its detector."),
        "mid": Var(("image", "axis"), "float64", "pixel", "Where the normalised coordinates u, v are zero."),
        "half": Var(("image", "axis"), "float64", "pixel", "Pixels from there to u, v = 1."),
        "crval": Var(("image", "axis"), "float64", "deg", "Tangent point of the rough WCS: ra, dec."),
        "start": Var(
            ("image", "axis", "term"),
            "float64",
            "deg",
            "Rough WCS: xi and eta about crval as polynomials of (u, v), terms as polynomial.terms says.",
        ),
    },
)
"""What was measured on every image, ordered by image; images by exposure, then detector."""

EXPOSURES = Schema(
    "exposures",
    {
        "exposure": Var(("exposure",), "int32", "1", "Number of the exposure (jointcal: visit)."),
        "mjd": Var(("exposure",), "float64", "d", "Modified Julian date at mid-exposure, UTC."),
        "epoch": Var(("exposure",), "float64", "yr", "The same as a Julian year."),
        "ra": Var(("exposure",), "float64", "deg", "Tangent point, right ascension."),
        "dec": Var(("exposure",), "float64", "deg", "Tangent point, declination."),
        "airmass": Var(("exposure",), "float64", "1", "Airmass; NaN: unknown."),
        "parallactic_angle": Var(
            ("exposure",), "float64", "deg", "Zenith, from north over east; NaN: unknown."
        ),
        "band": Var(("exposure",), "str", "", "Filter."),
        "instrument": Var(
            ("exposure",), "str", "", "Instrument epoch: detectors are taken as rigid within one."
        ),
        "request": Var(("exposure",), "int64", "1", "Observation request; -1: none known.", optional=True),
        "observation": Var(("exposure",), "str", "", "OBSID; empty: none known.", optional=True),
    },
)
"""One row for each exposure, ordered by its number."""

REFERENCE = Schema(
    "reference",
    {
        "ra": Var(("reference",), "float64", "deg", "Right ascension at epoch."),
        "dec": Var(("reference",), "float64", "deg", "Declination at epoch."),
        "ra_error": Var(("reference",), "float64", "mas", "Error of the right ascension, times cos(dec)."),
        "dec_error": Var(("reference",), "float64", "mas", "Error of the declination."),
        "pm_ra": Var(("reference",), "float64", "mas/yr", "Proper motion, times cos(dec); NaN: unknown."),
        "pm_dec": Var(("reference",), "float64", "mas/yr", "Proper motion in declination; NaN: unknown."),
        "pm_ra_error": Var(("reference",), "float64", "mas/yr", "Error of pm_ra; NaN: unknown."),
        "pm_dec_error": Var(("reference",), "float64", "mas/yr", "Error of pm_dec; NaN: unknown."),
        "parallax": Var(("reference",), "float64", "mas", "Parallax; NaN: unknown."),
        "parallax_error": Var(("reference",), "float64", "mas", "Error of the parallax; NaN: unknown."),
        "mag": Var(("reference",), "float64", "mag", "Magnitude; NaN: unknown."),
        "color": Var(("reference",), "float64", "mag", "Color; NaN: unknown."),
        "epoch": Var(("reference",), "float64", "yr", "Julian year that ra and dec hold for."),
    },
)
"""The catalogue that defines the sky: Gaia's rows, or positions with an error and an epoch."""

ALIGNMENT = Schema(
    "alignment",
    {
        "exposure": Var(("exposure",), "int32", "1", "Number of the exposure."),
        "xi": Var(
            ("exposure",), "float64", "arcsec", "Offset found: what the rough WCS must be moved by, east."
        ),
        "eta": Var(("exposure",), "float64", "arcsec", "The same, north."),
        "rotation": Var(("exposure",), "float64", "arcsec", "Rotation found, as arcsec at one degree."),
        "bright": Var(("exposure",), "int64", "1", "Bright measurements that were tried."),
        "pairs": Var(("exposure",), "int64", "1", "Pairs with the reference at the best offset."),
        "by_chance": Var(("exposure",), "float64", "1", "Pairs expected there by chance."),
        "runner_up": Var(("exposure",), "int64", "1", "Pairs at the best offset elsewhere."),
        "matched": Var(("exposure",), "int64", "1", "Bright measurements with a reference star at the end."),
        "rms": Var(("exposure",), "float64", "arcsec", "Their distance, root mean square."),
    },
)
"""How each exposure was brought onto the reference before association."""

STATES = ("used", "rejected", "held out", "excluded", "alone", "ambiguous", "unfit", "unselected")
"""What became of a measurement: ``residuals.state`` holds positions in this list."""

FITTED = Schema(
    "fitted",
    {
        "ra": Var(("star",), "float64", "deg", "Right ascension at attrs['epoch']."),
        "dec": Var(("star",), "float64", "deg", "Declination at attrs['epoch']."),
        "ra_error": Var(("star",), "float64", "mas", "Error of ra, times cos(dec), at fixed mappings."),
        "dec_error": Var(("star",), "float64", "mas", "Error of dec, at fixed mappings."),
        "covariance": Var(("star",), "float64", "mas2", "Covariance of ra times cos(dec) and dec."),
        "measurements": Var(("star",), "int32", "1", "Measurements of it (jointcal: nm)."),
        "used": Var(("star",), "int32", "1", "Those of them that the fit used."),
        "reference": Var(("star",), "int32", "1", "Its reference star; -1: none."),
        "reference_used": Var(("star",), "bool", "", "Whether that is used, not rejected."),
        "held_out": Var(("star",), "bool", "", "Kept out of the fit of the mappings, to check it."),
        "chi2": Var(("star",), "float64", "1", "Sum over used measurements and reference."),
        "mag": Var(("star",), "float64", "mag", "Magnitude: photometric fit, else reference; NaN: unknown."),
        "color": Var(("star",), "float64", "mag", "Color used for the refraction; NaN: the mean was used."),
        "pm_ra": Var(("star",), "float64", "mas/yr", "Proper motion, times cos(dec)."),
        "pm_dec": Var(("star",), "float64", "mas/yr", "Proper motion in declination."),
        "pm_ra_error": Var(("star",), "float64", "mas/yr", "Its error; NaN: it was not fitted."),
        "pm_dec_error": Var(("star",), "float64", "mas/yr", "Its error; NaN: it was not fitted."),
        "parallax": Var(("star",), "float64", "mas", "Parallax."),
        "parallax_error": Var(("star",), "float64", "mas", "Its error; NaN: it was not fitted."),
    },
)
"""The stars of the fit. For an image-to-image fit ra and dec are pixels of the fixed image, errors too."""

RESIDUALS = Schema(
    "residuals",
    {
        "id": Var(("measured",), "int64", "1", "Number of the measurement in its catalogue."),
        "exposure": Var(("measured",), "int32", "1", "Exposure."),
        "detector": Var(("measured",), "int32", "1", "Detector."),
        "x": Var(("measured",), "float64", "pixel", "Measured FITS pixel coordinate."),
        "y": Var(("measured",), "float64", "pixel", "Measured FITS pixel coordinate."),
        "xi": Var(
            ("measured",), "float64", "deg", "Where the fitted mapping puts it, east of the tangent point."
        ),
        "eta": Var(("measured",), "float64", "deg", "The same, north."),
        "xi_residual": Var(("measured",), "float32", "mas", "Mapped measurement minus projected star, east."),
        "eta_residual": Var(("measured",), "float32", "mas", "The same, north."),
        "xi_error": Var(("measured",), "float32", "mas", "Error of the measurement, east."),
        "eta_error": Var(("measured",), "float32", "mas", "The same, north."),
        "covariance": Var(("measured",), "float32", "mas2", "Covariance of the two."),
        "xi_start": Var(("measured",), "float64", "deg", "Where the rough WCS puts it, east."),
        "eta_start": Var(("measured",), "float64", "deg", "The same, north."),
        "xi_start_residual": Var(("measured",), "float32", "mas", "Residual before the fit, east."),
        "eta_start_residual": Var(("measured",), "float32", "mas", "The same, north."),
        "star": Var(("measured",), "int32", "1", "Its fitted star; -1: none."),
        "ra": Var(("measured",), "float64", "deg", "Where its fitted star was then, right ascension."),
        "dec": Var(("measured",), "float64", "deg", "The same, declination."),
        "mag": Var(("measured",), "float32", "mag", "Instrumental magnitude, -2.5 log10(flux)."),
        "color": Var(("measured",), "float32", "mag", "Color used; NaN: the mean."),
        "delta_epoch": Var(
            ("measured",), "float32", "yr", "Exposure's epoch minus that of the fitted stars."
        ),
        "chi2": Var(("measured",), "float32", "1", "Of this measurement, two degrees of freedom."),
        "measurements": Var(("measured",), "int32", "1", "Measurements of its star."),
        "state": Var(("measured",), "int8", "1", "What became of it: position in attrs['states']."),
    },
)
"""One row for each measurement, also those not used."""

REFERENCE_RESIDUALS = Schema(
    "reference residuals",
    {
        "reference": Var(("match",), "int32", "1", "Reference star."),
        "star": Var(("match",), "int32", "1", "Its fitted star."),
        "ra": Var(("match",), "float64", "deg", "Reference position at the fit's epoch."),
        "dec": Var(("match",), "float64", "deg", "Reference position at the fit's epoch."),
        "xi_residual": Var(("match",), "float32", "mas", "Fitted star minus reference star, east."),
        "eta_residual": Var(("match",), "float32", "mas", "The same, north."),
        "xi_error": Var(("match",), "float32", "mas", "Error of the reference at the fit's epoch, east."),
        "eta_error": Var(("match",), "float32", "mas", "The same, north."),
        "covariance": Var(("match",), "float32", "mas2", "Covariance of the two."),
        "mag": Var(("match",), "float32", "mag", "Magnitude in the reference catalogue."),
        "chi2": Var(("match",), "float32", "1", "Of its position, two degrees of freedom."),
        "measurements": Var(("match",), "int32", "1", "Measurements of its star."),
        "used": Var(("match",), "bool", "", "Whether the fit used it; otherwise rejected."),
    },
)
"""One row for each reference star that belongs to a fitted star."""

JOINTCAL = {
    "measured": {
        "id": "id", "x": "xccd", "y": "yccd", "xi_residual": "rx", "eta_residual": "ry", "xi": "xtp",
        "eta": "ytp", "mag": "mag", "delta_epoch": "deltaYears", "xi_error": "xErr", "eta_error": "yErr",
        "covariance": "xyCov", "xi_start": "xtpi", "eta_start": "ytpi", "xi_start_residual": "rxi",
        "eta_start_residual": "ryi", "star": "fsindex", "ra": "ra", "dec": "dec", "chi2": "chi2",
        "measurements": "nm", "detector": "detector", "exposure": "visit",
    },
    "reference": {
        "ra": "ra", "dec": "dec", "xi_residual": "rx", "eta_residual": "ry", "mag": "mag", "xi_error": "xErr",
        "eta_error": "yErr", "covariance": "xyCov", "star": "fsindex", "chi2": "chi2", "measurements": "nm",
    },
}  # fmt: skip
"""Our names and jointcal's, for its two astrometric ntuples. Its xErr and yErr hold variances, ours
errors."""


def with_jointcal_names(residuals: xr.Dataset, table: str) -> xr.Dataset:
    """The same dataset, in place of which each variable says its jointcal column in attrs["jointcal"]."""
    named = residuals.copy()
    for ours, theirs in JOINTCAL[table].items():
        named[ours].attrs["jointcal"] = theirs
    return named
