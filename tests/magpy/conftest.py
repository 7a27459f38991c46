"""MagPy as an oracle: it runs in an environment of its own and answers in JSON."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from system_packages import REQUIRE_ALL

PYTHON = "OBSLAB_MAGPY_PYTHON"
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def magpy():
    """`magpy("oracle_di.py", "argument")` runs that script and gives what it prints as its last line."""
    python = os.environ.get(PYTHON) or str(HERE.parents[1] / ".venv-magpy/bin/python")
    if not Path(python).exists():
        what = f"no MagPy at {python}: `make test-full` installs it, or set {PYTHON}"
        pytest.fail(what) if os.environ.get(REQUIRE_ALL) == "1" else pytest.skip(what)

    def run(script, *arguments, timeout_s=170):
        done = subprocess.run(
            [python, str(HERE / script), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, "MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore"},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run
