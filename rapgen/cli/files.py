"""Where results go."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rapgen.errors import AudioError


def check_output(path: Path) -> None:
    """Make the folder of a WAV to be; AudioError where it cannot be written, told before any work is done."""
    if path.is_dir():
        raise AudioError(f"{path} is a folder; name a file in it, like {path / 'out.wav'}")
    if path.suffix.lower() != ".wav":
        raise AudioError(f"{path} does not end in .wav, and WAV is what rapgen writes; rename it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise AudioError(f"cannot write {path}: {(error.strerror or '').lower()}; choose another place") from None
