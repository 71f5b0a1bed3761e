"""rapgen: a line of text in, a rap instrumental out.

from rapgen import MusicLM
beat = MusicLM.load().generate("boom bap, 90 bpm")[0]
beat.save("out.wav")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rapgen.generation.audiolm import AudioLM
    from rapgen.generation.musiclm import MusicLM

__version__ = "0.1.0"
__all__ = ["AudioLM", "MusicLM", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the models when they are asked for: they bring torch, the command line's help does not need it."""
    if name == "AudioLM":
        from rapgen.generation.audiolm import AudioLM

        return AudioLM
    if name == "MusicLM":
        from rapgen.generation.musiclm import MusicLM

        return MusicLM
    raise AttributeError(f"module 'rapgen' has no attribute '{name}'")
