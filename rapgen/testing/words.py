"""Rules of text encoders and captioners."""

from __future__ import annotations

from rapgen.testing.case import Case, Rule
from rapgen.testing.compare import close, same
from rapgen.testing.examples import LONG_TEXT, TEXTS, clips, wild_clips


@Rule
def any_text(case: Case) -> None:
    """Any text is encoded: none, one word, another script, more than fits."""
    for text in (*TEXTS, LONG_TEXT):
        case.component.encode([text])  # its guard looks at shapes, dtypes and NaN


@Rule
def text_repeats(case: Case) -> None:
    """The same text gives the same vectors each time."""
    vectors, mask = case.component.encode(list(TEXTS))
    again, mask_again = case.component.encode(list(TEXTS))
    same(mask, mask_again, "masks of the same texts")
    same(vectors[mask], again[mask], "vectors of the same texts")


@Rule
def text_alone_or_together(case: Case) -> None:
    """A text's vectors do not depend on what else is in the batch; the mask leaves the padding out."""
    vectors, mask = case.component.encode(list(TEXTS))
    for row, text in enumerate(TEXTS):
        alone, alone_mask = case.component.encode([text])
        close(case, vectors[row][mask[row]], alone[0][alone_mask[0]], f"{text[:20]!r}")


@Rule
def texts_differ(case: Case) -> None:
    """Different texts have different vectors."""
    vectors, mask = case.component.encode(["boom bap", "trap"])
    first, second = (vectors[row][mask[row]] for row in range(2))
    assert min(len(first), len(second)), "the mask marks no token of a word"
    is_same = first.shape == second.shape and bool((first == second).all())
    assert not is_same, "'boom bap' and 'trap' cannot be told apart"


@Rule
def captions_for_any_clip(case: Case) -> None:
    """Every clip gets a caption with words in it: annotated or not, mono or stereo, long or short."""
    for clip in clips():
        case.component.caption(clip)  # its guard looks at what came


@Rule
def captions_repeat(case: Case) -> None:
    """The same clip gets the same captions each time."""
    for clip in clips():
        first, again = case.component.caption(clip), case.component.caption(clip)
        assert first == again, f"{first} and {again}"


TEXT_RULES = (any_text, text_repeats, text_alone_or_together, texts_differ)


@Rule
def captions_are_lines(case: Case) -> None:
    """Captions stand on one line each, and no two of a clip are the same, whatever is written beside the clip."""
    for clip in (*clips(), *wild_clips()):
        captions = case.component.caption(clip)
        assert all(len(caption.splitlines()) == 1 for caption in captions), f"{captions} break lines"
        assert len(set(captions)) == len(captions), f"{captions} say the same twice"


CAPTIONER_RULES = (captions_for_any_clip, captions_repeat, captions_are_lines)
