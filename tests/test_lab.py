"""`obslab lab`: JupyterLab for this machine only, and both it and the demo end together."""

import contextlib
import json
import re
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request

import pytest
from commands import Running, failure, processes, wait

from obslab import lab
from obslab.errors import NoLabError
from obslab.telemetry.broker.brokers import free_port


def test_jupyterlab_listens_on_this_machine_only_and_asks_nobody_for_news(tmp_path):
    command = lab.command(tmp_path, browser=True, port=None)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate" in command
    assert f"--LabApp.default_url=/lab/tree/{lab.FIRST}" in command
    assert not [part for part in command if "port" in part.lower() or "token" in part or "browser" in part]


def test_port_and_browser_are_passed_on(tmp_path):
    command = lab.command(tmp_path, browser=False, port=8899)
    assert "--ServerApp.port=8899" in command
    assert "--ServerApp.port_retries=0" in command  # the port asked for, or none
    assert "--no-browser" in command


def test_root_is_let_in_only_where_the_user_is_root(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "--allow-root" not in lab.command(tmp_path, browser=True, port=None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "--allow-root" in lab.command(tmp_path, browser=True, port=None)


def test_environment_keeps_what_the_user_has_configured(monkeypatch):
    monkeypatch.delenv("JUPYTER_CONFIG_PATH", raising=False)
    alone = lab.environment()
    assert alone["JUPYTER_PREFER_ENV_PATH"] == "1"
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/users/own")
    assert lab.environment()["JUPYTER_CONFIG_PATH"] == f"/users/own:{alone['JUPYTER_CONFIG_PATH']}"


def test_notebooks_of_the_checkout_are_found():
    assert (lab.notebooks() / lab.FIRST).is_file()


def test_missing_notebooks_and_missing_jupyterlab_are_told(monkeypatch):
    monkeypatch.setattr(lab, "FIRST", "no_such.ipynb")
    with pytest.raises(NoLabError, match=r"no_such\.ipynb is neither in .* nor in .*; install obslab anew"):
        lab.notebooks()
    monkeypatch.setattr(lab, "find_spec", lambda name: None)
    with pytest.raises(NoLabError, match=r"pip install 'obslab\[demo\]'"):
        lab.run(browser=False, port=None)


@pytest.fixture
def private(state_dir, tmp_path):
    """Directories of this test's own for obslab and Jupyter."""
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    return {f"JUPYTER_{name}": str(tmp_path / name) for name in names} | {
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_lab_answers_with_its_token_and_sigterm_leaves_no_process(private, state_dir, tmp_path):
    port = free_port()
    with Running(tmp_path / "log", "lab", "--no-browser", "--port", port, **private) as command:
        pattern = rf"http://127\.0\.0\.1:{port}/lab/tree/{lab.FIRST}\?token=([0-9a-f]+)"
        wait(lambda: re.search(pattern, command.said), "its address", 60)
        token = re.search(pattern, command.said)[1]
        url = f"http://127.0.0.1:{port}/api/contents/{lab.FIRST}?content=0"
        wait(lambda: listens(port), "an open port", 60)  # it tells its address before it listens
        with urllib.request.urlopen(f"{url}&token={token}", timeout=30) as answer:
            assert json.load(answer)["name"] == lab.FIRST
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url, timeout=30)

        # A notebook's kernel holds a lease of its own; it must not keep the demo alive either.
        kernels = f"http://127.0.0.1:{port}/api/kernels?token={token}"
        with urllib.request.urlopen(urllib.request.Request(kernels, method="POST"), timeout=30) as answer:
            assert answer.status == 201
        assert (state_dir / "demo" / "demo.json").exists()
        assert command.tell(signal.SIGTERM) == 0
    wait(lambda: not processes(f"OBSLAB_STATE_DIR={state_dir}"), "the end of all processes")


def test_jupyterlabs_own_failure_is_passed_on_as_its_exit_code(monkeypatch):
    """It says itself what is wrong: a port that is taken, say."""
    monkeypatch.setattr(lab.demo, "start", contextlib.nullcontext)
    monkeypatch.setattr(lab, "until_told", threading.Event)  # a signal handler would stay behind
    failing = [sys.executable, "-c", "import sys; sys.exit(3)"]
    monkeypatch.setattr(lab, "command", lambda folder, browser, port: failing)
    assert lab.run(browser=False, port=8899) == 3


def test_demo_that_does_not_start_is_told_before_jupyterlab_is(private, state_dir):
    (state_dir / "demo").write_text("a file where a folder should be")
    assert "demo" in failure("lab", "--no-browser", **private)
