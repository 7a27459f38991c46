"""Tests that need a system package: skipped where it is missing, and never in silence.

A test marked ``browser`` needs the program ``chromium``, one marked ``mosquitto`` needs
``mosquitto``. Where it is missing the test is skipped, and the run ends with a line that counts
such tests and says what to install. ``OBSLAB_REQUIRE_ALL=1`` turns these skips into failures, so
that CI cannot pass by missing a package.
"""

import os
import shutil
from collections import Counter
from dataclasses import dataclass

import pytest

REQUIRE_ALL = "OBSLAB_REQUIRE_ALL"


@dataclass(frozen=True)
class SystemPackage:
    """A program, and the Debian package that brings it."""

    program: str
    package: str

    def find(self) -> str | None:
        """The program's path; Debian keeps servers where an ordinary user's PATH does not look."""
        return shutil.which(self.program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")

    @property
    def install(self) -> str:
        return f"apt-get install {self.package}"


NEEDS = {
    "browser": SystemPackage("chromium", "chromium"),
    "mosquitto": SystemPackage("mosquitto", "mosquitto"),
}

# Of all that pytest-xdist sends from its workers to the one that reports, a test can fill in this.
_PROPERTY = "missing system package"


def pytest_configure(config):
    value = os.environ.get(REQUIRE_ALL, "")
    if value not in ("", "0", "1"):
        raise pytest.UsageError(f"{REQUIRE_ALL} is {value!r}; wanted 1, or nothing")


def pytest_runtest_setup(item):
    missing = [mark for mark in sorted(NEEDS) if item.get_closest_marker(mark) and not NEEDS[mark].find()]
    if not missing:
        return
    what = "; ".join(f"needs {NEEDS[mark].program}: {NEEDS[mark].install}" for mark in missing)
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(f"{what} ({REQUIRE_ALL}=1 forbids to skip it)", pytrace=False)
    item.user_properties += [(_PROPERTY, mark) for mark in missing]
    pytest.skip(what)


def pytest_terminal_summary(terminalreporter):
    counts = Counter(
        mark
        for report in terminalreporter.stats.get("skipped", [])
        for name, mark in getattr(report, "user_properties", [])
        if name == _PROPERTY
    )
    for mark, count in sorted(counts.items()):
        tests = "1 test needs" if count == 1 else f"{count} tests need"
        need = NEEDS[mark]
        terminalreporter.write_line(
            f"skipped for want of a system package: {tests} {need.program}: {need.install}", yellow=True
        )
