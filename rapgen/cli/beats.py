"""What is told of a beat: as JSON, or in a line."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rapgen.generation.take import Take
    from rapgen.generation.wishes import Wishes


def facts(take: Take, row: int, path: str | None, wishes: Wishes) -> dict[str, Any]:
    """What is told of one beat of a take that is made, ready for JSON; `path` is None where it was played."""
    from rapgen.generation.melody import fill_groove
    from rapgen.generation.prompts import DEFAULT_BARS
    from rapgen.groove import read_groove
    from rapgen.interfaces import Melody

    piece = take.pieces[row]
    prompt, asked = piece.prompt, read_groove(piece.prompt.text)
    if isinstance(wishes.melody, Melody):  # what it says is not drawn
        asked = fill_groove(asked, wishes.melody, transpose=wishes.transpose)
    groove = asdict(prompt.groove)
    return {
        "path": path,
        "prompt": prompt.text,
        "seed": prompt.seed,
        "item": piece.item,
        **groove,
        "melody_notes": None if prompt.melody is None else len(prompt.melody.notes),
        "bars": groove["bars"] or (DEFAULT_BARS if prompt.duration_s is None else None),
        "drawn": [k for k in ("style", "tempo_bpm", "key", "feel") if groove[k] is not None and not getattr(asked, k)],
        "duration_s": round(take.lengths[row] / take.sample_rate, 6),
        "sample_rate": take.sample_rate,
        "tokens_per_s": round(take.tokens_per_s, 3),
        "real_time_factor": round(take.real_time_factor, 3),
    }


def line(row: dict[str, Any]) -> str:
    """ "out.wav: trap, 142 bpm, F# minor (tempo and key drawn); 6.8 s, 812 tokens/s, 5.3 x real time" """
    from rapgen.groove import describe
    from rapgen.interfaces import Groove

    groove = Groove(**{f.name: row[f.name] for f in fields(Groove)})
    drawn = [name.removesuffix("_bpm") for name in row["drawn"]]
    told = " and ".join(filter(None, (", ".join(drawn[:-1]), *drawn[-1:])))
    speed = f"{row['tokens_per_s']:.0f} tokens/s, {row['real_time_factor']:.1f} x real time"
    what = f"{describe(groove) or row['prompt']}{f' ({told} drawn)' if told else ''}"
    return f"{row['path'] or 'played'}: {what}; {row['duration_s']:.1f} s, {speed}"
