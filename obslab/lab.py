"""JupyterLab on the notebooks, with the demo observatory running for as long as it does."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from obslab import demo
from obslab.errors import NoLabError
from obslab.lifetime import until_told

FIRST = "01_live_stream.ipynb"
_STOP_S = 15.0


def run(*, browser: bool, port: int | None) -> int:
    """Start both, wait for JupyterLab to end, and return its exit code."""
    if find_spec("jupyterlab") is None:
        raise NoLabError("`obslab lab` needs JupyterLab; pip install 'obslab[demo]'")
    folder = notebooks()
    ending = until_told()
    with demo.start():
        lab = subprocess.Popen(command(folder, browser=browser, port=port), env=environment())
        while lab.poll() is None and not ending.wait(0.2):
            pass
        if lab.poll() is None:
            lab.terminate()  # it shuts its kernels down, and that takes a moment
        try:
            code = lab.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            lab.kill()
            code = lab.wait()
        return 0 if ending.is_set() else code


def notebooks() -> Path:
    """The folder of notebooks: of the checkout, or the one that the wheel installed."""
    places = (Path(__file__).parents[1] / "notebooks", Path(sys.prefix) / "share" / "obslab" / "notebooks")
    for place in places:
        if (place / FIRST).is_file():
            return place
    raise NoLabError(f"{FIRST} is neither in {places[0]} nor in {places[1]}; install obslab anew")


def environment() -> dict[str, str]:
    """JupyterLab's environment: this Python's kernel first, and no question whether to show news.

    The folder comes after the user's own configuration, which it does not replace.
    """
    ours = str(Path(__file__).parent / "data" / "jupyter")
    paths = [path for path in (os.environ.get("JUPYTER_CONFIG_PATH"), ours) if path]
    return {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def command(folder: Path, *, browser: bool, port: int | None) -> list[str]:
    """JupyterLab's command line: loopback only, and no calls to the outside for news."""
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--LabApp.default_url=/lab/tree/{FIRST}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *([] if port is None else [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]),
        *([] if browser else ["--no-browser"]),
        # JupyterLab refuses root unless told; in a container root is the only user there is.
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
