"""Live traces of instruments: ``StreamViewer(source)``.

source (rings) -> look -> frame -> view
"""

from obslab_widgets.stream_viewer.view import StreamViewer

__all__ = ["StreamViewer"]
