"""The word that kernels are being compiled, which happens once on a machine."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)
_said = False


def announce(star_parameters: int = 2) -> bool:
    """Say so, once, if numba's cache has no kernel of the fit yet; -> whether it had to."""
    global _said
    if _said:
        return False
    from obslab.jointfit.solve.residuals import residual_kernel

    kernel = residual_kernel(star_parameters, False, False)
    folder = Path(kernel._cache.cache_path)  # type: ignore[attr-defined]
    if any(folder.glob("residuals.*.nbi")):
        return False
    _said = True
    log.warning("compiling the fit's kernels, once on this machine: some 25 s")
    return True
