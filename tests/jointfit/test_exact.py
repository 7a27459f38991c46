"""The composed mapping as a gwcs, and in ASDF files."""

import builtins

import numpy as np
import pytest
from jointfit.mapped_images import HALF, MID, PIXELS, camera

from obslab.errors import NoLabError
from obslab.jointfit.wcs import exact
from obslab.whole import WriteError

pytest.importorskip("gwcs")
DEG = 1e-9  # 4e-3 mas


@pytest.fixture(scope="module")
def true():
    return camera(2, 2)


def composed(true, exposure, detector, **changes):
    return exact.Composed(
        true.inner[detector],
        true.outer[exposure],
        np.full(2, MID),
        np.full(2, HALF),
        tuple(true.tangent[exposure]),
        **changes,
    )


def pixels(count=200):
    return np.random.default_rng(4).uniform(0.5, PIXELS + 0.5, (2, count))


def test_gwcs_is_the_full_mapping(true):
    for exposure, detector in ((0, 0), (1, 3)):
        x, y = pixels()
        ra, dec = exact.model(composed(true, exposure, detector))(x - 1, y - 1)
        wanted = true.sky(exposure, detector, x, y)
        assert np.abs(ra - wanted[0]).max() < DEG and np.abs(dec - wanted[1]).max() < DEG


def test_pixels_count_from_zero(true):
    wcs = exact.model(composed(true, 0, 0))
    assert np.allclose(wcs(0, 0), true.sky(0, 0, 1.0, 1.0), rtol=0, atol=DEG)
    assert wcs.bounding_box == ((-0.5, PIXELS - 0.5), (-0.5, PIXELS - 0.5))


def test_outside_of_the_image_there_is_no_sky(true):
    wcs = exact.model(composed(true, 0, 0))
    assert np.isnan(wcs(-0.6, 10)).all() and np.isfinite(wcs(-0.5, 10)).all()


def test_the_way_back_finds_the_pixel(true):
    wcs = exact.model(composed(true, 1, 2))
    x, y = pixels()
    back = wcs.invert(*true.sky(1, 2, x, y))
    assert np.abs(np.array(back) + 1 - [x, y]).max() < 1e-8


def test_a_plane_in_other_units_is_brought_to_degrees(true):
    x, y = pixels(20)
    whole = exact.model(composed(true, 0, 1))
    scaled = composed(true, 0, 1, plane_deg=0.5)
    scaled = exact.Composed(**{**vars(scaled), "outer": 2 * scaled.outer})
    assert np.allclose(exact.model(scaled)(x - 1, y - 1), whole(x - 1, y - 1), rtol=0, atol=1e-12)
    assert np.allclose(exact.model(scaled).invert(*whole(x - 1, y - 1)), [x - 1, y - 1], rtol=0, atol=1e-8)


@pytest.fixture
def displacement():
    xi, eta = np.linspace(-0.3, 0.3, 25), np.linspace(-0.4, 0.4, 33)
    table = np.stack([np.add.outer(2e-6 * xi, 1e-6 * eta), np.add.outer(-1e-6 * xi, 3e-6 * eta)])
    return exact.Displacement(xi, eta, table)


def test_a_displacement_is_added_in_the_plane(true, displacement):
    from obslab.jointfit.projection import frames, from_plane, sky

    x, y = pixels()
    u, v = (x - MID) / HALF, (y - MID) / HALF
    xi, eta = true.plane(0, 2, u, v)
    moved = xi + 2e-6 * xi + 1e-6 * eta, eta - 1e-6 * xi + 3e-6 * eta  # linear, so are the tables
    wanted = sky(from_plane(frames(*true.tangent[0]), *moved))
    found = exact.model(composed(true, 0, 2, displacement=displacement))(x - 1, y - 1)
    assert np.abs(np.array(found) - wanted).max() < 1e-11
    assert np.abs(np.array(found) - true.sky(0, 2, x, y)).max() > 1e-8


def test_models_come_back_from_a_file(true, displacement, tmp_path):
    models = {
        "e000_c00": exact.model(composed(true, 0, 0)),
        "e001_c03": exact.model(composed(true, 1, 3)),
        "bent": exact.model(composed(true, 0, 0, displacement=displacement)),
    }
    path = exact.write(tmp_path / "folder" / "wcs.asdf", models)
    read = exact.read(path)
    assert list(tmp_path.joinpath("folder").iterdir()) == [path]
    assert set(read) == set(models)
    x, y = pixels()
    for name, model in models.items():
        assert np.abs(np.array(read[name](x - 1, y - 1)) - model(x - 1, y - 1)).max() < DEG
    sky = true.sky(1, 3, x, y)
    assert np.abs(np.array(read["e001_c03"].invert(*sky)) + 1 - [x, y]).max() < 1e-8
    assert np.isnan(read["bent"](-2.0, 5.0)).all()


def test_a_file_that_cannot_be_written_is_named(true, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"wcs.asdf cannot be written"):
        exact.write(tmp_path / "file" / "wcs.asdf", {})


@pytest.mark.parametrize("missing", ["gwcs", "asdf"])
def test_without_the_extra_one_line_says_what_to_install(true, tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def refuse(name, *arguments, **named):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(NoLabError, match=rf"{missing}.*pip install obslab\[gwcs\]$"):
        exact.write(tmp_path / "a.asdf", {"a": exact.model(composed(true, 0, 0))})
