"""What a user does with flags in a StreamViewer: a box, a reason, a click, and back again."""

from pathlib import Path

import numpy as np
import pytest
from telemetry import observatory
from telemetry.observatory import NOON, NS, baseline, seconds

from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.baseline.folder import Baselines
from obslab.telemetry.flags import FlagBook

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parent / "screenshots"
COUNT = 1200
EVIL = '<img src=x onerror="window.hacked=1">'

STORE = "[...__obslab.stores].at(-1)"
VIEW = f"[...{STORE}.views][0]"
# Where on the page two samples of a trace are.
PLACES = f"""([name, first, last]) => {{
  const figure = {VIEW}.figures.find((one) => one.name === name);
  const data = figure.renderers.find((one) => one.name === name).data_source.data;
  const {{ el, frame }} = {VIEW}.bokehViews.find_one(figure), box = el.getBoundingClientRect();
  const at = (scale, value) => frame[scale].compute(value);
  return [first, last].map((i) => [box.x + at("x_scale", data.time[i]), box.y + at("y_scale", data.y[i])]);
}}"""
SHADES = f"""() => {{
  const strips = {VIEW}.figures[1].renderers.filter((one) => one.glyph.type === 'VStrip');
  return strips.map((one) => one.data_source.data.left.length);
}}"""
STATUS = (
    """(text) => document.querySelector('.jp-Notebook .obslab [role=status]').textContent.includes(text)"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An archive of twenty minutes with a spike, its baseline adopted."""
    path = tmp_path_factory.mktemp("flags") / "archive"
    time_ns = seconds(COUNT)
    values = observatory.raw(time_ns)
    values[900, 0] += 30.0
    vector = observatory.samples(observatory.LEMI, observatory.VECTOR, time_ns, values)
    total = observatory.scalar(time_ns)
    scalar = observatory.samples(observatory.GP20, observatory.SCALAR, time_ns, total)
    metas = {
        observatory.LEMI.meta_topic: (observatory.VECTOR,),
        observatory.GP20.meta_topic: (observatory.SCALAR,),
    }
    with open_archive(path, write=True) as archive:
        archive.add(observatory.Batch(arrivals=[vector, scalar], metas=metas))
    Baselines(path / "baselines").adopt(baseline())
    return path


def test_a_box_is_flagged_confirmed_flags_are_taken_out_and_undo_brings_them_back(lab, folder):
    show = f"""from obslab_widgets import StreamViewer
viewer = StreamViewer({str(folder)!r}, baselines=True, flags=True, window_s={COUNT}, author="ana")
viewer.change(until_ns={NOON + COUNT * NS})
viewer"""
    with lab.show(show, name="flags.ipynb") as notebook, FlagBook(folder, readonly=True) as book:
        page = notebook.page
        notebook.wait_for(f"() => {VIEW}?.figures.length === 5", timeout_s=60)
        notebook.wait_idle()
        notebook.find("[title^='Box Select']").first.click()
        first, last = notebook.wait_for(PLACES, ["WIC lemi036-adj y", 300, 420])
        page.mouse.move(first[0], first[1])
        page.mouse.down()
        page.mouse.move(last[0], last[1], steps=8)
        page.mouse.up()
        notebook.wait_for(f"() => {VIEW}.figures[0].center.some((one) => one.visible && one.left > 0)")

        notebook.find("input[placeholder='why?']").fill(EVIL)
        notebook.find("button >> text=/^Flag$/").click()
        notebook.wait_for(f"() => ({SHADES})()[1] === 1")  # confirmed: set by a person
        notebook.wait_for(STATUS, "flag 1 is set on WIC lemi036 sec")
        notebook.find(".widget-label >> text=flag 1 is set").wait_for()
        stored = book.flags()
        assert (stored.author.values[0], stored.reason.values[0]) == ("ana", EVIL)
        begin_s = (stored.begin.values[0].astype("int64") - NOON) / NS
        assert begin_s == pytest.approx(300, abs=3)  # to a pixel, which is a second and a half
        missing = f"""() => [...{VIEW}.figures.find((one) => one.name === 'WIC lemi036-adj y')
          .renderers[0].data_source.data.value].filter(Number.isNaN).length"""
        notebook.wait_for(f"() => ({missing})() === 1")

        page.mouse.move((first[0] + last[0]) / 2, first[1] + 15, steps=4)
        page.locator(".bk-Tooltip").get_by_text(EVIL).first.wait_for()

        notebook.find("button >> text=Detect").click()
        notebook.wait_for(f"() => ({SHADES})()[0] === 1")  # proposed
        listed = notebook.find("select[multiple] >> nth=-1")
        told = listed.inner_text().replace("\N{NO-BREAK SPACE}", " ")
        assert "2 proposed spike, lemi036 h" in told and EVIL in told
        assert page.evaluate("() => window.hacked") is None
        assert notebook.find(".obslab img").count() == 0
        notebook.screenshot(SCREENSHOTS / "flags.png", 1400)

        listed.select_option(index=0)
        notebook.find("button >> text=Confirm").click()
        notebook.wait_for(f"() => ({SHADES})().join() === '0,2'")
        notebook.find("button >> text=Undo flag").click()
        notebook.wait_for(f"() => ({SHADES})().join() === '1,1'")
        notebook.find("button >> text=Redo flag").click()
        notebook.wait_for(f"() => ({SHADES})().join() === '0,2'")
        actions = book.history().action.values.tolist()
        assert actions == ["set", "propose", "confirm", "undo", "redo"]

        notebook.find("button >> text=raw").first.click()
        notebook.wait_for(f"() => {VIEW}.figures.some((one) => one.name === 'WIC lemi036 h')")
        assert notebook.console_errors == []
        assert np.all(book.flags().state.values == "confirmed")
