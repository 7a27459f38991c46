"""Headers of all images as FITS files without data, as ``.head`` files, or one by one for astropy.

Each says how far it is from the fitted mapping, and what of the full solution it leaves out.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING

from obslab.errors import ObslabError
from obslab.jointfit import pool
from obslab.jointfit.wcs.cards import WIDTH, Card, CardError, file_bytes, texts
from obslab.jointfit.wcs.planes import Mapped, NoWCSError
from obslab.jointfit.wcs.sip import Sip, fit_sip
from obslab.jointfit.wcs.tpv import Tpv, fit_tpv
from obslab.whole import WriteError, refused

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

FORMS = ("sip", "tpv", "scamp")

_TOGETHER = 64  # files that a thread takes at once


class NoImageError(ObslabError, LookupError):
    """A name that none of the images has."""


@dataclass(frozen=True)
class Headers:
    """One WCS header for each image, in the order of ``names``."""

    names: Sequence[str]
    texts: Sequence[str]

    def header(self, image: int | str) -> Header:
        """The header of an image, by its position or its name."""
        from astropy.io.fits import Header

        return Header.fromstring(self.texts[self._position(image)])

    def wcs(self, image: int | str) -> WCS:
        """The WCS of an image, by its position or its name."""
        from astropy.wcs import WCS

        return WCS(self.header(image), fix=False)  # there is nothing to repair, and to be warned of

    def write(self, folder: str | Path) -> list[Path]:
        """A FITS file without data for each image, ``<name>.fits``, in the order of ``names``.

        A file is there whole or not at all when the program is stopped, and takes the place of an old one. It
        is not forced to the disk, which would take ten times as long: after a power cut write them again.
        Astropy's WCS warns that there is no image with these axes; that is so.
        """
        files = [f"{name}.fits" for name in self.names]
        return _write(folder, files, lambda at: file_bytes(self.texts[at]))

    def write_heads(self, folder: str | Path, exposures: Sequence[str], suffix: str = ".head") -> list[Path]:
        """A text file for each exposure, ``<exposure>.head``, with one header after the other.

        SExtractor and SWarp read it beside an image, SCAMP where it ends in ``suffix=".ahead"``. They match
        headers and extensions by their order, which is that of ``names``. ``exposures`` names each image's.
        """
        if len(exposures) != len(self.names):
            raise CardError(f"{len(exposures)} exposures for {len(self.names)} images: wanted one for each")
        blocks: dict[str, list[str]] = {}
        for exposure, text in zip(exposures, self.texts, strict=True):
            blocks.setdefault(f"{exposure}{suffix}", []).append(_head(text))
        contents = ["".join(block).encode("ascii") for block in blocks.values()]
        return _write(folder, list(blocks), contents.__getitem__)

    def _position(self, image: int | str) -> int:
        if isinstance(image, str):
            if image not in self.names:
                raise NoImageError(f"no image is named {image!r}; one is {self.names[0]!r}", image=image)
            return list(self.names).index(image)
        return image


def headers(
    source: Mapped | Sip | Tpv,
    form: str = "sip",
    *,
    extra: Sequence[Card] = (),
    leaves_out: Sequence[str] = (),
) -> Headers:
    """Headers with the WCS and ``extra`` cards; ``leaves_out`` names what their positions are without.

    Mappings become "sip", "tpv", or "scamp": TPV about the exposure's tangent point; to choose degrees, give
    what ``fit_sip`` or ``fit_tpv`` made of them. Raises NoWCSError for an image that cannot have a WCS and
    CardError for extra cards that a header cannot hold or that the WCS needs for itself.
    """
    solution = _fitted(source, form) if isinstance(source, Mapped) else source
    cards = [*_axes(solution), *solution.cards(), *_statements(solution, leaves_out), *extra]
    return Headers(solution.names, texts(cards, solution.names))


def _fitted(mapped: Mapped, form: str) -> Sip | Tpv:
    if form not in FORMS:
        raise NoWCSError(f"form {form!r} is none of {', '.join(FORMS)}", form=form)
    return fit_sip(mapped) if form == "sip" else fit_tpv(mapped, exposure_tangent=form == "scamp")


def _axes(solution: Sip | Tpv) -> Iterator[Card]:
    yield Card("WCSAXES", 2, "Axes of this WCS")
    for axis, ctype in enumerate(solution.ctype):
        yield Card(f"CTYPE{axis + 1}", ctype)
    for axis in (1, 2):
        yield Card(f"CUNIT{axis}", "deg")
    for axis in range(2):
        yield Card(f"CRVAL{axis + 1}", solution.crval[:, axis], "[deg] Tangent point", "%20.14f")
    for axis in range(2):
        yield Card(
            f"CRPIX{axis + 1}", solution.crpix[:, axis], "[pixel] The centre of the first one is 1", "%20.13E"
        )
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        yield Card(f"CD{i + 1}_{j + 1}", solution.cd[:, i, j], "[deg/pixel]", "%20.13E")
    yield Card("LONPOLE", 180.0, "[deg]")
    yield Card("RADESYS", "ICRS")


def _statements(solution: Sip | Tpv, leaves_out: Sequence[str]) -> Iterator[Card]:
    yield Card("OBSLEMAX", solution.error.max_mas, "[mas] Largest error of approximation", "%20.6E")
    yield Card("OBSLERMS", solution.error.rms_mas, "[mas] Root mean square of it over the image", "%20.6E")
    yield Card("OBSLOMIT", ", ".join(leaves_out) or "nothing", "What this WCS leaves out")
    yield Card("COMMENT", "A WCS fitted by obslab, which approximates the mapping of a joint fit.")
    for what in leaves_out:
        yield Card("COMMENT", f"It leaves out: {what}. The full solution of the fit has it.")


def _head(text: str) -> str:
    lines = [text[at : at + WIDTH].rstrip() for at in range(0, len(text), WIDTH)]
    return "\n".join([*lines, "END     ", ""])


def _write(folder: str | Path, names: Sequence[str], contents: Callable[[int], bytes]) -> list[Path]:
    """Each content under its name; file creation waits for the system, so a few threads share it."""
    folder = Path(folder)
    bad = [name for name, count in Counter(names).items() if count > 1 or "/" in name or "\0" in name]
    if bad:
        raise WriteError(f"{bad[0]!r} in {folder} cannot be: wanted different names without /", path=folder)
    mark = f".{uuid.uuid4().hex[:8]}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = -(-len(names) // _TOGETHER)
        pool.run(_write_part, parts, str(folder), names, contents, mark)
    except OSError as error:
        raise refused(error.filename or folder, error) from error
    return [folder / name for name in names]


def _write_part(
    part: int, folder: str, names: Sequence[str], contents: Callable[[int], bytes], mark: str
) -> None:
    for at in range(part * _TOGETHER, min((part + 1) * _TOGETHER, len(names))):
        path = f"{folder}/{names[at]}"
        unfinished = f"{folder}/.{names[at][:200]}{mark}"
        try:
            file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                content = contents(at)
                if os.write(file, content) != len(content):
                    raise OSError(ENOSPC, os.strerror(ENOSPC), path)
            finally:
                os.close(file)
            # Some file systems (ext4) flush a file that replaces another, which takes three times as long as
            # all the rest; one that finds its name free, they do not.
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.replace(unfinished, path)
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)
            raise
