"""Our own components keep what `rapgen.testing` asks of everyone's, and the suite notices one that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import save_audio, save_text
from conftest import FakeEntry, plugin
from torch import Tensor

from rapgen.audio.io import write_wav
from rapgen.interfaces import (
    ROLES,
    AudioCodec,
    Clip,
    ClipRef,
    Conditioner,
    Metric,
    Prompt,
    TokenSpec,
)
from rapgen.models.mulan import MuLaNPart, build_mulan
from rapgen.registry import registry
from rapgen.testing import Case, Rule, check_component, rules
from rapgen_plugins import toy

# ------------------------------------------------------------------------------------------- our own


@cache
def fitted_mulan() -> MuLaNPart:
    torch.manual_seed(0)
    sizes = {"dim": 16, "width": 16, "layers": 1, "heads": 2, "crop_s": 2.0, "codebook_size": 8, "num_codebooks": 2}
    part = build_mulan(text_encoder=toy.toy_text_encoder(), **sizes)  # type: ignore[arg-type]
    part.module.eval()
    part.fit_quantizer(torch.randn(64, 16), seed=0)
    return part


CASES = [
    Case("codec", "toy"),
    Case("codec", "boombox", {"num_codebooks": 3, "codebook_size": 8, "width": 16, "latent_width": 16, "code_dim": 8}),
    Case("codec", "encodec", {"weights": "random", "bandwidth_kbps": 1.5}),
    Case("codec", "encodec", {"weights": "random", "bandwidth_kbps": 3.0, "sample_rate": 48_000}),
    Case("codec", "dac", {"weights": "random", "num_codebooks": 2, "sample_rate": 16_000}),
    Case("semantic", "toy"),
    Case("semantic", "rhythm-kmeans", {"codebook_size": 16}),
    Case("text_encoder", "toy"),
    Case("text_encoder", "minilm"),
    Case("conditioner", "toy"),
    Case("conditioner", "mulan", {"window_s": 2.0}, prepare=lambda c: c.bind({"mulan": fitted_mulan()})),
    Case("conditioner", "audio", {"window_s": 2.0}, prepare=lambda c: c.bind({"mulan": fitted_mulan()})),
    Case("conditioner", "melody"),
    Case("conditioner", "groove"),
    Case("conditioner", "grid"),
    Case("source", "toy"),
    Case("source", "beatmaker", {"num_clips": 2, "duration_s": 1.0}),
    Case("captioner", "toy"),
    Case("captioner", "phrases"),
    Case("metric", "toy"),
]
ELSEWHERE = {("source", "folder"), ("semantic", "hubert"), ("text_encoder", "hf")}  # need a folder


@pytest.mark.parametrize(
    ("case", "rule"),
    [pytest.param(c, r, id=f"{c.role}-{c.use}{n}-{r}") for n, c in enumerate(CASES) for r in rules(c.role)],
)
def test_our_own_components_conform(case: Case, rule: Rule) -> None:
    rule(case)


def test_a_folder_of_files_conforms(tmp_path: Path) -> None:
    for number, name in enumerate(("a.wav", "b.wav", "c.wav")):
        write_wav(tmp_path / name, np.sin(np.arange(9000) / (5 + number))[None].astype(np.float32), 8000)
    check_component("source", "folder", {"path": str(tmp_path), "duration_s": 0.5})


def test_checkpoints_of_transformers_conform(tmp_path: Path) -> None:
    audio, text = save_audio(tmp_path / "audio", "hubert"), save_text(tmp_path / "text", "bert")
    check_component("semantic", "hubert", {"path": str(audio), "layer": 1, "codebook_size": 8})
    check_component("text_encoder", "hf", {"path": str(text), "dim": 16})


def test_all_our_components_are_tried() -> None:
    ours = {key for key, offers in registry().offers.items() if offers[0].distribution == "rapgen"}
    assert ours == {(case.role, case.use) for case in CASES} | ELSEWHERE


# --------------------------------------------------------------------------- components that break a rule


CALLS = {"count": 0}


def restless(value: Tensor) -> Tensor:
    """Another value each time."""
    CALLS["count"] += 1
    return (value + CALLS["count"]) % 8


class Codec(toy.ToyCodec):
    """A toy, to be spoilt."""

    def __init__(self) -> None:
        super().__init__(hop_length=160, num_codebooks=4, codebook_size=64)


class RestlessCodec(Codec):
    def encode(self, audio: Tensor) -> Tensor:
        return restless(super().encode(audio))


class NoisyCodec(Codec):
    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes) + torch.rand(1)


class GreedyCodec(Codec):
    def encode(self, audio: Tensor) -> Tensor:
        audio.clamp_(-0.1, 0.1)
        return super().encode(audio)


class SociableCodec(Codec):
    """Normalizes over the batch, and over whatever chunk it gets."""

    def encode(self, audio: Tensor) -> Tensor:
        return super().encode(audio / audio.abs().max().clamp(min=1e-3))

    def decode(self, codes: Tensor) -> Tensor:
        audio = super().decode(codes)
        return audio / audio.abs().max().clamp(min=1e-3)


class ShortCodec(Codec):
    """Drops the last frame where it is not full."""

    def encode(self, audio: Tensor) -> Tensor:
        return super().encode(audio[..., : max(1, audio.shape[-1] // 160) * 160])


class FragileCodec(Codec):
    """Divides by the level of what it hears."""

    def decode(self, codes: Tensor) -> Tensor:
        audio = super().decode(codes)
        return audio / audio.std()


class ForgetfulCodec(Codec):
    """Has a gain that it does not save."""

    def __init__(self) -> None:
        super().__init__()
        CALLS["count"] += 1
        self.gain = 1 + 0.1 * (CALLS["count"] % 7)

    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes) * self.gain


class TrustingCodec(Codec):
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        return None


class TaughtCodec(Codec):
    """Takes any state whatever its shape."""

    gain = torch.ones(1)

    def state(self) -> dict[str, Tensor]:
        return {"gain": self.gain}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.gain = state.get("gain", self.gain)


class LooseCodec(Codec):
    codebooks = torch.zeros(4, 63, 8)


class Semantic(toy.ToySemantic):
    def encode(self, audio: Tensor) -> Tensor:
        if audio.shape[1] != 1:
            raise ValueError("mono only")
        return super().encode(audio)


class Mumbling(toy.ToyTextEncoder):
    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(texts), 1, self.dim), torch.ones(len(texts), 1, dtype=torch.bool)


class Unmasked(toy.ToyTextEncoder):
    """Marks the padding as words."""

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        vectors, mask = super().encode(texts)
        return vectors, torch.ones_like(mask)


class Drifting(Conditioner):
    """Counts frames from where each window begins."""

    is_aligned = True
    spec = TokenSpec(codebook_size=16, num_codebooks=1)

    def encode(
        self,
        items: Sequence[Clip | Prompt],
        *,
        spec: TokenSpec | None = None,
        start_frame: int = 0,
        num_frames: int = 0,
    ) -> tuple[Tensor, Tensor]:
        codes = (torch.arange(num_frames) % 16)[None, :, None].expand(len(items), -1, -1)
        return codes, torch.ones_like(codes, dtype=torch.bool)


class Stubborn(toy.ToyConditioner):
    def plan(self, prompt: Prompt, rng: np.random.Generator) -> Prompt:
        return Prompt("trap", seed=prompt.seed)


class Never(toy.ToyConditioner):
    def encode(self, items: Sequence[Clip | Prompt], **options: Any) -> tuple[Tensor, Tensor]:
        if not items:
            raise IndexError("no items")
        return super().encode(items, **options)


class Source(toy.ToySource):
    def __init__(self) -> None:
        super().__init__(3, 1.0, 0)


class Shuffled(Source):
    def refs(self) -> Any:
        CALLS["count"] += 1
        found = list(super().refs())
        return iter(found[CALLS["count"] % 3 :] + found[: CALLS["count"] % 3])


class Unpicklable(Source):
    def refs(self) -> Any:
        for ref in super().refs():
            yield ClipRef(ref.id, ref.track, {**ref.payload, "open": lambda: None})


class Loud(Source):
    def load(self, ref: ClipRef) -> Clip:
        clip = super().load(ref)
        return Clip(clip.audio * 32768, clip.sample_rate, clip.annotations)


class Unseeded(Source):
    def load(self, ref: ClipRef) -> Clip:
        clip = super().load(ref)
        return Clip(clip.audio * np.random.default_rng().random(dtype=np.float32), clip.sample_rate, clip.annotations)


class Empty(Source):
    def refs(self) -> Any:
        return iter(())


class Chatty(toy.ToyCaptioner):
    def caption(self, clip: Clip) -> list[str]:
        CALLS["count"] += 1
        return [f"beat number {CALLS['count']}"]


class Averaging(toy.ToyMetric):
    """Merges means as if both had seen as much."""

    def merge(self, other: Metric) -> None:
        assert isinstance(other, toy.ToyMetric)
        self.durations_s = [(sum(self.durations_s) + sum(other.durations_s)) / 2]


class Lost(toy.ToyMetric):
    def compute(self) -> dict[str, float]:
        return {"duration_s": float("nan")}


class Diverged(Codec):
    """Trains towards nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.module = torch.nn.Linear(1, 1)
        self.module.forward = lambda audio: (audio.mean() * float("nan"), {})  # type: ignore[method-assign]


class Picky(Codec):
    """Knows only codes that it made."""

    def decode(self, codes: Tensor) -> Tensor:
        if codes.max() == 63:
            raise ValueError("63 is silence, which is not decoded")
        return super().decode(codes)


class Moved(Codec):
    gain = 1.0

    def to(self, device: torch.device | str) -> None:
        self.gain /= 2

    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes) * self.gain


class Fickle(toy.ToyTextEncoder):
    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        vectors, mask = super().encode(texts)
        return vectors + torch.rand(1), mask


class Illiterate(toy.ToyTextEncoder):
    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        "".join(texts).encode("ascii")
        return super().encode(texts)


class Wavering(toy.ToyConditioner):
    """Tells the size of the batch, and when it was asked."""

    def encode(self, items: Sequence[Clip | Prompt], **options: Any) -> tuple[Tensor, Tensor]:
        codes, valid = super().encode(items, **options)
        return (restless(codes) + len(items)) % 16, torch.ones_like(valid)


class Blind(toy.ToyConditioner):
    def views(self, clip: Clip) -> Sequence[Clip | Prompt]:
        return [Prompt(clip.annotations.captions[0])]


class Impatient(Drifting):
    def encode(self, items: Sequence[Clip | Prompt], **options: Any) -> tuple[Tensor, Tensor]:
        if options["start_frame"] > 1000:
            raise IndexError("past the end")
        return super().encode(items, **options)


class Sloppy(Source):
    """Goes on counting after the end."""

    def load(self, ref: ClipRef) -> Clip:
        clip = super().load(ref)
        return replace(clip, annotations=replace(clip.annotations, beats_s=(0.0, 99.0)))


class Speechless(toy.ToyCaptioner):
    def caption(self, clip: Clip) -> list[str]:
        return list(clip.annotations.captions)


class Parrot(toy.ToyCaptioner):
    """Says what people wrote, as they wrote it."""

    def caption(self, clip: Clip) -> list[str]:
        return [*super().caption(clip), *clip.annotations.captions[:2]]


class Counting(toy.ToyMetric):
    """Counts how often it was called."""

    def update(self, generated: Sequence[Clip], prompts: Sequence[Prompt]) -> None:
        self.durations_s.append(1.0)


BROKEN: dict[str, tuple[str, Callable[[], Any], set[str]]] = {
    "another answer each time": ("codec", RestlessCodec, {"encoding_repeats", "encoding_in_chunks"}),
    "noise of its own": ("codec", NoisyCodec, {"decoding_repeats", "decoding_in_chunks"}),
    "changes its input": ("codec", GreedyCodec, {"encoding_repeats"}),
    "normalizes over the batch": (
        *("codec", SociableCodec),
        {"encoding_alone_or_together", "decoding_alone_or_together", "decoding_in_chunks"},
    ),
    "loses the last frame": ("codec", ShortCodec, {"any_length", "round_trip", "encoding_in_chunks"}),
    "divides by silence": ("codec", FragileCodec, {"silence_and_noise"}),
    "does not save what it is": ("codec", ForgetfulCodec, {"state_comes_back"}),
    "takes any state": ("codec", TrustingCodec, {"wrong_state_is_refused"}),
    "takes a state of any shape": ("codec", TaughtCodec, {"wrong_state_is_refused"}),
    "codebooks of another size": ("codec", LooseCodec, {"codebooks_fit"}),
    "mono alone": ("semantic", Semantic, {"mono_and_stereo"}),
    "one vector for all": ("text_encoder", Mumbling, {"texts_differ"}),
    "padding as words": ("text_encoder", Unmasked, {"text_alone_or_together"}),
    "windows from nought": ("conditioner", Drifting, {"windows_agree"}),
    "no regard for the prompt": ("conditioner", Stubborn, {"plans_repeat"}),
    "no empty lists": ("conditioner", Never, {"any_item"}),
    "another order each time": ("source", Shuffled, {"refs_are_stable"}),
    "handles that stay": ("source", Unpicklable, {"refs_travel"}),
    "16 bit scale": ("source", Loud, {"audio_is_within_range"}),
    "no seed": ("source", Unseeded, {"refs_travel", "clips_repeat"}),
    "no clips": ("source", Empty, {"refs_are_stable"}),
    "another caption each time": ("captioner", Chatty, {"captions_repeat"}),
    "means of means": ("metric", Averaging, {"merging_equals_the_whole", "merging_nothing"}),
    "a loss that is none": ("codec", Diverged, {"loss_trains"}),
    "codes it does not know": ("codec", Picky, {"any_codes"}),
    "moving changes it": ("codec", Moved, {"moves"}),
    "other vectors each time": ("text_encoder", Fickle, {"text_repeats"}),
    "ASCII alone": ("text_encoder", Illiterate, {"any_text"}),
    "tokens of the batch": ("conditioner", Wavering, {"items_repeat", "items_alone_or_together"}),
    "views of captions that are not there": ("conditioner", Blind, {"views_are_encoded"}),
    "ends where the clip ends": ("conditioner", Impatient, {"windows_past_the_end"}),
    "beats past the end": ("source", Sloppy, {"annotations_make_sense"}),
    "no caption without annotations": ("captioner", Speechless, {"captions_for_any_clip", "captions_are_lines"}),
    "line breaks in captions": ("captioner", Parrot, {"captions_are_lines"}),
    "counts of calls": ("metric", Counting, {"batches_do_not_matter"}),
    "figures that are none": ("metric", Lost, {"figures_are_finite"}),
}


@pytest.mark.parametrize(("role", "kind", "expected"), BROKEN.values(), ids=BROKEN)
def test_the_suite_notices(role: str, kind: Callable[[], Any], expected: set[str]) -> None:
    def factory() -> Any:
        """Builds what is broken."""
        return kind()

    told = broken_rules(Case(role, factory))
    assert expected <= told.keys()
    with pytest.raises(AssertionError) as raised:
        check_component(role, factory)
    assert len(str(raised.value).splitlines()) >= len(expected)


def broken_rules(case: Case) -> dict[str, str]:
    """What is told of each rule that a case breaks; it opens with the rule's promise."""
    told = {}
    for rule in rules(case.role):
        try:
            rule(case)
        except AssertionError as error:
            told[str(rule)] = str(error)
    promises = {str(rule): rule.promise.rstrip(".") for rule in rules(case.role)}
    assert all(line.startswith(promises[name]) for name, line in told.items())
    return told


def test_every_rule_can_be_broken() -> None:
    of_every_role = {"says_what_it_is", "options_are_keywords", "imports_are_light"}  # below
    broken = {role: set(of_every_role) for role in ROLES}
    for role, _, expected in BROKEN.values():
        broken[role] |= expected
    shared = {"moves", "state_comes_back", "wrong_state_is_refused"}  # one role's case will do
    broken["semantic"] |= broken["codec"]
    for role in ROLES:
        assert {str(rule) for rule in rules(role)} <= broken[role] | shared, role


def test_the_suite_notices_a_heavy_import(install: Callable[..., None]) -> None:
    def factory() -> AudioCodec:
        """Comes from a module that imports torch."""
        return Codec()

    factory.__module__ = "rapgen.parts"
    install(FakeEntry("heavy", plugin({("codec", "heavy"): factory})))
    assert broken_rules(Case("codec", "heavy")).keys() == {"imports_are_light"}


def test_the_suite_notices_options_that_are_not_documented() -> None:
    def silent(hop_length: int = 160, *, levels: "str" = 3, books=4) -> AudioCodec:  # type: ignore[no-untyped-def, assignment]  # noqa: UP037
        return Codec()

    told = broken_rules(Case("codec", silent))
    assert told.keys() == {"says_what_it_is", "options_are_keywords"}
    assert "'hop_length' is not keyword-only" in told["options_are_keywords"]


def test_a_component_may_state_how_far_it_strays() -> None:
    class Softening(Codec):
        """Its first frame of every chunk is a little softer."""

        def decode(self, codes: Tensor) -> Tensor:
            audio = super().decode(codes).clone()
            audio[..., :160] *= 0.98
            return audio

    def softening() -> AudioCodec:
        """Softens."""
        return Softening()

    with pytest.raises(AssertionError, match="chunks and the whole"):
        check_component("codec", softening)
    check_component("codec", softening, tolerance=0.05)


def test_segments_are_cut_where_they_begin() -> None:
    class Segmented(Codec):
        """Every four frames are scaled by a loudness of their own, which the first frame's codes hold."""

        segment_frames = 4

        def decode(self, codes: Tensor) -> Tensor:
            audio = super().decode(codes)
            scales = 1 + codes[:, :: self.segment_frames, 0].float() / 64
            return audio * scales.repeat_interleave(160 * 4, 1)[:, None, : audio.shape[-1]]

    def segmented() -> AudioCodec:
        """Works in segments of four frames."""
        return Segmented()

    check_component("codec", segmented)
