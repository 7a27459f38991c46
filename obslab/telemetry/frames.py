"""Frames of the magnetic vector: XYZ, HDZ, DIF and a variometer's own axes, and the ways between them.

    xyz_of_hdz, hdz_of_xyz, xyz_of_dif, dif_of_xyz, rotated    arrays (..., 3), nT and degrees
    frame_of, to_xyz, to_hdz, to_dif, turned, total_field      Datasets of samples, nT and arcmin

X is geographic north, Y east, Z down; H the horizontal intensity, D east of north, I down from the
horizontal, F the total. The formulas are exact (INTERMAGNET Technical Manual, "Conversion of
components"); what holds for small angles only says so in its name. NaN in any component that enters gives
NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from obslab.errors import FrameError
from obslab.telemetry.datasets import samples_schema

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

FRAMES = ("xyz", "hdz", "dif", "hez")

_DIRECTIONS = frozenset("xyzhdei")  # f, s and g are totals and go with any frame
_FRAME_OF = {frozenset(frame) & _DIRECTIONS: frame for frame in FRAMES}
_SAME_TOTAL_NT = 0.05  # rounding of three components to 0.01 nT moves F by less


def xyz_of_hdz(hdz: ArrayLike) -> Floats:
    """X, Y, Z in nT of H (nT), D (degrees), Z (nT); shape (..., 3) in and out."""
    h, d, z = _three(hdz)
    angle = np.deg2rad(d)
    return np.stack([h * np.cos(angle), h * np.sin(angle), z], axis=-1)


def hdz_of_xyz(xyz: ArrayLike) -> Floats:
    """H (nT), D (degrees, -180 to 180) and Z (nT) of X, Y, Z in nT; shape (..., 3)."""
    x, y, z = _three(xyz)
    return np.stack([np.hypot(x, y), np.rad2deg(np.arctan2(y, x)), z], axis=-1)


def xyz_of_dif(dif: ArrayLike) -> Floats:
    """X, Y, Z in nT of D, I (degrees) and F (nT); shape (..., 3)."""
    d, i, f = _three(dif)
    declination, inclination = np.deg2rad(d), np.deg2rad(i)
    h = f * np.cos(inclination)
    return np.stack([h * np.cos(declination), h * np.sin(declination), f * np.sin(inclination)], axis=-1)


def dif_of_xyz(xyz: ArrayLike) -> Floats:
    """D (degrees, -180 to 180), I (degrees, -90 to 90) and F (nT) of X, Y, Z in nT; shape (..., 3)."""
    x, y, z = _three(xyz)
    h = np.hypot(x, y)
    d, i = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, h))
    return np.stack([d, i, np.hypot(h, z)], axis=-1)


_XYZ_OF: dict[str, Callable[[Floats], Floats]] = {
    "xyz": np.asarray,
    "hdz": xyz_of_hdz,
    "dif": xyz_of_dif,
}


def small_angle_declination(h: ArrayLike, e: ArrayLike, declination_deg: float = 0.0) -> Floats:
    """D in degrees as D0 + E/H, with the axis of h at declination D0.

    Too large by (E/H)^3 / 3 radians, 1.1 arcsec for an E of 500 nT at an H of 20,000 nT; use it to compare
    with others who do, and ``hdz_of_xyz`` and ``rotated`` otherwise.
    """
    ratio: Floats = np.asarray(e, np.float64) / np.asarray(h, np.float64)
    return declination_deg + np.rad2deg(ratio)


def rotation(declination_deg: float = 0.0, inclination_deg: float = 0.0, roll_deg: float = 0.0) -> Floats:
    """The matrix (3, 3) whose columns are a sensor's axes in north, east and down.

    The first axis points to this declination and inclination. Without roll the second is horizontal, 90 deg
    to the east of it; roll turns second and third about the first, clockwise looking along it. Any
    orthogonal right-handed sensor has such angles.
    """
    d, i, r = np.deg2rad([declination_deg, inclination_deg, roll_deg])
    first = np.array([np.cos(i) * np.cos(d), np.cos(i) * np.sin(d), np.sin(i)])
    east = np.array([-np.sin(d), np.cos(d), 0.0])
    down = np.cross(first, east)
    return np.stack(
        [first, np.cos(r) * east + np.sin(r) * down, np.cos(r) * down - np.sin(r) * east], axis=-1
    )


def rotated(
    values: ArrayLike,
    declination_deg: float = 0.0,
    inclination_deg: float = 0.0,
    roll_deg: float = 0.0,
    *,
    inverse: bool = False,
) -> Floats:
    """North, east and down of what a sensor turned by these angles reads; shape (..., 3), any unit.

    ``inverse`` gives what such a sensor reads of north, east and down. The angles are those of ``rotation``.
    One component missing makes all three missing.
    """
    turn = rotation(declination_deg, inclination_deg, roll_deg)
    axes = np.stack(_three(values), axis=-1)
    return axes @ (turn if inverse else turn.T)


def frame_of(dataset: xr.Dataset) -> str:
    """The frame of a Dataset's components: ``xyz``, ``hdz``, ``dif``, or a variometer's ``hez``.

    FrameError when they are none of these, or of more than one.
    """
    there = {str(name) for name in dataset.data_vars}
    frame = frame_among(there)
    if frame is None:
        raise FrameError(
            f"{whose(dataset)} has {_listed(there & (_DIRECTIONS | set('fsg')))}, which are not the "
            "components of one frame: wanted x y z, h d z, d i f, or a variometer's h e z; drop what is over",
            components=tuple(sorted(there)),
        )
    return frame


def frame_among(components: Set[str]) -> str | None:
    """The frame that components make, with totals beside or not; None when they are not one frame's."""
    frame = _FRAME_OF.get(frozenset(components & _DIRECTIONS))
    return frame if frame is not None and set(frame) <= components else None


def to_xyz(dataset: xr.Dataset) -> xr.Dataset:
    """The same samples as x, y, z in nT; all other variables stay."""
    return _as(dataset, "xyz", np.asarray)


def to_hdz(dataset: xr.Dataset) -> xr.Dataset:
    """The same samples as h (nT), d (arcmin, -180 to 180 degrees) and z (nT); all other variables stay."""
    return _as(dataset, "hdz", hdz_of_xyz)


def to_dif(dataset: xr.Dataset) -> xr.Dataset:
    """The same samples as d, i (arcmin) and f (nT); all other variables stay.

    ``f`` is the vector's own total from then on. An ``f`` that was not, because it came from a scalar
    instrument, is kept as ``s``.
    """
    return _as(dataset, "dif", dif_of_xyz)


def turned(
    dataset: xr.Dataset,
    declination_deg: float = 0.0,
    inclination_deg: float = 0.0,
    roll_deg: float = 0.0,
    *,
    inverse: bool = False,
) -> xr.Dataset:
    """The samples of a sensor whose axes are turned by these angles, in axes that are not; see ``rotated``.

    Names stay: x, y, z of the sensor become x, y, z to north, east and down; h, e, z become those of an
    untwisted variometer. FrameError for h d z and d i f, whose parts are no axes.
    """
    frame = frame_of(dataset)
    if frame not in ("xyz", "hez"):
        raise FrameError(
            f"{whose(dataset)} is {_listed(frame)}: only x y z or h e z can be turned, as these are axes; "
            "use to_xyz first",
            frame=frame,
        )
    values = rotated(_values(dataset, frame), declination_deg, inclination_deg, roll_deg, inverse=inverse)
    return _with(dataset, frame, values)


def total_field(dataset: xr.Dataset) -> Floats:
    """The vector's own total, shape (time,), in nT: of the components, never of ``s``.

    Of a variometer's h, e, z it is the length of what the axes read, without their baselines.
    """
    frame = frame_of(dataset)
    values = _values(dataset, frame)
    if frame == "dif":
        return values[:, 2]
    first, second, third = _three(values)
    return np.hypot(first, third) if frame == "hdz" else np.hypot(np.hypot(first, second), third)


def whose(dataset: xr.Dataset) -> str:
    """Station and instrument of a Dataset, as a message names it."""
    words = (str(dataset.attrs.get(name, "")) for name in ("station", "instrument"))
    return " ".join(word for word in words if word) or "the dataset"


def _as(dataset: xr.Dataset, wanted: str, of_xyz: Callable[[Floats], Floats]) -> xr.Dataset:
    frame = frame_of(dataset)
    if frame == "hez":
        raise FrameError(
            f"{whose(dataset)} is h e z, a variometer's axes: to make {_listed(wanted)} of them it takes a "
            "baseline; see obslab.telemetry.adjusted.adjust",
            frame=frame,
            wanted=wanted,
        )
    values = _values(dataset, frame)
    if frame != wanted:
        values = of_xyz(_XYZ_OF[frame](values))
    elif all(dataset[name].attrs.get("units") != "deg" for name in frame):
        return dataset.assign_attrs(orientation=wanted.upper())
    return _with(dataset, wanted, values)


def _values(dataset: xr.Dataset, frame: str) -> Floats:
    """Components of a frame as (time, 3), in nT and degrees."""
    return np.stack([_component(dataset, name) for name in frame], axis=-1)


def _component(dataset: xr.Dataset, name: str) -> Floats:
    units = {"arcmin": 1 / 60, "deg": 1.0} if name in "di" else {"nT": 1.0}
    usual = next(iter(units))
    unit = dataset[name].attrs.get("units", usual)
    if unit not in units:
        raise FrameError(
            f"{whose(dataset)}: component {name} is in {unit!r}, wanted {usual}", component=name, unit=unit
        )
    return np.asarray(dataset[name].values, np.float64) * units[unit]


def _with(dataset: xr.Dataset, frame: str, values: Floats) -> xr.Dataset:
    """The dataset with these components, in nT and degrees, in place of its own."""
    before = frame_of(dataset)
    schema = samples_schema({name: "arcmin" if name in "di" else "nT" for name in (*frame, "s")})
    kept = dataset.drop_vars(list(before))
    if "f" in frame and "f" in kept:
        if "s" not in kept and not _same(kept.f.values, values[:, 2]):
            kept = kept.assign(s=("time", kept.f.values, schema.variables["s"].attrs))
        kept = kept.drop_vars("f")
    arrays = {}
    for n, name in enumerate(frame):
        var = schema.variables[name]
        arrays[name] = ("time", values[:, n] * (60.0 if var.units == "arcmin" else 1.0), var.attrs)
    made = kept.assign(arrays)
    return made[[*frame, *kept.data_vars]].assign_attrs(orientation=frame.upper())


def _same(scalar: Floats, total: Floats) -> bool:
    """Whether these totals are the vector's own, up to the rounding of a file."""
    there = np.isfinite(scalar)
    return bool((np.abs(scalar - total)[there] <= _SAME_TOTAL_NT).all())


def _three(values: ArrayLike) -> tuple[Floats, Floats, Floats]:
    array = np.asarray(values, np.float64)
    if array.ndim < 1 or array.shape[-1] != 3:
        raise FrameError(f"an array of shape {array.shape} is no vector: wanted (..., 3)", shape=array.shape)
    return array[..., 0], array[..., 1], array[..., 2]


def _listed(names: set[str] | frozenset[str] | str) -> str:
    return " ".join(names if isinstance(names, str) else sorted(names)) or "none"
