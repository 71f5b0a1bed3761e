"""From a recipe to a trained run: data, then each stage with what it needs before it. Every step resumes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch

from rapgen.checkpoint import find_model, latest_checkpoint, read_state
from rapgen.distributed import is_main, main_first, wait_for_all
from rapgen.errors import ModelError, PluginError, RecipeError
from rapgen.identities import Part, Parts
from rapgen.interfaces import Fittable, Trainable, TunableTextEncoder
from rapgen.models.mulan import MuLaNPart
from rapgen.models.token_lm import TokenLM
from rapgen.parts import bind, build_parts, freeze, load_part, load_parts, part_path, save_part
from rapgen.paths import is_file
from rapgen.schema import STAGES
from rapgen.tokens.collect import collect, stored_clip, stored_clips
from rapgen.tokens.shards import Shards
from rapgen.tokens.tokenize import tokenize
from rapgen.training.fit import Plan, fit
from rapgen.training.loop import Watch, train
from rapgen.training.run import SPLITS, Run
from rapgen.training.stages import make_stage, seed_weights, trained_module

GAP_CAPTIONS = 1000  # enough to place the mean of text in MuLaN's space


class Reporter(Protocol):
    """What is told of long work; the CLI draws bars from it."""

    def work(self, name: str) -> Callable[[int, int], None]:
        """Start a piece of work; the answer is called with (done, total)."""
        ...

    def training(self, stage: str, steps: int) -> Watch:
        """Start a stage; the answer is called with ("train" or "valid", step, figures)."""
        ...


def train_stages(run: Run, names: tuple[str, ...], report: Reporter) -> None:
    """Train the named stages in order, with the data and tokens they need.

    Processes that train together all call this; what is prepared is prepared by rank 0. Raises ModelError where an
    earlier stage has not been trained; RapgenError, before anything is made, where one does not fit into memory.
    """
    names = _trained_here(run, names)
    plans = {name: fit(run.recipe, build_parts(run.recipe), name) for name in names}
    if is_main() and not (run.folder / "recipe.yaml").is_file():
        run.save_recipe()
    with main_first():
        take_parts(run)
        prepare_audio(run, report)
    for name in names:
        if name in ("codec", "mulan"):
            _train_part(run, name, plans[name], report)
        else:
            with main_first():
                parts = prepare_tokens(run, report)
            _run_loop(run, name, parts, plans[name], report)
    if is_main():
        run.save_recipe()  # only now: what does not fit the run has been refused


def _trained_here(run: Run, names: tuple[str, ...]) -> tuple[str, ...]:
    """The named stages in order, but those that the recipe brings trained where others are named too."""
    if run.recipe.start_from is not None:
        if names in (("codec",), ("mulan",)):
            brought = f"the recipe starts from '{run.recipe.start_from}', which brings {names[0]}"
            raise RecipeError(f"{brought}; take `start_from` out to train it")
        names = tuple(name for name in names if name not in ("codec", "mulan"))
    elif len(names) > 1 and not isinstance(build_parts(run.recipe)["codec"].component, Trainable):
        names = tuple(name for name in names if name != "codec")
    return tuple(name for name in STAGES if name in names)


def take_parts(run: Run) -> None:
    """Copy the parts of the model that the recipe starts from; a run that has all of its own needs that model no more.

    Raises MismatchError where the recipe's are others, ModelError where the model has not been trained.
    """
    if run.recipe.start_from is None:
        return
    parts = build_parts(run.recipe)
    lacking = {key: part for key, part in parts.items() if part.learns and not is_file(part_path(run.folder, key))}
    if not lacking:
        return
    folder = find_model(run.recipe.start_from)
    for key, part in lacking.items():
        if is_file(part_path(folder, key)):
            load_part(folder, key, part)
            save_part(run.folder, key, part)
        elif isinstance(part.component, Trainable | TunableTextEncoder):
            raise ModelError(f"{folder} has no trained {key}, so nothing can start from it; train it first")


def prepare_audio(run: Run, report: Reporter, *, engine: str = "local", workers: int | None = None) -> None:
    """Audio shards of both splits, at the codec's rate."""
    codec = build_parts(run.recipe)["codec"].component
    for split in SPLITS:
        node = getattr(run.recipe.data, split)
        rate, channels = codec.spec.sample_rate, codec.channels
        bar, folder = report.work(f"{split} audio"), run.audio(split)
        collect(node, folder, sample_rate=rate, channels=channels, report=bar, engine=engine, workers=workers)


def prepare_tokens(run: Run, report: Reporter, *, engine: str = "local", workers: int | None = None) -> Parts:
    """Fit what is fitted, tokenize both splits, and give the frozen parts."""
    trained = [k for k, p in build_parts(run.recipe).items() if isinstance(p.component, Trainable | TunableTextEncoder)]
    parts = load_parts(run.folder, run.recipe, need=tuple(trained))
    for key, part in parts.items():
        if isinstance(part.component, Fittable) and not is_file(part_path(run.folder, key)):
            _fit(run, key, part, report)
    bind(parts)
    load = partial(load_parts, run.folder, run.recipe)
    for split in SPLITS:
        bar, audio, tokens = report.work(f"{split} tokens"), run.audio(split), run.tokens(split)
        tokenize(audio, parts, tokens, load=load, report=bar, engine=engine, workers=workers)
    return parts


def fit_semantic(run: Run, report: Reporter) -> bool:
    """Fit the semantic tokenizer on the run's training clips; False where that was done before.

    Raises PluginError where it learns nothing.
    """
    part = build_parts(run.recipe)["semantic"]
    if not isinstance(part.component, Fittable):
        raise PluginError(f"semantic '{part.name}' learns nothing from clips; there is nothing to fit")
    if not (run.folder / "recipe.yaml").is_file():
        run.save_recipe()
    take_parts(run)
    if is_file(part_path(run.folder, "semantic")):
        load_part(run.folder, "semantic", part)
        return False
    prepare_audio(run, report)
    _fit(run, "semantic", part, report)
    return True


def _fit(run: Run, key: str, part: Part, report: Reporter) -> None:
    """Fit, freeze and save a part that learns from clips outside of the loop."""
    clips = stored_clips(run.audio("train"), report.work(f"fit {key}"))
    part.component.fit(clips, seed=run.recipe.seed)
    freeze(part)
    save_part(run.folder, key, part)


def _run_loop(run: Run, name: str, parts: Parts, plan: Plan, report: Reporter) -> None:
    stage = make_stage(run, name, parts)
    if isinstance(stage.model, TokenLM):
        stage.model.transformer.checkpointing |= plan.checkpointing
    watch = report.training(name, stage.settings.steps)
    train(stage, run.stage(name), seed=run.recipe.seed, watch=watch, pieces=plan.pieces)


def _train_part(run: Run, name: str, plan: Plan, report: Reporter) -> None:
    """Train CODEC or MULAN, then freeze what came out as a part of the run."""
    seed_weights(run, name)
    parts = build_parts(run.recipe)
    _run_loop(run, name, parts, plan, report)
    if is_main():
        _freeze_trained(run, name, report)
    wait_for_all()


def _freeze_trained(run: Run, name: str, report: Reporter) -> None:
    """Parts of the run from the averaged weights of a stage's last checkpoint: its own, and a tuned text encoder."""
    parts = build_parts(run.recipe)  # anew, on the CPU and whole: the loop may have spread the trained one
    component, model = parts[name].component, trained_module(name, parts)
    checkpoint = latest_checkpoint(run.stage(name))
    if checkpoint is None:
        raise ModelError(f"{run.stage(name)} has no checkpoint after training; check the disk")
    model.load_state_dict(read_state(checkpoint, "ema"))
    model.eval()
    if isinstance(component, MuLaNPart):
        if isinstance(parts["text_encoder"].component, TunableTextEncoder):
            freeze(parts["text_encoder"])
            save_part(run.folder, "text_encoder", parts["text_encoder"])
        _fit_quantizer(run, component, report)
    freeze(parts[name])
    save_part(run.folder, name, parts[name])


@torch.no_grad()
def _fit_quantizer(run: Run, mulan: MuLaNPart, report: Reporter) -> None:
    """Fit MuLaN's residual quantizer on the embeddings of the training clips (MusicLM, section 3.1)."""
    shards = Shards(run.audio("train"))
    size = mulan.module.crop_samples
    embeddings = []
    bar = report.work("mulan quantizer")
    for index in range(len(shards)):
        audio = torch.from_numpy(stored_clip(shards, index).audio)[None]
        windows = [w for w in audio.split(size, -1) if w.shape[-1] == size] or [audio]
        embeddings += [mulan.module.embed_audio(torch.cat(windows))]
        bar(index + 1, len(shards))
    captions = [a.captions[0] for a in shards.annotations if a.captions][:GAP_CAPTIONS]
    texts = mulan.module.embed_text(captions) if captions else None
    mulan.fit_quantizer(torch.cat(embeddings), seed=run.recipe.seed, text_embeddings=texts)
