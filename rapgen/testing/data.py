"""Rules of data sources and metrics."""

from __future__ import annotations

import math
import pickle
from itertools import islice
from typing import Any

import numpy as np

from rapgen.groove import FEELS, KEYS
from rapgen.interfaces import Clip, ClipRef
from rapgen.testing.case import Case, Rule
from rapgen.testing.examples import clips, prompts

_LOADED = 2  # clips that rules load; a source may have many


def _refs(case: Case) -> list[ClipRef]:
    return list(islice(case.component.refs(), _LOADED))


@Rule
def refs_are_stable(case: Case) -> None:
    """`refs` gives the same handles in the same order each time, also from another instance."""
    first = [ref.id for ref in case.component.refs()]  # its guard looks at types and for doubles
    assert first, "there are no clips; check the options"
    for other in (case.component, case.fresh()):
        again = [ref.id for ref in other.refs()]
        assert first == again, f"{len(first)} handles and {len(again)}, or in another order"


@Rule
def refs_travel(case: Case) -> None:
    """A handle can be pickled, and what comes out loads the same clip from another instance."""
    fresh = case.fresh()
    for ref in _refs(case):
        _same_clip(case.component.load(ref), fresh.load(pickle.loads(pickle.dumps(ref))), ref)


@Rule
def clips_repeat(case: Case) -> None:
    """A clip is the same each time it is loaded, whatever was loaded before."""
    refs = _refs(case)
    first = {ref.id: case.component.load(ref) for ref in refs}
    for ref in reversed(refs):
        _same_clip(first[ref.id], case.component.load(ref), ref)


@Rule
def audio_is_within_range(case: Case) -> None:
    """Samples are within -1 .. 1 (to rounding), as everywhere in rapgen."""
    for ref in _refs(case):
        peak = float(np.abs(case.component.load(ref).audio).max())
        assert peak <= 1.001, f"{ref.id} has a peak of {peak:.3g}"


@Rule
def annotations_make_sense(case: Case) -> None:
    """Beats come in order and within the clip, captions are strings, tempo, key and feel are rapgen's."""
    for ref in _refs(case):
        clip = case.component.load(ref)
        known, groove = clip.annotations, clip.annotations.groove
        duration_s = clip.audio.shape[1] / clip.sample_rate
        beats_s = list(known.beats_s)
        assert beats_s == sorted(set(beats_s)), f"{ref.id}: beats_s is not in order"
        assert all(0 <= beat_s <= duration_s for beat_s in beats_s), f"{ref.id}: a beat is outside of the clip"
        assert all(isinstance(caption, str) for caption in known.captions), f"{ref.id}: a caption is no string"
        assert groove.tempo_bpm is None or groove.tempo_bpm > 0, f"{ref.id}: tempo_bpm is {groove.tempo_bpm}"
        assert groove.key in (None, *KEYS), f"{ref.id}: {groove.key!r} is not one of rapgen.groove.KEYS"
        assert groove.feel in (None, *FEELS), f"{ref.id}: {groove.feel!r} is not one of rapgen.groove.FEELS"


def _same_clip(first: Clip, second: Clip, ref: ClipRef) -> None:
    same = np.array_equal(first.audio, second.audio) and first.sample_rate == second.sample_rate
    assert same, f"{ref.id} sounds different the second time"
    assert first.annotations == second.annotations, f"{ref.id} is annotated differently the second time"


def _figures(case: Case, *batches: slice) -> dict[str, float]:
    """What a metric says of batches, taken in one after the other."""
    return _taken_in(case, *batches).compute()


def _taken_in(case: Case, *batches: slice) -> Any:
    metric = case.fresh()
    for batch in batches:
        generated = clips()[batch]
        metric.update(generated, (prompts() * 2)[batch])
    return metric


def _same_figures(first: dict[str, float], second: dict[str, float], what: str) -> None:
    assert first.keys() == second.keys(), f"{what}: {sorted(first)} and {sorted(second)}"
    for name, value in first.items():
        assert math.isclose(value, second[name], rel_tol=1e-6, abs_tol=1e-9), f"{what}: {name} {value} {second[name]}"


@Rule
def figures_are_finite(case: Case) -> None:
    """`compute` gives one or more finite numbers, the same each time."""
    metric = _taken_in(case, slice(0, 4))
    figures = metric.compute()
    assert figures, "there are no figures"
    for name, value in figures.items():
        assert math.isfinite(value), f"{name} is {value}"
    _same_figures(figures, metric.compute(), "computed twice")


@Rule
def batches_do_not_matter(case: Case) -> None:
    """Figures do not depend on how clips were cut into batches."""
    _same_figures(_figures(case, slice(0, 4)), _figures(case, slice(0, 1), slice(1, 4)), "one batch and two")


@Rule
def merging_equals_the_whole(case: Case) -> None:
    """Two instances merged say what one says that saw everything."""
    first, second = _taken_in(case, slice(0, 3)), _taken_in(case, slice(3, 4))
    first.merge(second)
    _same_figures(_figures(case, slice(0, 4)), first.compute(), "the whole and both merged")


@Rule
def merging_nothing(case: Case) -> None:
    """Merging one that saw nothing changes nothing."""
    metric = _taken_in(case, slice(0, 4))
    metric.merge(case.fresh())
    _same_figures(_figures(case, slice(0, 4)), metric.compute(), "before and after")


SOURCE_RULES = (refs_are_stable, refs_travel, clips_repeat, audio_is_within_range, annotations_make_sense)
METRIC_RULES = (figures_are_finite, batches_do_not_matter, merging_equals_the_whole, merging_nothing)
