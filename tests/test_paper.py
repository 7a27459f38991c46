"""The archive of the paper's link: what was put in comes out."""

import numpy as np
import pytest

from obslab import paper


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """25 days: the long outage begins on day 20.4 and ends on day 22.4."""
    with paper.archive(tmp_path_factory.mktemp("paper") / "archive", days=25) as archive:
        yield archive


@pytest.fixture(scope="module")
def span():
    begin, end = paper.span(25)
    return {"begin": begin, "end": end}


def test_every_sample_is_there(archive, span):
    days = archive.completeness(**span, by="day")
    assert days.present.values.tolist() == [86_400] * 25
    assert archive.gaps(**span).sizes["gap"] == 0


def test_the_papers_figures_come_out(archive, span):
    late = archive.latency(**span, window="all").isel(window=0)
    assert float(late.delay_s) == 0.3  # LEMI-25 manual
    # 300 ms in the mean; the gamma tail of the model puts the median a little below.
    assert float(late.transport_p50_s) == pytest.approx(0.3, abs=0.01)
    outages = archive.outages(**span)
    assert float(outages.duration_s.max()) == pytest.approx(2 * 86_400, abs=10)
    # One short loss in each of 8 whole intervals of 3 days and of the last, begun one; and the long one.
    assert 8 <= outages.sizes["outage"] <= 10
    assert float(np.median(outages.duration_s)) < 10


def test_the_same_seed_makes_the_same_archive(tmp_path):
    one, other = (paper.archive(tmp_path / name, days=1) for name in ("one", "other"))
    with one, other:
        assert one.dataset("PEA", "lemi0001").equals(other.dataset("PEA", "lemi0001"))
