import dataclasses

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from obslab.errors import ObslabError, SchemaError
from obslab.schema import Schema, Var

GAPS = Schema(
    "gaps",
    {
        "begin": Var(("gap",), "datetime64[ns]", "", "Last sample before the gap."),
        "end": Var(("gap",), "datetime64[ns]", "", "First sample after it."),
        "lost": Var(("gap",), "int64", "1", "Samples missing."),
        "mean_x": Var(("gap",), "float64", "nT", "Mean of x | either side.", optional=True),
        "reason": Var(("gap",), "str", "", "What the log says.", optional=True),
    },
)
DAY = np.array(["2024-05-10", "2024-05-11"], "datetime64[ns]")


class Lazy:
    """What xarray needs to see in an array (of two) in order to keep it; it has no values."""

    def __init__(self, dtype):
        self.dtype, self.shape, self.ndim = np.dtype(dtype), (2,), 1

    def astype(self, dtype):
        return Lazy(dtype)

    def __array_function__(self, *_):
        raise AssertionError("somebody computed it")

    __array_ufunc__ = __array__ = __array_function__


def gaps(**changes):
    return GAPS.build(**{"begin": DAY, "end": DAY + np.timedelta64(5, "s"), "lost": [4, 4]} | changes)


def test_build_casts_and_describes():
    dataset = gaps(lost=np.array([4, 9], "uint8"), mean_x=[1, 2], reason=np.array(["radio", ""], object))
    assert dataset.lost.dtype == np.int64
    assert dataset.mean_x.dtype == np.float64
    assert dataset.reason.dtype.kind == "U"
    assert dataset.mean_x.attrs == {"units": "nT", "description": "Mean of x | either side."}
    assert "units" not in dataset.begin.attrs
    assert GAPS.check(dataset) is dataset


def test_build_lists_all_problems_at_once():
    with pytest.raises(SchemaError) as caught:
        GAPS.build(begin=DAY, lost=[0.5, np.nan], lots=[1, 2], mean_x=[[1.0]], reason=["a", "b", "c"])
    assert caught.value.problems == (
        "end is missing",
        "lots is unknown (did you mean lost?)",
        "lost is float64, which does not become int64 without a change of value",
        "mean_x has 2 dimensions, wanted (gap)",
        "reason has 3 along 'gap' where begin has 2",
    )
    assert str(caught.value).startswith("gaps cannot be built: end is missing; lots")
    assert isinstance(caught.value, ObslabError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lost", np.array([2**63, 1], "uint64")),  # would wrap to a negative number
        ("begin", np.array(["9999-12-31", "2024-05-10"], "datetime64[D]")),  # would wrap to 1816
        ("begin", [1, 2]),  # seconds? nanoseconds?
        ("mean_x", ["1", "2"]),
        ("reason", [1.5, 2.5]),
        ("reason", np.array(["a", None], object)),
    ],
)
def test_build_refuses_a_cast_that_changes_values(name, value):
    with pytest.raises(SchemaError, match=rf"{name} (is|has values out of the range)"):
        gaps(**{name: value})


def test_coarse_times_become_nanoseconds():
    assert (gaps(begin=DAY.astype("datetime64[s]")).begin.values == DAY).all()


def test_build_refuses_a_dataarray_with_other_dimensions():
    table = Schema("residuals", {"r": Var(("x", "y"), "float64", "nT", "Residual.")})
    array = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"))
    with pytest.raises(SchemaError, match=r"has dimensions \(y, x\), wanted \(x, y\)"):
        table.build(r=array)
    assert table.build(r=array.T).r.dims == ("x", "y")


def test_build_leaves_lazy_arrays_lazy_and_inputs_alone():
    lazy = Lazy("float32")
    dataset = gaps(mean_x=lazy)
    assert dataset.mean_x.dtype == np.float64
    assert isinstance(dataset.mean_x.data, Lazy)
    assert lazy.dtype == np.float32


def test_variable_named_like_its_dimension_is_its_coordinate():
    series = Schema("series", {"time": Var(("time",), "datetime64[ns]", "", "UTC of the sample.")})
    dataset = series.plus(x=Var(("time",), "float64", "nT", "North.")).build(time=DAY, x=[1.0, 2.0])
    assert dataset.x.sel(time="2024-05-11").item() == 2.0


def test_check_lists_all_problems_at_once():
    wrong = gaps(mean_x=[1.0, 2.0]).drop_vars("end")
    wrong["begin"] = wrong.begin.astype("datetime64[s]")
    wrong["lost"] = wrong.lost.astype(float)
    wrong["mean_x"] = ("gap", [1.0, 2.0], {"units": "mT"})
    wrong["extra"] = 1
    with pytest.raises(SchemaError) as caught:
        GAPS.check(wrong.expand_dims(station=["PEA"]))
    problems = caught.value.problems
    assert "end is missing" in problems
    assert "extra is unknown" in problems
    assert "begin is datetime64[s], wanted datetime64[ns]" in problems
    assert "lost is float64, wanted int64" in problems
    assert "mean_x is in 'mT', wanted 'nT'" in problems
    assert "mean_x has dimensions (station, gap), wanted (gap)" in problems


def test_check_names_absent_units():
    bare = gaps()
    bare["lost"].attrs.clear()
    with pytest.raises(SchemaError, match="lost is in 'no units', wanted '1'"):
        GAPS.check(bare)


def test_dataset_obeys_its_schema_after_a_trip_through_netcdf(tmp_path):
    full = gaps(mean_x=[1.0, np.nan], reason=["radio", "ice"])
    full.to_netcdf(tmp_path / "gaps.nc")
    with xr.open_dataset(tmp_path / "gaps.nc") as back:
        xr.testing.assert_identical(GAPS.check(back).load(), full)


def test_empty_has_no_rows_and_obeys():
    empty = GAPS.check(GAPS.empty())
    assert dict(empty.sizes) == {"gap": 0}
    assert set(empty) == {"begin", "end", "lost"}


def test_empty_with_sizes_is_filled_with_missing():
    table = Schema(
        "image",
        {
            "flux": Var(("y", "x"), "float32", "adu", "Counts."),
            "begin": Var((), "datetime64[ns]", "", "Begin of the exposure."),
            "mask": Var(("y", "x"), "bool", "", "True where bad."),
        },
    )
    image = table.check(table.empty(y=2, x=3))
    assert image.flux.shape == (2, 3) and np.isnan(image.flux).all()
    assert np.isnat(image.begin.values) and not image.mask.any()


def test_plus_extends_without_altering():
    more = GAPS.plus(site=Var((), "str", "", "IAGA code."))
    assert "site" in more.variables and "site" not in GAPS.variables
    with pytest.raises(SchemaError, match="gaps already has lost"):
        GAPS.plus(lost=Var((), "int64", "1", "Another."))


def test_schema_cannot_be_altered():
    with pytest.raises(TypeError):
        GAPS.variables["more"] = GAPS.variables["lost"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        GAPS.variables["lost"].units = "s"


def test_table_documents_every_variable():
    assert GAPS.table().splitlines() == [
        "| variable | dimensions | type | units | meaning |",
        "|---|---|---|---|---|",
        "| `begin` | gap | datetime64[ns] | UTC | Last sample before the gap. |",
        "| `end` | gap | datetime64[ns] | UTC | First sample after it. |",
        "| `lost` | gap | int64 | 1 | Samples missing. |",
        "| `mean_x` | gap | float64 | nT | Mean of x \\| either side. Optional. |",
        "| `reason` | gap | str | - | What the log says. Optional. |",
    ]


@pytest.mark.parametrize(
    ("dims", "dtype", "units", "message"),
    [
        ("time", "float64", "nT", "wanted a tuple"),
        (("time",), "datetime64[s]", "", r"must be in \[ns\]"),
        (("time",), "datetime64[ns]", "s", "has no units"),
        (("time",), "object", "", "cannot be stored"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(dims, dtype, units, message):
    with pytest.raises(SchemaError, match=message):
        Var(dims, dtype, units, "Nonsense.")


@given(
    hnp.arrays(st.sampled_from(["int8", "int32", "uint16", "uint64", "int64"]), st.integers(0, 5)), st.data()
)
def test_integers_arrive_unchanged_or_not_at_all(values, data):
    dtype = data.draw(st.sampled_from(["int8", "uint8", "int32", "uint64", "int64"]))
    counts = Schema("counts", {"n": Var(("row",), dtype, "1", "Any count.")})
    info = np.iinfo(dtype)
    if all(info.min <= int(value) <= info.max for value in values):
        assert counts.build(n=values).n.values.tolist() == values.tolist()
    else:
        with pytest.raises(SchemaError, match=f"n has values out of the range of {dtype}"):
            counts.build(n=values)
