"""`rapgen generate`: prompts to WAV files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapgen.cli.options import DeviceOption, ModelOption, check_device
from rapgen.errors import AudioError, PromptError

if TYPE_CHECKING:
    from rapgen.generation.musiclm import Beat, MusicLM

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
    model: ModelOption = None,
    device: DeviceOption = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Tell what was made as JSON on stdout.")] = False,
) -> None:
    """Make a beat from a line of text.

    \b
    rapgen generate "boom bap, 90 bpm" -o out.wav
    rapgen generate "trap, F# minor" --bars 8 --num 3 --seed 7
    rapgen generate --prompts prompts.txt -o beats --json
    """
    from rapgen.generation.prompts import check_length, check_text

    lines = _prompts(prompt, prompts)
    check_length(duration, bars)
    if negative is not None:
        check_text(negative, "the negative prompt")
    paths = _paths(output, is_folder=prompts is not None, count=len(lines), num=num)
    _check_output(paths[0])
    if continue_from is not None:
        from rapgen.audio.io import read_audio

        read_audio(continue_from)

    from rapgen.generation.musiclm import MusicLM

    lm = MusicLM.load(model, device=check_device(device))
    beats = []
    with _progress() as report:
        for texts, first_item, count in _batches(lines, num):
            done = len(beats) / len(paths)
            share = len(texts) * count / len(paths)
            made = lm.generate(
                texts,
                duration_s=duration,
                bars=bars,
                seed=seed,
                num=count,
                first_item=first_item,
                negative=negative,
                guidance_scale=guidance,
                temperature=temperature,
                top_k=top_k,
                continue_from=continue_from,
                progress=lambda now, total, done=done, share=share: report(done + share * now / total),
            )
            for beat in made:
                beat.save(paths[len(beats)])
                beats.append(beat)
    _tell(lm, beats, paths, as_json)
