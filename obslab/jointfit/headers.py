"""WCS headers to polynomials: TAN, SIP and TPV all are two of them into a tangent plane.

    xi, eta = polynomials(u, v) in deg about CRVAL        u = (x - mid) / half, FITS pixels

TAN and the matrices: Calabretta & Greisen (2002), A&A 395, 1077. SIP: Shupe et al. (2005), ADASS XIV, 491.
TPV: the registered FITS convention of that name; SCAMP writes its PV cards under the CTYPE of a plain TAN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.polynomial import degree_of, substituted, terms

Floats = NDArray[np.float64]
Header = Mapping[str, Any]

LINEAR = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
# PVi_m numbers the monomials of x and y by degree, with one of r = sqrt(x2 + y2) after each odd degree.
RADIAL = (3, 11, 23, 39)
TPV_TERMS = tuple(m for m in range(39) if m not in RADIAL)
TPV_DEGREE = 7

WCS_CARD = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|(A|B|AP|BP)_(\d+_\d+|ORDER|DMAX)"
    r"|LONPOLE|LATPOLE|EQUINOX|RADE(SYS|CSYS)"
)
"""The cards that another solution replaces all together."""


class HeaderError(ObslabError, ValueError):
    """A header whose WCS is missing, damaged, or not one of TAN, SIP and TPV."""


def polynomials(
    headers: Sequence[Header], names: Sequence[str], mid: Floats, half: Floats
) -> tuple[Floats, Floats]:
    """Tangent points (n, 2) and polynomials (n, 2, terms) in deg of headers with normalisations (n, 2).

    All have the degree of the highest; terms are ordered as ``polynomial.terms`` says.
    """
    kinds = [_kind(header, name) for header, name in zip(headers, names, strict=True)]
    linear = [_linear(header, name) for header, name in zip(headers, names, strict=True)]
    numbers = np.array(linear, np.float64).reshape(-1, 8)
    crval, crpix, cd = numbers[:, :2], numbers[:, 2:4], numbers[:, 4:].reshape(-1, 2, 2)
    singular = np.flatnonzero(~(np.abs(np.linalg.det(cd)) > 0) | ~np.isfinite(numbers).all(1))
    if singular.size:
        name = names[singular[0]]
        raise HeaderError(
            f"{name}: the WCS matrix {cd[singular[0]].tolist()} has no inverse; check CD or CDELT", name=name
        )
    start = np.zeros((len(headers), 2, 3))
    start[:, :, 0] = np.einsum("nij,nj->ni", cd, mid - crpix)
    start[:, :, 1:] = cd * half[:, None, :]
    curved = [n for n, kind in enumerate(kinds) if kind != "TAN"]
    if not curved:
        return crval, start
    warped = {n: (_sip if kinds[n] == "SIP" else _tpv)(headers[n], names[n]) for n in curved}
    degree = max(degree_of(warp.shape[-1]) for warp in warped.values())
    out = np.zeros((len(headers), 2, len(terms(degree))))
    out[:, :, :3] = start
    for kind in ("SIP", "TPV"):
        of_kind = np.array([n for n in curved if kinds[n] == kind], np.int64)
        if of_kind.size:
            warp = np.zeros((of_kind.size, 2, out.shape[-1]))
            for k, n in enumerate(of_kind.tolist()):
                warp[k, :, : warped[n].shape[-1]] = warped[n]
            if kind == "SIP":  # the polynomials are of pixels, before the matrix
                pixels = np.zeros((of_kind.size, 2, 3))
                pixels[:, :, 0] = (mid - crpix)[of_kind]
                pixels[:, [0, 1], [1, 2]] = half[of_kind]
                out[of_kind] = np.einsum(
                    "nij,njk->nik", cd[of_kind], substituted(warp, pixels[:, :, 1:], pixels[:, :, 0])
                )
            else:
                out[of_kind] = substituted(warp, start[of_kind][:, :, 1:], start[of_kind][:, :, 0])
    return crval, out


def wcs_cards(crval: Floats, start: Floats, mid: Floats, half: Floats) -> dict[str, str | float | int]:
    """Cards of one image's polynomials (2, terms), exact: TAN, or SIP where there is more than linear.

    SIP's polynomials stand at CRPIX, here the middle, so A_0_0 and B_0_0 carry the way to the tangent point.
    """
    cd = start[:, 1:3] / half
    degree = degree_of(start.shape[-1])
    while degree > 1 and not start[:, len(terms(degree - 1)) : len(terms(degree))].any():
        degree -= 1
    suffix = "-SIP" if degree > 1 else ""
    crpix = mid if suffix else mid - np.linalg.solve(cd, start[:, 0])
    cards: dict[str, str | float | int] = {
        "CTYPE1": f"RA---TAN{suffix}", "CTYPE2": f"DEC--TAN{suffix}", "CUNIT1": "deg", "CUNIT2": "deg",
        "RADESYS": "ICRS", "CRVAL1": float(crval[0]), "CRVAL2": float(crval[1]),
        "CRPIX1": float(crpix[0]), "CRPIX2": float(crpix[1]),
        **dict(zip(LINEAR, cd.ravel().tolist(), strict=True)),
    }  # fmt: skip
    if suffix:
        pixels = np.linalg.solve(cd, start)
        cards |= {"A_ORDER": degree, "B_ORDER": degree}
        for k, (i, j) in enumerate(terms(degree)):
            if i + j != 1:
                scale = half[0] ** i * half[1] ** j
                cards |= {f"{letter}_{i}_{j}": float(pixels[n, k] / scale) for n, letter in enumerate("AB")}
    return cards


def size(header: Header) -> tuple[float, float] | None:
    """Width and height of the image in pixels, where its header says them."""
    for width, height in (("ZNAXIS1", "ZNAXIS2"), ("NAXIS1", "NAXIS2"), ("IMAGEW", "IMAGEH")):
        if width in header and height in header and float(header[width]) > 0 and float(header[height]) > 0:
            return float(header[width]), float(header[height])
    return None


def number(header: Header, key: str, name: str, default: float | None = None) -> float:
    """The card's number; without a default a missing one is an error."""
    raw = header.get(key)
    if raw is None or raw == "":
        if default is None:
            raise HeaderError(f"{name}: its header has no {key}, wanted a number", name=name, key=key)
        return default
    try:
        return float(raw)
    except (TypeError, ValueError):
        pass
    try:
        return float(str(raw).upper().replace("D", "E"))  # Fortran's exponent, which FITS allows
    except ValueError:
        raise HeaderError(f"{name}: {key} is {raw!r}, wanted a number", name=name, key=key) from None


def _kind(header: Header, name: str) -> str:
    """TAN, SIP or TPV; anything else, such as another projection or frame, is an error."""
    found = [str(header.get(key, "")).strip() for key in ("CTYPE1", "CTYPE2")]
    projection = found[0][5:]
    if found != [f"RA---{projection}", f"DEC--{projection}"] or projection not in ("TAN", "TAN-SIP", "TPV"):
        raise HeaderError(
            f"{name}: CTYPE is {found}, wanted RA---TAN and DEC--TAN, -TAN-SIP or -TPV; "
            "give another WCS in a .head file beside the catalogue",
            name=name,
            ctype=found,
        )
    for key in ("CUNIT1", "CUNIT2"):
        if str(header.get(key, "deg")).strip().lower() not in ("deg", "degree", "degrees", ""):
            raise HeaderError(f"{name}: {key} is {header[key]!r}, wanted deg", name=name, key=key)
    frame = str(header.get("RADESYS", header.get("RADECSYS", "ICRS"))).strip().upper()
    of_2000 = frame == "ICRS" or number(header, "EQUINOX", name, 2000.0) == 2000
    if frame not in ("ICRS", "FK5", "") or not of_2000:
        # FK5 of J2000 is ICRS to 0.03 arcsec, far inside what a rough WCS may be off.
        raise HeaderError(
            f"{name}: RADESYS {frame}, EQUINOX {header.get('EQUINOX', 2000)}, wanted ICRS or FK5 of 2000",
            name=name,
        )
    if number(header, "LONPOLE", name, 180.0) != 180:
        raise HeaderError(f"{name}: LONPOLE is {header['LONPOLE']}, wanted 180", name=name, key="LONPOLE")
    if projection == "TAN":  # of several distortions astropy's choice: PV here, SIP where the suffix says so
        return "TPV" if "PV2_1" in header or "PV2_0" in header else "SIP" if "A_ORDER" in header else "TAN"
    return projection[-3:]


def _linear(header: Header, name: str) -> list[float]:
    """CRVAL1, CRVAL2, CRPIX1, CRPIX2, CD1_1, CD1_2, CD2_1, CD2_2."""
    places = [number(header, key, name) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")]
    if any(key in header for key in LINEAR):
        return places + [number(header, key, name, 0.0) for key in LINEAR]
    delta = [number(header, "CDELT1", name), number(header, "CDELT2", name)]
    if any(f"PC{at}" in header for at in ("1_1", "1_2", "2_1", "2_2")):
        unit = {"1_1": 1.0, "1_2": 0.0, "2_1": 0.0, "2_2": 1.0}
        pc = [number(header, f"PC{at}", name, default) for at, default in unit.items()]
        return [*places, pc[0] * delta[0], pc[1] * delta[0], pc[2] * delta[1], pc[3] * delta[1]]
    turn = np.radians(number(header, "CROTA2", name, number(header, "CROTA1", name, 0.0)))
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    return [*places, delta[0] * cos, -delta[1] * sin, delta[0] * sin, delta[1] * cos]


def _sip(header: Header, name: str) -> Floats:
    """SIP as polynomials (2, terms) of the pixel offset from CRPIX, the offset itself included."""
    order = [number(header, f"{letter}_ORDER", name) for letter in "AB"]
    degree = int(max(*order, 1))
    if not 0 <= degree <= 9:
        raise HeaderError(f"{name}: SIP of order {degree}, wanted 9 or less", name=name, order=degree)
    found = [[number(header, f"{letter}_{i}_{j}", name, 0.0) for i, j in terms(degree)] for letter in "AB"]
    warp = np.array(found)
    warp[0, 1] += 1
    warp[1, 2] += 1
    return warp


def _tpv(header: Header, name: str) -> Floats:
    """TPV as polynomials (2, terms) of x, y = CD (pixel - CRPIX); the terms of r are refused."""
    for axis in (1, 2):
        for m in RADIAL:
            if number(header, f"PV{axis}_{m}", name, 0.0):
                raise HeaderError(
                    f"{name}: PV{axis}_{m} is {header[f'PV{axis}_{m}']}: terms of r are no polynomial; "
                    "fit the distortion again without them",
                    name=name,
                    key=f"PV{axis}_{m}",
                )
    highest = max((m for m in TPV_TERMS if f"PV1_{m}" in header or f"PV2_{m}" in header), default=1)
    degree = max(1, sum(terms(TPV_DEGREE)[TPV_TERMS.index(highest)]))
    warp = np.zeros((2, len(terms(degree))))
    at = {power: k for k, power in enumerate(terms(degree))}
    for k, (i, j) in enumerate(terms(degree)):
        m, default = TPV_TERMS[k], 1.0 if k == 1 else 0.0
        warp[0, k] = number(header, f"PV1_{m}", name, default)
        warp[1, at[j, i]] = number(header, f"PV2_{m}", name, default)  # the second axis numbers y first
    return warp
