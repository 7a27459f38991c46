"""What an instrument says, as readings: one small class for each kind, found by entry point.

base -> lemi25, gsm90 -> registry

A package adds its own with an entry point of the group ``obslab.drivers``: ``mine = "my_package:MyDriver"``
makes ``obslab station run --driver mine``.
"""
