"""The viewer for minutes, not seconds: memory of page and kernel must not grow with time."""

import gc
import time
from pathlib import Path

import pytest
from small_station import Station

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(400)]

MINUTES = 3


@pytest.fixture
def busy_station(tmp_path):
    """Twenty samples a second, so that ten frames a second are drawn."""
    with Station(tmp_path) as station:
        station.send(200)
        with station.sending(2, every_s=0.1):
            yield station


def test_minutes_of_live_data_leave_memory_as_it_was(lab, busy_station):
    show = f"""from obslab_widgets import StreamViewer
StreamViewer({busy_station.url!r}, history={str(busy_station.path)!r}, window_s=300)"""
    with lab.show(show, "import os; print(os.getpid())", name="soak.ipynb") as notebook:
        notebook.wait_idle()
        notebook.run_cell(1)
        pid = int(notebook.output(1).split()[-1])
        devtools = notebook.page.context.new_cdp_session(notebook.page)
        frames = "() => [...__obslab.stores][0].frames"

        def sizes_mb():
            gc.collect()
            devtools.send("HeapProfiler.collectGarbage")
            heap = devtools.send("Runtime.getHeapUsage")["usedSize"] / 2**20
            return heap, _resident_mb(pid)

        notebook.page.wait_for_timeout(30_000)  # until caches and the ring are filled
        heap, resident = sizes_mb()
        drawn = notebook.page.evaluate(frames)
        began_s = time.monotonic()
        while time.monotonic() - began_s < 60 * MINUTES:
            notebook.page.wait_for_timeout(5000)
        heap_later, resident_later = sizes_mb()
        drawn = notebook.page.evaluate(frames) - drawn
        told = f"{drawn} frames in {MINUTES} min: heap {heap:.1f} -> {heap_later:.1f} MB, "
        print(told + f"kernel {resident:.1f} -> {resident_later:.1f} MB")  # noqa: T201
        assert drawn > 60 * MINUTES  # a frame a second at the very least, or nothing was tested
        # A leak of one frame's arrays (300 points, three traces of three columns) would be 40 MB here.
        assert heap_later - heap < 8
        assert resident_later - resident < 8
        assert notebook.console_errors == []


def _resident_mb(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20
