"""What a user sees of a LatencyDashboard and a StationPanel, in a real JupyterLab."""

import time

import pytest
from browser.test_stream_viewer_browser import COLOURS, SCREENSHOTS, STATUS, VIEWS
from widgets.observatory import DAY_NS, HOUSE, LEMI, NS, fill

from obslab.telemetry.archive.requests import waiting
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.protocol import Status, encode

pytestmark = pytest.mark.browser

HOUR_NS = 3600 * NS
EVIL = '<img src=x onerror="window.hacked=1">$$x$$ @{time}'

FIGURES = ["latency", "outages", "completeness", "distribution"]
DRAWN = f"""() => {{
  const names = {VIEWS}[0]?.figures.map((figure) => figure.name);
  return names?.length === 4 && {VIEWS}[0].figures[0].renderers[0]?.data_source.data.time?.length > 0 &&
    !document.querySelector('.jp-Notebook .obslab [role=status]').textContent.includes('computing');
}}"""
# Where on the page a place on the axes of a figure is.
PLACE = f"""([name, x, y]) => {{
  const view = {VIEWS}[0], figure = view.figures.find((figure) => figure.name === name);
  const {{ el, frame }} = view.bokehViews.find_one(figure), box = el.getBoundingClientRect();
  return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)];
}}"""
UNNAMED = """() => {
  const all = (root) => [...root.querySelectorAll('*')].flatMap((node) =>
    [node, ...(node.shadowRoot ? all(node.shadowRoot) : [])]);
  const widget = document.querySelector('.jp-OutputArea-output .obslab').closest('.jp-OutputArea-output');
  const stops = all(widget).filter((node) => node.tabIndex >= 0 && node.getClientRects().length);
  const named = (node) => node.getAttribute('aria-label') || node.title || node.textContent.trim() ||
    node.labels?.[0]?.textContent.trim() || node.closest('.widget-inline-hbox')?.textContent.trim();
  return stops.filter((node) => !named(node)).map((node) => node.outerHTML.slice(0, 200));
}"""


@pytest.fixture(scope="module")
def now_ns():
    return time.time_ns()


@pytest.fixture(scope="module")
def path(tmp_path_factory, now_ns):
    """Three days up to now: an hour and six minutes were lost, and a unit told evil things."""
    noon_ns = now_ns // DAY_NS * DAY_NS - DAY_NS // 2
    missing = (
        (noon_ns - 3 * HOUR_NS, noon_ns - 2 * HOUR_NS),
        (now_ns - 2 * HOUR_NS, now_ns - 2 * HOUR_NS + 360 * NS),
    )
    folder = fill(
        tmp_path_factory.mktemp("archive"), now_ns, 3, streams=(LEMI, HOUSE), missing=missing, detail=EVIL
    )
    with open_archive(folder, write=True) as archive:
        archive.book.keep_unit("PEA gsm90", "j2", encode(Status(journal="j2", trouble=EVIL)), now_ns)
    return folder


@pytest.fixture(scope="module")
def open_dashboard(lab, path):
    show = f"""from obslab_widgets import LatencyDashboard
dashboard = LatencyDashboard({str(path)!r}, period_s=2 * 86400.0, label="pea")
dashboard"""
    cells = ["import time; time.sleep(4)", "print(dashboard.selection)", "dashboard.undo()"]
    with lab.show(show, *cells, name="dashboard.ipynb") as notebook:
        notebook.page.set_viewport_size({"width": 1400, "height": 1300})
        notebook.wait_for(DRAWN, timeout_s=40)
        notebook.wait_idle()
        yield notebook


@pytest.fixture
def dashboard(open_dashboard):
    yield open_dashboard
    assert open_dashboard.console_errors == []


def texts(notebook, column):
    return notebook.find(f".obslab-table tbody tr td:nth-child({column})").all_inner_texts()


def test_it_draws_four_figures_and_lists_the_gaps(dashboard):
    assert dashboard.page.evaluate(f"() => {VIEWS}[0].figures.map((figure) => figure.name)") == FIGURES
    assert dashboard.page.evaluate(COLOURS)[0] > 3
    assert texts(dashboard, 1)[-2:] == ["PEA house min", "PEA lemi0001 sec"]
    assert "link" in texts(dashboard, 6)


def test_every_tab_stop_has_a_name(dashboard):
    dashboard.page.wait_for_timeout(1000)  # tool buttons are rendered late
    assert dashboard.page.evaluate(UNNAMED) == []


def test_the_status_goes_on_while_a_cell_sleeps(dashboard):
    said = "() => document.querySelector('.jp-Notebook .obslab [role=status]').textContent"
    dashboard.run_cell(1)
    dashboard.wait_for("() => document.querySelectorAll('.jp-Cell')[1].innerText.includes('[*]')")
    before = dashboard.page.evaluate(said)
    dashboard.wait_for(f"(before) => ({said})() !== before", before, 4)
    assert "[*]" in dashboard.find(".jp-Cell >> nth=1").inner_text()
    dashboard.wait_idle()


def test_a_click_on_an_hour_marks_it_everywhere_and_undo_takes_it_back(dashboard, now_ns):
    day_ms = now_ns // DAY_NS * DAY_NS / 1e6 - 86_400_000
    dashboard.page.mouse.click(*dashboard.wait_for(PLACE, ["completeness", 9.5, day_ms]))
    left = f"() => {VIEWS}[0].figures[0].center.find((one) => one.type === 'BoxAnnotation')"
    dashboard.wait_for(f"(ms) => {left[6:]}.visible && {left[6:]}.left === ms", day_ms + 9 * 3_600_000)
    dashboard.wait_for("() => document.querySelectorAll('.jp-Notebook .obslab-table tbody tr').length === 2")
    assert [begin[11:] for begin in texts(dashboard, 2)] == ["09:00:00"] * 2
    dashboard.run_cell(2)
    assert "T09:00" in dashboard.output(2)
    SCREENSHOTS.mkdir(exist_ok=True)
    dashboard.screenshot(SCREENSHOTS / "dashboard_marked.png")
    dashboard.run_cell(3)
    dashboard.wait_for(f"() => !{left[6:]}.visible")


def test_hovering_an_hour_tells_its_numbers(dashboard, now_ns):
    day_ms = now_ns // DAY_NS * DAY_NS / 1e6 - 86_400_000
    x, y = dashboard.wait_for(PLACE, ["completeness", 9.5, day_ms])
    dashboard.page.mouse.move(x - 10, y)
    dashboard.page.mouse.move(x, y, steps=4)
    for words in ("0 of 3,660", "least: PEA"):
        dashboard.page.locator(".bk-Tooltip").get_by_text(words).first.wait_for()
    dashboard.screenshot(SCREENSHOTS / "dashboard_hover.png")
    dashboard.page.mouse.move(5, 5)


def test_text_from_outside_is_text_and_never_code(dashboard, now_ns):
    noon_ns = now_ns // DAY_NS * DAY_NS - DAY_NS // 2
    place = ["outages", (noon_ns - 2.5 * HOUR_NS) / 1e6, "link PEA lemi0001"]
    x, y = dashboard.wait_for(PLACE, place)
    dashboard.page.mouse.move(x - 10, y)
    dashboard.page.mouse.move(x, y, steps=4)
    dashboard.page.locator(".bk-Tooltip").get_by_text("onerror").first.wait_for()
    assert dashboard.page.evaluate("() => window.hacked") is None
    dashboard.page.mouse.move(5, 5)


def test_a_gap_is_asked_for_with_the_keyboard_and_shown_as_requested(dashboard, path):
    before = len(waiting(path))
    button = dashboard.find(".obslab-table button").first
    assert button.get_attribute("aria-label").startswith("Backfill PEA")
    button.focus()
    dashboard.page.keyboard.press("Enter")
    dashboard.wait_for(
        "() => [...document.querySelectorAll('.jp-Notebook td')].some((td) => td.textContent === 'requested')"
    )
    assert (
        dashboard.find(".obslab-table progress")
        .first.get_attribute("aria-label")
        .startswith("Backfill of PEA")
    )
    assert len(waiting(path)) == before + 1


@pytest.mark.long
@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_it_is_readable_in_both_themes_and_at_two_widths(dashboard, theme):
    dashboard.use_theme(theme)
    for width in (900, 1600):
        dashboard.screenshot(SCREENSHOTS / f"dashboard_{theme.split()[1].lower()}_{width}.png", width)
        dashboard.page.set_viewport_size({"width": width, "height": 1300})
        dashboard.page.wait_for_timeout(1200)
        dashboard.page.screenshot(path=SCREENSHOTS / f"dashboard_{theme.split()[1].lower()}_{width}.png")
        assert dashboard.page.evaluate(COLOURS)[0] > 3
        for part in (".obslab-plot", ".obslab-table", ".obslab-bar", ".obslab-table button"):
            box = dashboard.find(part).first.bounding_box()
            assert box["width"] > 40 and box["x"] + box["width"] <= width, part


def test_a_reload_shows_what_was_chosen(dashboard):
    dashboard.find("select >> nth=1").select_option("last 6 hours")
    end = f"() => {VIEWS}[0].figures[0].x_range.end - {VIEWS}[0].figures[0].x_range.start"
    dashboard.wait_for(f"() => Math.round(({end})() / 1000) === 6 * 3600")
    dashboard.reload()
    dashboard.wait_for(f"() => Math.round(({end})() / 1000) === 6 * 3600", timeout_s=60)
    dashboard.wait_idle()


def test_a_year_is_drawn_and_a_choice_is_answered_while_it_is_computed(dashboard):
    dashboard.find("select >> nth=1").select_option("last year")
    dashboard.wait_for(
        f"() => {VIEWS}[0].figures[2].y_range.start - {VIEWS}[0].figures[2].y_range.end > 360 * 864e5"
    )
    dashboard.wait_for(DRAWN)
    dashboard.page.screenshot(path=SCREENSHOTS / "dashboard_year.png")


def test_an_empty_archive_says_what_to_do(lab, tmp_path):
    open_archive(tmp_path, write=True).close()
    show = f"from obslab_widgets import LatencyDashboard\nLatencyDashboard({str(tmp_path)!r})"
    with lab.show(show, name="empty.ipynb") as notebook:
        notebook.wait_for(STATUS, "is `obslab collect` running", timeout_s=40)
        notebook.wait_for(f"() => {VIEWS}[0]?.figures.length === 4")
        notebook.page.wait_for_timeout(500)
        notebook.screenshot(SCREENSHOTS / "dashboard_empty.png")
        assert notebook.console_errors == []


def test_a_panel_has_named_buttons_escapes_text_and_says_that_no_broker_answers(lab, path):
    show = f"from obslab_widgets import StationPanel\nStationPanel({str(path)!r}, 'mqtt://127.0.0.1:9')"
    with lab.show(show, name="panel.ipynb") as notebook:
        notebook.wait_for(
            "() => document.querySelectorAll('.jp-Notebook .obslab-table tr').length === 3", timeout_s=40
        )
        assert EVIL in texts(notebook, 5)
        assert notebook.find(".obslab img").count() == 0
        assert notebook.page.evaluate(UNNAMED) == []
        notebook.find("button[aria-label='Pause PEA lemi0001']").click()
        notebook.wait_for(STATUS, "no broker answers at mqtt://127.0.0.1:9")
        notebook.screenshot(SCREENSHOTS / "panel.png")
        notebook.screenshot(SCREENSHOTS / "panel_900.png", 900)
        box = notebook.find("button[aria-label='Restart PEA lemi0001']").bounding_box()
        assert box["x"] + box["width"] <= 900
        assert notebook.page.evaluate("() => window.hacked") is None
        assert notebook.console_errors == []
