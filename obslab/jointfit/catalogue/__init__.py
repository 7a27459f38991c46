"""Measured stars, exposures and reference stars, from files.

    cards -> fitstable -> assembly -> subsets, exposures (pointing) -> folder, importing
             fitstable -> tablefile -> references                   -> folder, importing
             fitstable -> beside -> ldac -> plain, measurements     -> importing
             fitstable -> fitswriting (layout)                      -> saving

``load`` reads a DATASET folder and ``save`` writes one; ``import_catalogues`` makes one of what others write.
"""

from obslab.jointfit.catalogue.assembly import Loaded
from obslab.jointfit.catalogue.fitstable import CatalogueError
from obslab.jointfit.catalogue.folder import NoDatasetError, load
from obslab.jointfit.catalogue.importing import import_catalogues
from obslab.jointfit.catalogue.references import read_reference
from obslab.jointfit.catalogue.saving import save
from obslab.jointfit.catalogue.subsets import NothingLeftError, fields_of, nights_of, subset

__all__ = [
    "CatalogueError",
    "Loaded",
    "NoDatasetError",
    "NothingLeftError",
    "fields_of",
    "import_catalogues",
    "load",
    "nights_of",
    "read_reference",
    "save",
    "subset",
]
