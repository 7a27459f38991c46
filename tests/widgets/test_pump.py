import gc
import threading
import weakref

from obslab_widgets.pump import Pump


class Drawing:
    def __init__(self, fault=None, fail_fault=None):
        self.drawn = threading.Semaphore(0)
        self.failed = threading.Semaphore(0)
        self.fault, self.fail_fault, self.told = fault, fail_fault, []

    def draw(self):
        self.drawn.release()
        if self.fault:
            raise self.fault

    def fail(self, where, message):
        self.told.append((where, message))
        self.failed.release()
        if self.fail_fault:
            raise self.fail_fault


def test_touches_within_a_period_are_one_draw():
    pump, drawing = Pump(period_s=0.05), Drawing()
    pump.touch(drawing)
    assert drawing.drawn.acquire(timeout=5)
    for _ in range(100):
        pump.touch(drawing)
    assert drawing.drawn.acquire(timeout=5)
    # The hundred touches may straddle the start of one draw, so at most one more follows.
    assert sum(drawing.drawn.acquire(timeout=0.2) for _ in range(3)) <= 1


def test_an_untouched_pump_draws_nothing():
    pump, drawing = Pump(period_s=0.01), Drawing()
    pump.touch(drawing)
    assert drawing.drawn.acquire(timeout=5)
    assert not drawing.drawn.acquire(timeout=0.2)


def test_one_widgets_fault_is_told_in_it_and_spares_the_others():
    pump, bad, good = Pump(period_s=0.01), Drawing(ValueError("no such column")), Drawing()
    for _ in range(3):
        pump.touch(bad)
        pump.touch(good)
        assert good.drawn.acquire(timeout=5)
        assert bad.failed.acquire(timeout=5)
    where, message = bad.told[0]
    assert where == "drawing"
    assert "ValueError: no such column" in message


def test_the_pump_survives_a_widget_that_cannot_even_fail(caplog):
    pump, hopeless, good = Pump(period_s=0.01), Drawing(ValueError(), RuntimeError("cannot tell")), Drawing()
    pump.touch(hopeless)
    assert hopeless.failed.acquire(timeout=5)
    pump.touch(good)
    assert good.drawn.acquire(timeout=5)
    assert "cannot tell" in caplog.text


def test_a_drawn_widget_is_not_kept_alive():
    pump, drawing = Pump(period_s=0.01), Drawing()
    gone = threading.Event()
    weakref.finalize(drawing, gone.set)
    pump.touch(drawing)
    assert drawing.drawn.acquire(timeout=5)
    del drawing
    for _ in range(100):
        gc.collect()
        if gone.wait(0.05):
            return
    raise AssertionError("the pump holds what it drew")


def test_a_forgotten_widget_is_not_drawn():
    pump, first, second = Pump(period_s=0.2), Drawing(), Drawing()
    pump.touch(first)
    assert first.drawn.acquire(timeout=5)
    pump.touch(second)  # the pump rests now
    pump.forget(second)
    pump.touch(first)
    assert first.drawn.acquire(timeout=5)
    assert not second.drawn.acquire(blocking=False)
