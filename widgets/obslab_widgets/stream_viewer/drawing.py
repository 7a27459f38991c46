"""The Bokeh document of a Frame: figures made once for a structure, then only values."""

from __future__ import annotations

from typing import Any

from bokeh.layouts import gridplot
from bokeh.model import Model
from bokeh.models.annotations import BoxAnnotation, Title
from bokeh.models.ranges import Range1d
from bokeh.models.sources import ColumnDataSource
from bokeh.models.tools import HoverTool
from bokeh.models.ui import UIElement
from bokeh.plotting import figure

from obslab_widgets.parts import PALETTE, add_hover, add_mark, add_names, colour, plain, time_figure
from obslab_widgets.stream_viewer.model import Frame, Group
from obslab_widgets.stream_viewer.panels import Axes, Trace

_TOTAL_PX, _LOWEST_PX, _HIGHEST_PX = 480, 80, 260
_COLUMNS = ("time", "y", "value")
_SHADES = ("left", "right", "words")
_FLAG = PALETTE[6]
_PROPOSED: dict[str, Any] = {
    "fill_alpha": 0.06,
    "line_dash": "dashed",
    "hatch_pattern": "/",
    "hatch_alpha": 0.25,
}
_CONFIRMED: dict[str, Any] = {"fill_alpha": 0.28, "line_dash": "solid"}


class Drawing:
    """Figures for the panels of a frame, and how to bring a later frame of the same structure into them."""

    def __init__(self, frame: Frame) -> None:
        self.structure = frame.structure
        self.group_of = {panel.name: group.name for group in frame.groups for panel in group.panels}
        self._sources: dict[str, ColumnDataSource] = {}
        self._x: dict[str, Range1d] = {}
        self._y: dict[str, Range1d] = {}
        self._titles: dict[str, Title] = {}
        self._marks: dict[str, list[BoxAnnotation]] = {}
        self._shades: dict[tuple[str, bool], ColumnDataSource] = {}
        panels = max(1, sum(len(group.panels) for group in frame.groups))
        self._height_px = min(_HIGHEST_PX, max(_LOWEST_PX, _TOTAL_PX // panels))
        figures = [plot for group in frame.groups for plot in self._group(group)]
        # One toolbar for all panels: pan, zoom with the wheel, mark an interval.
        self.root: UIElement = gridplot(
            [[plot] for plot in figures],
            sizing_mode="stretch_width",
            toolbar_location="right",
            toolbar_options={"logo": None},
        )

    def updates(self, frame: Frame) -> list[tuple[Model, dict[str, Any]]]:
        """The values of a frame, model by model."""
        values: list[tuple[Model, dict[str, Any]]] = []
        for group in frame.groups:
            values.append((self._x[group.name], {"start": group.begin_ns / 1e6, "end": group.end_ns / 1e6}))
            values.append((self._titles[group.name], {"text": plain(group.title)}))
            left, right = group.marked or (0.0, 0.0)
            for mark in self._marks[group.name]:
                values.append((mark, {"left": left, "right": right, "visible": group.marked is not None}))
            for panel in group.panels:
                values.append((self._y[panel.name], {"start": panel.y0, "end": panel.y1}))
                for confirmed in (False, True):
                    values.append((self._shades[panel.name, confirmed], _shades(panel, confirmed)))
                for trace in panel.traces:
                    columns: dict[str, Any] = {"time": trace.time_ms, "y": trace.y, "value": trace.value}
                    columns |= {"words": list(trace.words)} if trace.words else {}
                    values.append((self._sources[trace.name], columns))
        return values

    def _group(self, group: Group) -> list[figure]:
        x_range = self._x[group.name] = Range1d(start=group.begin_ns / 1e6, end=group.end_ns / 1e6)
        plots = []
        for panel in group.panels:
            first, last = panel is group.panels[0], panel is group.panels[-1]
            y_range = self._y[panel.name] = Range1d(start=panel.y0, end=panel.y1)
            plot = time_figure(
                panel.name,
                x_range,
                y_range,
                label=panel.label,
                height_px=self._height_px,
                title=group.title if first else "",
                time_axis=last,
            )
            if isinstance(plot.title, Title):
                self._titles.setdefault(group.name, plot.title)
            self._lines(plot, panel)
            self._flags(plot, panel)
            self._marks.setdefault(group.name, []).append(add_mark(plot))
            plots.append(plot)
        return plots

    def _lines(self, plot: figure, panel: Axes) -> None:
        for trace in panel.traces:
            if trace.words:
                self._points(plot, trace)
                continue
            source = self._sources[trace.name] = ColumnDataSource({name: [] for name in _COLUMNS})
            line = plot.line(
                "time", "y", source=source, color=colour(trace.colour), line_width=1.5, name=trace.name
            )
            # A point between two gaps has no line; without dots it would not be seen.
            dots = plot.scatter(
                "time", "y", source=source, color=colour(trace.colour), size=2, line_color=None
            )
            dots.selection_glyph = dots.nonselection_glyph = None  # a marked interval does not dim the rest
            add_hover(plot, trace.name, trace.unit, line)
        add_names(plot, [(trace.name, colour(trace.colour)) for trace in panel.traces])

    def _points(self, plot: figure, trace: Trace) -> None:
        columns: dict[str, list[Any]] = {name: [] for name in (*_COLUMNS, "words")}
        source = self._sources[trace.name] = ColumnDataSource(columns)
        shade = colour(trace.colour)
        look: dict[str, Any] = {"size": 9, "marker": "diamond", "color": shade, "name": trace.name}
        dots = plot.scatter("time", "y", source=source, **look)
        dots.selection_glyph = dots.nonselection_glyph = None
        rows = [(trace.name.rsplit(" ", 1)[0], "@words"), ("UTC", "@time{%F %T}")]
        plot.add_tools(HoverTool(tooltips=rows, formatters={"@time": "datetime"}, renderers=[dots]))

    def _flags(self, plot: figure, panel: Axes) -> None:
        """Strips behind the traces; however short a flag, its edges are lines that can be seen."""
        for confirmed, look in ((False, _PROPOSED), (True, _CONFIRMED)):
            source = ColumnDataSource({name: [] for name in _SHADES})
            self._shades[panel.name, confirmed] = source
            strips = plot.vstrip(
                "left",
                "right",
                source=source,
                fill_color=_FLAG,
                line_color=_FLAG,
                line_alpha=0.8,
                hatch_color=_FLAG,
                level="underlay",
                **look,
            )
            strips.selection_glyph = strips.nonselection_glyph = None
            told = [("flag", "@words")]  # Bokeh escapes what comes from a column
            plot.add_tools(HoverTool(tooltips=told, renderers=[strips], attachment="above"))


def _shades(panel: Axes, confirmed: bool) -> dict[str, Any]:
    shades = [shade for shade in panel.shades if shade.confirmed == confirmed]
    return {name: [getattr(shade, name) for shade in shades] for name in _SHADES}
