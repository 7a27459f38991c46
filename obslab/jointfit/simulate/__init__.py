"""Simulated exposures of one field whose truth is known, for tests, notebooks and trying things out.

    camera, atmosphere -> pointing       true mapping: pixel -> focal plane -> tangent plane of an exposure
    stars, throughput                    where the stars are at a time, and what flux they give
    truth -> measuring -> simulating     what is known, what a catalogue would hold, both together
    truth -> scoring                     how far a fitted mapping is from the true one

    simulated = simulate(exposures=20, proper_motion=True)
    result = jointfit.fit(simulated.measured, simulated.reference, simulated.exposures)
    score(simulated, result.sky)         # mas per axis

It shares no code with the benchmark's maker of data, so either checks the other.
"""

from obslab.jointfit.simulate.scoring import score
from obslab.jointfit.simulate.simulating import Simulated, simulate, write
from obslab.jointfit.simulate.truth import Truth

__all__ = ["Simulated", "Truth", "score", "simulate", "write"]
