"""A list of addresses -> a RAW folder, by several threads; what was done before is not done again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from rapgen.data.fetch.addresses import Guard, guarded, proxies_of
from rapgen.data.fetch.lists import Row
from rapgen.data.fetch.records import Records, open_records
from rapgen.data.fetch.work import Folder, Job, Options, Outcome, Pace, Worker
from rapgen.data.fetch.youtube import Downloader, Place, read_cookies

Report = Callable[[int, int], None]  # (done, total) in addresses


@dataclass
class Funnel:
    """What became of all that was listed: `listed` is the sum of all others.

    A playlist counts as what it holds. `repeated`: addresses that were listed before.
    """

    listed: int = 0
    fetched: int = 0
    already_there: int = 0
    repeated: int = 0
    skipped: dict[str, int] = field(default_factory=dict)  # by reason; not taken, by the rules and limits given
    failed: dict[str, int] = field(default_factory=dict)  # by reason; tried again by the next run


def fetch(rows: Sequence[Row], out: Path, options: Options | None = None, *, work: Callable[[str], Report]) -> Funnel:
    """Fetch the audio of all rows into `out`, and tell what became of them.

    `work` is called with the name of the work; what it gives is called with every step. The same call goes on where
    another was stopped, by whatever. Raises RapgenError where the folder cannot be written or is in use, the disk is
    full, or the proxy or the cookies are of no use.
    """
    options = options or Options()
    guard = Guard(options.allow_local, proxies_of(options.proxy))
    cookies = None if options.cookies is None else read_cookies(options.cookies)
    with open_records(out) as records:
        folder, pace = Folder(out), Pace(options.pause_s)
        run = _Run(records, folder, options, work("fetching"))

        def make() -> Downloader:
            return Downloader(options.of_each, cookies=cookies, proxy=options.proxy, check_stop=pace.check_stop)

        def serve() -> None:
            try:
                with guarded(guard), closing(make()) as downloader:
                    worker = Worker(downloader, folder, options, pace)
                    while (job := run.jobs.get()) is not None:
                        run.outcomes.put(worker.run(job))
            except Exception as error:
                run.outcomes.put(error)

        by_url: dict[str, list[Row]] = {}
        for row in rows:
            by_url.setdefault(row.url, []).append(row)
        for url, same in by_url.items():
            run.add(Job(Place(url), tuple(same)))
        threads = [threading.Thread(target=serve, daemon=True) for _ in range(options.jobs if run.pending else 0)]
        try:
            for thread in threads:
                thread.start()
            run.finish()
        finally:  # daemons: what hangs in a connection does not keep the user waiting
            pace.stop()
            for _ in threads:
                run.jobs.put(None)
        for thread in threads:
            thread.join()
        folder.clear()
        return run.funnel


class _Run:
    """What is to do, what is done."""

    def __init__(self, records: Records, folder: Folder, options: Options, report: Report) -> None:
        self._records, self._folder, self._options, self._report = records, folder, options, report
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.outcomes: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()
        self.funnel, self.pending = Funnel(), 0
        self._seen: set[str] = set()

    def add(self, job: Job) -> None:
        """Take in a place with its rows, to be fetched unless it is there, is to be skipped, or was listed before."""
        count = max(len(job.rows), 1) if job.depth == 0 else 1
        self.funnel.listed += count
        self.funnel.repeated += count - 1
        key = job.place.key
        if key in self._seen:
            self.funnel.repeated += 1
            return
        self._seen.add(key)
        record = self._records.get(key)
        if record and record.status == "ok" and self._folder.renew(record.file, job.rows):
            self.funnel.already_there += 1
        elif record and record.status == "skipped" and record.limits == self._options.limits:
            _increase(self.funnel.skipped, record.why)
        else:
            self.pending += 1
            self.jobs.put(job)

    def finish(self) -> None:
        """Wait for all outcomes, recording each as it comes."""
        self._tell()
        while self.pending:
            outcome = self.outcomes.get()
            if isinstance(outcome, Exception):
                raise outcome
            self.pending -= 1
            if outcome.record is None:
                self._unfold(outcome)
            else:
                self._records.add(outcome.record)
                self._count(outcome)
            self._tell()

    def _unfold(self, outcome: Outcome) -> None:
        """Put what a playlist holds in its place."""
        job = outcome.job
        self.funnel.listed -= 1
        captions = {row.caption: Row(row.url, row.caption) for row in job.rows if row.caption}  # its ranges say nothing
        for place in outcome.places:
            self.add(Job(place, tuple(captions.values()), job.depth + 1))

    def _count(self, outcome: Outcome) -> None:
        assert outcome.record is not None
        if outcome.record.status == "ok":
            self.funnel.fetched += outcome.is_new
            self.funnel.already_there += not outcome.is_new
        else:
            reasons = self.funnel.skipped if outcome.record.status == "skipped" else self.funnel.failed
            _increase(reasons, outcome.record.why)

    def _tell(self) -> None:
        total = len(self._seen)
        self._report(total - self.pending, total)


def _increase(reasons: dict[str, int], why: str) -> None:
    reasons[why] = reasons.get(why, 0) + 1
