"""`rapgen data tokenize` and `rapgen data export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rapgen.cli.options import Engine, EngineOption, RecipeOption, RunOption, SetOption, WorkersOption, chosen_run
from rapgen.paths import as_path, is_file


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
    from rapgen.training.pipeline import prepare_audio, prepare_tokens, take_parts

    chosen = chosen_run(recipe, run, [*(set_ or ()), *_as_data(dataset)], is_trained=False)
    with bars() as report:
        chosen.save_recipe()
        take_parts(chosen)
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


def export(
    source: Annotated[Path, typer.Argument(parser=as_path, metavar="SOURCE", help="Dataset or run, by path or URL.")],
    parquet: Annotated[Path, typer.Option("--parquet", help="Folder to write, which is not there yet.")],
) -> None:
    """Write a dataset, audio and all that is known of it, or a run's tokens as Parquet files, a folder a split.

    \b
    rapgen data export data/beats --parquet beats-parquet
    rapgen data export runs/base --parquet tokens-parquet
    """
    from rapgen.cli.progress import bars
    from rapgen.tokens.parquet import export_dataset, export_tokens
    from rapgen.training.run import SPLITS, open_run

    with bars() as report:
        if is_file(source / "recipe.yaml"):
            run = open_run(source)
            tokens = {split: run.tokens(split) for split in SPLITS}
            count = export_tokens(tokens, parquet, report=report.work("token shards"))
        else:
            count = export_dataset(source, parquet, report=report.work("clips"))
    typer.echo(f"{count} clips in {parquet}")
