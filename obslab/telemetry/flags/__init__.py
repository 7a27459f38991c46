"""Samples that are not the field's doing: found by a detector, confirmed or withdrawn by a person.

series -> spikes, jumps -> detect   what a program finds
entry -> pages -> book              what a person makes of it
masking                             what that does
"""

from obslab.telemetry.flags.book import FlagBook
from obslab.telemetry.flags.detect import find_spikes, find_steps
from obslab.telemetry.flags.masking import masked

__all__ = ["FlagBook", "find_spikes", "find_steps", "masked"]
