"""What every test has: the skips that are not silent, Hypothesis without a stopwatch, and `state_dir`."""

import pytest
from hypothesis import settings

pytest_plugins = ["pytester", "system_packages"]

# A busy machine is not a bug: examples have no deadline, the whole test has pytest-timeout's.
settings.register_profile("obslab", deadline=None)
settings.load_profile("obslab")


@pytest.fixture
def state_dir(tmp_path, monkeypatch):
    """A state directory of this test's own; processes that it starts use it too."""
    path = tmp_path / "state"
    path.mkdir()
    monkeypatch.setenv("OBSLAB_STATE_DIR", str(path))
    return path
