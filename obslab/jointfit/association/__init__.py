"""Which measurements are one star.

cells -> voting -> prealign           one exposure onto known stars
planes -> refusal -> alignment        every exposure onto the reference, or onto each other
moving, friends, stars, twins         who belongs together, and what makes a star
result -> associate                   all of it in order
"""

from obslab.jointfit.association.associate import associate
from obslab.jointfit.association.refusal import AlignmentError, AssociationError
from obslab.jointfit.association.result import Association

__all__ = ["AlignmentError", "Association", "AssociationError", "associate"]
