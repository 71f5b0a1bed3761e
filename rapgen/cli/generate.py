"""`rapgen generate`: prompts to WAV files, to a pipe or to the loudspeaker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapgen.cli.files import check_output
from rapgen.cli.options import DeviceOption, ModelOption
from rapgen.cli.takes import STDOUT, bar, check_stream, save, stream
from rapgen.errors import PromptError

if TYPE_CHECKING:
    from rapgen.generation.musiclm import MusicLM
    from rapgen.generation.wishes import Wishes

AT_ONCE = 4  # beats in a batch: the memory stays bounded however many are asked for


def generate(
    prompt: Annotated[str | None, typer.Argument(help="What you want to hear.", show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="WAV file; a folder with --prompts; - is stdout, as it is made.",
            show_default="out.wav or out/",
        ),
    ] = None,
    is_streamed: Annotated[
        bool, typer.Option("--stream", help="Write the file as it is made; without -o, play it as it is made.")
    ] = False,
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
    rapgen generate "lo-fi, 80 bpm" --duration 60 --stream
    rapgen generate "lo-fi, 80 bpm" -o - | ffplay -
    rapgen generate "trap, 140 bpm" --melody hum.wav --model runs/melody
    rapgen generate "trap, 140 bpm" --like reference.mp3 --like-weight 0.5
    """
    lines = _prompts(prompt, prompts)
    paths = _paths(output, is_folder=prompts is not None, count=len(lines), num=num)
    is_streamed = is_streamed or output == STDOUT  # a pipe takes what comes, or nothing
    if is_streamed:
        check_stream(output, num=num, is_folder=prompts is not None)
    else:
        check_output(paths[0])
    if transpose and melody is None:
        raise PromptError("--transpose moves a tune; give one with --melody")
    if like_weight != 1 and like is None:
        raise PromptError("--like-weight weighs a reference against the words; give one with --like")

    from rapgen.audio.io import read_audio
    from rapgen.audio.melody import read_melody
    from rapgen.generation.wishes import Wishes
    from rapgen.interfaces import Clip

    if continue_from is not None:
        read_audio(continue_from)
    wishes = Wishes(
        duration_s=duration,
        bars=bars,
        seed=seed,
        negative=negative,
        guidance_scale=guidance,
        temperature=temperature,
        top_k=top_k,
        continue_from=continue_from,
        melody=None if melody is None else read_melody(melody),
        transpose=transpose,
        like=None if like is None else Clip(*read_audio(like)),
        like_weight=like_weight,
    )
    wishes.prompts(lines)  # what makes no sense is told before a model is loaded

    from rapgen.generation.musiclm import MusicLM

    lm = MusicLM.load(model, device=device)
    rows = _stream(lm, lines, output, wishes) if is_streamed else _make(lm, lines, num, paths, wishes)
    told = _json(lm, rows, is_list=len(rows) > 1 or prompts is not None) if as_json else _lines(rows)
    typer.echo(told, err=output == STDOUT)


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


def _stream(lm: MusicLM, lines: list[str], output: Path | None, wishes: Wishes) -> list[dict[str, Any]]:
    """Make one beat where it can be heard; what is to be told of it."""
    from rapgen.cli.beats import facts

    with bar(1) as report:
        take = lm.begin(lines, wishes)
        stream(take, output, report)
    return [facts(take, 0, None if output is None else str(output), wishes)]


def _make(lm: MusicLM, lines: list[str], num: int, paths: list[Path], wishes: Wishes) -> list[dict[str, Any]]:
    """Make and save all beats, a few at once; what is to be told of each."""
    from rapgen.cli.beats import facts

    rows: list[dict[str, Any]] = []
    with bar(len(paths)) as report:
        for texts, items in _batches(lines, num):
            take = lm.begin(texts, wishes, items=items)
            done, here = len(rows), paths[len(rows) : len(rows) + len(take.pieces)]

            def told(share: float, done: int = done, count: int = len(here)) -> None:
                report(done + count * share)

            try:
                save(take, here, told)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"stopped; {done} of {len(paths)} beats are made") from None
            rows += [facts(take, n, str(path), wishes) for n, path in enumerate(here)]
    return rows


def _batches(lines: list[str], num: int) -> Iterator[tuple[list[str], range]]:
    """Prompts and the numbers of the beats to make for each, AT_ONCE beats at most at once, in order."""
    items_at_once = min(num, AT_ONCE)
    lines_at_once = AT_ONCE // items_at_once
    for start in range(0, len(lines), lines_at_once):
        for first in range(0, num, items_at_once):
            yield lines[start : start + lines_at_once], range(first, min(first + items_at_once, num))


def _json(lm: MusicLM, rows: list[dict[str, Any]], *, is_list: bool) -> str:
    from rapgen.identities import licences

    shas = {key: part.identity().state_sha256 for key, part in sorted(lm.parts.items())}
    model = {"name": lm.recipe.name, "parts_sha256": shas, "licences": licences(lm.parts)}
    told = [{**row, "model": model} for row in rows]
    return json.dumps(told if is_list else told[0], indent=2)


def _lines(rows: list[dict[str, Any]]) -> str:
    from rapgen.cli.beats import line

    return "\n".join(map(line, rows))
