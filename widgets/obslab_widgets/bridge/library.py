"""BokehJS of the installed wheel, as a widget model: no server port, no CDN, no `output_notebook`."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path
from typing import Any, ClassVar

import bokeh
import ipywidgets  # type: ignore[import-untyped]
import traitlets

# The core and WebGL. Bokeh's own widgets and tables are left out: notebooks have ipywidgets.
_SCRIPTS = ("bokeh.min.js", "bokeh-gl.min.js")


class BokehLibrary(ipywidgets.Widget):  # type: ignore[misc]
    """BokehJS, gzipped (0.4 MB): one model a kernel, so a page receives it once for all its plots."""

    version = traitlets.Unicode(bokeh.__version__).tag(sync=True)
    scripts = traitlets.Any().tag(sync=True)

    _shared: ClassVar[BokehLibrary | None] = None
    _making: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def shared(cls) -> BokehLibrary:
        """The kernel's one library; made again after `Widget.close_all`."""
        with cls._making:
            if cls._shared is None or cls._shared.comm is None:
                cls._shared = cls(scripts=_scripts())
            return cls._shared

    def __repr__(self) -> str:
        return f"<BokehLibrary {self.version}>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self)}


def _scripts() -> list[bytes]:
    folder = Path(bokeh.__file__).parent / "server" / "static" / "js"
    return [gzip.compress((folder / name).read_bytes(), 6) for name in _SCRIPTS]
