"""Engine ray on a cluster of two nodes, one of which dies on the way, from and to a server: as the engine local."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ftp import ftp_server
from typer.testing import CliRunner

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback; read when ray is imported
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from rapgen.audio.io import write_wav  # noqa: E402
from rapgen.cli.app import make_app  # noqa: E402
from rapgen.data.engine import run_jobs  # noqa: E402
from rapgen.data.prepare.pipeline import prepare  # noqa: E402
from rapgen.data.prepare.settings import Settings  # noqa: E402
from rapgen.tokens import collect as collecting  # noqa: E402
from rapgen.tokens.collect import AUDIO  # noqa: E402
from rapgen.tokens.shards import Shards  # noqa: E402

pytestmark = pytest.mark.xdist_group("ray")
_HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node; tests add a second, which is to die."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where nodes find the jobs of this file
        settings = {"num_cpus": 1, "include_dashboard": False, "_system_config": _HEALTH}
        made = Cluster(initialize_head=True, head_node_args=settings)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def doomed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A second node of the cluster that jobs find; called, it dies."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    node = cluster.add_node(num_cpus=1, include_dashboard=False)
    is_dead = False

    def kill() -> None:
        nonlocal is_dead
        if not is_dead:
            is_dead = True
            cluster.remove_node(node, allow_graceful=False)

    yield kill
    kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL at which every process finds it."""
    root = tmp_path / "served"
    root.mkdir()
    with ftp_server(root) as url:
        yield root, url


@contextmanager
def when(condition: Callable[[], bool], act: Callable[[], None]) -> Iterator[threading.Event]:
    """Act, once, as soon as a condition holds; the answer is set when that has happened."""
    acted, is_over = threading.Event(), threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            if condition():
                act()
                acted.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield acted
    finally:
        is_over.set()
        thread.join()


def mark(folder: Path, number: int) -> tuple[int, int]:
    """A job that leaves a file each time it is begun, named for its node."""
    (folder / f"{number}-{ray.get_runtime_context().get_node_id()}-{uuid.uuid4().hex}").touch()
    time.sleep(1)
    return number, os.getpid()


def test_jobs_of_a_node_that_dies_are_done_by_another(tmp_path: Path, doomed: Callable[[], None]) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def nodes() -> set[str]:
        return {path.name.split("-")[1] for path in marks.iterdir()}

    with when(lambda: len(nodes()) == 2, doomed) as died:
        answers = list(run_jobs(mark, [(marks, number) for number in range(8)], engine="ray"))
    assert died.is_set()
    assert sorted(number for number, _ in answers) == list(range(8))
    assert os.getpid() not in {pid for _, pid in answers}
    begun = [path.name.split("-")[0] for path in marks.iterdir()]
    assert len(begun) > len(set(begun)) == 8  # one at least was begun twice, and answered once


SETTINGS = Settings(segment_s=1.5, vocals="keep")


def make_raw(folder: Path) -> Path:
    """Six tracks of five seconds, and a file that is none."""
    folder.mkdir()
    for number in range(6):
        rng = np.random.default_rng(number)
        tones = np.sin(2 * np.pi * rng.uniform(100, 2000, (8, 1)) * np.arange(5 * 22_050) / 22_050)
        loud = np.repeat(rng.uniform(0, 0.1, (8, 40)), 5 * 22_050 // 40, 1)  # an eighth of a second each
        write_wav(folder / f"beat {number} (90 bpm).wav", (tones[:, : loud.shape[1]] * loud).sum(0)[None], 22_050)
    (folder / "words.mp3").write_text("no audio")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_prepare_gives_the_same_dataset(tmp_path: Path, doomed: Callable[[], None], server: tuple[Path, str]) -> None:
    root, url = server
    raw = make_raw(root / "raw")
    prepare(str(raw), str(tmp_path / "local"), SETTINGS, report=unseen, workers=1)
    records = root / "far" / ".prepare" / "tracks"
    with when(lambda: any(records.glob("[!.]*")), doomed) as died:
        summary = prepare(f"{url}/raw", f"{url}/far", SETTINGS, report=unseen, engine="ray")
    assert died.is_set()
    assert sum(summary.clips.values()) >= 4
    far, near = contents(root / "far"), contents(tmp_path / "local")
    assert far.keys() == near.keys()
    assert {name for name in near if far[name] != near[name]} <= {"report.html", "manifest.json"}


def make_dataset(folder: Path) -> Path:
    """Twelve clips to train on and four to hold out."""
    for split, count in (("train", 12), ("valid", 4)):
        (folder / split).mkdir(parents=True)
        rng = np.random.default_rng(count)
        names = [f"{number}.wav" for number in range(count)]
        for name in names:
            write_wav(folder / split / name, rng.uniform(-0.5, 0.5, (1, 16_000)).astype(np.float32), 8000)
        lines = [json.dumps({"file_name": name, "text": f"trap, {90 + len(name)} bpm"}) for name in names]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def make_run(trained: Path, folder: Path) -> Path:
    """A run that has its parts, and nothing else."""
    folder.mkdir()
    shutil.copy(trained / "recipe.yaml", folder)
    shutil.copytree(trained / "parts", folder / "parts")
    for fitted in ("semantic", "conditioners.groove"):
        (folder / "parts" / f"{fitted}.safetensors").unlink(missing_ok=True)
    return folder


def rapgen(*arguments: Any) -> None:
    done = CliRunner().invoke(make_app(), [str(a) for a in arguments])
    assert done.exit_code == 0, done.output


def test_tokenize_gives_the_same_shards(
    tmp_path: Path,
    doomed: Callable[[], None],
    server: tuple[Path, str],
    tiny_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collecting, "CLIPS_A_SHARD", 2)
    root, url = server
    data, near, far = (
        make_dataset(root / "beats"),
        make_run(tiny_run, tmp_path / "near"),
        make_run(tiny_run, root / "far"),
    )
    rapgen("data", "tokenize", data, "--run", near, "--workers", 1)
    with when(lambda: any((far / "audio" / "train").glob("[!.]*")), doomed) as died:
        rapgen("data", "tokenize", f"{url}/beats", "--run", f"{url}/far", "--engine", "ray")
    assert died.is_set()
    for split, shards in (("train", 6), ("valid", 2)):
        assert contents(far / "tokens" / split) == contents(near / "tokens" / split)
        assert len(contents(far / "tokens" / split)) == shards
        ours, theirs = Shards(near / "audio" / split), Shards(far / "audio" / split)
        assert ours.annotations == theirs.annotations
        assert all(np.array_equal(ours.row(AUDIO, n), theirs.row(AUDIO, n)) for n in range(len(ours)))
    assert contents(far / "parts") == contents(near / "parts")


def unseen(done: int, total: int) -> None:
    pass
