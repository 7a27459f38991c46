"""The Bokeh document of a Frame: figures made once for a structure, then only values."""

from __future__ import annotations

from typing import Any

from bokeh.layouts import gridplot
from bokeh.model import Model
from bokeh.models.annotations import BoxAnnotation, Title
from bokeh.models.ranges import Range1d
from bokeh.models.sources import ColumnDataSource
from bokeh.models.ui import UIElement
from bokeh.plotting import figure

from obslab_widgets.parts import add_hover, add_mark, add_names, colour, plain, time_figure
from obslab_widgets.stream_viewer.model import Axes, Frame, Group

_TOTAL_PX, _LOWEST_PX, _HIGHEST_PX = 480, 80, 260
_COLUMNS = ("time", "y", "value")


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
                for trace in panel.traces:
                    columns = {"time": trace.time_ms, "y": trace.y, "value": trace.value}
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
            self._marks.setdefault(group.name, []).append(add_mark(plot))
            self._lines(plot, panel)
            plots.append(plot)
        return plots

    def _lines(self, plot: figure, panel: Axes) -> None:
        for trace in panel.traces:
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
