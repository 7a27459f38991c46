"""What a fit says besides its baseline: where its knots are, and which jumps it leaves to be asked about."""

from __future__ import annotations

import xarray as xr

from obslab.telemetry.baseline import Fit, find_jumps
from obslab_widgets.baseline_editor.state import State


def jumps_left(spots: xr.Dataset, curve: Fit) -> xr.Dataset:
    """Jumps of the spots that the curve's steps do not account for."""
    base, names = spots["base"].values.copy(), spots["component"].values.tolist()
    steps = curve.steps
    for jump in range(steps.sizes["jump"]):
        component, time, size = (steps[one].values[jump] for one in ("component", "time", "size"))
        base[spots["time"].values >= time, names.index(component)] -= size
    return find_jumps(spots.assign(base=spots["base"].copy(data=base)))


def knots_of(state: State, curve: Fit | None) -> tuple[int, ...]:
    """The knots as a State has them by hand, or as a fit has placed them."""
    if isinstance(state.knots, tuple):
        return state.knots
    if state.knots is None or curve is None:
        return ()
    return tuple(
        int(knot) for piece in curve.baseline.curves[0].basis.pieces for knot in piece.knots_ns[1:-1]
    )
