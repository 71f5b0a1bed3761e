"""Commands on a trained model: export, codec round trip, MuLaN score."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapgen.cli.files import check_output
from rapgen.cli.options import ModelOption, RecipeOption, SetOption, load_some
from rapgen.errors import RapgenError

if TYPE_CHECKING:
    from rapgen.identities import Part


def export(
    run: Annotated[str, typer.Argument(help="A trained run.")],
    bundle: Annotated[Path, typer.Argument(help="Folder to make.")],
) -> None:
    """Pack a trained run into a bundle: what generation needs, and no more.

    \b
    rapgen export runs/tiny tiny-bundle
    rapgen generate "trap, 140 bpm" --model tiny-bundle
    """
    from rapgen.checkpoint import find_model
    from rapgen.generation.export import export_bundle

    size = export_bundle(find_model(run), bundle)
    typer.echo(f"{bundle}: {size / 1e6:.1f} MB")


def roundtrip(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any audio file.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="WAV file to write.")],
    model: ModelOption = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    codebooks: Annotated[int | None, typer.Option(min=1, help="Use the first codebooks only.")] = None,
) -> None:
    """Encode audio and decode it again: how the codec sounds, and what it costs.

    \b
    rapgen codec roundtrip in.wav out.wav
    rapgen codec roundtrip in.mp3 out.wav --codebooks 4 --model runs/mine
    rapgen codec roundtrip in.wav out.wav --recipe base --set codec.use=encodec
    """
    from rapgen.audio.io import fit_channels, read_audio, write_wav

    check_output(output)
    audio, rate = read_audio(source)

    import torch

    from rapgen.audio.io import resample
    from rapgen.identities import licences
    from rapgen.models.spectral_loss import MelDistance, si_sdr

    part = _codec(model, recipe, set_)
    codec, spec = part.component, part.component.spec
    books = codebooks or spec.num_codebooks
    if books > spec.num_codebooks:
        raise RapgenError(f"the codec has {spec.num_codebooks} codebooks; ask for no more")
    fitted = resample(fit_channels(audio, codec.channels), rate, spec.sample_rate)
    target = torch.from_numpy(fitted)[None]
    duration_s = target.shape[-1] / spec.sample_rate
    codec.state()  # weights that are read when first used are read now, not while the clock runs
    with torch.inference_mode():
        started = time.perf_counter()
        codes = codec.encode(target)[..., :books]
        encoded = time.perf_counter()
        estimate = codec.decode(codes)[..., : target.shape[-1]]
        decoded = time.perf_counter()
        distance = float(MelDistance(sample_rate=spec.sample_rate)(estimate, target))
        sdr_db = float(si_sdr(estimate, target).mean())
    write_wav(output, estimate[0].numpy(), spec.sample_rate, licences=licences({"codec": part}))
    cost = f"{books} codebooks, {replace(spec, num_codebooks=books).kbit_per_s:.3g} kbps"
    typer.echo(f"{output}: {cost}, SI-SDR {sdr_db:.2f} dB, log-mel distance {distance:.3f}")
    speeds = duration_s / (encoded - started), duration_s / (decoded - encoded)
    typer.echo(f"{duration_s:.1f} s encoded at {speeds[0]:.1f} x, decoded at {speeds[1]:.1f} x real time")


def _codec(model: str | None, recipe: str | None, overrides: list[str] | None) -> Part:
    """The codec of a run or bundle, or one that comes trained and is named by a recipe."""
    from rapgen.parts import build_part
    from rapgen.recipe import load_recipe

    if recipe is None:
        if overrides:
            raise RapgenError("--set changes a recipe; name one with --recipe")
        return load_some(model, need=("codec",))[1]["codec"]
    if model is not None:
        raise RapgenError("give --model or --recipe, not both")
    part = build_part("codec", load_recipe(recipe, overrides or (), with_sources=False).codec)
    if part.learns:
        raise RapgenError(f"codec '{part.name}' of recipe '{recipe}' is not trained yet; give a run of it with --model")
    return part


def score(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Descriptions.")],
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Any audio file.")],
    model: ModelOption = None,
) -> None:
    """How well texts fit a clip: cosine similarity in MuLaN's space, -1 to 1.

    \b
    rapgen mulan score "boom bap" beat.wav
    rapgen mulan score "boom bap" "trap" "drill" beat.wav
    """
    from rapgen.audio.io import read_audio
    from rapgen.generation.prompts import check_text

    texts = [check_text(text, "a text") for text in texts]
    audio, rate = read_audio(clip, mono=True)

    import torch

    from rapgen.audio.io import resample

    mulan = load_some(model, need=("mulan",))[1]["mulan"].component.module
    heard = torch.from_numpy(resample(audio, rate, mulan.sample_rate))[None]
    with torch.inference_mode():
        similarity = mulan.embed_text(texts) @ mulan.embed_audio(heard)[0]
    for text, cosine in zip(texts, similarity.tolist(), strict=True):
        typer.echo(f"{cosine:+.3f}  {text}")
