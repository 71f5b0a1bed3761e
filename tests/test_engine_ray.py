"""Engine ray on a cluster of two nodes, one of which dies on the way, from and to a server: as the engine local."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ftp import ftp_server

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback; read when ray is imported
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from rapgen.audio.io import write_wav  # noqa: E402
from rapgen.data.engine import run_jobs  # noqa: E402
from rapgen.data.prepare.pipeline import prepare  # noqa: E402
from rapgen.data.prepare.settings import Settings  # noqa: E402

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
    """Six tracks of four seconds, and a file that is none."""
    folder.mkdir()
    for number in range(6):
        rng = np.random.default_rng(number)
        tones = np.sin(2 * np.pi * rng.uniform(100, 2000, (8, 1)) * np.arange(4 * 22_050) / 22_050)
        loud = np.repeat(rng.uniform(0, 0.1, (8, 32)), 4 * 22_050 // 32, 1)  # an eighth of a second each
        write_wav(folder / f"beat {number} (90 bpm).wav", (tones[:, : loud.shape[1]] * loud).sum(0)[None], 22_050)
    (folder / "words.mp3").write_text("no audio")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_prepare_gives_the_same_dataset(
    tmp_path: Path, doomed: Callable[[], None], server: tuple[Path, str]
) -> None:
    root, url = server
    raw = make_raw(root / "raw")
    prepare(str(raw), str(tmp_path / "local"), SETTINGS, report=unseen, workers=1)
    records = root / "far" / ".prepare" / "tracks"
    with when(lambda: any(records.glob("[!.]*")), doomed) as died:
        summary = prepare(f"{url}/raw", f"{url}/far", SETTINGS, report=unseen, engine="ray")
    assert died.is_set()
    assert sum(summary.clips.values()) >= 6
    far, near = contents(root / "far"), contents(tmp_path / "local")
    assert far.keys() == near.keys()
    assert {name for name in near if far[name] != near[name]} <= {"report.html", "manifest.json"}


def unseen(done: int, total: int) -> None:
    pass
