"""Turbulence of the atmosphere, exposure by exposure: its correlation, and the field that is taken off.

correlation                         how alike displacements are over separation, gradient and curl
von_karman                          the covariance, as correlation and as power spectrum
von_karman -> hyper                 its parameters, from the exposure's own stars
grid, von_karman -> field           the displacement found, anywhere in the exposure
hyper, field -> process             one exposure: residuals to field
process -> exposures, expected      many exposures; how well the field is known
"""

from obslab.jointfit.turbulence.correlation import CORRELATION, CorrelationError, correlation, curl_fraction
from obslab.jointfit.turbulence.expected import expected_error
from obslab.jointfit.turbulence.exposures import TURBULENCE, Turbulence, fit_fields
from obslab.jointfit.turbulence.field import DISPLACEMENT, TurbulenceField, from_displacement
from obslab.jointfit.turbulence.process import FewStarsError, TurbulenceError, fit_field
from obslab.jointfit.turbulence.von_karman import VonKarman

__all__ = [
    "CORRELATION",
    "DISPLACEMENT",
    "TURBULENCE",
    "CorrelationError",
    "FewStarsError",
    "Turbulence",
    "TurbulenceError",
    "TurbulenceField",
    "VonKarman",
    "correlation",
    "curl_fraction",
    "expected_error",
    "fit_field",
    "fit_fields",
    "from_displacement",
]
