"""All benchmarks of speed, one after the other, and their figures beside what they are to be.

    make bench                                  # installs the peers too
    PYTHONPATH=build/peers python benchmarks/speed.py --json figures.json

Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("musicgen", "audiolm", "bandwidth", "generation", "codec", "training")
GOALS: tuple[tuple[str, str, str, float], ...] = (  # what, benchmark, figure, at least (under 0: at most)
    ("steps/s over transformers' MusicGen", "musicgen", "ratio", 5),
    ("8 s of codes over audiolm-pytorch, our patterns", "audiolm", "own ratio", 50),
    ("8 s of codes over audiolm-pytorch, flat", "audiolm", "flat ratio", 5),
    ("weights read over memory's bandwidth", "bandwidth", "share", 0.6),
    ("shipped model, 30 s, times real time", "generation", "real_time", 4),
    ("time to first audio, s", "generation", "first_audio_s", -1),
    ("time for a second of sound, longest over 30 s", "generation", "growth", -1.1),
    ("peak memory, longest over 30 s", "generation", "memory_growth", -1.1),
    ("8 s beat, time outside of decoding, s", "generation", "outside_s", -3),
    ("training step over audiolm-pytorch, SEMANTIC", "audiolm", "train own semantic ratio", 2),
    ("the same, COARSE, flat", "audiolm", "train flat coarse ratio", 2),
    ("the same, FINE, flat", "audiolm", "train flat fine ratio", 2),
    ("the same, COARSE, our pattern", "audiolm", "train own coarse ratio", 2),
    ("the same, FINE, our pattern", "audiolm", "train own fine ratio", 2),
)


def main() -> None:
    """Run them, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=BENCHMARKS, choices=BENCHMARKS, help="some of them")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    options = parser.parse_args()
    figures = {name: run(name) for name in options.only}
    print("\n| what | goal | measured |\n|---|--:|--:|")
    for what, name, figure, goal in GOALS:
        if figure in figures.get(name, {}):
            bound = f"at least {goal:g}" if goal > 0 else f"at most {-goal:g}"
            print(f"| {what} | {bound} | {figures[name][figure]:.2f} |")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    failed = [name for name, found in figures.items() if not found]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def run(name: str) -> dict[str, float]:
    """A benchmark's figures; none where it fails, which it has told by then."""
    print(f"\n# {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "figures.json"
        subprocess.run([sys.executable, str(HERE / f"{name}.py"), "--json", str(told)], check=False)
        return json.loads(told.read_text()) if told.exists() else {}


if __name__ == "__main__":
    main()
