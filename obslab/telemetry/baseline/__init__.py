"""Baselines: from absolute measurements to what is added to a variometer, adopted by a person.

    spotting                                     absolute minus variometer, with errors
    basis -> curve -> canonical -> layout -> baseline      the value object, and its JSON
    baseline -> drifting; solving, robust, knotting, candidates -> fitting
    jumps                                        steps that the spots show
    baseline -> yearfile -> folder               what was adopted, beside it IBFV2.00

What a person adopts is a ``Baseline``: a value with an interval of validity, named by its content.
"""

from obslab.telemetry.baseline.baseline import Baseline
from obslab.telemetry.baseline.drifting import drift, steps_of
from obslab.telemetry.baseline.fitting import Fit, fit
from obslab.telemetry.baseline.folder import Baselines
from obslab.telemetry.baseline.jumps import find_jumps
from obslab.telemetry.baseline.spotting import spots

__all__ = ["Baseline", "Baselines", "Fit", "drift", "find_jumps", "fit", "spots", "steps_of"]
