"""What several widgets share: colours and figures."""

from __future__ import annotations

from typing import Literal

from bokeh.models.annotations import BoxAnnotation, Label
from bokeh.models.formatters import DatetimeTickFormatter
from bokeh.models.glyphs import Line
from bokeh.models.ranges import FactorRange, Range1d
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.tickers import BasicTicker
from bokeh.models.tools import BoxSelectTool, HoverTool, PanTool, ResetTool, WheelZoomTool
from bokeh.plotting import figure

PALETTE = ("#3b8bd4", "#d96a2b", "#2a9d74", "#c8649a", "#a8821a", "#8b78e0", "#d0564f", "#4c9aa8")
"""Colours of traces, each with a contrast of 3:1 or more on white and on JupyterLab's dark #111111."""

LEFT_PX = 78  # the same for all panels, so that their time axes stand one above the other

_UTC = DatetimeTickFormatter(
    microseconds="%H:%M:%S.%3N",
    milliseconds="%H:%M:%S.%3N",
    seconds="%H:%M:%S",
    minsec="%H:%M:%S",
    minutes="%H:%M",
    hourmin="%H:%M",
    hours="%H:%M",
    days="%m-%d",
    months="%Y-%m",
    years="%Y",
    context="%Y-%m-%d",
    context_which="start",
    hide_repeats=True,
)


def colour(number: int) -> str:
    """A colour for the trace of that number; they repeat after eight."""
    return PALETTE[number % len(PALETTE)]


def time_figure(
    name: str,
    x_range: Range1d,
    y_range: Range1d | FactorRange,
    *,
    label: str,
    height_px: int,
    title: str = "",
    time_axis: bool = True,
    y_axis: Literal["linear", "log", "rows"] = "linear",
) -> figure:
    """Axes against UTC in ms since 1970: the user pans, zooms and selects along time only."""
    pan, wheel = PanTool(dimensions="width"), WheelZoomTool(dimensions="width")
    plot = figure(
        name=name,
        x_range=x_range,
        y_range=y_range,
        x_axis_type="datetime",
        y_axis_type="log" if y_axis == "log" else "auto",
        height=height_px + (22 if title else 0) + (40 if time_axis else 0),
        sizing_mode="stretch_width",
        min_width=300,
        tools=[pan, wheel, BoxSelectTool(dimensions="width"), ResetTool()],
        active_drag=pan,
        active_scroll=None,  # a page is scrolled with the wheel; zooming is a tool to pick
        title=plain(title) or None,
        output_backend="canvas",
        min_border_left=LEFT_PX,
        min_border_right=12,
        min_border_top=4,
        min_border_bottom=4,
    )
    plot.yaxis.axis_label = plain(label)
    if y_axis == "linear":
        plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.xaxis.formatter = _UTC
    plot.xaxis.visible = time_axis
    if time_axis:
        plot.xaxis.axis_label = "UTC by the station's clock"
        plot.xaxis.axis_label_standoff = 0
    return plot


def add_hover(plot: figure, name: str, unit: str, line: GlyphRenderer[Line]) -> None:
    """A tooltip on a line of columns ``time``, ``y`` and ``value``: name, UTC, and value with unit."""
    rows = [(name, f"@value{{0.000}} {in_tooltip(unit)}"), ("UTC", "@time{%F %T.%3N}")]
    plot.add_tools(HoverTool(tooltips=rows, formatters={"@time": "datetime"}, renderers=[line]))


def in_tooltip(text: str) -> str:
    """Text for a tooltip, which Bokeh takes for HTML in which ``@`` and ``$`` stand for columns."""
    return "".join(letter if letter.isalnum() or letter == " " else f"&#{ord(letter)};" for letter in text)


def plain(text: str) -> str:
    """Text for a title or an axis: Bokeh would set what stands between ``$$`` as a formula."""
    return text.replace("$", "\N{FULLWIDTH DOLLAR SIGN}").replace("\\", "\N{FULLWIDTH REVERSE SOLIDUS}")


def add_names(plot: figure, names: list[tuple[str, str]]) -> None:
    """Names of traces in their colours along the lower edge, inside the axes.

    Not a Bokeh Legend: its lines stayed blank in plots whose data change many times a second.
    """
    left_px = 8.0
    for name, shade in names:
        label = Label(text=plain(name), text_color=shade, text_font_size="11px", text_font_style="bold")
        label.update(x=left_px, y=3, x_units="screen", y_units="screen")
        plot.add_layout(label)
        left_px += 7.0 * len(name) + 16


def add_mark(plot: figure) -> BoxAnnotation:
    """A marked interval of time, invisible until its ``left`` and ``right`` are set."""
    mark = BoxAnnotation(
        left=0, right=0, fill_color=PALETTE[1], fill_alpha=0.15, line_color=PALETTE[1], visible=False
    )
    plot.add_layout(mark)
    return mark
