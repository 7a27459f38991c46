import re
import subprocess
import sys

import pytest

# What a station on a small ARM board does without: it has the base dependencies only.
HEAVY = [
    *["xarray", "pandas", "netCDF4", "cdflib", "scipy", "dask", "numba", "astropy"],
    *["iotcore", "bokeh", "ipywidgets", "anywidget"],
]
STATION = [
    "obslab",
    "obslab.times",
    "obslab.config",
    "obslab.telemetry.sample",
    "obslab.telemetry.codec",
    "obslab.telemetry.station.journal",
    "obslab.telemetry.station.publisher",
    "obslab.telemetry.station.run",
    "obslab.telemetry.station.equipment",
    "obslab.telemetry.station.dayfile",
]


@pytest.mark.parametrize("module", STATION)
def test_a_station_loads_nothing_heavy(module):
    script = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


LINES = [
    f"2024 05 10 17 05 {second:02} 21045.123 -1203.456 43210.789 -12.31 18.40 12.63\n" for second in range(5)
]


def test_a_station_at_work_has_loaded_nothing_heavy_either(tmp_path):
    """The command itself, from reading its instrument to the end of its input."""
    options = ["station", "run", "--stdin", "--driver", "lemi25", "--iaga", "PEA", "--patience", "0"]
    options += ["--broker", "mqtt://127.0.0.1:9", "--journal", "j", "--days", "days"]
    script = f"""
import sys
from obslab.cli import main
sys.argv[1:] = {options}
try:
    main()
except SystemExit as end:
    assert end.code == 1, end.code  # nobody takes the samples
print(*sorted(set({[*HEAVY, "serial"]}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], input="".join(LINES), capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    # Five, and the mean of a minute; under load a seventh comes, 9 of 48 times, and nobody knows why yet.
    assert re.search("obslab: [67] messages are in j but not delivered", done.stderr), done.stderr
    assert done.stdout.split() == []
