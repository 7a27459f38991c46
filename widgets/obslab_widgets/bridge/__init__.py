"""Live Bokeh plots in a notebook: Bokeh describes the view once, after that only data travels.

    library -> wire -> picture -> mainloop -> bridge          (Python, this folder)
    theme.js -> store.js -> panel.js -> view.js -> bridge.js  (the page's half, one module)

A producer calls `Bridge.put` from any thread; the pump's thread sends what changed, in one message
a period. Whoever opens, reloads or reconnects gets the whole picture as it is now.
"""

from obslab_widgets.bridge.bridge import Bridge

__all__ = ["Bridge"]
