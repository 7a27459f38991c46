"""IAGA-2002 files, the text in which observatories exchange their samples.

    header, table -> parsing -> reading
    columns, digits -> writing

https://www.ngdc.noaa.gov/IAGA/vdat/IAGA2002/iaga2002format.html: header lines of 70 characters that end
with ``|``, a line of column names, then one line for each sample. Missing is 99999, never measured
88888; both become NaN. ``read`` and ``write`` have a Dataset of samples, as the archive gives it; ``parse``
and ``decode`` give bare arrays, and ``decode`` what can be read of a damaged file.
"""

from obslab.telemetry.iaga2002.parsing import BadLine, IagaFile, decode, parse
from obslab.telemetry.iaga2002.reading import read
from obslab.telemetry.iaga2002.writing import write

__all__ = ["BadLine", "IagaFile", "decode", "parse", "read", "write"]
