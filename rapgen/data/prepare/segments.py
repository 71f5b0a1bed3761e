"""Where a track is cut: into whole bars, each cut as long as a training crop at least."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

BEATS_PER_BAR = 4
_SLACK_S = 1e-3  # two beats are no nearer than this
_LATE = 0.1  # of a beat


@dataclass(frozen=True)
class Cut:
    """A stretch of a track. `bars` is None where nobody knows where bars are."""

    start_s: float
    end_s: float
    beats_s: tuple[float, ...] = ()  # from start_s
    bars: int | None = None


def cut_bars(duration_s: float, beats_s: Sequence[float], first_downbeat: int, segment_s: float) -> list[Cut]:
    """Cuts from downbeat to downbeat, each as short as `segment_s` allows; what is left is one if it has half of that.

    `beats_s` rise and lie within the track, `first_downbeat` is an index into them. What comes before the first
    downbeat is left out.
    """
    beats_s = [beat for beat in beats_s if beat < duration_s]
    downbeats = _with_end(duration_s, beats_s)[first_downbeat::BEATS_PER_BAR]
    cuts = []
    first = 0
    while first < len(downbeats) - 1:
        last = bisect_left(downbeats, downbeats[first] + segment_s - _SLACK_S, first + 1)
        last = min(last, len(downbeats) - 1)
        start_s, end_s = downbeats[first], downbeats[last]
        if end_s - start_s >= segment_s / 2:
            inside = beats_s[bisect_left(beats_s, start_s) : bisect_left(beats_s, end_s)]
            beats = tuple(round(beat - start_s, 4) for beat in inside)
            cuts.append(Cut(start_s, end_s, beats, last - first))
        first = last
    return cuts


def _with_end(duration_s: float, beats_s: Sequence[float]) -> list[float]:
    """Beats and, where the track ends when one is due, its end: else a loop would lose its last bar."""
    if len(beats_s) < 2 or 2 * beats_s[-1] - beats_s[-2] > duration_s + _LATE * (beats_s[-1] - beats_s[-2]):
        return [*beats_s]
    return [*beats_s, min(duration_s, 2 * beats_s[-1] - beats_s[-2])]


def cut_lengths(duration_s: float, segment_s: float) -> list[Cut]:
    """Cuts of one length; what is left is one if it has half of that."""
    starts = [number * segment_s for number in range(int(duration_s / segment_s + 0.5))]
    return [Cut(start, min(start + segment_s, duration_s)) for start in starts]
