"""Live widgets for JupyterLab, backed by obslab's datasets."""

from obslab_widgets.stream_viewer import StreamViewer

__all__ = ["StreamViewer"]
