"""What a user sees of a StreamViewer, in a real JupyterLab on a real broker."""

import shutil
from pathlib import Path

import pytest
from small_station import Station

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_live_stream.ipynb"

# Looked at by people, and the source of the picture in the README.
SCREENSHOTS = Path(__file__).parent / "screenshots"

STORE = "[...__obslab.stores].at(-1)"
VIEWS = f"[...{STORE}.views]"
POINTS = f"""() => {VIEWS}.map((view) => Math.max(...view.figures.map((figure) =>
  figure.renderers[0].data_source.data.time?.length ?? 0)))"""
NEWEST = f"""() => {VIEWS}.map((view) => Math.max(...view.figures.flatMap((figure) =>
  [...(figure.renderers[0].data_source.data.time ?? [])])))"""
DRAWN = f"() => {VIEWS}[0]?.figures.length > 0 && ({POINTS})()[0] > 1"
# Colours of what is painted on each figure's canvas: a blank one has two or three.
COLOURS = """() => {
  const canvases = (root) => [...root.querySelectorAll('*')].flatMap((node) =>
    node.tagName === 'CANVAS' ? [node] : node.shadowRoot ? canvases(node.shadowRoot) : []);
  return [...document.querySelectorAll('.jp-Notebook .obslab-plot')].map((plot) =>
    Math.max(...canvases(plot).filter((canvas) => canvas.width > 300).map((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    })));
}"""
STATUS = """(text) => [...document.querySelectorAll('.jp-Notebook .obslab [role=status]')].every(
  (node) => node.textContent.includes(text))"""
# Where on the page the middle sample of the first trace is.
PLACE = f"""() => {{
  const view = {VIEWS}[0], figure = view.figures[0], {{ data }} = figure.renderers[0].data_source;
  const {{ el, frame }} = view.bokehViews.find_one(figure), box = el.getBoundingClientRect();
  const i = Math.floor(data.time.length / 2);
  return [box.x + frame.x_scale.compute(data.time[i]), box.y + frame.y_scale.compute(data.y[i])];
}}"""


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """Sends a sample a fifth of a second, as long as the module runs."""
    with Station(tmp_path_factory.mktemp("station")) as station:
        station.send(30)
        with station.sending(1, every_s=0.2):
            yield station


@pytest.fixture(scope="module")
def open_viewer(lab, station):
    show = f"""from obslab_widgets import StreamViewer
viewer = StreamViewer({station.url!r}, history={str(station.path)!r}, label="pea")
viewer"""
    with lab.show(show, "import time; time.sleep(5)", name="viewer.ipynb") as notebook:
        notebook.wait_for(DRAWN, timeout_s=30)
        notebook.wait_idle()
        yield notebook


@pytest.fixture
def viewer(open_viewer):
    yield open_viewer
    assert open_viewer.console_errors == []


def moves(notebook, timeout_s=5.0):
    newest = notebook.page.evaluate(NEWEST)
    notebook.wait_for(f"(before) => ({NEWEST})().every((now, i) => now > before[i])", newest, timeout_s)


def test_it_opens_with_history_is_drawn_and_moves(viewer):
    assert viewer.page.evaluate(POINTS)[0] >= 30
    assert all(colours > 3 for colours in viewer.page.evaluate(COLOURS))
    viewer.wait_for(STATUS, "connected to mqtt://")
    moves(viewer)


def test_it_moves_while_a_cell_sleeps(viewer):
    viewer.run_cell(1)
    viewer.wait_for("() => document.querySelectorAll('.jp-Cell')[1].innerText.includes('[*]')")
    moves(viewer, 4)
    moves(viewer, 4)
    assert "[*]" in viewer.find(".jp-Cell >> nth=1").inner_text()
    viewer.wait_idle()


def test_a_second_view_is_current(viewer):
    viewer.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    viewer.page.evaluate("() => jupyterapp.commands.execute('notebook:create-output-view')")
    viewer.wait_for(f"() => {VIEWS}.length === 2 && {VIEWS}[1].figures.length === 3")
    viewer.wait_for(f"() => new Set(({NEWEST})()).size === 1 && ({NEWEST})()[0] > 0")
    moves(viewer)
    viewer.page.evaluate("() => [...jupyterapp.shell.widgets('main')].at(-1).close()")
    viewer.wait_for(f"() => {VIEWS}.length === 1")


def test_a_reload_shows_what_came_meanwhile(viewer):
    (before,) = viewer.page.evaluate(NEWEST)
    viewer.reload()
    viewer.wait_for(f"(before) => ({NEWEST})()[0] > before + 1000", before, timeout_s=60)
    moves(viewer)
    viewer.wait_idle()


def test_the_toolbar_holds_and_follows(viewer):
    viewer.find("button >> text=Pause").first.click()
    viewer.wait_for(STATUS, "paused")
    end = f"() => {VIEWS}[0].figures[0].x_range.end"
    held = viewer.page.evaluate(end)
    viewer.page.wait_for_timeout(1500)
    assert viewer.page.evaluate(end) == held
    viewer.find(".obslab button >> text=Reset view").click()
    viewer.wait_for(f"(held) => ({end})() > held", held)
    viewer.find("button >> text=common").click()
    viewer.wait_for(f"() => {VIEWS}[0].figures.length === 1")
    viewer.find("button[title=Undo]").click()
    viewer.wait_for(f"() => {VIEWS}[0].figures.length === 3")


def test_hovering_tells_name_value_unit_and_time(viewer):
    viewer.find("button >> text=Pause").first.click()
    viewer.wait_for(STATUS, "paused")
    place = viewer.wait_for(PLACE)
    viewer.page.mouse.move(place[0] - 20, place[1])
    viewer.page.mouse.move(*place, steps=5)
    for words in ("PEA lemi0001 x", "1.000 nT", "UTC"):
        viewer.page.locator(".bk-Tooltip").get_by_text(words).first.wait_for()
    viewer.screenshot(SCREENSHOTS / "hover.png")
    viewer.find("button >> text=Paused").first.click()


def test_metadata_from_outside_is_text_and_never_code(lab, tmp_path):
    evil = '<img src=x onerror="window.hacked=1">$$x$$ @{time}'
    with Station(tmp_path, site=evil, units=evil, sensor=evil) as station:
        station.send(30)
        show = f"""from obslab_widgets import StreamViewer
viewer = StreamViewer({str(station.path)!r}, label={evil!r})
viewer"""
        with lab.show(show, name="evil.ipynb") as notebook:
            notebook.wait_for(DRAWN)
            notebook.page.mouse.move(*notebook.wait_for(PLACE), steps=5)
            notebook.page.locator(".bk-Tooltip").get_by_text("1.000").first.wait_for()
            assert notebook.page.evaluate("() => window.hacked") is None
            assert notebook.find(".obslab img").count() == 0
            assert notebook.find(".obslab-plot").get_attribute("aria-label").startswith(evil)
            assert notebook.console_errors == []  # nothing was fetched, for one


def test_a_dead_broker_is_told_within_ten_seconds_and_recovery_too(viewer, station):
    station.broker.kill()
    viewer.wait_for(STATUS, "disconnected", timeout_s=10)
    station.broker.start()
    viewer.wait_for(STATUS, "connected to mqtt://", timeout_s=40)
    moves(viewer, 20)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_it_is_readable_in_both_themes_and_at_two_widths(viewer, theme):
    viewer.use_theme(theme)
    for width in (900, 1600):
        viewer.screenshot(SCREENSHOTS / f"{theme.split()[1].lower()}_{width}.png", width)
        moves(viewer)
        assert all(colours > 3 for colours in viewer.page.evaluate(COLOURS))
        for part in (".obslab-plot", ".obslab-table", ".obslab-bar"):
            box = viewer.find(part).first.bounding_box()
            assert box["width"] > 300 and box["x"] + box["width"] <= width, part


@pytest.mark.long
def test_the_notebook_shows_a_storm_that_moves_within_five_seconds(lab, request, monkeypatch):
    shutil.copy(NOTEBOOK, lab.root)
    notebook = lab.open(NOTEBOOK.name)
    try:
        notebook.run_all()
        notebook.wait_for(DRAWN, timeout_s=5)
        moves(notebook, 5)
        # Long enough for the onset, three minutes into the recording at 30 times the speed.
        notebook.wait_for("() => document.querySelector('.jp-Notebook .obslab-plot')", timeout_s=5)
        notebook.page.wait_for_timeout(14_000)
        assert len(notebook.page.evaluate(COLOURS)) == 2
        assert all(colours > 3 for colours in notebook.page.evaluate(COLOURS))
        assert notebook.console_errors == []
        notebook.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
        notebook.page.set_viewport_size({"width": 1000, "height": 1000})
        notebook.find(".obslab-plot").first.scroll_into_view_if_needed()
        notebook.page.wait_for_timeout(1000)
        notebook.find(".jp-OutputArea-output >> nth=1").screenshot(path=SCREENSHOTS / "live_stream.png")
    finally:
        notebook.close()
