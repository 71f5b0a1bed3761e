"""A beat played aloud while it is made, by sounddevice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from rapgen.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

    from rapgen.generation.take import Take

_AHEAD = 64  # pieces, of a second, that may wait to be played
_ELSE = "write a file with -o out.wav, or pipe it: -o - | ffplay -"


def check_loudspeaker() -> None:
    """AudioError where nothing can be played on this machine."""
    sounddevice = _sounddevice()
    try:
        sounddevice.query_devices(kind="output")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"this machine has no audio output ({error}); {_ELSE}") from None


def play(chunks: Iterator[list[np.ndarray]], take: Take) -> None:
    """Play the one beat of a take, to its end.

    A thread feeds the device, so that it does not wait while the next second is made. Where beats are made slower than
    they play, it begins when the rest will be there in time.
    """
    sounddevice = _sounddevice()
    waiting: Queue[np.ndarray | None] = Queue(_AHEAD)
    failures: list[Exception] = []
    try:
        device = sounddevice.OutputStream(
            samplerate=take.sample_rate, channels=take.form.channels, dtype="float32", latency="high"
        )
        with device:
            feeder = threading.Thread(target=_feed, args=(device, waiting, failures), daemon=True)
            feeder.start()
            try:
                for chunk in _in_time(chunks, take):
                    waiting.put(chunk)
                    if failures:
                        raise failures[0]
                waiting.put(None)
                feeder.join()
            except BaseException:
                device.abort()  # what the device still holds is not played
                failures.append(AudioError("stopped"))  # the feeder takes away what waits
                with suppress(Full):
                    waiting.put(None, timeout=1)
                raise
        if failures:
            raise failures[0]
    except sounddevice.PortAudioError as error:
        raise AudioError(f"playing has failed ({error}); {_ELSE}") from None


def _in_time(chunks: Iterator[list[np.ndarray]], take: Take) -> Iterator[np.ndarray]:
    """The beat's sound, held back until what is still to be made will be there when it is to be played."""
    held: list[np.ndarray] | None = []
    for rows in chunks:
        if held is None:
            yield rows[0]
            continue
        held.append(rows[0])
        if take.made_s >= take.duration_s * (1 - take.made_s / take.elapsed_s):
            yield from held
            held = None
    yield from held or ()


def _feed(device: Any, waiting: Queue[np.ndarray | None], failures: list[Exception]) -> None:
    """Give the device what waits, until None comes; after a failure, which it leaves to be told, only take it away."""
    while (chunk := waiting.get()) is not None:
        if not failures:
            try:
                device.write(chunk.T.copy())
            except Exception as error:
                failures.append(error)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise AudioError(f'playing needs sounddevice: pip install "rapgen[play]"; or {_ELSE}') from None
    except OSError:  # the package is there, the library it speaks to is not
        raise AudioError(f"playing needs PortAudio: install libportaudio2 (apt) or portaudio; or {_ELSE}") from None
    return sounddevice
