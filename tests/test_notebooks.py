"""Notebooks as files: what nbval does not look at."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_saved_notebook_holds_no_widget_state_and_says_what_it_checks(path):
    notebook = json.loads(path.read_text())
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}, "widgets' state is megabytes"
    assert not any(cell["metadata"] for cell in notebook["cells"]), "times of a run change with each"
    assert any("NBVAL_CHECK_OUTPUT" in "".join(cell["source"]) for cell in notebook["cells"])
