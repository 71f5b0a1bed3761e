"""`rapgen data`: fetch, prepare, render, tokenize, export, count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapgen.cli.fetch import fetch
from rapgen.cli.prepare import prepare, validate
from rapgen.cli.shards import export, tokenize

if TYPE_CHECKING:
    from rapgen.data.stats import Stats
    from rapgen.interfaces import Annotations

_MAX_LISTED = 24  # values of a fact

app = typer.Typer(
    help="Fetch, prepare, render, tokenize and count training data.", no_args_is_help=True, rich_markup_mode=None
)
app.command()(fetch)
app.command()(prepare)
app.command()(validate)
app.command()(tokenize)
app.command()(export)


@app.command()
def synth(
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset to write: train, valid and test, with MIDI.")],
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="Beats to render, a fiftieth each held out.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed renders the same beats.")] = 0,
    bars: Annotated[int | None, typer.Option(help="Loops of 8 or 16 bars only.")] = None,
    duration: Annotated[float | None, typer.Option(help="Excerpts of so many seconds instead of whole loops.")] = None,
    style: Annotated[list[str] | None, typer.Option(help="Of this style only. Repeatable.")] = None,
    stems: Annotated[bool, typer.Option("--stems", help="Write drums, bass, music, effects and lead alone too.")] = (
        False
    ),
    samples: Annotated[Path | None, typer.Option(help="Folder of your own one-shots, for the drums.")] = None,
    soundfont: Annotated[Path | None, typer.Option(help="SF2 file, for the instruments.")] = None,
) -> None:
    """Render captioned beats, whole loops with MIDI and exact tempo, key, chords and beats; a second start goes on.

    No beat stands in two splits, and some kits, presets and wordings are in test alone.

    \b
    rapgen data synth --num 1000 --seed 7 --out data/synth
    rapgen data synth --num 50 --style trap --style drill --bars 8 --stems --out loops
    """
    from rapgen.cli import progress
    from rapgen.data.audiofolder import write_splits

    node = {
        "use": "beatmaker",
        "seed": seed,
        "bars": bars,
        "duration_s": duration,
        "styles": style or None,
        "stems": stems,
        "samples_dir": None if samples is None else str(samples),
        "soundfont": None if soundfont is None else str(soundfont),
    }
    with progress.bars() as report:
        counts = write_splits(node, num, out, report=lambda split: report.work(f"{split} beats"))
    typer.echo(f"{num} beats in {out}: {', '.join(f'{split} {count}' for split, count in counts.items())}")


@app.command()
def stats(folder: Annotated[Path, typer.Argument(help="A dataset, an audio folder, or a run.")]) -> None:
    """Count clips and hours, and how tempos, keys, styles, uploaders and instruments are spread.

    \b
    rapgen data stats data/beats
    rapgen data stats runs/tiny
    """
    from rapgen.data.stats import describe, describe_dataset
    from rapgen.training.run import SPLITS, open_run

    if not (folder / "recipe.yaml").is_file():
        for split, figures in describe_dataset(folder).items():
            typer.echo(f"{split}\n{_table(figures)}" if split else _table(figures))
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
    for name in ("tempo_bpm", "key", "style", "duration_s", "captions", "uploader", "instruments"):
        counts = [f"{value}: {count}" for value, count in getattr(stats, name).items()]
        lines.append(f"{name:<11} {_listed(counts)}")
    for trait, shares in stats.weights.items():
        told = [f"{share.value}: {share.before:.1%} -> {share.after:.1%}" for share in shares]
        lines.append(f"{'weighed':<11} {trait}: {_listed(told)}")
    return "\n".join(lines)


def _listed(told: list[str]) -> str:
    """The first of many."""
    rest = len(told) - _MAX_LISTED
    return ", ".join(told[:_MAX_LISTED] + [f"and {rest} more"] * (rest > 0))
