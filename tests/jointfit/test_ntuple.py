"""Text ntuples in jointcal's columns, read back by other programs; and numbers as text."""

import io

import numpy as np
import pandas as pd
import pytest
from astropy.io import ascii as astropy_ascii
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from obslab.jointfit import datasets, digits, ntuple
from obslab.jointfit.photometry import datasets as photometry
from obslab.whole import WriteError

DEG_PER_MAS = 1 / 3.6e6
# Columns as the research on jointcal lists them.
MEASURED = [
    *["id", "xccd", "yccd", "rx", "ry", "xtp", "ytp", "mag", "deltaYears", "xErr", "yErr", "xyCov", "xtpi"],
    *["ytpi", "rxi", "ryi", "fsindex", "ra", "dec", "chi2", "nm", "detector", "visit"],
]
REFERENCE = ["ra", "dec", "rx", "ry", "mag", "xErr", "yErr", "xyCov", "fsindex", "chi2", "nm"]
PHOTOMETRY = [
    *["id", "xccd", "yccd", "mag", "instMag", "instMagErr", "instFlux", "instFluxErr", "inputFlux"],
    *["inputFluxErr", "transformedFlux", "transformedFluxErr", "fittedFlux", "epoch", "fsindex", "ra", "dec"],
    *["chi2", "nm", "detector", "visit"],
]


def simulated(schema, dim, count=300, **given):
    rng = np.random.default_rng(7)
    arrays = {}
    for name, var in schema.variables.items():
        if var.dims != (dim,):
            continue
        if var.dtype == "bool":
            arrays[name] = np.ones(count, bool)
        elif var.dtype.startswith("int"):
            arrays[name] = rng.integers(0, 100, count)
        else:
            arrays[name] = rng.normal(0, {"deg": 60, "mas": 5}.get(var.units, 1000), count)
    return schema.build({"states": datasets.STATES}, **{**arrays, **given})


@pytest.fixture(scope="module")
def residuals():
    state = np.arange(300) % 4  # used, rejected, held out, excluded
    return simulated(datasets.RESIDUALS, "measured", state=state, id=10**12 + np.arange(300))


def read(path):
    return np.genfromtxt(path, delimiter="\t", names=True, dtype=None, encoding="ascii")


def test_columns_are_those_of_jointcal(residuals, tmp_path):
    written = {
        tuple(MEASURED): ntuple.write_measured(tmp_path / "meas.txt", residuals),
        tuple(REFERENCE): ntuple.write_reference(
            tmp_path / "ref.txt", simulated(datasets.REFERENCE_RESIDUALS, "match")
        ),
        tuple(PHOTOMETRY): ntuple.write_photometry(
            tmp_path / "phot.txt",
            simulated(photometry.PHOTOMETRY_RESIDUALS, "measured", state=np.zeros(300, int)),
        ),
    }
    for names, path in written.items():
        first, second, *rows = path.read_text().splitlines()
        assert first == "#" + "\t".join(names)
        assert second[0] == "#" and len(second.split("\t")) == len(names)
        assert all(len(row.split("\t")) == len(names) and " " not in row for row in rows)


def test_columns_are_made_of_the_variables_that_our_schemas_name(residuals):
    for columns, names in (
        (ntuple.MEASURED, datasets.JOINTCAL["measured"]),
        (ntuple.REFERENCE, datasets.JOINTCAL["reference"]),
        (ntuple.PHOTOMETRY, photometry.JOINTCAL),
    ):
        made = {column.name: column.variables for column in columns}
        assert all(ours in made[theirs] for ours, theirs in names.items())


def test_measured_rows_are_in_jointcals_units(residuals, tmp_path):
    got = read(ntuple.write_measured(tmp_path / "meas.txt", residuals))
    ours = residuals.isel(measured=residuals.state.values == 0)
    assert len(got) == 75 and np.array_equal(got["id"], ours.id)
    for theirs, name in (
        ("fsindex", "star"),
        ("nm", "measurements"),
        ("detector",) * 2,
        ("visit", "exposure"),
    ):
        assert np.array_equal(got[theirs], ours[name])
    close(got["rx"], ours.xi_residual.astype(float) * DEG_PER_MAS)
    close(got["ryi"], ours.eta_start_residual.astype(float) * DEG_PER_MAS)
    close(got["xErr"], (ours.xi_error.astype(float) * DEG_PER_MAS) ** 2)
    close(got["xyCov"], ours.covariance.astype(float) * DEG_PER_MAS**2)
    close(got["chi2"], ours.chi2)
    # 1e-12 deg is 4e-6 mas, 1e-6 pixel 3e-4 mas
    assert np.abs(got["ra"] - ours.ra).max() < 1e-12 and np.abs(got["xtp"] - ours.xi).max() < 1e-12
    assert np.abs(got["xccd"] - ours.x).max() < 1e-6


def close(got, wanted):
    """Nine digits, as jointcal prints."""
    assert np.allclose(got, wanted, rtol=5.1e-9, atol=0)


def test_magnitudes_are_those_of_the_fitted_stars_where_they_are_known(residuals, tmp_path):
    fitted = datasets.FITTED.empty(star=100).assign(mag=("star", 18 + np.arange(100) / 100))
    got = read(ntuple.write_measured(tmp_path / "meas.txt", residuals, fitted))
    assert np.allclose(got["mag"], 18 + got["fsindex"] / 100, rtol=0, atol=1e-5)
    got = read(ntuple.write_measured(tmp_path / "meas.txt", residuals))
    assert np.allclose(got["mag"], residuals.mag[residuals.state.values == 0], rtol=0, atol=1e-5)


def test_other_states_are_written_when_asked_for(residuals, tmp_path):
    path = ntuple.write_measured(tmp_path / "meas.txt", residuals, states=("used", "held out"))
    assert np.array_equal(read(path)["id"] % 4, np.tile([0, 2], 75))
    with pytest.raises(ntuple.NtupleError, match="no measurement is 'lost'; they are used, rejected"):
        ntuple.write_measured(path, residuals, states=("lost",))


def test_reference_rows_have_jointcals_sign_and_the_fitted_star(tmp_path):
    """jointcal projects the reference star about the fitted one."""
    used = np.arange(300) % 3 > 0
    ours = simulated(
        *(datasets.REFERENCE_RESIDUALS, "match"),
        used=used,
        dec=np.linspace(-80, 80, 300),
        ra=np.arange(300) + 0.5,
    )
    got = read(ntuple.write_reference(tmp_path / "ref.txt", ours))
    kept = ours.isel(match=used)
    close(got["rx"], -kept.xi_residual.astype(float) * DEG_PER_MAS)
    east = (kept.ra.values - got["ra"]) * np.cos(np.radians(kept.dec.values)) * 3.6e6
    assert np.allclose(east, -kept.xi_residual, rtol=0, atol=1e-4)  # mas: what is left of ra in doubles
    assert np.allclose((kept.dec - got["dec"]) * 3.6e6, -kept.eta_residual, rtol=0, atol=1e-4)
    assert len(read(ntuple.write_reference(tmp_path / "all.txt", ours, rejected=True))) == 300


def test_photometric_magnitude_is_that_of_the_fitted_star(tmp_path):
    ours = simulated(photometry.PHOTOMETRY_RESIDUALS, "measured", state=np.zeros(300, int))
    got = read(ntuple.write_photometry(tmp_path / "phot.txt", ours))
    assert np.allclose(got["mag"], ours.mag - ours.residual, rtol=0, atol=1e-5)
    close(got["inputFlux"], ours.inst_flux)
    close(got["fittedFlux"], ours.star_flux)


def test_other_readers_read_it_too(residuals, tmp_path):
    path = ntuple.write_measured(tmp_path / "meas.txt", residuals)
    table = astropy_ascii.read(path, format="commented_header", delimiter="\t")
    frame = pd.read_csv(path, sep="\t", skiprows=[1]).rename(columns={"#id": "id"})
    got = read(path)
    for name in MEASURED:
        assert np.array_equal(table[name], got[name]) and np.allclose(frame[name], got[name], rtol=1e-15)


def test_what_is_unknown_is_nan(residuals, tmp_path):
    holed = residuals.assign(mag=residuals.mag.where(residuals.star > 50), eta=residuals.eta * np.inf)
    got = read(ntuple.write_measured(tmp_path / "meas.txt", holed))
    assert np.array_equal(np.isnan(got["mag"]), got["fsindex"] <= 50)
    assert np.isinf(got["ytp"]).all()


def test_no_rows_make_a_file_of_two_lines(residuals, tmp_path):
    path = ntuple.write_measured(tmp_path / "meas.txt", residuals, states=("unfit",))
    assert path.read_text().count("\n") == 2


def test_many_rows_are_the_same_as_few(residuals, tmp_path):
    """More than are formatted at once."""
    many = residuals.isel(measured=np.tile(np.flatnonzero(residuals.state == 0), 300))
    one = ntuple.write_measured(tmp_path / "one.txt", residuals).read_text().splitlines()
    assert (
        ntuple.write_measured(tmp_path / "many.txt", many).read_text().splitlines() == one[:2] + 300 * one[2:]
    )


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(residuals, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"meas.txt cannot be written"):
        ntuple.write_measured(tmp_path / "file" / "meas.txt", residuals)
    with pytest.raises(KeyError):
        ntuple.write_measured(tmp_path / "meas.txt", residuals.drop_vars("chi2"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def shown(characters):
    return digits.lines([characters]).decode().split()


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.int64, st.integers(1, 30), elements=st.integers(-(2**63) + 1, 2**63 - 1)))
def test_integers_are_printed_as_python_does(values):
    assert shown(digits.whole(values)) == [str(value) for value in values]


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)), st.integers(1, 12))
def test_decimals_are_right_to_the_last_one(values, decimals):
    got = shown(digits.fixed(values, decimals))
    assert all(len(text.partition(".")[2]) == decimals for text in got)
    # half of the last digit, and what a double loses
    assert np.allclose([float(text) for text in got], values, rtol=1e-15, atol=0.5001 * 10.0**-decimals)


unfinite = st.sampled_from([np.nan, np.inf, -np.inf])


@settings(max_examples=100, deadline=None)
@given(
    arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e300, 1e300) | unfinite),
    st.integers(1, 14),
)
def test_exponents_are_right_to_the_last_digit(values, decimals):
    values = np.where(np.abs(values) < 1e-270, 0.0, values)
    got = [float(text) for text in shown(digits.scientific(values, decimals))]
    assert np.allclose(got, values, rtol=0.51 * 10.0**-decimals + 1e-15, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "value", [9.9999999999, 0.99999999999, 1e-5, 1e22, 1.0, 123456789.0, 0.0, -1e-7, 1e-300]
)
def test_powers_of_ten_are_printed_as_python_does(value):
    wanted = f"{0.0 if abs(value) < 1e-290 else value:.8e}"
    assert shown(digits.scientific(np.array([value]), 8)) == [wanted]


def test_numbers_too_large_for_their_decimals_get_exponents():
    assert shown(digits.fixed(np.array([1e15, 1.0]), 12)) == ["1.00000000e+15", "1.00000000e+00"]


def test_lines_have_their_separators():
    columns = [digits.whole(np.array([1, -20])), digits.fixed(np.array([0.5, np.nan]), 2)]
    assert io.BytesIO(digits.lines(columns)).readlines() == [b"1\t0.50\n", b"-20\tnan\n"]
