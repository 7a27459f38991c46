"""Full disks, at the station and at the archive, while data goes on coming."""

import time

import pytest
from chaos.disk import MountedDisk, ToldDisk, may_mount
from chaos.harness import check, check_journal, recording

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

SPEED = 300
# Where nothing may be mounted SQLite still says that the disk is full, so no part of this is skipped.
DISKS = ["told", "mounted"] if may_mount() else ["told"]


@pytest.fixture(params=DISKS)
def disk_of(request, tmp_path):
    """The disks of `station` and `collector`, by name, once there is an observatory."""
    made = {}
    if request.param == "mounted":
        made |= {"station": MountedDisk(tmp_path / "journal"), "collector": MountedDisk(tmp_path / "archive")}

    def disk(site, part):
        if part not in made:
            made[part] = ToldDisk(site.controls[part])
        return made[part]

    yield disk
    for one in made.values():
        one.close()


def test_full_disks_hold_everything_up_and_lose_nothing(observatory, disk_of, rng, tmp_path):
    """The link is cut when the station's disk is full: else the journal frees as much as it needs."""
    site = observatory(recording(24 * SPEED), speed=SPEED)
    site.begin()
    for parts in rng.sample([("station",), ("collector",), ("station", "collector")], 3):
        time.sleep(rng.uniform(0.5, 2.0))
        told = site.said.count("no space left")
        for part in parts:
            disk_of(site, part).fill()
        if parts == ("station",):
            site.relay.cut()
        wait_within(4.0, lambda told=told: site.said.count("no space left") > told)
        time.sleep(rng.uniform(0.5, 3.0))
        for part in parts:
            disk_of(site, part).free()
        site.relay.restore()
    site.settle(120)
    check(site)
    check_journal(site)
    assert f"no space left for {site.archive}" in site.said
    assert f"no space left for {tmp_path}/journal" in site.said


def wait_within(seconds, happened):
    """A mounted disk that is full may still have room inside SQLite's own files, for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not happened():
        time.sleep(0.05)
