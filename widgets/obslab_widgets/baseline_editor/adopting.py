"""Adoption: a baseline that somebody answers for, written to the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from obslab.errors import BaselineError
from obslab.telemetry.baseline import Baseline, Baselines


def adopt(
    baseline: Baseline, adopted: Baselines | None, author: str, reason: str, now: np.datetime64
) -> Path:
    """Write the baseline with who adopted it and why; the file. Raises BaselineError without either."""
    lacking = [word for word, text in (("author", author), ("reason", reason)) if not text.strip()]
    if lacking:
        raise BaselineError(
            f"a baseline is adopted with an author and a reason: enter the {' and the '.join(lacking)}"
        )
    if adopted is None:
        raise BaselineError("there is no folder for adopted baselines: make the editor with folder=")
    return adopted.adopt(baseline.adopted(author.strip(), reason.strip(), now))
