"""The camera, exposures and sky behind the data: every tool's fit is scored against ``pixel_to_sky``.

These are the numbers that peers were compared on, so the same seed must give the same arrays for ever: the
order of draws and of floating-point operations is part of the format.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PIXELS = 2048
SCALE = 0.263 / 3600.0  # deg
GAP = 120  # pixels between detectors
REFERENCE_EPOCH = 2016.0
ARCSEC = 1 / 3600.0
MAS = ARCSEC / 1000.0
COLOR_ZERO = 0.8
_REFRACTION_MAS = 20.0  # for a magnitude of color and tan z = 1
_WAVES = 300


def to_plane(ra: Any, dec: Any, ra0: Any, dec0: Any) -> tuple[Any, Any]:
    """Gnomonic xi, eta, all in degrees."""
    ra, dec, ra0, dec0 = map(np.deg2rad, (ra, dec, ra0, dec0))
    c = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    xi = np.cos(dec) * np.sin(ra - ra0) / c
    eta = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / c
    return np.rad2deg(xi), np.rad2deg(eta)


def from_plane(xi: Any, eta: Any, ra0: Any, dec0: Any) -> tuple[Any, Any]:
    xi, eta, ra0, dec0 = map(np.deg2rad, (xi, eta, ra0, dec0))
    den = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, den)
    dec = np.arctan((np.sin(dec0) + eta * np.cos(dec0)) / np.hypot(xi, den))
    return np.rad2deg(ra), np.rad2deg(dec)


def parallax_factors(mjd: Any, ra: Any, dec: Any) -> tuple[Any, Any]:
    """To a thousandth: the Earth opposite a low-precision Sun."""
    n = mjd - 51544.5
    mean, g = np.deg2rad(280.46 + 0.9856474 * n), np.deg2rad(357.528 + 0.9856003 * n)
    lam = mean + np.deg2rad(1.915) * np.sin(g) + np.deg2rad(0.02) * np.sin(2 * g)
    eps = np.deg2rad(23.439)
    x, y, z = -np.cos(lam), -np.sin(lam) * np.cos(eps), -np.sin(lam) * np.sin(eps)
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    pa = x * np.sin(a) - y * np.cos(a)
    pd = x * np.cos(a) * np.sin(d) + y * np.sin(a) * np.sin(d) - z * np.cos(d)
    return pa, pd


def refraction(exposure: dict[str, Any], color: Any) -> tuple[Any, Any]:
    """Shift in the tangent plane, in degrees, of stars of this color."""
    k = _REFRACTION_MAS * np.sqrt(max(exposure["airmass"] ** 2 - 1, 0)) * MAS * (color - COLOR_ZERO)
    return k * np.sin(exposure["parang"]), k * np.cos(exposure["parang"])


def make_model(
    rng: np.random.Generator, grid: int, nexp: int, turb: float, center: tuple[float, float] = (150.0, 2.2)
) -> dict[str, Any]:
    """grid x grid detectors, nexp exposures; what model.json holds."""
    pitch = (PIXELS + GAP) * SCALE
    ccds = []
    for j in range(grid):
        for i in range(grid):
            ccds.append(
                {
                    "cx": (i - (grid - 1) / 2) * pitch + rng.normal(0, 4 * SCALE),
                    "cy": (j - (grid - 1) / 2) * pitch + rng.normal(0, 4 * SCALE),
                    "rot": rng.normal(0, 1e-3),
                    "scale": 1 + rng.normal(0, 3e-5),
                    # a potato chip: quadratic and cubic terms, pixels at the detector's edge
                    "p2": rng.normal(0, 0.08, (2, 3)).tolist(),
                    "p3": rng.normal(0, 0.03, (2, 4)).tolist(),
                }
            )
    optics = {"k3": 3e-3, "k5": 6e-4, "dec": rng.normal(0, 3e-5, 4).tolist()}  # per deg2, per deg4
    exposures = []
    for e in range(nexp):
        offset = rng.uniform(-1, 1, 2) * pitch * (1.0 if e % 3 else 0.3)
        epoch = 2024.0 + 2.0 * e / max(nexp - 1, 1) + rng.uniform(0, 0.05)
        # refraction, aberration and flexure: affine 1e-4 to 1e-5, quadratic about 20 mas at 0.5 deg
        exposures.append(
            {
                "ra0": center[0] + offset[0] / np.cos(np.deg2rad(center[1])),
                "dec0": center[1] + offset[1],
                "rot": float(rng.normal(0, 5e-3)),
                "aff": (rng.normal(0, 5e-5, (2, 2))).tolist(),
                "quad": (rng.normal(0, 20 * MAS / 0.25, (2, 3))).tolist(),
                "off": rng.normal(0, 0.0, 2).tolist(),
                "epoch": epoch,
                "mjd": 51544.5 + (epoch - 2000.0) * 365.25,
                "airmass": float(rng.uniform(1.0, 1.7)),
                "parang": float(rng.uniform(-np.pi, np.pi)),
                "zp": float(rng.normal(0, 0.05)),
                "seed": int(rng.integers(1 << 31)),
            }
        )
    return {
        "grid": grid,
        "nexp": nexp,
        "ccds": ccds,
        "opt": optics,
        "exps": exposures,
        "turb": turb,
        "center": center,
        "fov": grid * pitch,
        "pitch": pitch,
        "npix": PIXELS,
        "scale": SCALE,
    }


def pixel_to_sky(model: dict[str, Any], exposure: int, detector: int, x: Any, y: Any) -> tuple[Any, Any]:
    """ra, dec of FITS pixels, for a star of the color COLOR_ZERO."""
    e = model["exps"][exposure]
    focal = _chip(model["ccds"][detector], np.asarray(x, float), np.asarray(y, float))
    return from_plane(*_focal_to_plane(model, e, *focal), e["ra0"], e["dec0"])


def plane_to_focal(model: dict[str, Any], e: dict[str, Any], xi: Any, eta: Any) -> tuple[Any, Any]:
    cr, sr = np.cos(e["rot"]), np.sin(e["rot"])
    x, y = cr * -xi + sr * eta, -sr * -xi + cr * eta
    for _ in range(14):
        a, b = _focal_to_plane(model, e, x, y)
        da, db = -(a - xi), (b - eta)
        x = x - (cr * da + sr * db)
        y = y - (-sr * da + cr * db)
    return x, y


def focal_to_pixel(c: dict[str, Any], fx: Any, fy: Any) -> tuple[Any, Any]:
    h = PIXELS / 2
    x = (fx - c["cx"]) / SCALE + h + 0.5
    y = (fy - c["cy"]) / SCALE + h + 0.5
    for _ in range(12):
        gx, gy = _chip(c, x, y)
        x = x - (gx - fx) / SCALE
        y = y - (gy - fy) / SCALE
    return x, y


def _chip(c: dict[str, Any], x: Any, y: Any) -> tuple[Any, Any]:
    """Pixel to focal plane, in degrees."""
    h = PIXELS / 2
    u, v = (x - (h + 0.5)) / h, (y - (h + 0.5)) / h
    q = (u * u, u * v, v * v)
    t = (u**3, u * u * v, u * v * v, v**3)
    shift = []
    for p2, p3 in zip(c["p2"], c["p3"], strict=True):
        quadratic = sum(a * b for a, b in zip(p2, q, strict=True))
        shift.append(quadratic + sum(a * b for a, b in zip(p3, t, strict=True)))
    dx, dy = shift
    fx, fy = (u * h + dx) * SCALE * c["scale"], (v * h + dy) * SCALE * c["scale"]
    cr, sr = np.cos(c["rot"]), np.sin(c["rot"])
    return c["cx"] + cr * fx - sr * fy, c["cy"] + sr * fx + cr * fy


def _focal_to_plane(model: dict[str, Any], e: dict[str, Any], x: Any, y: Any) -> tuple[Any, Any]:
    return _exposure(model, e, *_optics(model, x, y))


def _optics(model: dict[str, Any], x: Any, y: Any) -> tuple[Any, Any]:
    o = model["opt"]
    r2 = x * x + y * y
    f = 1 + o["k3"] * r2 + o["k5"] * r2 * r2
    d = o["dec"]
    return x * f + d[0] * (r2 + 2 * x * x) + 2 * d[1] * x * y, y * f + d[1] * (r2 + 2 * y * y) + 2 * d[
        0
    ] * x * y


def _exposure(model: dict[str, Any], e: dict[str, Any], x: Any, y: Any) -> tuple[Any, Any]:
    cr, sr = np.cos(e["rot"]), np.sin(e["rot"])
    a = np.array(e["aff"])
    q = e["quad"]
    tx, ty = _turbulence(model, e, x, y)
    u = x + a[0, 0] * x + a[0, 1] * y + q[0][0] * x * x + q[0][1] * x * y + q[0][2] * y * y + tx
    v = y + a[1, 0] * x + a[1, 1] * y + q[1][0] * x * x + q[1][1] * x * y + q[1][2] * y * y + ty
    return -(cr * u - sr * v), sr * u + cr * v  # east is left: xi = -x


def _turbulence(model: dict[str, Any], e: dict[str, Any], x: Any, y: Any) -> tuple[Any, Any]:
    """Random Fourier modes with a spectrum like Kolmogorov's and an outer scale of about 10 arcmin."""
    s = model["turb"]
    if not s:
        return 0.0, 0.0
    r = np.random.default_rng(e["seed"])
    k = 10 ** r.uniform(np.log10(1.0), np.log10(60.0), _WAVES)  # cycles per degree: 1 deg to 1 arcmin
    th = r.uniform(0, 2 * np.pi, _WAVES)
    ph = r.uniform(0, 2 * np.pi, (2, _WAVES))
    amp = k * (k * k + 6.0**2) ** (-11 / 12.0)
    amp = amp / np.sqrt((amp**2).sum() / 2) * s * MAS
    a = 2 * np.pi * (np.multiply.outer(x, k * np.cos(th)) + np.multiply.outer(y, k * np.sin(th)))
    return (np.cos(a + ph[0]) * amp).sum(-1), (np.cos(a + ph[1]) * amp).sum(-1)
