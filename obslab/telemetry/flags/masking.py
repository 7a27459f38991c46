"""Flags at work: confirmed ones make samples missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from obslab.telemetry.flags.series import components_of, stream_name

if TYPE_CHECKING:
    import xarray as xr


def masked(dataset: xr.Dataset, flags: xr.Dataset) -> xr.Dataset:
    """Samples of a stream with NaN where a confirmed flag of that stream is; FLAGS of others are passed over.

    A flag without a component is for all of them. The dataset given is not altered.
    """
    name, names = stream_name(dataset), components_of(dataset)
    chosen = (flags["stream"].values == name) & (flags["state"].values == "confirmed")
    if not chosen.any():
        return dataset
    time = dataset["time"].values
    hidden = {component: np.zeros(time.size, dtype=bool) for component in names}
    for component, begin, end in zip(
        flags["component"].values[chosen],
        flags["begin"].values[chosen],
        flags["end"].values[chosen],
        strict=True,
    ):
        inside = (time >= begin) & (time < end)
        for one in names if component == "" else [str(component)]:
            if one in hidden:
                hidden[one] |= inside
    return dataset.assign(
        {component: dataset[component].where(~inside) for component, inside in hidden.items() if inside.any()}
    )
