"""What a baseline editor works out and draws, without toolkit or browser, against the bases put in."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obslab_widgets.baseline_editor import edits
from obslab_widgets.baseline_editor.adopting import adopt
from obslab_widgets.baseline_editor.axes import KINDS
from obslab_widgets.baseline_editor.desk import Work, estimated_pier_nt
from obslab_widgets.baseline_editor.effect import median_of
from obslab_widgets.baseline_editor.fields import days, instant_ns, lines, validity, validity_text
from obslab_widgets.baseline_editor.given import desk_of
from obslab_widgets.baseline_editor.model import boxed, frame
from obslab_widgets.baseline_editor.state import State
from obslab_widgets.baseline_editor.supply import windows_around
from obslab_widgets.baseline_editor.telling import rows, summary, warnings
from obslab_widgets.baseline_editor.worker import Worker
from obslab_widgets.latency_dashboard.state import Interval
from widgets.pillar import (
    BEGIN_NS,
    DAY_NS,
    DRIFT_NT,
    OUTLIER,
    PIER_NT,
    STEP_NS,
    STEP_NT,
    bases,
    four_months,
)

from obslab.errors import BadTimeError, BaselineError, ConfigError, SchemaError
from obslab.telemetry.baseline import Baselines
from obslab.times import as_ns, as_utc, to_ns

BENT = State(pier_difference_nt=PIER_NT)
STEPPED = replace(BENT, steps=(STEP_NS,))


@pytest.fixture(scope="module")
def pillar():
    return four_months()


@pytest.fixture(scope="module")
def desk(pillar):
    return desk_of((pillar.vector, pillar.scalar), pillar.absolutes, None, None)


@pytest.fixture(scope="module")
def stepped(desk):
    return desk.work(STEPPED)


def drawn(state, work):
    return frame(state, work, ())


# ---- what is worked out


def test_drift_and_step_are_those_put_in(stepped):
    size = float(stepped.fit.steps["size"].values[0])
    assert size == pytest.approx(STEP_NT, abs=0.6)  # three standard errors of 80 spots of 0.3 nT
    rate = float(stepped.fit.drift["per_year_nt"].values[0])
    assert rate == pytest.approx(DRIFT_NT, abs=3 * float(stepped.fit.drift["error_nt"].values[0]))


def test_drift_over_the_limit_and_a_jump_without_a_step_are_told(desk, stepped):
    bent = warnings(desk.work(BENT))
    assert any(line.startswith("H0 drifts +") and "(limit 5)" in line for line in bent)
    assert any(line.startswith("H0 jumps +") and line.endswith("a step?") for line in bent)
    assert not any("jumps" in line for line in warnings(stepped))  # its step accounts for it
    assert "drifts" in frame(STEPPED, stepped, ()).status


def test_the_outlier_is_rejected_and_stands_at_the_edge_of_the_axes(stepped):
    (dots,) = drawn(STEPPED, stepped).bases[0].dots
    assert dots.kind[OUTLIER] == "rejected"
    axes = drawn(STEPPED, stepped).bases[0]
    assert axes.y1 < dots.value[OUTLIER] and axes.y0 < dots.y[OUTLIER] < axes.y1
    assert dots.kind.count("rejected") <= 2


def test_spots_excluded_by_hand_are_told_from_rejected_ones(desk, stepped):
    times = to_ns(stepped.spots["time"].values)
    state = replace(STEPPED, **edits.excluded(STEPPED, times[[3, 4]].tolist()))
    work = desk.work(state)
    (dots,) = drawn(state, work).bases[0].dots
    assert [place for place, kind in enumerate(dots.kind) if kind == "excluded"] == [3, 4]
    assert set(dots.kind) <= set(KINDS)
    assert "2 excluded" in drawn(state, work).bases[0].title
    again = replace(state, **edits.included(state, times[[3]].tolist()))
    assert again.excluded == (times[4],)


def test_the_curve_breaks_at_the_step_and_follows_the_truth_within_its_band(stepped):
    curve = drawn(STEPPED, stepped).bases[0].curve
    (broken,) = np.flatnonzero(np.isnan(curve.y))
    assert curve.time_ms[broken] == STEP_NS / 1e6
    time_ns = curve.time_ms * 1e6
    inside = np.isfinite(curve.y) & (time_ns > BEGIN_NS + DAY_NS) & (time_ns < BEGIN_NS + 119 * DAY_NS)
    inside &= np.abs(time_ns - STEP_NS) > 1e6  # where a float of ms does not tell the sides
    truth = bases(time_ns[inside].astype(np.int64))[:, 0]
    half = (curve.high - curve.y)[inside]
    assert (np.abs(curve.y[inside] - truth) < 4 * half).all()


def test_residuals_of_all_components_are_in_nt_and_of_an_angle_in_arcmin(desk, stepped):
    together = drawn(STEPPED, stepped).residuals
    degrees = stepped.fit.residuals["residual"].values[:, 1]
    assert together.unit == "nT"
    # A turn of the field moves its horizontal end by H, 20,875 nT at this pillar.
    assert np.allclose(together.dots[1].value, np.radians(degrees) * 20_875, atol=0.01)
    alone = frame(replace(STEPPED, residuals="d"), stepped, ()).residuals
    assert (alone.unit, alone.label) == ("arcmin", "residual (arcmin)")
    assert np.allclose(alone.dots[1].value, degrees * 60)
    assert alone.dots[0].value.size == 0


def test_delta_f_is_that_of_the_bases_put_in(desk, pillar, stepped):
    median, deviation = median_of(stepped.effect["after"].values)
    assert abs(median) < 0.5  # the curve at its end is known to 0.15 nT
    assert deviation == pytest.approx(0.05, abs=0.01)  # noise of the simulated scalar
    assert np.isnan(stepped.effect["before"].values).all()
    assert stepped.period == Interval(BEGIN_NS + 119 * DAY_NS, BEGIN_NS + 120 * DAY_NS)
    assert "before: nothing adopted" in drawn(STEPPED, stepped).delta.title


def test_delta_f_before_is_that_of_the_baseline_adopted_before_with_its_own_pier_difference(pillar, tmp_path):
    desk = desk_of((pillar.vector, pillar.scalar), pillar.absolutes, None, tmp_path)
    bent = desk.fit(BENT).baseline
    adopt(bent, desk.adopted, "NN", "no step", as_utc("2024-06-01"))
    state = replace(STEPPED, pier_difference_nt=PIER_NT + 1.0, period=Interval(STEP_NS, STEP_NS + DAY_NS))
    found = desk.effect(state)
    assert found.attrs["adopted"] == "2024-06-01 by NN"
    gone = desk.effect(replace(BENT, period=state.period))
    assert np.allclose(found["before"].values, gone["after"].values, atol=1e-9)
    before, after = (median_of(found[name].values)[0] for name in ("before", "after"))
    assert abs(before) > 0.5 and after == pytest.approx(1.0, abs=0.4)


def test_the_pier_difference_is_found(desk):
    found = estimated_pier_nt(desk, replace(STEPPED, pier_difference_nt=0.0))
    assert found == pytest.approx(PIER_NT, abs=0.5)  # as for delta-F above
    level = desk.effect(replace(STEPPED, pier_difference_nt=found))
    assert median_of(level["after"].values)[0] == pytest.approx(0.0, abs=0.001)


def test_a_pier_difference_that_delta_f_does_not_depend_on_is_refused(pillar):
    followed = pillar.absolutes.assign(f=pillar.absolutes["f"] * np.nan)
    desk = desk_of((pillar.vector, pillar.scalar), followed, None, None)
    with pytest.raises(BaselineError, match="does not tell the pier difference"):
        estimated_pier_nt(desk, STEPPED)


def test_knots_by_number_are_shown_where_the_fit_has_put_them(desk):
    knots = desk.knots(replace(STEPPED, knots=3))
    assert len(knots) == 3 and list(knots) == sorted(knots)
    assert desk.knots(STEPPED) == ()  # left to the method: none to pull


# ---- what cannot be worked out is told, and the rest is there


def test_without_a_scalar_there_are_spots_and_a_word_about_delta_f(pillar):
    work = desk_of(pillar.vector, pillar.absolutes, None, None).work(BENT)
    assert work.fit is not None and work.effect is None
    assert work.troubles == ("there is no scalar, so no delta-F: give one to see the effect",)
    assert frame(BENT, work, ()).level == "off"


def test_too_few_spots_are_shown_without_a_curve(pillar):
    few = pillar.absolutes.isel(measurement=slice(0, 2))
    work = desk_of((pillar.vector, pillar.scalar), few, None, None).work(BENT)
    shown = frame(BENT, work, ())
    assert shown.bases[0].dots[0].value.size == 2 and shown.bases[0].curve.y.size == 0
    assert "too few spots" in shown.status and shown.level == "off"
    assert [row[0] for row in shown.table] == ["H0", "D0", "Z0"]


def test_absolutes_without_variometer_data_at_their_times_are_told(pillar):
    early = pillar.absolutes.assign(
        {name: pillar.absolutes[name] - np.timedelta64(400, "D") for name in ("time", "end")}
    )
    work = desk_of((pillar.vector, pillar.scalar), early, None, None).work(BENT)
    assert work.spots is None and "has no data at any of 80 absolute measurements" in work.troubles[0]
    assert len(frame(BENT, work, ()).bases) == 3  # axes there are


def test_no_absolutes_and_no_variometer_are_told(pillar):
    assert (
        "no absolute measurements of WIC" in desk_of(pillar.vector, None, None, None).work(BENT).troubles[0]
    )
    alone = desk_of(pillar.scalar, pillar.absolutes, None, None)
    assert "no variometer data of WIC" in alone.work(BENT).troubles[0]


def test_what_is_no_absolute_measurement_is_refused(pillar):
    with pytest.raises(SchemaError, match="d_error is missing"):
        desk_of(pillar.vector, pillar.absolutes.drop_vars("d_error"), None, None)
    with pytest.raises(ConfigError, match="a int is no absolute measurement"):
        desk_of(pillar.vector, [3], None, None)
    with pytest.raises(ConfigError, match="a float holds no variometer data"):
        desk_of(1.5, pillar.absolutes, None, None)


def test_a_step_outside_the_spots_leaves_them_in_sight(desk):
    state = replace(BENT, steps=(BEGIN_NS - DAY_NS,))
    shown = frame(state, desk.work(state), ())
    assert "no usable spot before the step" in shown.status
    assert shown.bases[0].dots[0].value.size == 80


def test_adoption_needs_author_and_reason_and_a_folder(desk, tmp_path):
    baseline = desk.fit(STEPPED).baseline
    now = as_utc("2024-06-01")
    with pytest.raises(BaselineError, match="enter the author and the reason"):
        adopt(baseline, Baselines(tmp_path), " ", "", now)
    with pytest.raises(BaselineError, match="enter the reason"):
        adopt(baseline, Baselines(tmp_path), "NN", " ", now)
    with pytest.raises(BaselineError, match="make the editor with folder="):
        adopt(baseline, None, "NN", "a step", now)
    assert not list(tmp_path.iterdir())
    adopt(baseline, Baselines(tmp_path), "NN", "a step", now)
    (found,) = Baselines(tmp_path).all()
    assert (found.author, found.reason, found.adopted_at) == ("NN", "a step", now)


# ---- what the user does


def test_a_box_holds_the_spots_within_it(stepped):
    shown = drawn(STEPPED, stepped)
    times = to_ns(stepped.spots["time"].values)
    box = {"x0": times[12] / 1e6 + 1, "x1": times[9] / 1e6 - 1, "y0": -1e9, "y1": 1e9}
    assert boxed(shown, stepped, "h", box) == tuple(times[9:13])
    assert boxed(shown, stepped, "residuals", box) == tuple(times[9:13])
    assert boxed(shown, stepped, "h", {**box, "y0": 100.0, "y1": 200.0}) == ()
    # What lies beyond the axes is taken where it is drawn.
    around = {"x0": times[OUTLIER] / 1e6 - 1, "x1": times[OUTLIER] / 1e6 + 1}
    high = {"y0": shown.bases[0].y1 - 1.0, "y1": shown.bases[0].y1}
    assert boxed(shown, stepped, "h", {**around, **high}) == (times[OUTLIER],)


def test_a_line_that_is_pulled_stays_between_its_neighbours_and_keeps_its_number():
    knots = tuple(BEGIN_NS + day * DAY_NS for day in (10, 20, 30))
    ends = (BEGIN_NS, BEGIN_NS + 40 * DAY_NS)
    for aim, lands in ((25, 25 * 1440), (50, 30 * 1440 - 1), (-5, 10 * 1440 + 1)):
        found = edits.dragged(BENT, knots, "knot 1", BEGIN_NS + aim * DAY_NS, ends)
        assert found["picked"] == "knot 1"
        assert found["knots"][1] == BEGIN_NS + lands * 60_000_000_000
    far = edits.dragged(replace(BENT, steps=(knots[0],)), (), "step 0", BEGIN_NS + 90 * DAY_NS, ends)
    assert far["steps"] == (ends[1] - 60_000_000_000,)


def test_a_line_moved_by_a_program_may_pass_others():
    knots = tuple(BEGIN_NS + day * DAY_NS for day in (10, 20, 30))
    found = edits.moved(BENT, knots, "knot 0", BEGIN_NS + 25 * DAY_NS)
    assert found["knots"] == (knots[1], BEGIN_NS + 25 * DAY_NS, knots[2])
    assert found["picked"] == "knot 1"
    assert len(edits.moved(BENT, knots, "knot 0", knots[2])["knots"]) == 3  # two at once would be one
    with pytest.raises(ConfigError, match=r"no 'knot 3': the curve has 0 steps and 3 knots"):
        edits.moved(BENT, knots, "knot 3", 0)


def test_a_click_picks_the_line_below_it_or_points():
    state = replace(BENT, steps=(STEP_NS,))
    shown_ns = 120 * DAY_NS
    near = edits.pointed(state, (), STEP_NS + DAY_NS // 2, shown_ns)
    assert (near["picked"], near["at_ns"]) == ("step 0", STEP_NS)
    away = edits.pointed(state, (), STEP_NS + 10 * DAY_NS, shown_ns)
    assert (away["picked"], away["at_ns"]) == ("new", STEP_NS + 10 * DAY_NS)


def test_lines_come_and_go():
    one = replace(BENT, **edits.with_step(BENT, STEP_NS))
    two = replace(one, **edits.with_step(one, STEP_NS - DAY_NS))
    assert two.steps == (STEP_NS - DAY_NS, STEP_NS) and two.picked == "step 0"
    assert replace(two, **edits.removed(two, (), "step 0")).steps == (STEP_NS,)
    assert [name for _, name in lines(two, (5,))] == ["new", "step 0", "step 1", "knot 0"]
    assert edits.with_knot(BENT, (5,), 3)["knots"] == (3, 5)


@given(st.lists(st.integers(0, 10**6), max_size=20), st.integers(0, 1000))
def test_windows_hold_every_measurement_and_do_not_touch(begins, margin):
    begin = np.array(begins, dtype=np.int64)
    windows = windows_around(begin, begin + 500, margin)
    for at in begins:
        assert ((windows[:, 0] <= at - margin) & (windows[:, 1] > at + 500 + margin)).any()
    assert (windows[1:, 0] > windows[:-1, 1]).all()


def test_texts_of_the_controls_are_read_as_they_are_written():
    for ends in ((None, None), (BEGIN_NS, None), (None, STEP_NS), (BEGIN_NS, STEP_NS)):
        assert validity(validity_text(*ends)) == ends
    assert validity("2024-05-10") == (as_ns("2024-05-10"), as_ns("2024-05-11"))
    assert instant_ns("2024-05-10T07") == instant_ns("2024-05-10 07:00") == as_ns("2024-05-10T07:00Z")
    with pytest.raises(BadTimeError):
        instant_ns("yesterday")
    assert (days(""), days("auto"), days("12.5")) == (None, None, 12.5)
    with pytest.raises(ConfigError, match="'long' is not a number of days"):
        days("long")


def test_the_summary_names_what_was_chosen_and_found(stepped):
    text = summary(stepped)
    assert "WIC lemi036: 79 used" in text
    assert "spline of degree 3, automatic knots, 1 step" in text and "pier difference 2.5 nT" in text
    assert [row[0] for row in rows(stepped)] == ["H0", "D0", "Z0"]


# ---- the thread


def test_the_thread_works_out_the_newest_state_fast_first():
    begun, release, made = threading.Event(), threading.Event(), []

    def fast(state):
        begun.set()
        release.wait(10)
        made.append(("fast", state.degree))
        return Work(state)

    def thorough(state):
        made.append(("thorough", state.degree))
        return Work(state)

    told = threading.Semaphore(0)
    worker = Worker((fast, thorough), told.release)
    worker.want(State(degree=0))
    assert begun.wait(10)
    for degree in range(1, 5):
        worker.want(State(degree=degree))
    release.set()
    while not (made and made[-1] == ("thorough", 4)):
        assert told.acquire(timeout=10)
    worker.stop()
    assert made == [("fast", 0), ("fast", 4), ("thorough", 4)]  # those in between were dropped


def test_a_fault_of_the_program_is_told_and_the_thread_goes_on():
    def fail(state):
        if state.degree == 1:
            raise ZeroDivisionError("by\nnought")
        return Work(state)

    told = threading.Semaphore(0)
    worker = Worker((fail,), told.release)
    worker.want(State(degree=1))
    assert told.acquire(timeout=10)
    assert worker.work.troubles == ("ZeroDivisionError: by nought",)
    worker.want(State(degree=2))
    assert told.acquire(timeout=10)
    assert worker.work.troubles == ()
    worker.stop()
