"""What a user sees of a BaselineEditor, in a real JupyterLab: pull a step, mark spots, adopt."""

import re

import pytest
from browser.test_latency_dashboard_browser import PLACE, UNNAMED
from browser.test_stream_viewer_browser import COLOURS, SCREENSHOTS, STATUS, VIEWS
from widgets.pillar import DAY_NS, STEP_NS

from obslab.telemetry.baseline import Baselines

pytestmark = pytest.mark.browser

SHOW = """import sys
sys.path.insert(0, {tests!r})
from widgets.pillar import PIER_NT, STEP_NS, DAY_NS, four_months
from obslab_widgets import BaselineEditor
pillar = four_months(count=60)
samples = pillar.vector, pillar.scalar
editor = BaselineEditor(samples, pillar.absolutes, folder={folder!r}, pier_difference_nt=PIER_NT)
editor"""
PANELS = ["h", "d", "z", "residuals", "delta-f"]
FIGURE = f"{VIEWS}[0].figures.find((one) => one.name === 'h')"
STEP_MS = f"() => {FIGURE}.center.find((one) => one.name === 'step 0')?.location"
# Of the curve of H0, as drawn: the middle of what it is on either side of the first of April.
JUMP = f"""() => {{
  const {{ time, y }} = {FIGURE}.renderers[1].data_source.data, at = {STEP_NS / 1e6};
  const near = (side) => y[time.findIndex((one) => one > at + side * 86400000)];
  return near(2) - near(-2);
}}"""
CHOSEN = f"() => {FIGURE}.renderers[3].data_source.data.size.filter((size) => size > 8).length"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adopted")


@pytest.fixture(scope="module")
def open_editor(lab, folder, request):
    show = SHOW.format(tests=str(request.config.rootpath / "tests"), folder=str(folder))
    cells = [
        "editor.add_step(STEP_NS - 21 * DAY_NS)",
        "print(editor.state()['steps'], editor.selection.size)",
    ]
    with lab.show(show, *cells, name="editor.ipynb") as notebook:
        notebook.page.set_viewport_size({"width": 1400, "height": 1500})
        notebook.wait_for(f"() => {FIGURE}?.renderers[3].data_source.data.time?.length === 60", timeout_s=60)
        notebook.wait_idle()
        yield notebook


@pytest.fixture
def editor(open_editor):
    yield open_editor
    assert open_editor.console_errors == []


def place(notebook, panel, at_ns, y):
    """Where on the page that is, in sight and drawn."""
    notebook.wait_for(f"() => {VIEWS}[0].building === null && {VIEWS}[0].stale.size === 0")
    notebook.find(".obslab-plot").evaluate("(plot) => plot.scrollIntoView({ block: 'center' })")
    notebook.page.wait_for_timeout(300)  # JupyterLab may scroll, too
    where = notebook.wait_for(PLACE, [panel, at_ns / 1e6, y])
    assert 0 < where[1] < notebook.page.viewport_size["height"], where
    return where


def test_it_draws_five_panels_a_table_and_what_to_look_at(editor):
    assert editor.page.evaluate(f"() => {VIEWS}[0].figures.map((figure) => figure.name)") == PANELS
    assert editor.page.evaluate(COLOURS)[0] > 3
    assert editor.find(".obslab-table tbody tr td:first-child").all_inner_texts() == ["H0", "D0", "Z0"]
    editor.wait_for(STATUS, "a step?")


def test_every_tab_stop_has_a_name(editor):
    editor.page.wait_for_timeout(1000)  # tool buttons are rendered late
    assert editor.page.evaluate(UNNAMED) == []


def test_a_step_is_pulled_and_the_curve_follows(editor):
    editor.run_cell(1)
    begin_ms = (STEP_NS - 21 * DAY_NS) / 1e6
    editor.wait_for(f"(ms) => ({STEP_MS})() === ms", begin_ms)
    editor.wait_idle()
    x, y = place(editor, "h", STEP_NS - 21 * DAY_NS, 25)
    to_x, _ = place(editor, "h", STEP_NS, 25)
    jump = editor.page.evaluate(JUMP)
    editor.page.mouse.move(x - 30, y)
    editor.page.mouse.move(x, y, steps=3)
    editor.page.mouse.down()
    editor.page.mouse.move((x + to_x) / 2, y, steps=4)
    other = f"() => {VIEWS}[0].figures.find((one) => one.name === 'z').center"
    # The lines of the other panels come along while the mouse is still down.
    editor.wait_for(f"(ms) => ({other})().find((one) => one.name === 'step 0').location > ms", begin_ms)
    editor.page.mouse.move(to_x, y, steps=6)
    editor.page.mouse.up()
    near = f"(ms) => Math.abs(({STEP_MS})() - ms) < 86400000"  # a pixel is three hours
    editor.wait_for(near, STEP_NS / 1e6)
    editor.wait_for(f"(before) => ({JUMP})() > before + 2", jump)
    editor.screenshot(SCREENSHOTS / "baseline_editor_step.png")
    editor.run_cell(2)
    (step_ns,) = re.findall(r"\[(\d+)\]", editor.output(2))
    assert abs(int(step_ns) - STEP_NS) < DAY_NS
    editor.find("button[title=Undo]").click()
    editor.wait_for(f"(ms) => ({STEP_MS})() === ms", begin_ms)  # all of it was one step
    editor.find("button[title=Redo]").click()
    editor.wait_for(near, STEP_NS / 1e6)


def test_a_box_marks_spots_which_are_excluded_and_included(editor):
    first = place(editor, "h", STEP_NS - 30 * DAY_NS, 19)
    last = place(editor, "h", STEP_NS - 20 * DAY_NS, 24)
    editor.page.mouse.move(*first)
    editor.page.mouse.down()
    editor.page.mouse.move(*last, steps=5)
    editor.page.mouse.up()
    marked = editor.wait_for(CHOSEN)
    assert 3 <= marked <= 7
    editor.find("button >> text=Exclude").click()
    title = f"(text) => {FIGURE}.title.text.includes(text)"
    editor.wait_for(title, f"{marked} excluded")
    editor.find("button[title=Undo]").click()
    editor.wait_for(f"() => !{FIGURE}.title.text.includes('excluded')")
    editor.find(".obslab button >> text=Clear selection").click()
    editor.wait_for(f"() => ({CHOSEN})() === 0")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_it_is_readable_in_both_themes_and_at_two_widths(editor, theme):
    editor.use_theme(theme)
    for width in (900, 1400):
        editor.screenshot(SCREENSHOTS / f"baseline_editor_{theme.split()[1].lower()}_{width}.png", width)
        assert editor.page.evaluate(COLOURS)[0] > 3
        for part in (".obslab-plot", ".obslab-table", ".obslab-bar"):
            box = editor.find(part).first.bounding_box()
            assert box["width"] > 300 and box["x"] + box["width"] <= width, part


def test_adopting_is_refused_without_a_reason_and_then_written(editor, folder):
    editor.find("button >> text=Adopt").click()
    editor.find(".widget-label >> text=enter the author and the reason").wait_for()
    evil = '<img src=x onerror="window.hacked=1">$$x$$'
    for label, text in (("Author", "NN"), ("Reason", evil)):
        field = editor.find(f".widget-text:has-text('{label}') input")
        field.fill(text)
        field.press("Enter")
    editor.find("button >> text=Adopt").click()
    editor.find(".widget-label >> text=adopted: ").wait_for()
    (found,) = Baselines(folder).all()
    assert (found.author, found.reason) == ("NN", evil)
    title = f"() => {VIEWS}[0].figures.at(-1).title.text.includes('before (adopted')"
    editor.wait_for(title)
    assert editor.page.evaluate("() => window.hacked") is None
