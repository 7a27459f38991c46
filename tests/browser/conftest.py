import pytest
from browser.lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """One JupyterLab for all tests of the session: it takes seconds to start."""
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab
