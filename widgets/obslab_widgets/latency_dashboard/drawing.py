"""The Bokeh document of a Frame: figures made once for a structure, then only values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from bokeh.layouts import column, gridplot, row
from bokeh.model import Model
from bokeh.models.annotations import BoxAnnotation, Label, Span, Title
from bokeh.models.formatters import NumeralTickFormatter
from bokeh.models.ranges import FactorRange, Range1d
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.sources import ColumnDataSource
from bokeh.models.tickers import FixedTicker
from bokeh.models.tools import HoverTool
from bokeh.models.ui import UIElement
from bokeh.plotting import figure

from obslab_widgets.latency_dashboard.curves import TICKS, Curve, Level, ticks_s
from obslab_widgets.latency_dashboard.model import Frame
from obslab_widgets.latency_dashboard.squares import Squares
from obslab_widgets.latency_dashboard.timeline import CAUSES
from obslab_widgets.parts import PALETTE, add_mark, add_names, colour, in_tooltip, plain, time_figure

LATENCY, OUTAGES, DISTRIBUTION = "latency", "outages", "distribution"
_ROW_PX = 22
_APART = (0.1, 0.14)  # of the length of the axis: labels of latency, of the distribution
_SHADES = dict(zip(CAUSES, (1, 4, 5, 3, 7, 6, 0), strict=True))
_TARGET, _DELAY = PALETTE[6], PALETTE[5]
_CURVE = ("time", "y", "lone", "value", "worst", "n")


class Drawing:
    """Figures for a frame, and how to bring a later frame of the same structure into them."""

    def __init__(self, frame: Frame) -> None:
        self.structure = frame.structure
        self._sent: dict[str, Mapping[str, Any]] = {}
        self._x = Range1d(start=frame.begin_ns / 1e6, end=frame.end_ns / 1e6)
        self._s = Range1d(start=frame.low_s, end=frame.high_s)
        self._tickers = [FixedTicker(ticks=[], minor_ticks=[]) for _ in _APART]
        self._n = Range1d(start=0.5, end=10.0)
        self._curves = [ColumnDataSource({name: [] for name in _CURVE}) for _ in frame.curves]
        self._bars = ColumnDataSource({name: [] for name in ("low", "high", "n", "from", "to")})
        self._out = ColumnDataSource(
            {name: [] for name in ("row", "left", "right", "told", "shade", "cause")}
        )
        self._marks: list[BoxAnnotation] = []
        self._squares = Squares(frame.calendar)
        top = gridplot(
            [[self._latency(frame)], [self._outages(frame)]],
            sizing_mode="stretch_width",
            toolbar_location="right",
            toolbar_options={"logo": None},
        )
        bottom = row(self._squares.plot, self._distribution(frame), sizing_mode="stretch_width", spacing=8)
        bottom.styles = {"flex-wrap": "wrap"}  # on a narrow page one stands below the other
        self.root: UIElement = column(top, bottom, sizing_mode="stretch_width")

    def updates(self, frame: Frame) -> Iterator[tuple[Model, dict[str, Any]]]:
        """The values of a frame, model by model; what is large is left out when it is the same again."""
        yield self._x, {"start": frame.begin_ns / 1e6, "end": frame.end_ns / 1e6}
        yield self._s, {"start": frame.low_s, "end": frame.high_s}
        for ticker, apart in zip(self._tickers, _APART, strict=True):
            yield ticker, {"ticks": ticks_s(frame.low_s, frame.high_s, apart)}
        for title, text in zip(self._titles, frame.titles, strict=True):
            yield title, {"text": plain(text)}
        for mark in self._marks:
            ends = (frame.marked.begin_ns / 1e6, frame.marked.end_ns / 1e6) if frame.marked else (0.0, 0.0)
            yield mark, {"left": ends[0], "right": ends[1], "visible": frame.marked is not None}
        for model, values in self._large(frame):
            if not _same(self._sent.get(model.id), values):
                self._sent[model.id] = values
                yield model, values

    def forget(self) -> None:
        """Send everything again: the user moved what does not move by itself."""
        self._sent.clear()

    def _large(self, frame: Frame) -> Iterator[tuple[Model, dict[str, Any]]]:
        for source, curve in zip(self._curves, frame.curves, strict=True):
            columns = (curve.time_ms, curve.y_s, curve.lone_s, curve.value_s, curve.worst_s, curve.n)
            yield source, dict(zip(_CURVE, columns, strict=True))
        bars = frame.bars
        yield self._n, {"start": 0.5, "end": 3.0 * float(bars.n.max(initial=300.0))}
        # On a logarithmic axis a bar cannot begin at zero.
        yield self._bars, {"low": bars.low_s, "high": bars.high_s, "n": bars.n,
                           "from": bars.low_s * 1e3, "to": bars.high_s * 1e3}  # fmt: skip
        out = frame.timeline.bars
        yield (
            self._out,
            {
                "row": [plain(bar.row) for bar in out],
                "left": np.array([bar.begin_ms for bar in out]),
                "right": np.array([bar.end_ms for bar in out]),
                "told": [bar.told for bar in out],
                "shade": [PALETTE[_SHADES[bar.cause]] for bar in out],
                "cause": [bar.cause for bar in out],
            },
        )
        yield from self._squares.updates(frame.calendar)

    @property
    def _titles(self) -> list[Title]:
        return [plot.title for plot in self._titled if isinstance(plot.title, Title)]

    def _latency(self, frame: Frame) -> figure:
        plot = time_figure(
            LATENCY, self._x, self._s, label="latency", height_px=210, title=frame.titles[0], time_axis=False,
            y_axis="log",
        )  # fmt: skip
        _latency_axis(plot.yaxis[0], self._tickers[0])
        plot.ygrid[0].ticker = self._tickers[0]
        for source, curve in zip(self._curves, frame.curves, strict=True):
            _line(plot, source, curve)
        _levels(plot, frame.levels, "width")
        add_names(plot, [(_key(curve), colour(curve.colour)) for curve in frame.curves[:8]])
        self._marks.append(add_mark(plot))
        self._titled = [plot]
        return plot

    def _outages(self, frame: Frame) -> figure:
        rows = [plain(name) for name in frame.timeline.rows]
        plot = time_figure(
            OUTAGES, self._x, FactorRange(factors=["", *reversed(rows)]), label="", title=frame.titles[1],
            height_px=_ROW_PX * (len(rows) + 1), y_axis="rows",
        )  # fmt: skip
        bars = plot.hbar(
            y="row", left="left", right="right", height=0.62, source=self._out, fill_color="shade",
            line_color="shade", line_width=2,  # a second of a year is seen, too
        )  # fmt: skip
        bars.nonselection_glyph = bars.selection_glyph = None
        plot.ygrid.grid_line_color = None
        told = [("", "@row"), ("cause", "@cause"), ("out", "@told")]
        told += [("from", "@left{%F %T}"), ("to", "@right{%F %T}")]
        _hover(plot, bars, told, {"@left": "datetime", "@right": "datetime"})
        add_names(plot, [(cause, PALETTE[_SHADES[cause]]) for cause in frame.timeline.causes])
        self._marks.append(add_mark(plot))
        self._titled += [plot, self._squares.plot]
        return plot

    def _distribution(self, frame: Frame) -> figure:
        plot = figure(
            name=DISTRIBUTION, x_range=self._s, y_range=self._n, x_axis_type="log", y_axis_type="log",
            height=self._squares.height_px, width=360, sizing_mode="fixed", tools=[],
            toolbar_location=None, title=plain(frame.titles[3]), min_border_left=60, min_border_right=12,
        )  # fmt: skip
        plot.yaxis.axis_label, plot.xaxis.axis_label = "samples", "latency"
        _latency_axis(plot.xaxis[0], self._tickers[1])
        plot.xgrid[0].ticker = self._tickers[1]
        plot.yaxis.formatter = NumeralTickFormatter(format="0a")
        bars = plot.quad(left="low", right="high", bottom=0.5, top="n", source=self._bars, color=PALETTE[0],
                         line_color=None)  # fmt: skip
        _hover(plot, bars, [("latency", "@from{0,0} to @to{0,0} ms"), ("samples", "@n{0,0}")], {})
        _levels(plot, frame.levels, "height", named=False)
        self._titled.append(plot)
        return plot


def _line(plot: figure, source: ColumnDataSource, curve: Curve) -> None:
    shade = colour(curve.colour)
    line = plot.line("time", "y", source=source, color=shade, line_width=1.8, line_dash=curve.dash)
    dots = plot.scatter("time", "lone", source=source, color=shade, size=4, line_color=None)
    for drawn in (line, dots):
        drawn.nonselection_glyph = drawn.selection_glyph = None
    rows = [(in_tooltip(curve.name), "@value{0.000} s"), ("latest of all", "@worst{0.000} s"),
            ("samples", "@n{0,0}"), ("UTC, middle", "@time{%F %T}")]  # fmt: skip
    _hover(plot, line, rows, {"@time": "datetime"})


def _key(curve: Curve) -> str:
    """The name of a line with its dashes, since colour alone does not tell everybody."""
    return f"{ {'solid': '──', 'dashed': '- -', 'dotted': '···'}[curve.dash] } {curve.name}"


def _hover(
    plot: figure, drawn: GlyphRenderer[Any], rows: list[tuple[str, str]], formats: dict[str, Any]
) -> None:
    plot.add_tools(
        HoverTool(tooltips=rows, formatters=formats, renderers=[drawn], point_policy="snap_to_data")
    )


def _latency_axis(axis: Any, ticker: FixedTicker) -> None:
    axis.ticker, axis.major_label_overrides = ticker, TICKS


def _levels(
    plot: figure, levels: tuple[Level, ...], dimension: Literal["width", "height"], *, named: bool = True
) -> None:
    for level in levels:
        shade = _TARGET if level.is_target else _DELAY
        dash = "dashed" if level.is_target else "dotdash"
        plot.add_layout(
            Span(location=level.at_s, dimension=dimension, line_color=shade, line_dash=dash, line_width=1.4)
        )
        if named:
            name = Label(text=level.name, text_color=shade, text_font_size="11px")
            name.update(x=4, x_units="screen", y=level.at_s, y_offset=2 if level.is_target else -2)
            name.text_baseline = "bottom" if level.is_target else "top"
            plot.add_layout(name)


def _same(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    if old is None:
        return False
    return all(
        np.array_equal(old[name], value, equal_nan=True)
        if isinstance(value, np.ndarray)
        else old[name] == value
        for name, value in new.items()
    )
