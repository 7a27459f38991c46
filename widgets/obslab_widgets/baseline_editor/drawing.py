"""The Bokeh document of a Frame: figures made once, then only values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from bokeh.layouts import gridplot
from bokeh.model import Model
from bokeh.models.annotations import Span, Title
from bokeh.models.axes import Axis
from bokeh.models.formatters import BasicTickFormatter
from bokeh.models.ranges import Range1d
from bokeh.models.sources import ColumnDataSource
from bokeh.models.tools import BoxSelectTool, HoverTool, TapTool
from bokeh.models.ui import UIElement
from bokeh.plotting import figure

from obslab_widgets.baseline_editor.axes import KINDS, Dots
from obslab_widgets.baseline_editor.model import Axes, DeltaF, Frame
from obslab_widgets.parts import PALETTE, add_names, plain, time_figure

DELTA_F = "delta-f"
_BASE_PX, _RESIDUALS_PX, _DELTA_PX = 112, 104, 124
_AT, _BEFORE = PALETTE[2], PALETTE[4]
_LINES: dict[str, dict[str, Any]] = {
    "step": {"line_color": PALETTE[3], "line_width": 2.0},
    "knot": {"line_color": PALETTE[5], "line_width": 1.6, "line_dash": "dashed"},
}
_OUT = "#8a8a8a"  # 3:1 on white and on JupyterLab's dark, as the palette
_CHOSEN = "#f5c518"
_GRIP_PX = 11  # a line as thin as it looks best cannot be met with a mouse
_MARKERS = dict(zip(KINDS, ("circle", "x", "square_x", "diamond_cross"), strict=True))
_SHADES = dict(zip(KINDS, (None, PALETTE[6], _OUT, _OUT), strict=True))
_DOTS = ("time", "y", "low", "high", "marker", "line", "fill", "size", "value", "kind", "told")
_CURVE = ("time", "y", "low", "high")


class Drawing:
    """Figures for a frame, and how to bring a later frame of the same structure into them."""

    def __init__(self, frame: Frame) -> None:
        self.structure = frame.structure
        self._x = Range1d(start=frame.begin_ms, end=frame.end_ms)
        self._period = Range1d(start=frame.delta.begin_ms, end=frame.delta.end_ms)
        self._y: dict[str, Range1d] = {}
        self._titles: dict[str, Title] = {}
        self._labels: dict[str, Axis] = {}
        self._dots: dict[str, list[ColumnDataSource]] = {}
        self._curves: dict[str, ColumnDataSource] = {}
        self._lines = {kind: ColumnDataSource({"time": []}) for kind in _LINES}
        self._grips: dict[str, list[Span]] = {kind: [] for kind in _LINES}
        self._at: list[Span] = []
        self._sent: dict[str, dict[str, Any]] = {}
        panels = [*frame.bases, frame.residuals]
        plots = [self._panel(axes, number, frame) for number, axes in enumerate(panels)]
        # One toolbar for all panels: mark spots, point, pan, zoom with the wheel.
        self.root: UIElement = gridplot(
            [[plot] for plot in [*plots, self._delta(frame.delta)]],
            sizing_mode="stretch_width",
            toolbar_location="right",
            toolbar_options={"logo": None},
        )

    def forget(self) -> None:
        """Send everything again: the user moved what does not move by itself."""
        self._sent.clear()

    def forget_lines(self) -> None:
        """Send steps and knots again: the page has moved one."""
        for grip in [*self._grips["step"], *self._grips["knot"]]:
            self._sent.pop(grip.id, None)

    def updates(self, frame: Frame) -> Iterator[tuple[Model, dict[str, Any]]]:
        """The values of a frame that differ from those before, model by model."""
        for model, values in self._all(frame):
            if not _same(self._sent.get(model.id), values):
                self._sent[model.id] = values
                yield model, values

    def _all(self, frame: Frame) -> Iterator[tuple[Model, dict[str, Any]]]:
        yield self._x, {"start": frame.begin_ms, "end": frame.end_ms}
        yield self._period, {"start": frame.delta.begin_ms, "end": frame.delta.end_ms}
        panels = (*frame.bases, frame.residuals)
        for number, axes in enumerate(panels):
            yield self._y[axes.name], {"start": axes.y0, "end": axes.y1}
            for place, (source, dots) in enumerate(zip(self._dots[axes.name], axes.dots, strict=True)):
                shade = PALETTE[place if axes is frame.residuals else number]
                yield source, _columns(dots, axes.unit, shade)
            curve = axes.curve
            yield (
                self._curves[axes.name],
                dict(zip(_CURVE, (curve.time_ms, curve.y, curve.low, curve.high), strict=True)),
            )
            yield self._titles[axes.name], {"text": plain(axes.title)}
            yield self._labels[axes.name], {"axis_label": plain(axes.label)}
        delta = frame.delta
        yield self._y[DELTA_F], {"start": delta.y0, "end": delta.y1}
        yield self._titles[DELTA_F], {"text": plain(delta.title)}
        for name, line in (("before", delta.before), ("after", delta.after)):
            yield self._curves[name], {"time": line.time_ms, "y": line.y}
        yield from self._moved(frame)

    def _moved(self, frame: Frame) -> Iterator[tuple[Model, dict[str, Any]]]:
        for kind, places in (("step", frame.steps), ("knot", frame.knots)):
            yield self._lines[kind], {"time": np.array(places, dtype=np.float64)}
            for number, grip in enumerate(self._grips[kind]):
                at = number % len(places)
                alpha = 0.25 if frame.picked == f"{kind} {at}" else 0.0
                yield grip, {"location": places[at], "line_alpha": alpha}
        for span in self._at:
            yield span, {"location": frame.at_ms or 0.0, "visible": frame.at_ms is not None}

    def _panel(self, axes: Axes, number: int, frame: Frame) -> figure:
        last = axes is frame.residuals
        plot = self._figure(axes.name, self._x, axes, _RESIDUALS_PX if last else _BASE_PX, last)
        plot.add_tools(TapTool(renderers=[], description="Point at a time, a step or a knot"))
        source = self._curves[axes.name] = ColumnDataSource({name: [] for name in _CURVE})
        shade = PALETTE[number]
        if last:
            plot.add_layout(Span(location=0.0, dimension="width", line_color=_AT, line_alpha=0.6))
        else:
            plot.varea("time", "low", "high", source=source, fill_color=shade, fill_alpha=0.25)
            plot.line("time", "y", source=source, color=shade, line_width=2)
        self._dots[axes.name] = []
        for _dots in axes.dots:
            self._spots(plot, axes)
        for kind, places in (("step", frame.steps), ("knot", frame.knots)):
            plot.vspan("time", source=self._lines[kind], **_LINES[kind])
            self._grips[kind] += [_grip(plot, kind, number, at) for number, at in enumerate(places)]
        at_line = Span(location=0.0, dimension="height", line_color=_AT, line_dash="dotted", visible=False)
        plot.add_layout(at_line)
        self._at.append(at_line)
        if last:
            names = [
                (name, PALETTE[place]) for place, name in enumerate(_short(one.label) for one in frame.bases)
            ]
            add_names(plot, names)
        return plot

    def _spots(self, plot: figure, axes: Axes) -> None:
        source = ColumnDataSource({name: [] for name in _DOTS})
        self._dots[axes.name].append(source)
        plot.segment("time", "low", "time", "high", source=source, line_color="line", line_width=1.2)
        spots = plot.scatter(
            "time", "y", source=source, marker="marker", size="size", line_color="line", fill_color="fill",
            line_width=1.5,
        )  # fmt: skip
        name = "residual" if axes.name == "residuals" else _short(axes.label)
        rows = [("UTC", "@time{%F %T}"), (name, "@value"), ("", "@kind"), ("", "@told")]
        plot.add_tools(HoverTool(tooltips=rows, formatters={"@time": "datetime"}, renderers=[spots]))

    def _delta(self, delta: DeltaF) -> figure:
        axes = Axes(DELTA_F, "ΔF (nT)", delta.title, "nT", delta.y0, delta.y1, (), None)  # type: ignore[arg-type]
        plot = self._figure(DELTA_F, self._period, axes, _DELTA_PX, True)
        plot.add_layout(Span(location=0.0, dimension="width", line_color=_AT, line_alpha=0.6))
        for name, shade in (("before", _BEFORE), ("after", PALETTE[0])):
            source = self._curves[name] = ColumnDataSource({"time": [], "y": []})
            line = plot.line("time", "y", source=source, color=shade, line_width=1.5)
            rows = [(f"ΔF {name}", "@y{0.00} nT"), ("UTC", "@time{%F %T}")]
            plot.add_tools(HoverTool(tooltips=rows, formatters={"@time": "datetime"}, renderers=[line]))
        add_names(plot, [("before", _BEFORE), ("this baseline", PALETTE[0])])
        return plot

    def _figure(self, name: str, x_range: Range1d, axes: Axes, height_px: int, time_axis: bool) -> figure:
        y_range = self._y[name] = Range1d(start=axes.y0, end=axes.y1)
        # A blank keeps the place of a title that comes later.
        plot = time_figure(
            name, x_range, y_range, label=axes.label, height_px=height_px, time_axis=time_axis,
            title=axes.title or " ",
        )  # fmt: skip
        # Without renderers: what is selected is decided in Python, and drawn by it.
        select = BoxSelectTool(renderers=[], description="Mark spots, or the period of ΔF")
        plot.tools = [select, *(tool for tool in plot.tools if not isinstance(tool, BoxSelectTool))]
        plot.toolbar.active_drag = select
        plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
        if isinstance(plot.title, Title):
            self._titles[name] = plot.title
        self._labels[name] = plot.yaxis[0]
        return plot


def _grip(plot: figure, kind: str, number: int, at_ms: float) -> Span:
    """What a line is pulled by: it is seen when the mouse is on it."""
    shade = _LINES[kind]["line_color"]
    grip = Span(
        name=f"{kind} {number}", dimension="height", location=at_ms, editable=True,
        line_color=shade, line_alpha=0.0, line_width=_GRIP_PX, hover_line_color=shade,
        hover_line_alpha=0.45, hover_line_width=_GRIP_PX,
    )  # fmt: skip
    plot.add_layout(grip)
    return grip


def _columns(dots: Dots, unit: str, shade: str) -> dict[str, Any]:
    line = [_SHADES[kind] or shade for kind in dots.kind]
    return {
        "time": dots.time_ms,
        "y": dots.y,
        "low": dots.low,
        "high": dots.high,
        "marker": [_MARKERS[kind] for kind in dots.kind],
        "line": line,
        "fill": [
            _CHOSEN if chosen else one if kind == "used" else "rgba(0,0,0,0)"
            for one, kind, chosen in zip(line, dots.kind, dots.chosen, strict=True)
        ],
        "size": np.array([11.0 if chosen else 7.0 for chosen in dots.chosen]),
        "value": [_told(*spot, unit) for spot in zip(dots.value, dots.error, strict=True)],
        "kind": list(dots.kind),
        "told": list(dots.told),
    }


def _told(value: float, error: float, unit: str) -> str:
    return f"{value:.4f} {unit}" + (f" ± {error:.4f}" if np.isfinite(error) else "")


def _short(label: str) -> str:
    return label.split()[0]


def _same(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    if old is None:
        return False
    return all(
        np.array_equal(old[name], value, equal_nan=value.dtype.kind == "f")
        if isinstance(value, np.ndarray)
        else old[name] == value
        for name, value in new.items()
    )
