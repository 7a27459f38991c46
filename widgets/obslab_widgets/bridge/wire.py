"""Values on their way to a page: checked and copied when they are given, packed when they are sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from bokeh.model import Model
from bokeh.models import ColumnDataSource

# What a typed array in JavaScript can hold; int64 travels as float64, which is exact below 2**53.
_TYPED = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"})
_EPOCH = np.datetime64(0, "ms")
_MILLISECOND = np.timedelta64(1, "ms")


def own_values(model: Model, known: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A private, sendable copy of `values`, columns of a data source or properties of another model.

    `known` holds what the page already has of the model: columns must stay equally long, or
    BokehJS draws nonsense. Times become milliseconds since 1970, as Bokeh's axes want them.
    """
    if isinstance(model, ColumnDataSource):
        owned = _own_each(model, "column", _own_column, values)
        _check_lengths(model, {**model.data, **known, **owned})
        return owned
    return _own_each(model, "property", partial(_own_property, model), values)


def own(value: Any) -> Any:
    """A private, sendable copy: contiguous arrays a browser can hold, plain Python for the rest."""
    if isinstance(value, np.ndarray):
        return _own_array(value)
    if isinstance(value, Mapping):
        return {str(key): own(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [own(item) for item in value]
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return float(_milliseconds(np.asarray(value)))
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        json.dumps(plain, allow_nan=False)
    except TypeError:
        raise TypeError(f"cannot be sent to a browser: {type(value).__name__}") from None
    except ValueError:
        raise ValueError(f"must be finite here (only arrays may hold NaN), got {plain!r}") from None
    return plain


def pack(value: Any, buffers: list[memoryview | bytes]) -> Any:
    """`value` as JSON; an array goes to `buffers` and leaves {"$": position, "d": dtype, "s": shape}."""
    if isinstance(value, np.ndarray):
        buffers.append(value.data.cast("B") if value.size else b"")
        return {"$": len(buffers) - 1, "d": value.dtype.name, "s": value.shape}
    if isinstance(value, dict):
        return {key: pack(item, buffers) for key, item in value.items()}
    if isinstance(value, list):
        return [pack(item, buffers) for item in value]
    return value


def _own_each(
    model: Model, what: str, own_one: Callable[[str, Any], Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    owned = {}
    for name, value in values.items():
        try:
            owned[name] = own_one(name, value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{_name(model)}: {what} {name!r} {error}") from None
    return owned


def _own_column(_name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            raise ValueError(f"must have one dimension, got shape {value.shape}; an image goes into a list")
        return _own_array(value)
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"must be an array or a list, got {type(value).__name__}")
    numbers = bool(value) and all(isinstance(item, (int, float, np.number)) for item in value)
    return _own_array(np.asarray(value)) if numbers else own(value)


def _own_property(model: Model, name: str, value: Any) -> Any:
    if name not in model.properties():
        raise ValueError("does not exist")
    owned = own(value)
    if not isinstance(owned, (np.ndarray, list, dict)) and not model.lookup(name).property.is_valid(owned):
        raise ValueError(f"cannot be {value!r}")
    return owned


def _own_array(value: np.ndarray) -> np.ndarray | list[Any]:
    kind = value.dtype.kind
    if kind in "mM":
        return _milliseconds(value)
    if kind == "b":
        return np.array(value, dtype=np.uint8, order="C")
    if kind in "iuf":
        wanted = value.dtype.newbyteorder("=") if value.dtype.name in _TYPED else np.dtype(np.float64)
        return np.array(value, dtype=wanted, order="C")
    if kind in "UT":
        return list(value.tolist())
    raise TypeError(f"cannot be sent to a browser: array of {value.dtype}")


def _milliseconds(value: np.ndarray) -> np.ndarray:
    since = value - _EPOCH if value.dtype.kind == "M" else value
    return np.asarray(since / _MILLISECOND, dtype=np.float64)


def _check_lengths(model: Model, columns: Mapping[str, Any]) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise ValueError(f"{_name(model)}: columns differ in length: {each}")


def _name(model: Model) -> str:
    return f"{type(model).__name__} {model.name or model.id}"
