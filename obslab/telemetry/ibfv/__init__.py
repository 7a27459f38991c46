"""INTERMAGNET's baseline file of a year, IBFV2.00: observed and adopted baselines, and how they were adopted.

https://tech-man.intermagnet.org/stable/appendices/archivedataformats.html: a header line; a line for each
observation; after ``*`` a line for each day of the year; after another ``*`` the comments. Values are nT, D
and I minutes of arc. Missing is 99999.00, never observed 88888.00 (delta F: 999.00, 888.00); both become NaN.

    file -> reading, writing
"""

from obslab.telemetry.ibfv.file import COMPONENTS, BaselineFile
from obslab.telemetry.ibfv.reading import read
from obslab.telemetry.ibfv.writing import write

__all__ = ["COMPONENTS", "BaselineFile", "read", "write"]
