"""Live Bokeh plots in a notebook: Bokeh describes the view once, after that only data travels.

    wire -> picture; library, mainloop, picture -> bridge                    (Python)
    theme.js -> store.js -> access.js -> panel.js -> view.js -> bridge.js    (the page's half)

A producer calls `Bridge.put` from any thread; the pump's thread sends what changed, in one message
a period. Whoever opens, reloads or reconnects gets the whole picture as it is now.
"""

from obslab_widgets.bridge.bridge import Bridge

__all__ = ["Bridge"]
