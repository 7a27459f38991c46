"""Live widgets for JupyterLab, backed by obslab's datasets."""

from obslab_widgets.baseline_editor import BaselineEditor
from obslab_widgets.latency_dashboard import LatencyDashboard
from obslab_widgets.linking import link
from obslab_widgets.station_panel import StationPanel
from obslab_widgets.stream_viewer import StreamViewer

__all__ = ["BaselineEditor", "LatencyDashboard", "StationPanel", "StreamViewer", "link"]
