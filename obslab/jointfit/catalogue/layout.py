"""The names of the columns in the files of a DATASET folder."""

MEASURED_COLUMNS = {
    "id": "ID", "x": "X", "y": "Y", "sigma": "SIGMA", "flux": "FLUX", "flux_error": "FLUXERR",
    "flags": "FLAGS", "sigma_x": "XERR", "sigma_y": "YERR", "covariance_xy": "XYCOV", "color": "COLOR",
}  # fmt: skip
EXPOSURE_COLUMNS = {
    "exposure": "EXP", "mjd": "MJD", "epoch": "EPOCH", "ra": "RA0", "dec": "DEC0", "airmass": "AIRMASS",
    "parallactic_angle": "PARANG", "band": "FILTER", "instrument": "INSTRUMENT", "request": "REQNUM",
    "observation": "OBSID",
}  # fmt: skip
REFERENCE_COLUMNS = {
    "ra": "RA", "dec": "DEC", "ra_error": "RA_ERR", "dec_error": "DEC_ERR", "pm_ra": "PMRA",
    "pm_dec": "PMDEC", "pm_ra_error": "PMRA_ERR", "pm_dec_error": "PMDEC_ERR", "parallax": "PLX",
    "parallax_error": "PLX_ERR", "mag": "MAG", "color": "COLOR", "epoch": "EPOCH",
}  # fmt: skip
