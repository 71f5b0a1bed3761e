"""`rapgen data`: render, tokenize, count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapgen.cli import prepare
from rapgen.cli.options import Engine, EngineOption, RecipeOption, RunOption, SetOption, WorkersOption, chosen_run

if TYPE_CHECKING:
    from rapgen.data.stats import Stats
    from rapgen.interfaces import Annotations

app = typer.Typer(help="Render, tokenize and count training data.", no_args_is_help=True, rich_markup_mode=None)
app.command()(prepare.prepare)
app.command()(prepare.validate)


@app.command()
def synth(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write: FLAC files and metadata.jsonl.")],
    num: Annotated[int, typer.Option("--num", "-n", help="Beats to render.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed renders the same beats.")] = 0,
    duration: Annotated[float, typer.Option(help="Length of each in seconds.")] = 20.0,
    style: Annotated[list[str] | None, typer.Option(help="Of this style only. Repeatable.")] = None,
) -> None:
    """Render captioned beats with exact tempo, key and beats; a second start goes on.

    \b
    rapgen data synth --num 100 --seed 7 --out data/train
    rapgen data synth --num 20 --style trap --style drill --duration 30 --out data/valid
    """
    from rapgen.cli.progress import bars
    from rapgen.data.audiofolder import write_audiofolder

    node = {"use": "beatmaker", "num_clips": num, "seed": seed, "duration_s": duration, "styles": style or None}
    with bars() as report:
        count = write_audiofolder(node, out, report=report.work("beats"))
    typer.echo(f"{count} beats in {out}")


@app.command()
def tokenize(
    dataset: Annotated[
        str | None,
        typer.Argument(help="Folder or URL with train/ and valid/.", show_default="the recipe's data"),
    ] = None,
    recipe: RecipeOption = None,
    run: RunOption = None,
    set_: SetOption = None,
    engine: EngineOption = Engine.LOCAL,
    workers: WorkersOption = None,
) -> None:
    """Turn a dataset into the tokens of a run, with a codec and a MuLaN that are trained already.

    The dataset becomes the recipe's data; a second start goes on. With --engine ray, dataset and run are at URLs or
    in folders that all machines share.

    \b
    rapgen data tokenize data/beats --recipe recipes/base.yaml
    rapgen data tokenize s3://bucket/beats --run s3://bucket/run --engine ray
    """
    from rapgen.cli.progress import bars
    from rapgen.training.pipeline import prepare_audio, prepare_tokens

    chosen = chosen_run(recipe, run, [*(set_ or ()), *_as_data(dataset)], is_trained=False)
    with bars() as report:
        chosen.save_recipe()
        prepare_audio(chosen, report, engine=engine, workers=workers)
        prepare_tokens(chosen, report, engine=engine, workers=workers)
    typer.echo(f"tokens in {chosen.folder / 'tokens'}")


def _as_data(dataset: str | None) -> list[str]:
    """What makes a dataset the recipe's data."""
    if dataset is None:
        return []
    root = dataset.rstrip("/") if "://" in dataset else str(Path(dataset).absolute())
    nodes = {split: {"use": "folder", "path": f"{root}/{split}"} for split in ("train", "valid")}
    return [f"data.{split}={json.dumps(node)}" for split, node in nodes.items()]


@app.command()
def stats(folder: Annotated[Path, typer.Argument(help="An audio folder, or a run.")]) -> None:
    """Count clips and hours, and how tempos, keys and styles are spread.

    \b
    rapgen data stats data/train
    rapgen data stats runs/tiny
    """
    from rapgen.data.stats import describe, describe_folder
    from rapgen.training.run import SPLITS, open_run

    if not (folder / "recipe.yaml").is_file():
        typer.echo(_table(describe_folder(folder)))
        return
    run = open_run(folder)
    for split in SPLITS:
        typer.echo(f"{split}\n{_table(describe(_stored_clips(run.audio(split))))}")


def _stored_clips(shards_folder: Path) -> Iterator[tuple[float, Annotations]]:
    """Seconds and annotations of the clips in audio shards."""
    from rapgen.tokens.collect import AUDIO
    from rapgen.tokens.shards import Shards

    shards = Shards(shards_folder)
    durations_s = shards.lengths(AUDIO) / shards.meta["sample_rate"]
    return zip(durations_s.tolist(), shards.annotations, strict=True)


def _table(stats: Stats) -> str:
    """All figures, a line each."""
    lines = [f"clips       {stats.clips}", f"hours       {stats.hours:.2f}"]
    for name in ("tempo_bpm", "key", "style", "duration_s", "captions"):
        counts = ", ".join(f"{value}: {count}" for value, count in getattr(stats, name).items())
        lines.append(f"{name:<11} {counts}")
    return "\n".join(lines)
