"""World coordinates of the fitted images, for other programs.

    planes, cards -> sip, tpv -> writing
    exact

``planes`` fits polynomials to all mappings at once and measures what they miss, ``sip`` and ``tpv`` turn
them into the two conventions, ``cards`` into text and ``writing`` into files. ``exact`` is the composed model
itself as a gwcs, which approximates nothing.

FITS pixels everywhere, the centre of the first one is (1, 1); only ``exact`` counts from 0, as gwcs does.
"""

from obslab.jointfit.wcs import exact
from obslab.jointfit.wcs.cards import Card, CardError
from obslab.jointfit.wcs.planes import NODES, Error, Mapped, NoWCSError
from obslab.jointfit.wcs.sip import Sip, fit_sip
from obslab.jointfit.wcs.tpv import Tpv, fit_tpv
from obslab.jointfit.wcs.writing import Headers, NoImageError, headers

__all__ = [
    "NODES",
    "Card",
    "CardError",
    "Error",
    "Headers",
    "Mapped",
    "NoImageError",
    "NoWCSError",
    "Sip",
    "Tpv",
    "exact",
    "fit_sip",
    "fit_tpv",
    "headers",
]
