"""What is watched: one frozen dataclass for each kind of rule.

Streams and units are chosen by topic filters, as on a broker: ``pea/+/sec``, ``pea/lemi0001``, ``#``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from obslab.telemetry.watch.actions import Action

Positive = Annotated[float, Meta(gt=0, le=1e12)]
NotNegative = Annotated[float, Meta(ge=0, le=1e12)]
Number = Annotated[float, Meta(ge=-1e12, le=1e12)]
Filters = Annotated[tuple[str, ...], Meta(min_length=1)]
EVERYTHING: Filters = ("#",)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What every rule has.

    It must be broken for ``hold_s`` to become an alarm, and kept for ``clear_s`` to become an all-clear; a
    reminder comes each ``remind_h`` hours, never if 0. ``do`` names the actions, all when empty.
    """

    name: str
    hold_s: NotNegative = 0.0
    clear_s: NotNegative = 60.0
    remind_h: NotNegative = 24.0
    do: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stale(Rule):
    """No new sample of a stream for ``after_s`` by the station's clock.

    Without ``after_s`` it is INTERMAGNET's target (30 s for 1 s data, 120 s for 1 min data) and one cadence,
    since the newest sample of a stream that is in time is one cadence old before the next comes.
    """

    after_s: Positive | None = None
    streams: Filters = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class Gap(Rule):
    """Samples are missing for ``longer_than_s`` or more, and not filled yet or lost at source.

    What is lost stays lost, so that is told for ``lost_for_h`` hours.
    """

    longer_than_s: Positive = 60.0
    lost_for_h: Positive = 24.0
    streams: Filters = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class Disk(Rule):
    """The archive's or a unit's disk has less than so many GB (1e9 bytes) free, or a journal is long."""

    archive_below_gb: Positive | None = None
    unit_below_gb: Positive | None = None
    journal_above: Annotated[int, Meta(gt=0)] | None = None
    units: Filters = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class Clock(Rule):
    """A unit's clock is off the archive's by more than ``above_s``, round trip allowed for."""

    above_s: Positive = 1.0
    units: Filters = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class Value(Rule):
    """A component is below ``min`` or above ``max``; it is well again when inside by ``margin``.

    A newest sample older than ``max_age_s`` says nothing: that is what ``stale`` is for.
    """

    component: str
    min: Number | None = None
    max: Number | None = None
    margin: NotNegative = 0.0
    max_age_s: Positive = 3600.0
    streams: Filters = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class Temperature(Value):
    """A ``Value`` of every component in degrees Celsius, or of the one that is named."""

    component: str = ""
    margin: NotNegative = 1.0


@dataclass(frozen=True, kw_only=True)
class Link(Rule):
    """A unit, or a bridge between brokers, is offline for longer than ``after_s``."""

    after_s: NotNegative = 600.0
    bridges: bool = True
    units: Filters = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class Collector(Rule):
    """The collector says nothing, or has no broker, for longer than ``after_s``, or is in trouble."""

    after_s: Positive = 60.0


@dataclass(frozen=True, kw_only=True)
class Trouble(Rule):
    """A unit reports trouble: a driver that fails, a full disk."""

    units: Filters = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class DeltaF(Rule):
    """Scalar minus vector is off zero by more than ``above_nt``, or has changed by more than ``change_nt``.

    It is S + pier difference - F(vector), median over the last ``minutes`` by the station's clock, against as
    many minutes ``before_h`` hours ago. ``vector`` and ``scalar`` are the topics of two streams of a station,
    as in ``pea/lemi0001-adj/sec`` and ``pea/gsm90001/sec``. With fewer than half of the samples that both
    should have it says nothing: that is what ``stale`` and ``gap`` are for.
    """

    vector: str
    scalar: str
    above_nt: Positive | None = None
    change_nt: Positive | None = None
    before_h: Positive = 24.0
    minutes: Annotated[float, Meta(ge=1, le=1440)] = 10.0
    pier_difference_nt: Number = 0.0


KINDS: dict[str, type[Rule]] = {
    "stale": Stale,
    "gap": Gap,
    "disk": Disk,
    "clock": Clock,
    "value": Value,
    "temperature": Temperature,
    "link": Link,
    "collector": Collector,
    "trouble": Trouble,
    "delta_f": DeltaF,
}
OWN = "watch"  # the rule that the watcher breaks itself: an action or a rule that fails


@dataclass(frozen=True)
class Rules:
    """All of a rules file: what is looked at ``every_s``, and whom to call."""

    rules: tuple[Rule, ...]
    actions: dict[str, Action]
    every_s: float = 30.0

    def called_by(self, rule: str) -> tuple[str, ...]:
        """The actions of a rule; all of them for one that is not in the file, the watcher's own."""
        named = next((one.do for one in self.rules if one.name == rule), ())
        return named or tuple(self.actions)


def kind_of(rule: Rule) -> str:
    """As the file calls it."""
    return next(name for name, kind in KINDS.items() if type(rule) is kind)


def fits(topic: str, filters: tuple[str, ...]) -> bool:
    """Whether any filter chooses the topic; ``+`` is one level, a last ``#`` any number, even none."""
    return any(_fits(topic.split("/"), one.split("/")) for one in filters)


def _fits(levels: list[str], wanted: list[str]) -> bool:
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(levels) == len(wanted) and all(
        want in ("+", level) for want, level in zip(wanted, levels, strict=True)
    )
