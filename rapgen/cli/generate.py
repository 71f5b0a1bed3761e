"""`rapgen generate`: prompts to WAV files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapgen.cli.files import check_output
from rapgen.cli.options import DeviceOption, ModelOption, check_device
from rapgen.errors import PromptError

if TYPE_CHECKING:
    from rapgen.generation.musiclm import Beat, MusicLM
    from rapgen.interfaces import Clip, Melody

AT_ONCE = 4  # beats in a batch: the memory stays bounded however many are asked for


def generate(
    prompt: Annotated[str | None, typer.Argument(help="What you want to hear.", show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="WAV file; a folder with --prompts.", show_default="out.wav or out/"),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="File of prompts, one a line; blank lines and # comments are skipped.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Length in seconds.")] = None,
    bars: Annotated[int | None, typer.Option(help="Length in bars.", show_default="the prompt's, or 4")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same beat.")] = 0,
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="Beats for each prompt.")] = 1,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale: how hard to follow the prompt.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is the likeliest beat, higher is wilder.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens; 0 is all.")] = None,
    negative: Annotated[str | None, typer.Option(help="What you do not want to hear.")] = None,
    continue_from: Annotated[Path | None, typer.Option(help="Audio that opens the beat.")] = None,
    melody: Annotated[
        Path | None,
        typer.Option(help="Tune to follow: hummed, whistled, played or MIDI. Stretched to the tempo."),
    ] = None,
    transpose: Annotated[bool, typer.Option("--transpose", help="Move the tune to the prompt's key.")] = False,
    like: Annotated[Path | None, typer.Option(help="Audio to sound like, instead of the words.")] = None,
    like_weight: Annotated[
        float, typer.Option(min=0, max=1, help="Mix --like with the words: 0 is the words alone, 1 the audio.")
    ] = 1.0,
    model: ModelOption = None,
    device: DeviceOption = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Tell what was made as JSON on stdout.")] = False,
) -> None:
    """Make a beat from a line of text.

    \b
    rapgen generate "boom bap, 90 bpm" -o out.wav
    rapgen generate "trap, F# minor" --bars 8 --num 3 --seed 7
    rapgen generate --prompts prompts.txt -o beats --json
    rapgen generate "trap, 140 bpm" --melody hum.wav --model runs/melody
    rapgen generate "trap, 140 bpm" --like reference.mp3 --like-weight 0.5
    """
    lines = _prompts(prompt, prompts)
    paths = _paths(output, is_folder=prompts is not None, count=len(lines), num=num)
    _check(lines, paths[0], duration, bars, negative, continue_from)
    if transpose and melody is None:
        raise PromptError("--transpose moves a tune; give one with --melody")
    if like_weight != 1 and like is None:
        raise PromptError("--like-weight weighs a reference against the words; give one with --like")

    asked = {
        "duration_s": duration,
        "bars": bars,
        "seed": seed,
        "negative": negative,
        "guidance_scale": guidance,
        "temperature": temperature,
        "top_k": top_k,
        "continue_from": continue_from,
        "melody": None if melody is None else _read_melody(melody),
        "transpose": transpose,
        "like": None if like is None else _read_clip(like),
        "like_weight": like_weight,
    }

    from rapgen.generation.musiclm import MusicLM
    from rapgen.identities import licences

    lm = MusicLM.load(model, device=check_device(device))
    facts = _make(lm, lines, num, paths, asked)
    if as_json:
        shas = {key: part.identity().state_sha256 for key, part in sorted(lm.parts.items())}
        model_facts = {"name": lm.recipe.name, "parts_sha256": shas, "licences": licences(lm.parts)}
        rows = [{**row, "model": model_facts} for row in facts]
        typer.echo(json.dumps(rows if len(rows) > 1 or prompts else rows[0], indent=2))
    else:
        typer.echo("\n".join(map(_line, facts)))


def _read_melody(path: Path) -> Melody:
    from rapgen.audio.melody import read_melody

    return read_melody(path)


def _read_clip(path: Path) -> Clip:
    from rapgen.audio.io import read_audio
    from rapgen.interfaces import Clip

    return Clip(*read_audio(path))


def _prompts(prompt: str | None, file: Path | None) -> list[str]:
    from rapgen.generation.prompts import check_text

    if (prompt is None) == (file is None):
        raise PromptError('give one prompt, like "boom bap, 90 bpm", or --prompts with a file of them')
    if file is None:
        return [check_text(prompt or "")]
    try:
        lines = enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
    except UnicodeDecodeError:
        raise PromptError(f"{file} is not text in UTF-8; give a file with one prompt a line") from None
    kept = [(n, line) for n, line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not kept:
        raise PromptError(f"{file} holds no prompt; write one a line")
    return [check_text(line, f"line {n} of {file}") for n, line in kept]


def _paths(output: Path | None, *, is_folder: bool, count: int, num: int) -> list[Path]:
    """Where each beat goes: out.wav, or out-1.wav, ..., or DIR/0001.wav, or DIR/0001-1.wav, ..."""
    if is_folder:
        files = [(output or Path("out")) / f"{n:04d}.wav" for n in range(1, count + 1)]
    else:
        files = [output or Path("out.wav")]
    if num == 1:
        return files
    return [file.with_name(f"{file.stem}-{n}{file.suffix}") for file in files for n in range(1, num + 1)]


def _check(
    lines: list[str],
    path: Path,
    duration_s: float | None,
    bars: int | None,
    negative: str | None,
    continue_from: Path | None,
) -> None:
    """Find out what cannot be done before the model is loaded."""
    from rapgen.generation.prompts import check_length, check_text
    from rapgen.groove import read_groove

    check_length(duration_s, bars)
    for line in lines:
        read_groove(line)
    if negative is not None:
        check_text(negative, "the negative prompt")
    check_output(path)
    if continue_from is not None:
        from rapgen.audio.io import read_audio

        read_audio(continue_from)


def _make(lm: MusicLM, lines: list[str], num: int, paths: list[Path], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Generate and save all beats, a few at once; what is to be told of each."""
    facts: list[dict[str, Any]] = []
    with _bar(len(paths)) as report:
        for texts, items in _batches(lines, num):

            def progress(
                made_s: float, all_s: float, done: int = len(facts), count: int = len(texts) * len(items)
            ) -> None:
                report(done + count * made_s / all_s)

            beats = lm.generate(texts, num=len(items), first_item=items.start, progress=progress, **asked)
            for beat in beats:
                path = paths[len(facts)]
                beat.save(path)
                facts.append(_facts(beat, path, asked["melody"], transpose=asked["transpose"]))
    return facts


def _batches(lines: list[str], num: int) -> Iterator[tuple[list[str], range]]:
    """Prompts and the numbers of the beats to make for each, AT_ONCE beats at most at once, in order."""
    items_at_once = min(num, AT_ONCE)
    lines_at_once = AT_ONCE // items_at_once
    for start in range(0, len(lines), lines_at_once):
        for first in range(0, num, items_at_once):
            yield lines[start : start + lines_at_once], range(first, min(first + items_at_once, num))


@contextmanager
def _bar(count: int) -> Iterator[Callable[[float], None]]:
    """A bar on stderr; it is told how many of `count` beats are made."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from rapgen.cli.progress import Rate, console

    columns = (TextColumn("generating"), BarColumn(), TaskProgressColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, disable=not console().is_terminal) as progress:
        task = progress.add_task("generating", total=count)
        yield lambda done: progress.update(task, completed=done)


def _facts(beat: Beat, path: Path, melody: Melody | None, *, transpose: bool) -> dict[str, Any]:
    """What is told of a beat, ready for JSON."""
    from rapgen.generation.melody import fill_groove
    from rapgen.generation.prompts import DEFAULT_BARS
    from rapgen.groove import read_groove

    prompt, asked = beat.prompt, read_groove(beat.prompt.text)
    if melody is not None:  # what it says is not drawn
        asked = fill_groove(asked, melody, transpose=transpose)
    groove = asdict(prompt.groove)
    return {
        "path": str(path),
        "prompt": prompt.text,
        "seed": prompt.seed,
        "item": beat.item,
        **groove,
        "melody_notes": None if prompt.melody is None else len(prompt.melody.notes),
        "bars": groove["bars"] or (DEFAULT_BARS if prompt.duration_s is None else None),
        "drawn": [k for k in ("style", "tempo_bpm", "key", "feel") if groove[k] is not None and not getattr(asked, k)],
        "duration_s": round(beat.audio.shape[1] / beat.sample_rate, 6),
        "sample_rate": beat.sample_rate,
        "tokens_per_s": round(beat.tokens_per_s, 3),
        "real_time_factor": round(beat.real_time_factor, 3),
    }


def _line(row: dict[str, Any]) -> str:
    """ "out.wav: trap, 142 bpm, F# minor (tempo and key drawn); 6.8 s, 812 tokens/s, 5.3 x real time" """
    from rapgen.groove import describe
    from rapgen.interfaces import Groove

    groove = Groove(**{f.name: row[f.name] for f in fields(Groove)})
    drawn = [name.removesuffix("_bpm") for name in row["drawn"]]
    told = " and ".join(filter(None, (", ".join(drawn[:-1]), *drawn[-1:])))
    speed = f"{row['tokens_per_s']:.0f} tokens/s, {row['real_time_factor']:.1f} x real time"
    what = f"{describe(groove) or row['prompt']}{f' ({told} drawn)' if told else ''}"
    return f"{row['path']}: {what}; {row['duration_s']:.1f} s, {speed}"
