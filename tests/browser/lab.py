"""A real JupyterLab with a real Chromium, for tests of what a user sees.

with Lab(folder) as lab:
    notebook = lab.open(lab.write("a.ipynb", "1 + 1"))
    notebook.run_all()
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import nbformat
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator, Page, sync_playwright

_CHROMIUM_ARGS = [
    "--no-sandbox",  # tests may run as root, in a container
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
_ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"
# Loading JupyterLab on two busy cores took 20 s at worst.
TIMEOUT_S = 60

# `sessionContext.ready` alone is too early: a run asked for while the session connects is lost.
_KERNEL_IS_IDLE = """async () => {
  const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
  if (!context) return false;
  await context.ready;
  const kernel = context.session?.kernel;
  return kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""
_RUN_CELL = """(index) => {
  document.activeElement?.blur?.();
  jupyterapp.shell.currentWidget.content.activeCellIndex = index;
  jupyterapp.commands.execute("notebook:run-cell");
}"""
_RUN_ALL = """() => {
  window.ranAll = false;
  const done = () => { window.ranAll = true; };
  jupyterapp.commands.execute("notebook:run-all-cells").then(done, done);
}"""
_TROUBLE = """() => [...document.querySelectorAll(
  '.jp-Notebook [data-mime-type="application/vnd.jupyter.error"],' +
  '.jp-Notebook [data-mime-type="application/vnd.jupyter.stderr"]')].map((node) => node.textContent)"""


class Lab:
    """A JupyterLab server on a folder of its own, with directories of its own, and one browser."""

    def __init__(self, root: Path, width: int = 1400, height: int = 1000) -> None:
        self.root = root
        self._private = root / ".jupyter-private"
        self._size = {"width": width, "height": height}
        self._token = secrets.token_hex(16)
        self._close = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._log = stack.enter_context(open(self.root / "jupyterlab.log", "w"))
            self._server = self._start_server()
            stack.callback(self._stop_server)
            self.url = self._wait_for_server()
            playwright = stack.enter_context(sync_playwright())
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM_ARGS)
            stack.callback(browser.close)
            self._context = browser.new_context(viewport=self._size)  # type: ignore[arg-type]
            self._close = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    def write(self, name: str, *cells: str) -> str:
        """A notebook with these code cells; gives its name back."""
        notebook = nbformat.v4.new_notebook()
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(notebook, self.root / name)
        return name

    def open(self, name: str) -> Notebook:
        """The notebook in a new page, its kernel idle."""
        notebook = Notebook(self._context.new_page(), f"{self.url}/lab/tree/{name}?token={self._token}")
        notebook.load("&reset")
        return notebook

    @contextlib.contextmanager
    def show(self, *cells: str, name: str = "test.ipynb") -> Iterator[Notebook]:
        """A notebook with these cells, opened; its first cell has run. Kernel and page end after it."""
        notebook = self.open(self.write(name, *cells))
        try:
            notebook.run_cell(0)
            yield notebook
        finally:
            notebook.close()

    def _start_server(self) -> subprocess.Popen[bytes]:
        private = {
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        env = os.environ | {name: str(self._private / folder) for name, folder in private.items()}
        # Its question whether to show news would lie over the widgets.
        page_config = self._private / "config" / "labconfig" / "page_config.json"
        page_config.parent.mkdir(parents=True)
        page_config.write_text(json.dumps({"disabledExtensions": {_ANNOUNCEMENTS: True}}))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
        options = [
            "--ip=127.0.0.1",
            f"--IdentityProvider.token={self._token}",
            f"--ServerApp.root_dir={self.root}",
            "--LabApp.expose_app_in_browser=True",  # gives pages `window.jupyterapp`
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        return subprocess.Popen(
            command + options, stdout=self._log, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )

    def _wait_for_server(self) -> str:
        """Its address: it chose its port itself and wrote it into its runtime directory."""
        end_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end_s and self._server.poll() is None:
            for file in (self._private / "runtime").glob("jpserver-*.json"):
                with contextlib.suppress(OSError, ValueError):
                    url = json.loads(file.read_text())["url"].rstrip("/")
                    urllib.request.urlopen(f"{url}/api/status?token={self._token}", timeout=2).close()
                    return str(url)
            time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start: {(self.root / 'jupyterlab.log').read_text()[-2000:]}")

    def _stop_server(self) -> None:
        request = urllib.request.Request(f"{self.url}/api/shutdown?token={self._token}", method="POST")
        with contextlib.suppress(OSError, AttributeError):
            urllib.request.urlopen(request, timeout=5).close()
        try:
            self._server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()


class Notebook:
    """An open notebook: its page, its kernel and what went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        self.console_errors: list[str] = []
        page.set_default_timeout(TIMEOUT_S * 1000)
        page.on("console", lambda said: self._note(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._note(error.stack or str(error)))

    def load(self, options: str = "") -> None:
        self.page.goto(self._url + options)
        self.page.wait_for_selector(".jp-Notebook")
        self.wait_idle()

    def reload(self) -> None:
        """As the user's browser does it: the kernel lives on, the widgets are restored from it."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        self.page.goto(self._url)

    def run_cell(self, index: int) -> None:
        """Start a cell, without waiting for it."""
        self.page.evaluate(_RUN_CELL, index)

    def run_all(self) -> None:
        """Run all cells and wait; an error or anything on stderr is an AssertionError."""
        self.page.evaluate(_RUN_ALL)
        self.wait_for("() => window.ranAll", timeout_s=TIMEOUT_S)
        trouble = self.page.evaluate(_TROUBLE)
        assert not trouble, trouble[0]

    def wait_idle(self) -> None:
        self.wait_for(_KERNEL_IS_IDLE, timeout_s=TIMEOUT_S)

    def wait_for(self, script: str, argument: Any = None, timeout_s: float = 20) -> Any:
        """The first true value of a JavaScript function; until then it may also throw.

        Playwright's `wait_for_function` takes an async function's promise for a true value.
        """
        end_s = time.monotonic() + timeout_s
        answer: object = None
        while time.monotonic() < end_s:
            try:
                if answer := self.page.evaluate(script, argument):
                    return answer
            except PlaywrightError as error:
                answer = error
            self.page.wait_for_timeout(50)
        cells = "".join(self.page.evaluate(_TROUBLE))[-1000:]
        raise AssertionError(f"not within {timeout_s} s: {script}: {answer}\n{cells}")

    def output(self, index: int) -> str:
        """The text below a cell, as soon as there is any: a kernel is idle before it begins, too."""
        below = self.find(f".jp-Cell >> nth={index} >> .jp-OutputArea-output").first
        below.wait_for()
        return below.inner_text()

    def find(self, selector: str) -> Locator:
        """In the notebook only: JupyterLab has buttons and status lines of its own."""
        return self.page.locator(f".jp-Notebook {selector}")

    def use_theme(self, theme: str) -> None:
        """ "JupyterLab Light" or "JupyterLab Dark"."""
        script = "(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })"
        self.page.evaluate(script, theme)
        light = str(theme.endswith("Light")).lower()
        # Two changes under one splash screen make JupyterLab remove it twice, which is an error.
        splash = "document.querySelector('#jupyterlab-splash')"
        self.wait_for(f"(light) => document.body.dataset.jpThemeLight === light && !{splash}", light)

    def screenshot(self, path: Path, width: int | None = None) -> None:
        if width:
            self.page.set_viewport_size({"width": width, "height": 1000})
            self.page.wait_for_timeout(700)  # the page settles in animation frames, which have no end
        self.page.screenshot(path=path)

    def close(self) -> None:
        """Shut the kernel down and close the page."""
        shutdown = "() => jupyterapp.shell.currentWidget.sessionContext.shutdown()"
        with contextlib.suppress(Exception):
            self.page.evaluate(shutdown)
        self.page.close()

    def _note(self, error: str) -> None:
        self.console_errors.append(error)
