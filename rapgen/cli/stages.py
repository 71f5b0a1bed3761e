"""Training: `rapgen train`, and a group for each stage with `train` and `info`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapgen.cli import models
from rapgen.cli.launch import launch
from rapgen.cli.options import (
    ModelOption,
    ProcessesOption,
    RecipeOption,
    RunOption,
    SetOption,
    changed_keys,
    chosen_run,
)
from rapgen.processes import is_launched

if TYPE_CHECKING:
    from rapgen.training.run import Run


class StageName(StrEnum):
    """What can be trained by name."""

    CODEC = "codec"
    MULAN = "mulan"
    SEMANTIC = "semantic"
    COARSE = "coarse"
    FINE = "fine"
    ALL = "all"


STAGES = {
    "codec": "Audio to tokens and back.",
    "mulan": "The joint embedding of text and audio.",
    "semantic": "The stage that writes what is played.",
    "coarse": "The stage that writes how it sounds.",
    "fine": "The stage that fills in the detail.",
}


def train(
    stage: Annotated[StageName, typer.Argument(help="Which stage to train.")] = StageName.ALL,
    recipe: RecipeOption = None,
    run: RunOption = None,
    set_: SetOption = None,
    processes: ProcessesOption = 1,
) -> None:
    """Train one stage or all five, with the data and tokens that they need; a second start goes on.

    \b
    rapgen train all --recipe tiny
    rapgen train coarse --recipe recipes/base.yaml --run runs/mine --set stages.coarse.steps=20000
    rapgen train all --recipe base --processes 2
    """
    train_run(tuple(STAGES) if stage is StageName.ALL else (str(stage),), chosen_run(recipe, run, set_), processes)


def train_run(names: tuple[str, ...], run: Run, processes: int) -> None:
    """Train stages of a run under bars, having told where each goes on; with several processes, in each of them."""
    if processes > 1 and not is_launched():
        launch([sys.executable, "-P", "-m", "rapgen", *sys.argv[1:]], processes)  # -P: never from where we stand
        return
    from rapgen.cli.progress import Silence, bars
    from rapgen.distributed import is_main, together
    from rapgen.training.pipeline import train_stages

    with together():
        if not is_main():
            train_stages(run, names, Silence())
            return
        _warn_of_changes(run)
        for name in names:
            _tell_progress(run, name)
        with bars(run.folder / "logs") as report:
            train_stages(run, names, report)
        typer.echo(f"trained {', '.join(names)} in {run.folder}")


def fit(recipe: RecipeOption = None, run: RunOption = None, set_: SetOption = None) -> None:
    """Fit the semantic tokenizer on the run's training clips, which training does too when it comes to it.

    \b
    rapgen semantic fit --recipe base --run runs/mine --set semantic.codebook_size=512
    """
    from rapgen.cli.progress import bars
    from rapgen.training.pipeline import fit_semantic

    chosen = chosen_run(recipe, run, set_)
    _warn_of_changes(chosen)
    with bars() as report:
        is_new = fit_semantic(chosen, report)
    typer.echo(f"{'fitted' if is_new else 'was fitted before:'} {chosen.recipe.semantic['use']} in {chosen.folder}")


def groups() -> dict[str, typer.Typer]:
    """A command group for each stage."""
    made = {name: _group(name, about) for name, about in STAGES.items()}
    made["codec"].command()(models.roundtrip)
    made["mulan"].command()(models.score)
    made["semantic"].command()(fit)
    return made


def _group(stage: str, about: str) -> typer.Typer:
    group = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)

    example = f"\n\n\b\nrapgen {stage} %s"

    @group.command("train", help=f"Train {stage}; the same as `rapgen train {stage}`.{example % 'train --recipe tiny'}")
    def _train(
        recipe: RecipeOption = None, run: RunOption = None, set_: SetOption = None, processes: ProcessesOption = 1
    ) -> None:
        train_run((stage,), chosen_run(recipe, run, set_), processes)

    @group.command("info", help=f"Settings, size, streams and progress of {stage}.{example % 'info --model runs/tiny'}")
    def _info(recipe: RecipeOption = None, model: ModelOption = None) -> None:
        from rapgen.cli.facts import describe_stage

        typer.echo(describe_stage(stage, recipe, model))

    return group


def _warn_of_changes(run: Run) -> None:
    """Tell where a run was begun with another recipe; what cannot go together is found out by identities."""
    path = run.folder / "recipe.yaml"
    if not path.is_file():
        return
    keys = changed_keys(_tree(path), run.recipe.model_dump(mode="json"))
    if keys:
        typer.echo(f"warning: {run.folder} was begun with other values of {', '.join(keys)}", err=True)


def _tree(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        return None


def _tell_progress(run: Run, stage: str) -> None:
    from rapgen.checkpoint import latest_checkpoint, read_meta

    checkpoint = latest_checkpoint(run.stage(stage))
    if checkpoint is not None:
        steps = getattr(run.recipe.stages, stage).steps
        typer.echo(f"{stage} goes on from step {read_meta(checkpoint)['step']} of {steps}", err=True)
