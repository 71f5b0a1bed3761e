"""`rapgen evaluate`: is each stage better than guessing, and do the beats have the tempo that was asked for?"""

from __future__ import annotations

import json
from typing import Annotated

import typer


def evaluate(
    model: Annotated[
        str | None, typer.Argument(help="Run or bundle, by path or name.", show_default="the embedded one")
    ] = None,
    clips: Annotated[int, typer.Option(min=2, help="Held-out clips to measure on.")] = 64,
    seeds: Annotated[int, typer.Option(min=0, help="Seeds to make eight prompts with; 0 makes none.")] = 3,
    duration: Annotated[float, typer.Option(help="Length of each beat in seconds.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Tell the figures as JSON on stdout.")] = False,
) -> None:
    """Measure a model on clips it was not trained on, and on beats it makes.

    \b
    rapgen evaluate
    rapgen evaluate runs/mine --clips 128 --seeds 0
    """
    from rapgen.cli.progress import bars
    from rapgen.evaluation.beats import measure_tempo, require_librosa
    from rapgen.evaluation.gates import measure
    from rapgen.generation.musiclm import MusicLM

    if seeds:
        require_librosa()
    lm = MusicLM.load(model)
    with bars() as report:
        figures = measure(lm, clips=clips, beats_s=duration if seeds else None, report=report.work)
        if seeds:
            bar = report.work("beats")
            figures["tempo of beats made"] = measure_tempo(lm, seeds=seeds, duration_s=duration, report=bar)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    for section, values in figures.items():
        typer.echo(section)
        for name, value in values.items():
            typer.echo(f"  {name:24} {value:.4g}")
