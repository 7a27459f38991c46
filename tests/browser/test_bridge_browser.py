"""What a user sees of a Bridge, in a real JupyterLab."""

import pytest

pytestmark = pytest.mark.browser

# `k` counts the feed's calls, so that a test can tell one frame from the next.
LIVE = """
import threading, time
import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure
from obslab_widgets.bridge import Bridge

t, k, stopped = np.linspace(0, 10, 500), 0, False
source = ColumnDataSource(dict(t=[], x=[], k=[]))
x_range = Range1d(0, 10)

def trace(name, color, **kw):
    plot = figure(name=name, height=180, sizing_mode="stretch_width", x_range=x_range, y_range=Range1d(-2, 2),
                  title=name, tools="pan,wheel_zoom,reset", **kw)
    plot.line("t", "x", source=source, color=color)
    return plot

def traces():
    return column(trace("upper", "#1f77b4"), trace("lower", "#ff7f0e"), sizing_mode="stretch_width")

def feed():
    global k
    k += 1
    yield source, dict(t=t, x=np.sin(t + k / 3), k=np.full(t.size, k))

def produce():
    while not stopped:
        bridge.touch()
        time.sleep(0.02)

bridge = Bridge(traces(), feed=feed, label="four <traces>")
bridge.tell(status=dict(level="ok", text="live"))
threading.Thread(target=produce, daemon=True).start()
bridge
"""

# The handlers tell what they got, so that a test sees it where a user would.
EVENTS = """
import threading, time
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure
from obslab_widgets.bridge import Bridge

plot = figure(name="map", height=250, sizing_mode="stretch_width",
              x_range=Range1d(0, 10), y_range=Range1d(0, 10), tools="pan,box_select,wheel_zoom,reset")
plot.scatter("x", "y", source=ColumnDataSource(dict(x=[1, 5, 9], y=[1, 5, 9])), size=10)
bridge = Bridge(plot, label="map")
count = 0

def tell(text):
    bridge.tell(status=dict(level="busy", text=text))

def on_range(event):
    global count
    count += 1
    tell(f"range {event['on']} {event['x0']:.2f} {event['x1']:.2f}")

bridge.on("range", on_range)
bridge.on("reset", lambda event: tell(f"reset after {count}"))
bridge.on("select", lambda event: tell(f"select {sorted(event['geometry'] or ())}"))
bridge
"""

ON_RESIZE = (
    "_ = bridge.on('resize', lambda event: tell(f\"resize {event['width'] > 100} {event['height'] > 100}\"))"
)

FOLLOW = """
def follow(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        bridge.put(plot.x_range, start=time.monotonic() - 10, end=time.monotonic())
        time.sleep(0.02)
follow(1.5)
"""

SLEEP_AND_FOLLOW = "threading.Thread(target=follow, args=(4,)).start(); time.sleep(4)"

HOSTILE = """
from bokeh.plotting import figure
from obslab_widgets.bridge import Bridge
evil = '<img src=x onerror="window.hacked=1">'
bridge = Bridge(figure(height=120), label=evil)
bridge.tell(status=dict(level="ok", text=evil), table=dict(columns=[evil], rows=[[evil]]))
bridge.fail(evil, evil)
bridge
"""

STORE = "[...__obslab.stores][0]"
VIEWS = f"[...{STORE}.views]"
SEEN = f"() => {VIEWS}[0].frames > 2"
CALLS = f"() => {VIEWS}.map((view) => view.figures[0].renderers[0].data_source.data.k[0])"
RANGES = f"""() => {VIEWS}.map((view) => {{
  const {{ start, end }} = view.figures[0].x_range;
  return [start, end];
}})"""
CANVAS = """
  const canvases = (root) => [...root.querySelectorAll('*')].flatMap((node) =>
    node.tagName === 'CANVAS' ? [node] : node.shadowRoot ? canvases(node.shadowRoot) : []);
  const plot = document.querySelector('.jp-Notebook .obslab-plot');
  const canvas = canvases(plot).find((node) => node.width > 300);
"""
PICTURE = f"() => {{ {CANVAS} return canvas.toDataURL(); }}"
COLORS = f"""() => {{ {CANVAS}
  const {{ data }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}}"""
CORNER = f"() => {{ {CANVAS} return canvas.getContext('2d').getImageData(2, 2, 1, 1).data[0]; }}"
TAB_STOPS = """() => {
  const stops = (root) => [...root.querySelectorAll('*')].flatMap((node) =>
    [...(node.tabIndex === 0 ? [node] : []), ...(node.shadowRoot ? stops(node.shadowRoot) : [])]);
  return stops(document.querySelector('.jp-Notebook .obslab')).map(
    (node) => [node.className, node.getAttribute('aria-label') || node.textContent]);
}"""
SAMPLE_HEIGHTS = """() => {
  const plot = document.querySelector('.jp-Notebook .obslab-plot');
  window.heights = new Set();
  const sample = () => { window.heights.add(plot.offsetHeight); requestAnimationFrame(sample); };
  sample();
}"""


def status(notebook, text, timeout_s=20):
    """Wait until the widget's status line holds `text`."""
    script = (
        "(text) => document.querySelector('.jp-Notebook .obslab [role=status]').textContent.includes(text)"
    )
    notebook.wait_for(script, text, timeout_s)


def status_of(notebook):
    return notebook.find(".obslab [role=status]").inner_text()


@pytest.fixture(scope="module")
def live_notebook(lab):
    cells = "time.sleep(4)", "bridge.show(traces())", "bridge.fail('collector', 'refused')", "stopped = True"
    with lab.show(LIVE, *cells, name="live.ipynb") as notebook:
        notebook.wait_for(SEEN)
        notebook.wait_idle()
        yield notebook


@pytest.fixture(scope="module")
def events_notebook(lab):
    with lab.show(EVENTS, FOLLOW, SLEEP_AND_FOLLOW, ON_RESIZE, name="events.ipynb") as notebook:
        notebook.wait_for(SEEN.replace("> 2", "> 0"))
        notebook.wait_idle()
        yield notebook


@pytest.fixture
def live(live_notebook):
    yield live_notebook
    assert live_notebook.console_errors == []


@pytest.fixture
def events(events_notebook):
    yield events_notebook
    assert events_notebook.console_errors == []


def test_the_plot_is_drawn_and_moves(live):
    assert live.page.evaluate(COLORS) > 3
    before = live.page.evaluate(PICTURE)
    live.wait_for(f"(before) => ({PICTURE})() !== before", before)


def test_the_plot_moves_while_a_cell_sleeps(live):
    live.run_cell(1)
    live.wait_for("() => document.querySelectorAll('.jp-Cell')[1].innerText.includes('[*]')")
    (before,) = live.page.evaluate(CALLS)
    live.wait_for(f"(before) => ({CALLS})()[0] > before + 10", before, timeout_s=4)
    assert "[*]" in live.find(".jp-Cell >> nth=1").inner_text()
    assert status_of(live) == "live"
    live.wait_idle()


def test_a_second_view_is_current_shares_the_zoom_and_leaves_nothing_behind(live):
    live.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
    live.page.evaluate("() => jupyterapp.commands.execute('notebook:create-output-view')")
    live.wait_for(f"() => {VIEWS}.length === 2 && {VIEWS}[1].frames > 2")
    live.wait_for(f"() => new Set(({CALLS})()).size === 1")
    live.find(".obslab-plot").focus()
    live.page.keyboard.press("+")
    live.wait_for(f"() => new Set(({RANGES})().map(String)).size === 1 && ({RANGES})()[1][0] > 0.5")
    live.page.evaluate("() => [...jupyterapp.shell.widgets('main')].at(-1).close()")
    live.wait_for(f"() => {VIEWS}.length === 1")
    live.find(".obslab button >> text=Reset view").click()
    live.wait_for(f"() => String(({RANGES})()[0]) === '0,10'")


def test_the_keyboard_pans_zooms_and_resets(live):
    live.find(".obslab-plot").focus()
    live.page.keyboard.press("ArrowRight")
    # The figures share the x axis: it must move once, not once for each.
    assert live.page.evaluate(RANGES)[0] == pytest.approx([1, 11])
    live.page.keyboard.press("-")
    assert live.page.evaluate(RANGES)[0] == pytest.approx([-0.25, 12.25])
    live.page.keyboard.press("r")
    assert live.page.evaluate(RANGES)[0] == pytest.approx([0, 10])


def test_each_tab_stop_is_named_and_the_group_too(live):
    live.find(".obslab-plot").focus()
    stops = live.page.evaluate(TAB_STOPS)
    assert len(stops) > 8
    assert [stop for stop in stops if not stop[1]] == []
    assert live.find(".obslab").get_attribute("aria-label") == "four <traces>"


def test_the_theme_is_followed(live):
    assert live.page.evaluate(CORNER) > 200
    live.use_theme("JupyterLab Dark")
    live.wait_for(f"() => ({CORNER})() < 60")
    live.use_theme("JupyterLab Light")
    live.wait_for(f"() => ({CORNER})() > 200")


def test_a_new_document_replaces_the_old_one_without_a_jump(live):
    held = "() => [Bokeh.index.roots.length, Bokeh.documents.length]"
    before = live.page.evaluate(held)
    edition = live.page.evaluate(f"() => {VIEWS}[0].edition")
    live.page.evaluate(SAMPLE_HEIGHTS)
    live.run_cell(2)
    live.wait_for(f"(edition) => {VIEWS}[0].edition > edition && !{VIEWS}[0].building", edition)
    live.wait_for(f"() => ({CALLS})()[0] > 0")
    assert len(live.page.evaluate("() => [...window.heights]")) == 1
    assert live.page.evaluate(held) == before
    assert live.find(".obslab-mount").count() == 1


def test_an_error_lies_over_the_plot_and_can_be_closed(live):
    height = live.find(".obslab").bounding_box()["height"]
    live.run_cell(3)
    alert = live.find(".obslab [role=alert]")
    alert.get_by_text("collector: refused").wait_for()
    assert live.find(".obslab").bounding_box()["height"] == height
    live.find("[aria-label='Close the error message']").click()
    alert.wait_for(state="hidden")


def test_a_reload_shows_current_data(live):
    (before,) = live.page.evaluate(CALLS)
    live.reload()
    live.wait_for(f"(before) => ({CALLS})()[0] > before + 10", before, timeout_s=60)
    assert status_of(live) == "live"
    live.wait_idle()


def test_a_lost_frame_is_made_good(live):
    gaps = live.page.evaluate(f"() => {{ const store = {STORE}; store.seq -= 1; return store.gaps; }}")
    live.wait_for(f"(gaps) => {STORE}.gaps > gaps", gaps)
    (before,) = live.page.evaluate(CALLS)
    live.wait_for(f"(before) => ({CALLS})()[0] > before + 5", before)
    assert live.page.evaluate(f"() => {STORE}.gaps") == gaps + 1


def test_a_page_that_reconnects_is_current(live):
    live.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.reconnect()")
    status(live, "live")
    (before,) = live.page.evaluate(CALLS)
    live.wait_for(f"(before) => ({CALLS})()[0] > before + 5", before)


def test_silence_is_told(live):
    live.run_cell(4)
    status(live, "last update")


def test_a_restart_of_the_kernel_is_told(live):
    live.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    status(live, "kernel gone")


def test_ranges_set_by_the_kernel_are_not_echoed_and_reset_goes_to_the_kernel(events):
    events.run_cell(1)
    events.wait_for(f"() => ({RANGES})()[0][0] > 0")
    events.wait_idle()
    events.find(".obslab button >> text=Reset view").click()
    status(events, "reset after 0")


def test_a_users_pan_reaches_the_kernel(events):
    box = events.find(".obslab-plot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    events.page.mouse.move(x, y)
    events.page.mouse.down()
    events.page.mouse.move(x + 80, y, steps=4)
    events.page.mouse.up()
    status(events, "range map")
    start, end = events.page.evaluate(RANGES)[0]
    status(events, f"range map {start:.2f} {end:.2f}")


def test_a_users_pan_stands_while_the_kernel_is_blocked(events):
    events.run_cell(2)
    events.wait_for("() => document.querySelectorAll('.jp-Cell')[2].innerText.includes('[*]')")
    before = events.page.evaluate(RANGES)
    events.wait_for(f"(before) => String(({RANGES})()) !== String(before)", before)  # follows the clock
    events.find(".obslab-plot").focus()
    events.page.keyboard.press("ArrowLeft")
    panned = events.page.evaluate(RANGES)
    status(events, "kernel busy", timeout_s=4)
    assert events.page.evaluate(RANGES) == panned
    events.wait_idle()
    status(events, "range map")


def test_a_selection_reaches_the_kernel_and_escape_clears_it(events):
    events.find(".bk-tool-icon-box-select").click()
    box = events.find(".obslab-plot").bounding_box()
    events.page.mouse.move(box["x"] + 100, box["y"] + 50)
    events.page.mouse.down()
    events.page.mouse.move(box["x"] + 250, box["y"] + 150, steps=4)
    events.page.mouse.up()
    status(events, "'x0', 'x1', 'y0', 'y1']")
    events.find(".obslab-plot").focus()
    events.page.keyboard.press("Escape")
    status(events, "select []")


def test_a_lost_question_is_asked_again(events):
    events.page.evaluate(f"""() => {{
      const store = {STORE};
      const send = store.send;
      store.patience = 300;
      store.send = () => {{ store.send = send; }}; // loses one message
    }}""")
    events.find(".obslab button >> text=Reset view").click()
    status(events, "reset after")


def test_the_size_of_the_plot_is_told_to_a_handler_that_comes_late(events):
    events.run_cell(3)
    status(events, "resize True True")


def test_text_from_the_kernel_is_shown_as_text_and_not_executed(lab):
    with lab.show(HOSTILE, name="hostile.ipynb") as notebook:
        notebook.wait_for(f"() => {VIEWS}[0].frames > 0")
        text = '<img src=x onerror="window.hacked=1">'
        for place in "[role=status]", "[role=alert]", "th", "td", "caption":
            assert text in notebook.find(f".obslab {place}").text_content()
        assert notebook.find(".obslab").get_attribute("aria-label") == text
        assert notebook.find(".obslab img[src=x]").count() == 0
        assert notebook.page.evaluate("() => window.hacked === undefined")
        assert notebook.console_errors == []


def test_another_bokehjs_on_the_page_keeps_its_place(lab):
    notebook = lab.open(lab.write("other.ipynb", HOSTILE))
    notebook.page.evaluate("() => { globalThis.Bokeh = { version: '2.0.0', __bokeh__: true }; }")
    notebook.run_cell(0)
    notebook.wait_for(f"() => {VIEWS}[0].frames > 0")
    assert notebook.page.evaluate("() => Bokeh.version") == "2.0.0"
    assert notebook.page.evaluate(COLORS) > 3
    assert notebook.console_errors == []
    notebook.close()


@pytest.mark.long
def test_a_widget_without_a_view_is_not_drawn_and_one_shown_again_is_current(lab):
    hide = "from IPython.display import display\nhandle = display(bridge, display_id=True)"
    cells = LIVE.removesuffix("bridge\n"), hide, "handle.update('hidden')", "handle.update(bridge)", "k"
    with lab.show(*cells, name="hidden.ipynb") as notebook:
        notebook.wait_idle()
        notebook.run_cell(1)
        notebook.wait_for(SEEN)
        notebook.run_cell(2)
        notebook.wait_for(f"() => {VIEWS}.length === 0")
        count = f"() => {STORE}.frames"
        for _ in range(20):
            before = notebook.page.evaluate(count)
            notebook.page.wait_for_timeout(800)
            if notebook.page.evaluate(count) == before:
                break
        else:
            pytest.fail("the kernel goes on drawing for nobody")
        notebook.run_cell(3)
        notebook.wait_for(SEEN)
        (before,) = notebook.page.evaluate(CALLS)
        notebook.wait_for(f"(before) => ({CALLS})()[0] > before + 5", before)
        assert notebook.console_errors == []
