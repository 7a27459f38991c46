import subprocess
import sys

import pytest

from obslab.telemetry.station.journal import Journal

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


# With a receiver's fix, so that times are the instrument's. Without one they are this computer's, and whoever
# starts in the last four seconds of a minute gets samples, and so means, of two minutes.
T0_S = 1715360700  # 2024-05-10T17:05:00Z
GPS = "1390.0 7156.99400 S 02321.00100 E 9 2 0"
LINES = [
    f"2024 05 10 17 05 {second:02} 21045.123 -1203.456 43210.789 -12.31 18.40 12.63 {GPS}\n"
    for second in range(5)
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
    assert "obslab: 6 messages are in j but not delivered" in done.stderr
    assert done.stdout.split() == []
    journal = Journal(tmp_path / "j")
    kept = [(entry.topic, entry.time_ns // 10**9 - T0_S) for entry in journal.after(0, 100)]
    journal.close()
    assert kept == [*(("pea/lemi0001/sec", second) for second in range(5)), ("pea/lemi0001-hk/min", 0)]
