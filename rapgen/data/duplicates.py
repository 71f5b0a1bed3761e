"""The same beat in two uploads: re-encoded, louder, trimmed, moved in time, a few percent faster or slower.

A print is a constellation: where pitches that last are loudest (A. Wang, "An industrial strength audio search
algorithm", 2003). Drums do not last, so a drum loop that two beats share weighs little. Three notes make a hash of
their pitches and of when the middle one comes, which a change of tempo leaves alone. Tracks that share hashes are laid
over one another; of a copy's notes, most lie on one line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rapgen.audio.io import resample

Notes = NDArray[np.int64]  # [2, N]: frames, in order, and pitches

_RATE = 8_000  # Hz; what any codec keeps
_N_FFT = 2048
_HOP = 256
_LOWEST_MIDI, _HIGHEST_MIDI = 50, 100  # below, bins are wider than semitones
_LASTS_FRAMES = 25  # a pitch that sounds for half of them, 0.4 s, is there; a drum is not, nor its room
_APART = (9, 3)  # frames and semitones around a note in which it is the loudest
_BLOCK_FRAMES, _NOTES_A_BLOCK = 63, 24  # of 2 s
_QUIET = 1e-4  # of the mean level

_FAN_OUT = 7  # later notes that a note makes hashes with
_REACH_FRAMES = (12, 60)  # from the first note of a hash to its last
_LENGTHS = (4 * np.log2(np.maximum(np.arange(_REACH_FRAMES[1]), 1))).astype(np.int64)  # quarters of an octave
_LOOK_UP_ONE_IN = 4  # hashes, the same ones in every track
_BUCKET = 20  # earlier tracks that a hash finds
_COMPARED, _FEWEST_VOTES, _VOTES = 4, 5, 0.08  # votes: shared hashes, of those of the track with fewer
_STRETCHES = np.linspace(0.9, 1.1, 41)
_OFTEN = 8  # meetings that a hash of a makes: loops have them by the hundred
_CELL_FRAMES = 10
_LINES, _FEWEST_MEETINGS, _VOTERS = 3, 8, 1000
_TOLERANCE_FRAMES = 2
_SAME = 0.42  # of the notes that two tracks could share, less those that meet by chance
_OVERLAP, _FEWEST_NOTES = 0.4, 40  # of the shorter track


def fingerprint(mono: NDArray[np.float32], rate: int) -> NDArray[np.uint32]:
    """The print of f32 [S]: uint32 [notes], frame * 64 + pitch, at most 12 a second of sound (48 bytes)."""
    level = _semitones(resample(mono[None], rate, _RATE)[0])
    level = ndimage.median_filter(level, (_LASTS_FRAMES, 1))
    loudest = (level == ndimage.maximum_filter(level, _APART)) & (level > _QUIET * level.mean())
    frames, pitches = np.nonzero(loudest)
    order = np.lexsort((-level[frames, pitches], frames // _BLOCK_FRAMES))
    kept = np.sort(order[_rank(frames[order] // _BLOCK_FRAMES) < _NOTES_A_BLOCK])
    return (frames[kept] * 64 + pitches[kept]).astype(np.uint32)


def _semitones(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitudes by semitone, f32 [S] -> f32 [T, 50]; frame t is centred on sample t * hop."""
    padded = np.pad(audio, (_N_FFT // 2, _N_FFT))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP][: len(audio) // _HOP + 1]
    window, bands = _window_and_bands()
    blocks = (frames[start : start + 256] * window for start in range(0, len(frames), 256))
    return np.concatenate([np.abs(fft.rfft(block)) @ bands for block in blocks])


@cache
def _window_and_bands() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A Hann window, and triangles around each semitone, at least a bin wide, f32 [bins, 50]."""
    pitch = 69 + 12 * np.log2(np.maximum(np.fft.rfftfreq(_N_FFT, 1 / _RATE), 1) / 440)
    centres = np.arange(_LOWEST_MIDI, _HIGHEST_MIDI)
    bin_semitones = 12 / np.log(2) * (_RATE / _N_FFT) / (440 * 2 ** ((centres - 69) / 12))
    bands = np.maximum(0, 1 - np.abs(pitch[:, None] - centres) / np.maximum(1, bin_semitones))
    return np.hanning(_N_FFT + 1)[:-1].astype(np.float32), bands.astype(np.float32)


def find_duplicates(prints: Sequence[NDArray[np.uint32]]) -> list[int | None]:
    """For each print, the earlier one that it copies, if any; one that copies another is no longer compared with.

    What comes later changes nothing. Time and memory grow with the number of prints, not with its square.
    """
    notes = [np.stack([p // 64, p % 64]).astype(np.int64) for p in prints]
    verdicts: list[int | None] = [None] * len(prints)
    compared = [0] * len(prints)
    for track, earlier in _candidates(notes):
        if verdicts[track] is None and verdicts[earlier] is None and compared[track] < _COMPARED:
            compared[track] += 1
            if _same(notes[earlier], notes[track]):
                verdicts[track] = earlier
    return verdicts


def _candidates(notes: Sequence[Notes]) -> Iterator[tuple[int, int]]:
    """Pairs of a track and an earlier one that share hashes, by track, those that share most first."""
    hashes = [_sampled(_hashes(n)[0]) for n in notes]
    if not hashes:
        return
    tracks = np.repeat(np.arange(len(hashes)), [len(h) for h in hashes])
    order = np.argsort(np.concatenate(hashes), kind="stable")
    rank = _rank(np.concatenate(hashes)[order])
    tracks = tracks[order]
    pairs = []
    for nth in range(_BUCKET):  # every entry with the nth track that has its hash
        later = np.flatnonzero(rank > nth)
        pairs.append(tracks[later] * len(notes) + tracks[later - rank[later] + nth])
    found, votes = np.unique(np.concatenate(pairs), return_counts=True)
    later, earlier = np.divmod(found, len(notes))
    sizes = np.array([len(h) for h in hashes])
    shares = votes / np.minimum(sizes[later], sizes[earlier])
    likely = np.flatnonzero((votes >= _FEWEST_VOTES) & (shares >= _VOTES))
    for pair in likely[np.lexsort((earlier[likely], -shares[likely], later[likely]))]:
        yield int(later[pair]), int(earlier[pair])


def _sampled(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Each of the hashes to look up once; which they are depends on the hash alone."""
    return np.unique(hashes[hashes * np.uint32(0x9E3779B1) < 2**32 // _LOOK_UP_ONE_IN])


def _hashes(notes: Notes) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Hashes of three notes and the frames of their first, uint32 [H] and int64 [H]."""
    (frames, pitches), count = notes, notes.shape[1]
    made, begun = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for second, third in itertools.combinations(range(1, _FAN_OUT + 1), 2):
        reach = frames[third:] - frames[: max(0, count - third)]
        i = np.flatnonzero((reach >= _REACH_FRAMES[0]) & (reach < _REACH_FRAMES[1]))
        middle = 6 * (frames[i + second] - frames[i]) // reach[i]
        length = _LENGTHS[reach[i]]
        made.append((((pitches[i] * 64 + pitches[i + second]) * 64 + pitches[i + third]) * 8 + middle) * 32 + length)
        begun.append(frames[i])
    return np.concatenate(made).astype(np.uint32), np.concatenate(begun)


def _same(a: Notes, b: Notes) -> bool:
    """Whether two tracks, laid over one another in one of the likeliest ways, share most of the notes they could."""
    return any(_shared(a, b, *line) >= _SAME for line in _lines(*_meetings(a, b)))


def _meetings(a: Notes, b: Notes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where both have the same hash: frames of a and of b, int64 [M] each."""
    (hashes_a, frames_a), (hashes_b, frames_b) = _hashes(a), _hashes(b)
    order = np.argsort(hashes_b, kind="stable")
    low, high = (np.searchsorted(hashes_b, hashes_a, side=side, sorter=order) for side in ("left", "right"))
    counts = np.minimum(high - low, _OFTEN)
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(frames_a, counts), frames_b[order[np.repeat(low, counts) + nth]]


def _lines(x: NDArray[np.int64], y: NDArray[np.int64]) -> Iterator[tuple[float, float]]:
    """The likeliest y = stretch * x + offset, one after another, each without the points of those before."""
    for _ in range(_LINES):
        if len(x) < _FEWEST_MEETINGS:
            return
        voters = slice(None, None, 1 + len(x) // _VOTERS)
        _, offset, stretch = max((*_offset(y[voters] - stretch * x[voters]), stretch) for stretch in _STRETCHES)
        near = np.abs(y - stretch * x - offset) <= _CELL_FRAMES
        if np.ptp(x[near]) > 0:
            stretch, offset = np.polyfit(x[near], y[near], 1)
        if _STRETCHES[0] <= stretch <= _STRETCHES[-1]:
            yield float(stretch), float(offset)
        x, y = x[~near], y[~near]


def _offset(differences: NDArray[np.float64]) -> tuple[int, float]:
    """How many differences fall in the fullest two neighbouring cells, and the middle of those."""
    cells = np.floor(differences / _CELL_FRAMES).astype(np.int64)
    histogram = np.bincount(cells - cells.min(), minlength=2)
    both = histogram[:-1] + histogram[1:]
    fullest = int(both.argmax())
    return int(both[fullest]), float((fullest + cells.min() + 1) * _CELL_FRAMES)


def _shared(a: Notes, b: Notes, stretch: float, offset: float) -> float:
    """The share of the notes of both, where they overlap, that the other has too: 0 is by chance, 1 all."""
    moved = np.stack([np.round(stretch * a[0] + offset).astype(np.int64), a[1]])
    first, last = max(moved[0, 0], b[0, 0]), min(moved[0, -1], b[0, -1])
    if last - first < _OVERLAP * min(np.ptp(moved[0]), np.ptp(b[0])):
        return 0.0
    moved = moved[:, (moved[0] >= first) & (moved[0] <= last)]
    other = b[:, (b[0] >= first) & (b[0] <= last)]
    if min(moved.shape[1], other.shape[1]) < _FEWEST_NOTES:
        return 0.0
    return (_found(moved, other, first, last) + _found(other, moved, first, last)) / 2


def _found(notes: Notes, among: Notes, first: int, last: int) -> float:
    """How many notes are among others, above what chance would give in a track of those pitches."""
    grid = np.zeros((last - first + 1, _HIGHEST_MIDI - _LOWEST_MIDI), bool)
    grid[among[0] - first, among[1]] = True
    near = ndimage.maximum_filter1d(grid, 2 * _TOLERANCE_FRAMES + 1, axis=0)
    chance = near.mean(0)[notes[1]].mean()
    return float((near[notes[0] - first, notes[1]].mean() - chance) / (1 - chance + 1e-9))


def _rank(ordered: NDArray) -> NDArray[np.int64]:
    """The place of each value among those equal to it, which follow one another."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
