import subprocess
import sys

import pytest

# What a station on a small ARM board does without: it has the base dependencies only.
HEAVY = [
    *["xarray", "pandas", "netCDF4", "scipy", "dask", "numba", "astropy"],
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
]


@pytest.mark.parametrize("module", STATION)
def test_a_station_loads_nothing_heavy(module):
    script = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
