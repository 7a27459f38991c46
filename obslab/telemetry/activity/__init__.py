"""How disturbed the field was: K indices, and hourly and daily figures, of a Dataset of samples.

datasets -> quiet -> kindex
         -> statistics
"""

from obslab.telemetry.activity.kindex import k_index
from obslab.telemetry.activity.statistics import statistics

__all__ = ["k_index", "statistics"]
