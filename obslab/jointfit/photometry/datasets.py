"""The tables of a photometric fit.

Instrumental magnitude = star + zero point + detector + illumination + color term * (color - mean color).
"""

from __future__ import annotations

from obslab.schema import Schema, Var

ZERO_POINTS = Schema(
    "zero points",
    {
        "exposure": Var(("group",), "int32", "1", "Number of the exposure."),
        "detector": Var(("group",), "int32", "1", "Number of the detector; -1: one for all of them."),
        "band": Var(("group",), "str", "", "Filter."),
        "value": Var(("group",), "float64", "mag", "What it adds to a star's magnitude. NaN: left out."),
        "error": Var(("group",), "float64", "mag", "Its error."),
        "zero_point": Var(
            ("group",), "float64", "mag", "Minus value: magnitude of one count, as headers have it."
        ),
        "stars": Var(("group",), "int64", "1", "Measurements that the fit used."),
        "set": Var(("group",), "int32", "1", "Those of one set are tied by common stars; -1: left out."),
        "anchored": Var(("group",), "bool", "", "Fixed by a reference; else its set has mean 0."),
    },
)  # fmt: skip
"""One row for each exposure that was offered, or each image."""

DETECTOR_TERMS = Schema(
    "detector terms",
    {
        "detector": Var(("term",), "int32", "1", "Number of the detector."),
        "setup": Var(("term",), "str", "", "Instrument and band it holds for."),
        "value": Var(("term",), "float64", "mag", "What it adds to a star's magnitude; mean 0."),
        "error": Var(("term",), "float64", "mag", "Its error."),
    },
)

ILLUMINATION = Schema(
    "illumination",
    {
        "setup": Var(("term",), "str", "", "Instrument and band it holds for."),
        "power_x": Var(("term",), "int32", "1", "Power of the focal-plane position x."),
        "power_y": Var(("term",), "int32", "1", "Power of the focal-plane position y."),
        "value": Var(
            ("term",), "float64", "mag", "Its coefficient: x and y are position minus center, over scale."
        ),
        "error": Var(("term",), "float64", "mag", "Its error."),
        "center_x": Var(("term",), "float64", "deg", "Focal-plane position of x = 0."),
        "center_y": Var(("term",), "float64", "deg", "Focal-plane position of y = 0."),
        "scale": Var(("term",), "float64", "deg", "Focal-plane distance from there to x = 1 and to y = 1."),
    },
)
"""The flat correction as a polynomial of the focal-plane position, without its constant."""

COLOR_TERMS = Schema(
    "color terms",
    {
        "band": Var(("term",), "str", "", "Filter."),
        "detector": Var(("term",), "int32", "1", "Number of the detector; -1: all."),
        "value": Var(
            ("term",), "float64", "1", "Magnitudes it adds for each magnitude of color above the mean."
        ),
        "error": Var(("term",), "float64", "1", "Its error."),
    },
)

MAGNITUDES = Schema(
    "magnitudes",
    {
        "star": Var(("fitted",), "int32", "1", "Fitted star of the association."),
        "band": Var(("fitted",), "str", "", "Filter."),
        "mag": Var(
            ("fitted",), "float64", "mag", "Fitted magnitude; NaN: nothing usable, or a flux below 0."
        ),
        "mag_error": Var(("fitted",), "float64", "mag", "Its error at fixed zero points and other terms."),
        "flux": Var(("fitted",), "float64", "1", "Fitted flux; that of magnitude 0 is 1."),
        "flux_error": Var(("fitted",), "float64", "1", "Its error."),
        "color": Var(("fitted",), "float64", "mag", "Color of the star; NaN: unknown, the mean was used."),
        "measurements": Var(
            ("fitted",), "int32", "1", "Measurements of it that could be used (jointcal: nm)."
        ),
        "used": Var(("fitted",), "int32", "1", "Those of them that the fit used."),
        "chi2": Var(("fitted",), "float64", "1", "Sum over these and the reference."),
        "reference": Var(("fitted",), "int32", "1", "Its reference star in this band; -1: none."),
        "reference_mag": Var(("fitted",), "float64", "mag", "That star's magnitude; NaN: none."),
        "reference_residual": Var(("fitted",), "float64", "mag", "Fitted minus reference magnitude."),
        "reference_used": Var(("fitted",), "bool", "", "Whether the fit used it, not rejected it."),
        "held_out": Var(("fitted",), "bool", "", "Kept out of the fit of zero points, to check them."),
    },
)
"""One row for each fitted star in each band."""

PHOTOMETRY_RESIDUALS = Schema(
    "photometry residuals",
    {
        "id": Var(("measured",), "int64", "1", "Number of the measurement in its catalogue."),
        "exposure": Var(("measured",), "int32", "1", "Exposure."),
        "detector": Var(("measured",), "int32", "1", "Detector."),
        "x": Var(("measured",), "float64", "pixel", "Measured FITS pixel coordinate."),
        "y": Var(("measured",), "float64", "pixel", "Measured FITS pixel coordinate."),
        "focal_x": Var(("measured",), "float32", "deg", "Place in the focal plane; NaN: no fitted star."),
        "focal_y": Var(("measured",), "float32", "deg", "The same."),
        "mag": Var(("measured",), "float64", "mag", "Calibrated magnitude: instrumental less all terms."),
        "inst_mag": Var(("measured",), "float64", "mag", "Instrumental magnitude, -2.5 log10(flux)."),
        "inst_mag_error": Var(("measured",), "float32", "mag", "Its error, as measured."),
        "residual": Var(
            ("measured",), "float32", "mag", "Calibrated magnitude minus that of its fitted star."
        ),
        "error": Var(
            ("measured",), "float32", "mag", "Error that the fit weighs with: with the error floor."
        ),
        "inst_flux": Var(("measured",), "float32", "count", "Instrumental flux."),
        "inst_flux_error": Var(("measured",), "float32", "count", "Its error, as measured."),
        "flux": Var(("measured",), "float64", "1", "Calibrated flux; that of magnitude 0 is 1."),
        "flux_error": Var(("measured",), "float64", "1", "Its error."),
        "star_flux": Var(("measured",), "float64", "1", "Flux of its fitted star."),
        "epoch": Var(("measured",), "float64", "yr", "Julian year of the exposure."),
        "star": Var(("measured",), "int32", "1", "Its fitted star; below 0: none."),
        "ra": Var(("measured",), "float64", "deg", "Right ascension of the fitted star."),
        "dec": Var(("measured",), "float64", "deg", "Declination of the fitted star."),
        "color": Var(("measured",), "float32", "mag", "Color of the star; NaN: unknown, the mean was used."),
        "chi2": Var(("measured",), "float32", "1", "Of this measurement, one degree of freedom."),
        "measurements": Var(("measured",), "int32", "1", "Usable measurements of its star in this band."),
        "state": Var(("measured",), "int8", "1", "What became of it: position in attrs['states']."),
    },
)
"""One row for each measurement, also those not used."""

JOINTCAL = {
    "id": "id", "x": "xccd", "y": "yccd", "mag": "mag", "inst_mag": "instMag", "inst_mag_error": "instMagErr",
    "inst_flux": "instFlux", "inst_flux_error": "instFluxErr", "flux": "transformedFlux",
    "flux_error": "transformedFluxErr", "star_flux": "fittedFlux", "epoch": "epoch", "star": "fsindex",
    "ra": "ra", "dec": "dec", "chi2": "chi2", "measurements": "nm", "detector": "detector",
    "exposure": "visit",
}  # fmt: skip
"""Our names and those of jointcal's photometric ntuple. Its inputFlux, calibrated by an earlier step, is the
instrumental flux here: there is no earlier step."""
