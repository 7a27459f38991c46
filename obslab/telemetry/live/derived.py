"""A source with what follows from its samples: adjusted components and delta-F, as the samples come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from obslab.errors import ObslabError
from obslab.telemetry.adjusted import Piece, pieces_of
from obslab.telemetry.derived import derived, is_derived, recorded
from obslab.telemetry.live.recipes import DELTA_F, Adjusting, Differencing, is_vector, scalar_of
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Condition, Rings, Source
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import IRREGULAR, Meta, Stream
from obslab.times import iso

if TYPE_CHECKING:
    from obslab.telemetry.baseline import Baseline
    from obslab.telemetry.baseline.folder import Baselines

    Adopted = Baselines | Baseline | Sequence[Baseline] | str | Path | None

log = logging.getLogger(__name__)

_LOOK_S = 2.0  # how often a folder of baselines is looked at: somebody may adopt one meanwhile
_EVER = (-(2**62), 2**62)
_ALL = (-(2**63), 2**63 - 1)

Recipe = Adjusting | Differencing


class DerivedSource:
    """Wraps a source: its rings, and ``<instrument>-adj`` with x y z and ``delta-f`` with delta_f.

    ``baselines`` is a folder of adopted ones, or some of them; without any, delta-F is of the raw vector if
    that is a whole field. What the source has stored adjusted (``obslab archive adjust --follow``) is taken
    as it is. Each sample is computed once, when it comes, late ones too; all again after an adoption.
    """

    def __init__(self, source: Source, baselines: Adopted = None) -> None:
        self.source = source
        self.live = source.live
        self.archive = getattr(source, "archive", None)
        self._baselines = _opened(baselines)
        self._rings = Rings()
        self._recipes: dict[Stream, Recipe] = {}
        self._marks: dict[tuple[Stream, Stream], tuple[Ring, int]] = {}
        self._pieces: dict[Stream, tuple[Piece, ...]] = {}
        self._looked_s = -np.inf
        self._note = ""
        self._lock = threading.Lock()

    @property
    def clocked(self) -> bool:
        return self.source.clocked

    def start(self, changed: Callable[[], None]) -> None:
        def both() -> None:
            self.update()
            changed()

        self.source.start(both)

    def stop(self) -> None:
        self.source.stop()

    def reach(self, window_s: float) -> None:
        self.source.reach(window_s)
        self.update()

    def rings(self) -> list[Ring]:
        ours = self._rings.all()
        return sorted([*self.source.rings(), *ours], key=lambda ring: ring.stream)

    def meta(self, stream: Stream) -> Meta | None:
        recipe = self._recipes.get(stream)
        if recipe is None:
            return self.source.meta(stream)
        meta = self.source.meta(recipe.recorded[0])
        changes: dict[str, Any] = {"kind": recipe.kind, "components": recipe.components, "units": "nT"}
        return msgspec.structs.replace(meta, publication_level=2, **changes) if meta else None

    def condition(self) -> Condition:
        found = self.source.condition()
        return replace(found, text=f"{found.text}; {self._note}") if self._note else found

    def origins(self, stream: Stream) -> tuple[Stream, ...]:
        """The streams of instruments that a stream comes from; itself for one that was recorded."""
        recipe = self._recipes.get(stream)
        return recipe.recorded if recipe else (recorded(stream),)

    def older(self, stream: Stream, begin_ns: int, end_ns: int) -> Readings | None:
        """Samples of ``[begin, end)`` from the archive, computed where they are not stored."""
        if self.archive is None:
            return None
        recipe = self._recipes.get(stream)
        if recipe is None:
            stored: Readings = self.archive.readings(stream, begin_ns, end_ns)
            return stored
        parts = [self.older(origin, begin_ns, end_ns) for origin in recipe.origins]
        found = [part for part in parts if part is not None and part.time_ns.size]
        return recipe.made_of(found) if len(found) == len(parts) else None

    def update(self) -> None:
        """Compute what is new; any thread may call. What cannot be computed is told in ``condition``."""
        with self._lock:
            try:
                self._note = ""
                self._look()
                for recipe in self._recipes.values():
                    self._follow(recipe)
                self._note = self._warning()
            except ObslabError as error:
                self._note = f"not adjusted: {error.message}"
            except Exception as error:  # shown in the view, whose source goes on
                log.exception("adjusting live samples failed")
                self._note = f"not adjusted: {error}"

    # ---- with the lock held

    def _look(self) -> None:
        """Which streams follow from which: anew when streams appear or a baseline was adopted."""
        rings = {ring.stream: ring for ring in self.source.rings()}
        vectors = [
            stream
            for stream, ring in rings.items()
            if not is_derived(stream) and stream.samplerate != IRREGULAR and is_vector(ring.components)
        ]
        known = vectors == list(self._pieces)
        if known and time.monotonic() - self._looked_s < _LOOK_S:
            wanted = self._wanted(rings, self._pieces)
        else:
            self._looked_s = time.monotonic()
            self._pieces = {stream: self._holding(stream) for stream in vectors}
            wanted = self._wanted(rings, self._pieces)
        if wanted != self._recipes:
            kept = {stream for stream, recipe in wanted.items() if self._recipes.get(stream) == recipe}
            rings_kept = [ring for ring in self._rings.all() if ring.stream in kept]
            self._rings = Rings(rings_kept)
            self._marks = {key: mark for key, mark in self._marks.items() if key[0] in kept}
            self._recipes = wanted

    def _holding(self, stream: Stream) -> tuple[Piece, ...]:
        if self._baselines is None:
            return ()
        if isinstance(self._baselines, tuple):
            fit = [one for one in self._baselines if (one.station, one.instrument) == _key(stream)]
            return pieces_of(fit, stream, *_EVER) if fit else ()
        return pieces_of(self._baselines, stream, *_EVER)

    def _wanted(
        self, rings: dict[Stream, Ring], pieces: dict[Stream, tuple[Piece, ...]]
    ) -> dict[Stream, Recipe]:
        """Adjusted streams first, since delta-F is made of them."""
        made: dict[Stream, Recipe] = {}
        for stream, holding in pieces.items():
            target = derived(stream, 2)
            if holding and target not in rings:
                made[target] = Adjusting(target, stream, holding)
        taken: set[Stream] = set()
        for stream, holding in pieces.items():
            scalar = _scalar_for(stream, rings)
            if scalar is None:
                continue
            target = derived(stream, 2)
            vector = target if target in made or target in rings else stream
            name = Stream(stream.station, DELTA_F, scalar.samplerate)
            if name in taken:
                name = Stream(stream.station, f"{DELTA_F}-{stream.instrument}"[:32], scalar.samplerate)
            taken.add(name)
            if name not in rings:
                made[name] = Differencing(name, vector, scalar, holding, stream)
        return made

    def _follow(self, recipe: Recipe) -> None:
        rings = {ring.stream: ring for ring in [*self.source.rings(), *self._rings.all()]}
        if not all(origin in rings for origin in recipe.origins):
            return
        times: list[Any] = []
        for origin in recipe.origins:
            ring = rings[origin]
            before, mark = self._marks.get((recipe.stream, origin), (ring, 0))
            mark, news = ring.news(mark if before is ring else 0)
            self._marks[recipe.stream, origin] = (ring, mark)
            times.append(ring.between(*_ALL).time_ns if news is None else news)
        wanted = np.concatenate(times)
        if not wanted.size:
            return
        found = recipe.made_of([rings[origin].at(wanted) for origin in recipe.origins])
        if found is not None and found.time_ns.size:
            self._rings.add(found)

    def _warning(self) -> str:
        """What keeps a stream from being adjusted to its newest sample, in words."""
        if self._baselines is None:
            return ""
        told = []
        for ring in self.source.rings():
            pieces, latest_ns = self._pieces.get(ring.stream), ring.latest_ns()
            if pieces is None or latest_ns is None or derived(ring.stream, 2) in self._stored():
                continue
            name = f"{ring.stream.station} {ring.stream.instrument}"
            if not pieces:
                told.append(f"no baseline was adopted for {name}: raw only")
            elif not any(piece.begin_ns <= latest_ns < piece.end_ns for piece in pieces):
                begin, end = iso(pieces[0].begin_ns, 0), iso(pieces[-1].end_ns, 0)
                told.append(f"no baseline of {name} is valid now, only from {begin} to {end}")
        return "; ".join(told)

    def _stored(self) -> set[Stream]:
        return {ring.stream for ring in self.source.rings()}


def _opened(baselines: Adopted) -> Any:
    """None, a tuple of baselines, or a folder of them."""
    if baselines is None:
        return None
    if isinstance(baselines, str | Path):
        from obslab.telemetry.baseline.folder import Baselines

        return Baselines(Path(baselines))
    if hasattr(baselines, "covering"):
        return baselines
    return tuple(baselines) if isinstance(baselines, Iterable) else (baselines,)


def _scalar_for(vector: Stream, rings: dict[Stream, Ring]) -> Stream | None:
    """The scalar of the station, rather one as fast as the vector."""
    fits = [
        stream
        for stream, ring in rings.items()
        if stream.station == vector.station and scalar_of(ring.components) and not is_derived(stream)
    ]
    return min(fits, key=lambda one: (abs(one.cadence_s - vector.cadence_s), one), default=None)


def _key(stream: Stream) -> tuple[str, str]:
    return stream.station, stream.instrument
