"""Schema: what an ``xarray.Dataset`` that passes between parts must look like.

A part's ``datasets.py`` declares each table once, and everything else follows from it: building
one, checking one that came from a file, an empty one, and its page in the documentation.

    GAPS = Schema("gaps", {
        "begin": Var(("gap",), "datetime64[ns]", "", "Last sample before the gap."),
        "lost": Var(("gap",), "int64", "1", "Samples missing."),
    })
    gaps = GAPS.build(begin=begin, lost=lost)

Variables whose names depend on the instrument come from a function that returns a Schema, most
shortly ``BASE.plus(x=Var(...), y=Var(...))``. A variable named like its only dimension is that
dimension's coordinate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from obslab.errors import SchemaError

# NumPy's "same_kind" casts let a float become text and a bare integer become a duration, and
# reading text as a number is nobody's intention: only casts that keep the meaning are allowed.
_MAY_BECOME = {"b": "b", "i": "iu", "u": "iu", "f": "fiu", "c": "cfiu", "M": "M", "m": "m", "U": "U"}


@dataclass(frozen=True)
class Var:
    """One variable: dimensions, NumPy type, units, and one sentence of meaning.

    ``units`` is what ``attrs["units"]`` says: ``"nT"``, ``"s"``, ``"1"`` for a bare number, ``""``
    for what has none (text, flags, times). ``dtype`` is a NumPy name or ``"str"``.
    """

    dims: tuple[str, ...]
    dtype: str
    units: str
    doc: str
    optional: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.dims, str):
            raise SchemaError(
                f"dims is the text {self.dims!r}, wanted a tuple: ({self.dims!r},)", dims=self.dims
            )
        kind = np.dtype(self.dtype).kind
        if kind not in _MAY_BECOME:
            raise SchemaError(f"dtype {self.dtype!r} cannot be stored in a dataset", dtype=self.dtype)
        if kind in "Mm" and not self.dtype.endswith("[ns]"):
            raise SchemaError(f"dtype {self.dtype!r} must be in [ns]: all times are", dtype=self.dtype)
        if kind in "Mm" and self.units:
            # xarray writes the units of a time itself and refuses a dataset that brings its own.
            raise SchemaError(f"a {self.dtype} variable has no units, not {self.units!r}", units=self.units)

    @property
    def attrs(self) -> dict[str, str]:
        """The attributes this variable carries in a Dataset."""
        units = {"units": self.units} if self.units else {}
        return {**units, "description": self.doc}


@dataclass(frozen=True)
class Schema:
    """Named variables that together are one kind of Dataset."""

    name: str
    variables: Mapping[str, Var]

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", MappingProxyType(dict(self.variables)))

    def plus(self, **variables: Var) -> Schema:
        """This schema with more variables; one that is already there cannot be given anew."""
        again = sorted(set(variables) & set(self.variables))
        if again:
            raise SchemaError(
                f"{self.name} already has {_names(again)}", schema=self.name, problems=tuple(again)
            )
        return Schema(self.name, {**self.variables, **variables})

    def build(self, attrs: Mapping[str, Any] | None = None, /, **arrays: Any) -> xr.Dataset:
        """A Dataset of these arrays, cast to the declared types, with units and descriptions.

        A cast that would change a value (a fraction to an integer, an integer or a time out of
        range) is refused; rounding to a narrower float is not. Lazy arrays stay lazy.
        """
        problems = self._names_that_differ(arrays)
        sizes: dict[str, tuple[int, str]] = {}
        built: dict[str, xr.Variable] = {}
        for name, var in self.variables.items():
            if name not in arrays:
                continue
            try:
                values = _cast(arrays[name], var)
            except (TypeError, ValueError, OverflowError) as error:
                problems.append(f"{name} {error}")
                continue
            for dim, size in zip(var.dims, values.shape, strict=True):
                first_size, first = sizes.setdefault(dim, (size, name))
                if size != first_size:
                    problems.append(f"{name} has {size} along {dim!r} where {first} has {first_size}")
            # Cast already; without fastpath xarray imports dask.array, a second, to see whether it is that.
            built[name] = xr.Variable(var.dims, values, var.attrs, fastpath=True)
        self._raise(problems, "cannot be built")
        return xr.Dataset(built, attrs=dict(attrs or {}))

    def check(self, dataset: xr.Dataset) -> xr.Dataset:
        """The same dataset, if it obeys; else one SchemaError that lists every problem.

        Floats and integers may be narrower or wider than declared, times must be in nanoseconds.
        """
        problems = self._names_that_differ(dataset.variables)
        for name, var in self.variables.items():
            if name in dataset.variables:
                problems += [f"{name} {problem}" for problem in _problems(dataset[name].variable, var)]
        self._raise(problems, "is not as declared")
        return dataset

    def empty(self, **sizes: int) -> xr.Dataset:
        """A Dataset without rows: each dimension is 0 long, or as given and filled with 'missing'.

        Optional variables are left out.
        """
        return self.build(
            **{
                name: np.full([sizes.get(dim, 0) for dim in var.dims], _missing(var), var.dtype)
                for name, var in self.variables.items()
                if not var.optional
            }
        )

    def table(self) -> str:
        """The documentation of this schema: a Markdown table, one row for each variable."""
        return "\n".join(self._rows())

    def _rows(self) -> Iterator[str]:
        yield "| variable | dimensions | type | units | meaning |"
        yield "|---|---|---|---|---|"
        for name, var in self.variables.items():
            dims = ", ".join(var.dims) or "-"
            units = "UTC" if np.dtype(var.dtype).kind == "M" else var.units or "-"
            doc = var.doc.replace("|", "\\|") + (" Optional." if var.optional else "")
            yield f"| `{name}` | {dims} | {var.dtype} | {units} | {doc} |"

    def _names_that_differ(self, given: Mapping[Any, Any]) -> list[str]:
        missing = [
            f"{name} is missing"
            for name, var in self.variables.items()
            if not var.optional and name not in given
        ]
        unknown = [
            f"{name} is unknown{_perhaps(str(name), self.variables)}"
            for name in given
            if name not in self.variables
        ]
        return missing + unknown

    def _raise(self, problems: list[str], what: str) -> None:
        if problems:
            raise SchemaError(
                f"{self.name} {what}: {'; '.join(problems)}", schema=self.name, problems=tuple(problems)
            )


def _cast(value: Any, var: Var) -> Any:
    if isinstance(value, xr.DataArray | xr.Variable):
        if value.dims != var.dims:
            raise ValueError(f"has dimensions {_dims(value.dims)}, wanted {_dims(var.dims)}")
        value = value.data
    source = value if hasattr(value, "__array_function__") else np.asarray(value)
    if source.ndim != len(var.dims):
        raise ValueError(f"has {source.ndim} dimensions, wanted {_dims(var.dims)}")
    want = np.dtype(var.dtype)
    if isinstance(source, np.ndarray):
        if source.size == 0 and source.dtype.kind in "fO":  # what NumPy makes of []
            return np.empty(source.shape, want)
        if source.dtype.kind == "O" and want.kind == "U" and _all_text(source):
            return source.astype(want)
    if source.dtype.kind not in _MAY_BECOME[want.kind]:
        raise TypeError(f"is {source.dtype}, which does not become {var.dtype} without a change of value")
    if want.kind == "U" or source.dtype == want:
        return source
    cast = source.astype(want)
    if want.kind in "iuMm" and isinstance(cast, np.ndarray) and not _same(source, cast):
        raise OverflowError(f"has values out of the range of {var.dtype}")
    return cast


def _same(source: np.ndarray[Any, Any], cast: np.ndarray[Any, Any]) -> bool:
    """Whether casting back gives the same values; NumPy wraps integers and times silently."""
    if source.dtype.kind in "Mm":
        return np.array_equal(cast.astype(source.dtype), source, equal_nan=True)
    # Comparing signed with unsigned sees a sign that wrapped, which a cast back would undo.
    return bool(np.all(cast == source))


def _problems(variable: xr.Variable, var: Var) -> Iterator[str]:
    want = np.dtype(var.dtype)
    if variable.dims != var.dims:
        yield f"has dimensions {_dims(variable.dims)}, wanted {_dims(var.dims)}"
    if not _same_kind(variable, want):
        yield f"is {variable.dtype}, wanted {var.dtype}"
    units = variable.attrs.get("units", "")
    if units != var.units:
        yield f"is in {units or 'no units'!r}, wanted {var.units or 'no units'!r}"


def _same_kind(variable: xr.Variable, want: np.dtype[Any]) -> bool:
    have = variable.dtype
    if want.kind in "Mm":
        return bool(have == want)  # in another unit the same integers would be other times
    if want.kind == "U" and have.kind in "OT":  # netCDF gives text back as objects
        return have.kind == "T" or _all_text(variable.values)
    return bool(have.kind == want.kind)


def _all_text(values: np.ndarray[Any, Any]) -> bool:
    return all(isinstance(value, str) for value in values.flat)


def _missing(var: Var) -> Any:
    kind = np.dtype(var.dtype).kind
    if kind in "Mm":
        return np.datetime64("NaT") if kind == "M" else np.timedelta64("NaT")
    return {"f": np.nan, "c": np.nan, "U": "", "b": False}.get(kind, 0)


def _perhaps(name: str, known: Mapping[str, Var]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _dims(dims: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, dims))})"


def _names(names: list[str]) -> str:
    return ", ".join(names)
