"""How stations are, and commands to them: ``StationPanel(archive, broker)``.

state -> model -> view
"""

from obslab_widgets.station_panel.view import StationPanel

__all__ = ["StationPanel"]
