"""`rapgen data prepare` and `rapgen data validate`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rapgen.cli.options import Engine, EngineOption, WorkersOption
from rapgen.errors import RapgenError

if TYPE_CHECKING:
    from rapgen.data.prepare.summary import Summary
    from rapgen.schema import Recipe

JsonOption = Annotated[bool, typer.Option("--json", help="Tell it as JSON.")]


def prepare(
    raw: Annotated[str, typer.Argument(help="Folder or URL of audio files, with what is said of them or without.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or URL of the dataset; one that is there grows.")],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="Recipe to train, by path or name: clips take its longest crop.")
    ] = "base",
    duration: Annotated[
        float | None, typer.Option(help="Seconds that clips take at least, in whole bars.", show_default="the recipe's")
    ] = None,
    separate: Annotated[
        bool, typer.Option("--separate", help="Remove voices rather than drop clips with one.")
    ] = False,
    vocals: Annotated[
        Literal["drop", "keep"], typer.Option(help="Drop clips in which there is a voice, or do not look for any.")
    ] = "drop",
    captioner: Annotated[
        list[str] | None, typer.Option(help="Plugin that describes clips. Repeatable.", show_default="phrases")
    ] = None,
    max_duration: Annotated[float, typer.Option(help="Seconds; longer files are dropped.")] = 600.0,
    engine: EngineOption = Engine.LOCAL,
    workers: WorkersOption = None,
    seed: Annotated[int, typer.Option(help="Draws the splits.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a training set of any folder of audio: decode, measure, cut on downbeats, caption, split.

    What is dropped is told with its reason here and in report.html. A second start does only what is missing; audio
    that is added later becomes clips that are added.

    \b
    rapgen data prepare downloads --out data
    rapgen data prepare downloads --out data --separate --recipe recipes/tiny.yaml --workers 4
    rapgen train all --recipe base --set data.train.path=data/train --set data.valid.path=data/valid
    """
    from rapgen.cli.progress import bars
    from rapgen.data.prepare.pipeline import prepare as run
    from rapgen.data.prepare.settings import Settings
    from rapgen.recipe import load_recipe

    if not (duration is None or duration > 0) or not max_duration > 0:
        raise RapgenError("--duration and --max-duration are seconds; give more than 0")
    settings = Settings(
        segment_s=duration or longest_crop_s(load_recipe(recipe, with_sources=False)),
        max_duration_s=max_duration,
        vocals="separate" if separate else vocals,
        captioners=tuple(captioner or ("phrases",)),
        seed=seed,
    )
    with bars() as report:
        summary = run(raw, out, settings, report=report.work("tracks"), engine=engine, workers=workers)
    typer.echo(json.dumps(_tree(summary), indent=2) if as_json else _told(summary, out))


def validate(
    dataset: Annotated[Path, typer.Argument(help="Folder of audio with metadata.jsonl, or of train/ valid/ test/.")],
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a dataset to what it says: each clip is read, what is wrong is told, and the exit status is 1.

    \b
    rapgen data validate data
    rapgen data validate data/train --json
    """
    from rapgen.cli.progress import bars
    from rapgen.data.validate import validate as run

    with bars() as report:
        verdict = run(dataset, report=report.work("clips"), workers=workers)
    if as_json:
        typer.echo(json.dumps(asdict(verdict), indent=2))
    else:
        for finding in verdict.findings:
            typer.echo(f"{finding.item}: {finding.what}")
        wrong = f"{len(verdict.findings)} things are wrong" if verdict.findings else "nothing is wrong"
        typer.echo(f"{verdict.clips} clips, {verdict.duration_s / 3600:.2f} hours: {wrong}")
    if verdict.findings:
        raise typer.Exit(1)


def longest_crop_s(recipe: Recipe) -> float:
    """Seconds of the longest crop that any stage of a recipe trains on."""
    stages = recipe.stages
    crops = (getattr(stages, name).crop_s for name in type(stages).model_fields)
    return max(recipe.mulan.crop_s, *crops)


def _tree(summary: Summary) -> dict[str, object]:
    return {
        "funnel": [{"step": step.name, "count": step.count, "unit": step.unit} for step in summary.funnel],
        "dropped": dict(summary.dropped),
        "clips": dict(summary.clips),
        "duration_s": summary.duration_s,
    }


def _told(summary: Summary, out: str) -> str:
    """The funnel, a line a step, then what was dropped and why."""
    from rapgen.data.prepare.places import REPORT

    lines = [f"{step.name:<20} {step.count}" for step in summary.funnel]
    lines += [f"  {reason:<28} {count}" for reason, count in summary.dropped.items()]
    splits = ", ".join(f"{split} {count}" for split, count in summary.clips.items())
    return "\n".join(
        [*lines, f"{summary.duration_s / 3600:.2f} hours in {out}: {splits}; see {out.rstrip('/')}/{REPORT}"]
    )
