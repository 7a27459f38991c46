"""The calendar's figure: a square for each hour, in colours and hatches that tell how complete it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from bokeh.model import Model
from bokeh.models.formatters import DatetimeTickFormatter
from bokeh.models.ranges import Range1d
from bokeh.models.sources import ColumnDataSource
from bokeh.models.tickers import FixedTicker
from bokeh.models.tools import HoverTool, TapTool
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from obslab_widgets.latency_dashboard.calendar import DAY_MS, FEW_DAYS, LABELS, LESS, Calendar
from obslab_widgets.parts import LEFT_PX, PALETTE, add_names

CALENDAR = "completeness"
# Of NOTHING, LESS, ENOUGH, WHOLE: told apart by people with any colour vision, by lightness, too.
SHADES = ("#b5483f", "#e39a34", "#84b8e6", "#2f74b5")
_HATCHES = ("x", "/")
_LEGEND_PX, _AROUND_PX = 20, 75
_COLUMNS = ("hour", "day", "begins", "level", "present", "expected", "percent", "least")


class Squares:
    """``plot`` is as high as its days need, up to a limit."""

    def __init__(self, calendar: Calendar) -> None:
        days = calendar.days
        self._few = days <= FEW_DAYS
        self.height_px = round(min(480, max(250, 14 * days + 90)))
        self._cells = ColumnDataSource({name: [] for name in _COLUMNS})
        self._bad = ColumnDataSource({"hour": [], "day": [], "hatch": [], "shade": []})
        self._chosen = ColumnDataSource({"hour": [], "day": []})
        # The names of the colours stand below the last day, inside the axes.
        self._legend_ms = days * DAY_MS * _LEGEND_PX / (self.height_px - _AROUND_PX - _LEGEND_PX)
        self._days = Range1d(start=calendar.bottom_ms + self._legend_ms, end=calendar.top_ms)
        self._ticker = FixedTicker(ticks=[], minor_ticks=[])
        self.plot = self._figure()

    def updates(self, calendar: Calendar) -> Iterator[tuple[Model, dict[str, Any]]]:
        """The values of a calendar, model by model."""
        yield self._days, {"start": calendar.bottom_ms + self._legend_ms, "end": calendar.top_ms}
        yield self._ticker, {"ticks": list(calendar.ticks_ms)}
        yield (
            self._cells,
            {
                "hour": calendar.hour,
                "day": calendar.day_ms,
                "begins": calendar.hour - 0.5,
                "level": calendar.level,
                "present": calendar.present,
                "expected": calendar.expected,
                "percent": calendar.percent,
                "least": list(calendar.least),
            },
        )
        bad = np.flatnonzero(calendar.level <= LESS)
        yield (
            self._bad,
            {
                "hour": calendar.hour[bad],
                "day": calendar.day_ms[bad],
                "hatch": [_HATCHES[level] if self._few else " " for level in calendar.level[bad]],
                "shade": [SHADES[level] for level in calendar.level[bad]],
            },
        )
        yield self._chosen, dict(zip(("hour", "day"), calendar.marked, strict=True))

    def _figure(self) -> figure:
        plot = figure(
            name=CALENDAR, x_range=Range1d(start=0, end=24), y_range=self._days, y_axis_type="datetime",
            height=self.height_px, sizing_mode="stretch_width", min_width=320, tools=[TapTool()],
            toolbar_location=None, title=" ", min_border_left=LEFT_PX, min_border_right=12,
        )  # fmt: skip
        size: dict[str, Any] = {
            "width": 0.92 if self._few else 1.0,
            "height": DAY_MS * (0.88 if self._few else 1.4),
        }
        shade = linear_cmap("level", SHADES, low=-0.5, high=len(SHADES) - 0.5)
        cells = plot.rect("hour", "day", source=self._cells, fill_color=shade, line_color=None, **size)
        bad = plot.rect(
            "hour", "day", source=self._bad, fill_color=None, line_color="shade", line_width=1.5,
            hatch_pattern="hatch",
            hatch_color="#ffffff", hatch_alpha=0.75, hatch_scale=7, hatch_weight=1.2, **size,
        )  # fmt: skip
        chosen = plot.rect("hour", "day", source=self._chosen, fill_color=None, line_color=PALETTE[1],
                           line_width=2.5, **size)  # fmt: skip
        for drawn in (cells, bad, chosen):
            drawn.nonselection_glyph = drawn.selection_glyph = None
        plot.xgrid.grid_line_color = plot.ygrid.grid_line_color = None
        plot.xaxis.ticker = FixedTicker(ticks=[*range(0, 25, 3)], minor_ticks=[])
        plot.xaxis.axis_label = "hour, UTC; click to " + ("mark it" if self._few else "see its month")
        plot.yaxis.ticker = self._ticker
        resolutions = ("hours", "hourmin", "minutes", "days", "months", "years")
        days: dict[str, Any] = dict.fromkeys(resolutions, "%Y-%m-%d")
        plot.yaxis.formatter = DatetimeTickFormatter(**days)
        rows = [("", "@day{%a %F}, @begins{00}:00 to :59"), ("samples", "@present{0,0} of @expected{0,0}"),
                ("", "@percent{0.0} % @least")]  # fmt: skip
        plot.add_tools(HoverTool(tooltips=rows, formatters={"@day": "datetime"}, renderers=[cells]))
        names = [(f"■ {label}", shade) for label, shade in zip(LABELS, SHADES, strict=True)]
        add_names(plot, list(reversed(names)))
        return plot
