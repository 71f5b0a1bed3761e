"""A beat as it is made: the same samples, a file that can be played at any time, a pipe, the loudspeaker."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner, Result

from rapgen.audio.io import write_wav
from rapgen.audio.wav import WavFormat, WavWriter, growing_wav
from rapgen.cli.app import make_app
from rapgen.cli.takes import stream
from rapgen.errors import AudioError, PromptError
from rapgen.generation.audiolm import Piece
from rapgen.generation.musiclm import MusicLM
from rapgen.generation.take import Take
from rapgen.generation.wishes import Wishes
from rapgen.interfaces import Prompt

RATE = 8000
PROMPT = "boom bap, 90 bpm, F# minor"
RAPGEN = Path(sys.executable).with_name("rapgen")


@pytest.fixture(scope="module")
def lm(tiny_run: Path) -> MusicLM:
    return MusicLM.load(tiny_run)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, 5000)).astype(np.float32)


def rapgen(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), [str(a) for a in arguments])


def samples(path: Path | io.BytesIO) -> np.ndarray:
    audio, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    return np.asarray(audio)


# -------------------------------------------------------------------------------------------- the same


def test_a_stream_is_the_beat(lm: MusicLM) -> None:
    (beat,) = lm.generate(PROMPT, duration_s=3.3, seed=4, first_item=2)
    chunks = list(lm.stream_audio(PROMPT, duration_s=3.3, seed=4, item=2))
    assert len(chunks) >= 4
    assert all(chunk.dtype == np.float32 and chunk.shape[0] == 1 for chunk in chunks)
    assert np.array_equal(np.concatenate(chunks, 1), beat.audio)
    assert beat.audio.shape == (1, round(3.3 * lm.sample_rate))


def test_the_tokens_of_a_stream_are_those_made_at_once(lm: MusicLM, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Tensor] = []
    play = lm.play

    def listen(blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        yield from play(made.append(block) or block for block in blocks)  # type: ignore[func-returns-value]

    monkeypatch.setattr(lm, "play", listen)
    list(lm.stream_audio(PROMPT, duration_s=3.3, seed=4))
    piece = Piece(lm.plan(Prompt(PROMPT, duration_s=3.3, seed=4, groove=Wishes().prompts([PROMPT])[0].groove)))
    streamed = torch.cat(made, 1)
    (whole,) = lm.stream([piece], streamed.shape[1], sampling=lm.recipe.sampling)
    assert len(made) > 3
    assert torch.equal(streamed, whole)


def test_nothing_is_made_before_it_is_asked_for(lm: MusicLM) -> None:
    take = lm.begin([PROMPT], Wishes(duration_s=600))
    next(iter(take))
    assert 0 < take.made_s <= 1
    assert take.duration_s == 600


def test_threads_are_as_before_between_pieces(lm: MusicLM) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        next(lm.stream_audio(PROMPT, duration_s=5))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("options", "told"),
    [({"bars": 0}, "0 bars"), ({"item": -1}, "from number -1"), ({"seed": -2}, "seed of -2"), ({"top_k": -1}, "top_k")],
)
def test_what_makes_no_sense_is_told_at_once(lm: MusicLM, options: dict[str, Any], told: str) -> None:
    with pytest.raises(PromptError, match=told):
        lm.stream_audio(PROMPT, **options)


def test_a_streamed_file_is_the_file(tiny_run: Path, tmp_path: Path) -> None:
    asked = ["trap, 140 bpm", "--duration", 2.5, "-m", tiny_run, "-o"]
    plain, streamed = (
        rapgen("generate", *asked, tmp_path / "a.wav"),
        rapgen("generate", *asked, tmp_path / "b.wav", "--stream"),
    )
    assert plain.exit_code == streamed.exit_code == 0
    assert streamed.stdout.startswith(f"{tmp_path / 'b.wav'}: trap, 140 bpm")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert samples(tmp_path / "b.wav").shape == (2.5 * RATE,)


# ------------------------------------------------------------------------------------------------- WAV


def test_a_growing_wav_can_be_played_at_any_time(noise: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    form = WavFormat(2, RATE, {"codec": "MIT"})
    with growing_wav(path, form) as wav:
        assert soundfile.info(path).frames == 0
        for end in range(1000, 6000, 1000):
            wav.write(noise[:, end - 1000 : end])
            assert soundfile.info(path).frames == end
            assert wav.duration_s == end / RATE
    with soundfile.SoundFile(path) as file:
        assert file.copyright == "made with weights of others, codec: MIT"
        assert file.software.startswith("rapgen ")
    write_wav(tmp_path / "b.wav", noise, RATE, licences={"codec": "MIT"})
    assert path.read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_pipe_is_told_the_length_first(noise: np.ndarray) -> None:
    class Pipe(io.BytesIO):
        def seek(self, *_: Any) -> int:
            raise OSError("illegal seek")

    pipe, whole = Pipe(), io.BytesIO()
    wav = WavWriter(pipe, WavFormat(2, RATE), num_samples=5000)
    wav.write(noise[:, :2000])
    wav.write(noise[:, 2000:])
    WavWriter(whole, WavFormat(2, RATE)).write(noise)
    assert pipe.getvalue() == whole.getvalue()
    assert samples(io.BytesIO(pipe.getvalue())).shape == (5000, 2)


def test_samples_that_are_no_numbers_end_a_stream(noise: np.ndarray, tmp_path: Path) -> None:
    with growing_wav(tmp_path / "a.wav", WavFormat(2, RATE)) as wav:
        wav.write(noise)
        with pytest.raises(AudioError, match="not numbers"):
            wav.write(noise * np.nan)
    assert soundfile.info(tmp_path / "a.wav").frames == 5000


# ------------------------------------------------------------------------------- stopped, full, closed


def start(run: Path, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """`rapgen generate` for ten minutes, which a test does not wait for."""
    command = [RAPGEN, "generate", "boom bap, 90 bpm", "--duration", "600", "-m", run, *arguments]

    def ready() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which jobs in the background ignore

    options = {"preexec_fn": ready, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([str(part) for part in command], **options)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    pytest.fail("nothing was made in time")


def holds(folder: Path, num_bytes: int) -> Callable[[], bool]:
    return lambda: any(p.stat().st_size > num_bytes for p in folder.iterdir())


@pytest.mark.parametrize("num", [1, 4])
def test_ctrl_c_leaves_no_half_file(tiny_run: Path, tmp_path: Path, num: int) -> None:
    process = start(tiny_run, "-o", tmp_path / "out.wav", "--num", num)
    wait_for(holds(tmp_path, 1000), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err.decode()) == (b"", f"stopped; 0 of {num} beats are made\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_beats_that_are_made(tiny_run: Path, tmp_path: Path) -> None:
    """Beats are made four at a time; the first four are short, the fifth lasts ten minutes."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("trap, 200 bpm, 1 bars\n" * 4 + "trap, 200 bpm, 480 bars\n")
    command = [RAPGEN, "generate", "--prompts", prompts, "-m", tiny_run, "-o", tmp_path / "beats"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    wait_for(lambda: len(list(tmp_path.glob("beats/00*.wav"))) == 4, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"stopped; 4 of 5 beats are made\n"
    made = sorted((tmp_path / "beats").iterdir())
    assert [path.name for path in made] == ["0001.wav", "0002.wav", "0003.wav", "0004.wav"]
    assert {len(samples(path)) for path in made} == {round(4 * 60 / 200 * RATE)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_streamed_before_the_end_can_be_played(
    lm: MusicLM, tiny_run: Path, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"what was there before")
    process = start(tiny_run, "-o", path, "--stream")
    wait_for(holds(tmp_path, 5 * RATE), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == [path]
    kept = samples(path)
    assert len(kept) > 2 * RATE
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert err.decode() == f"stopped; {path} holds the first {len(kept) / RATE:.1f} s\n"
    write_wav(tmp_path / "same.wav", first(lm, len(kept)), RATE)
    assert np.array_equal(kept, samples(tmp_path / "same.wav"))


def first(lm: MusicLM, count: int) -> np.ndarray:
    """The first samples of what `start` makes."""
    chunks: list[np.ndarray] = []
    for chunk in lm.stream_audio("boom bap, 90 bpm", duration_s=600):
        chunks.append(chunk)
        if sum(c.shape[1] for c in chunks) >= count:
            break
    return np.concatenate(chunks, 1)[:, :count]


def test_ctrl_c_in_a_pipe(tiny_run: Path) -> None:
    process = start(tiny_run, "-o", "-")
    assert process.stdout is not None
    head = process.stdout.read(2 * RATE)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert head.startswith(b"RIFF")
    assert process.returncode == 130
    assert re.fullmatch(r"stopped; \d+\.\d s were made\n", err.decode())


def test_a_closed_pipe_is_one_line(tiny_run: Path) -> None:
    process = start(tiny_run, "-o", "-")
    assert process.stdout is not None
    assert process.stdout.read(4) == b"RIFF"
    process.stdout.close()
    assert process.stderr is not None
    assert re.fullmatch(rb"error: who read the pipe has gone; \d+\.\d s were made\n", process.stderr.read())
    assert process.wait(timeout=30) == 2


def test_a_pipe_by_name_is_no_file_that_grows(tiny_run: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    done = rapgen("generate", "trap", "-m", tiny_run, "--stream", "-o", tmp_path / "pipe.wav")
    assert done.exit_code == 2
    assert "to write into a pipe: -o - >" in done.stderr


def test_a_pipe_holds_the_file(tiny_run: Path, tmp_path: Path) -> None:
    asked = ["trap", "--duration", "1.2", "-m", tiny_run]
    done = subprocess.run([RAPGEN, "generate", *asked, "-o", "-", "--json"], capture_output=True, check=True)
    assert rapgen("generate", *asked, "-o", tmp_path / "a.wav").exit_code == 0
    assert done.stdout == (tmp_path / "a.wav").read_bytes()
    assert json.loads(done.stderr)["path"] == "-"


@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_a_full_disk_is_one_line(tiny_run: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """As by a limit on how large a file may become."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = start(tiny_run, "-o", tmp_path / "out.wav", *options, preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == b""
    assert err.decode().startswith(f"error: cannot write {tmp_path / 'out.wav'}: File too large; free some space")
    assert len(err.splitlines()) == 1
    if options:
        kept = samples(tmp_path / "out.wav")
        assert err.decode().endswith(f"it holds {len(kept) / RATE:.1f} s\n")
        assert 2 * RATE < len(kept) < 25_000
    else:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full device")
def test_a_full_pipe_is_one_line(tiny_run: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start(tiny_run, "-o", "-", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == b"error: no space left on device\n"


# --------------------------------------------------------------------------------------- the loudspeaker


class PortAudioError(Exception):
    pass


class Device:
    """An output that takes what it is given, as fast as that comes; it may break after some seconds."""

    def __init__(self, breaks_after: int, **options: Any) -> None:
        self.options, self.breaks_after = options, breaks_after
        self.played: list[np.ndarray] = []
        self.is_open = False

    def __enter__(self) -> Device:
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def write(self, audio: np.ndarray) -> None:
        assert self.is_open
        if len(self.played) == self.breaks_after:
            raise PortAudioError("the cable is out")
        self.played.append(audio)

    def abort(self) -> None:
        self.is_open = False


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """What sounddevice opens; no machine that tests runs on need have one."""
    opened: list[Device] = []

    def open_one(**options: Any) -> Device:
        opened.append(Device(monkey.breaks_after, **options))
        return opened[-1]

    monkey: Any = ModuleType("sounddevice")
    monkey.breaks_after = -1
    monkey.PortAudioError = PortAudioError
    monkey.query_devices = lambda kind: {"name": "a loudspeaker"}
    monkey.OutputStream = open_one
    monkeypatch.setitem(sys.modules, "sounddevice", monkey)
    return opened


def test_without_a_file_it_is_played(lm: MusicLM, tiny_run: Path, devices: list[Device]) -> None:
    result = rapgen("generate", PROMPT, "--duration", 2.2, "-m", tiny_run, "--stream")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("played: boom bap, 90 bpm, F# minor")
    (device,) = devices
    assert not device.is_open
    assert (device.options["samplerate"], device.options["channels"], device.options["dtype"]) == (RATE, 1, "float32")
    (beat,) = lm.generate(PROMPT, duration_s=2.2)
    assert np.array_equal(np.concatenate(device.played).T, beat.audio)


def test_a_device_that_breaks_is_one_line(tiny_run: Path, devices: list[Device]) -> None:
    sys.modules["sounddevice"].breaks_after = 2  # type: ignore[attr-defined]
    result = rapgen("generate", PROMPT, "--duration", 600, "-m", tiny_run, "--stream")
    assert result.exit_code == 2
    assert "playing has failed (the cable is out)" in result.stderr
    assert len(devices[0].played) == 2


def test_ctrl_c_silences_the_device(lm: MusicLM, devices: list[Device]) -> None:
    take = lm.begin([PROMPT], Wishes(duration_s=60))

    def report(share: float) -> None:
        if share > 0.05:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"stopped; [34]\.\d s were made"):
        stream(take, None, report)
    assert not devices[0].is_open


@pytest.mark.parametrize(("speed", "held_s"), [(2.0, 1.0), (0.5, 5.0), (0.25, 7.5)])
def test_playing_begins_when_the_rest_will_come_in_time(
    lm: MusicLM, devices: list[Device], speed: float, held_s: float
) -> None:
    """At half the speed it plays at, a beat of ten seconds is to be half made before it is heard."""
    take = lm.begin([PROMPT], Wishes(duration_s=10.0))
    heard_at: list[float] = []

    class Slow(Take):
        def __init__(self) -> None:
            vars(self).update(vars(take))

        def __iter__(self) -> Iterator[list[np.ndarray]]:
            for second in range(1, 11):
                self.made, self.elapsed_s = second * RATE, second / speed
                heard_at.append(sum(len(d.played) for d in devices))
                yield [np.zeros((1, RATE), np.float32)]
                time.sleep(0.02)  # for the thread that plays

    stream(Slow(), None, lambda share: None)
    assert next(n for n, played in enumerate(heard_at) if played) == pytest.approx(np.ceil(held_s))
    assert len(devices[0].played) == 10


BROKEN = {
    "raise ModuleNotFoundError('no sounddevice')": 'pip install "rapgen[play]"',
    "raise OSError('PortAudio library not found')": "playing needs PortAudio",
    "PortAudioError = OSError\ndef query_devices(kind): raise OSError('none')": "no audio output (none)",
}


@pytest.mark.parametrize(("module", "told"), BROKEN.items(), ids=["missing", "no library", "no device"])
def test_what_playing_lacks_is_told_before_a_model_is_loaded(
    module: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sounddevice.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    result = rapgen("generate", "trap", "--stream", "-m", "no-such-model")
    sys.modules.pop("sounddevice", None)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "-o - | ffplay -" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_only_one_beat_can_be_heard(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("trap\n")
    for asked in (["trap", "--num", 2], ["--prompts", tmp_path / "prompts.txt"], ["trap", "--num", 2, "-o", "-"]):
        result = rapgen("generate", *asked, "--stream")
        assert result.exit_code == 2
        assert result.stderr == "error: --stream and -o - make one beat as you listen; leave out --num and --prompts\n"
