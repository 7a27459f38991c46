"""ImagCDF files, INTERMAGNET's use of NASA's Common Data Format.

    tt2000 -> attributes -> reading, writing

Version 1.2, as in INTERMAGNET's technical manual:
https://tech-man.intermagnet.org/stable/appendices/dataformats.html. Angles are degrees there and minutes of
arc in a Dataset; times are TT2000, which counts leap seconds.
"""

from obslab.telemetry.imagcdf.reading import read
from obslab.telemetry.imagcdf.writing import write

__all__ = ["read", "write"]
