"""Periodic jobs: named, idempotent callables run by APScheduler, with a status of each one's last run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from msgspec.structs import replace

from chain.errors import ZvmdError

log = structlog.get_logger("zvmd.jobs")

WORKERS: Final = 2
LEAST_SECONDS: Final = 0.01
"""Least time between runs of a job, however short its setting is."""
MISFIRE_GRACE_SECONDS: Final = 60
JOB_DEFAULTS: Final = {"coalesce": True, "max_instances": 1, "misfire_grace_time": MISFIRE_GRACE_SECONDS}
START_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 1.0
"""Longest time between two looks of the scheduler at the clocks."""
JUMP_SECONDS: Final = 1.0
"""The wall clock was set if it differs by more from what the steady clock expects."""


class JobStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What ``zvmd status`` says of a job. Times are Unix seconds; ``None`` means it has not happened yet."""

    name: str
    interval_seconds: float
    runs: int = 0
    failures: int = 0
    last_start: float | None = None
    last_duration_seconds: float | None = None
    last_result: str | None = None
    last_error: str | None = None
    next_run: float | None = None
    running_since: float | None = None
    """When the current run began; shows a job that hangs."""


class SteadyScheduler(BackgroundScheduler):  # type: ignore[misc]
    """Keeps periods by the steady clock: when the wall clock jumps, the schedule jumps with it.

    APScheduler alone counts the runs missed in a jump forward one by one (600 million half seconds in ten years) and
    waits out a jump backward: an hour without checkpoints.
    """

    def __init__(self, steady: Callable[[], float], **options: object) -> None:
        super().__init__(**options)
        self._steady = steady
        self._ahead: float | None = None
        self.faults = 0
        """How often submitting due jobs failed."""

    def _process_jobs(self) -> float | None:
        try:
            self._follow_the_wall_clock()
            wait: float | None = super()._process_jobs()
        except Exception as error:  # an exception would end the scheduler's thread, and with it every job
            self.faults += 1
            log.error("the job scheduler failed", exc_info=error)
            return LOOK_SECONDS
        return None if wait is None else min(wait, LOOK_SECONDS)

    def _follow_the_wall_clock(self) -> None:
        ahead = datetime.now(UTC).timestamp() - self._steady()
        shift = 0.0 if self._ahead is None else ahead - self._ahead
        if self._ahead is None or abs(shift) > JUMP_SECONDS:
            self._ahead = ahead
        if abs(shift) > JUMP_SECONDS:
            log.warning("the wall clock was set", seconds=round(shift, 3))
            for job in self.get_jobs():
                job.modify(next_run_time=job.next_run_time + timedelta(seconds=shift))


class Jobs:
    """The daemon's periodic jobs.

    A job never overlaps with itself, and runs missed while the machine slept are run once. A job that raises
    is logged with its traceback, counted, and shown as ``last_error`` until it next succeeds; it stays
    scheduled. The schedule lives in memory: what a job does must follow from the data it looks at, not from
    when it last ran.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._statuses: dict[str, JobStatus] = {}
        self._work: dict[str, Callable[[], object]] = {}
        self._executor, self._alone = ThreadPoolExecutor(WORKERS), ThreadPoolExecutor(1)
        self._scheduler = SteadyScheduler(
            steady,
            timezone="UTC",
            executors={"default": self._executor, "alone": self._alone},
            job_defaults=JOB_DEFAULTS,
        )

    def register(
        self,
        name: str,
        work: Callable[[], object],
        interval_seconds: float,
        first_seconds: float | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """Run ``work`` every ``interval_seconds``, first after ``first_seconds``, else after one interval.

        ``work`` returns its result. No job runs more often than every `LEAST_SECONDS`. ``alone``: on a thread of its
        own, so that no long job delays it.
        """
        assert name not in self._work, f"job {name!r} is registered twice"
        interval_seconds = max(interval_seconds, LEAST_SECONDS)
        self._work[name] = work
        self._statuses[name] = JobStatus(name, interval_seconds)
        first = {} if first_seconds is None else {"next_run_time": datetime.now(UTC) + timedelta(seconds=first_seconds)}
        self._scheduler.add_job(
            self._run, "interval", args=[name], id=name, seconds=interval_seconds,
            executor="alone" if alone else "default", **first,
        )  # fmt: skip

    def start(self) -> None:
        """Start the job threads. All are created now: later the system may refuse new threads."""
        together = threading.Barrier(WORKERS)
        for _ in range(WORKERS):
            self._executor._pool.submit(together.wait, START_SECONDS)
        self._alone._pool.submit(int)
        self._scheduler.start()

    @property
    def faults(self) -> int:
        """How often submitting due jobs failed; each time they were submitted again a second later."""
        return int(self._scheduler.faults)

    def stop(self) -> None:
        """Start no more jobs; returns when the running ones have ended."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def run_now(self, name: str) -> JobStatus:
        """Run one job in the calling thread, as ``zvmd`` operators and tests ask for."""
        self._run(name)
        return self._statuses[name]

    def status(self) -> list[JobStatus]:
        """Every job, in order of registration."""
        with self._lock:
            statuses = list(self._statuses.values())
        return [replace(status, next_run=self._next_run(status.name)) for status in statuses]

    def _next_run(self, name: str) -> float | None:
        job = self._scheduler.get_job(name)
        when: datetime | None = getattr(job, "next_run_time", None)
        return when.timestamp() if when is not None else None

    def _run(self, name: str) -> None:
        started = self._clock()
        begin = time.perf_counter()
        with self._lock:
            self._statuses[name] = replace(self._statuses[name], running_since=started)
        result: str | None = None
        error: str | None = None
        try:
            outcome = self._work[name]()
            result = "done" if outcome is None else str(outcome)
        except BaseException as failure:  # the scheduler must outlive any job; the failure is logged and shown
            error = f"{type(failure).__name__}: {failure}"
            expected = isinstance(failure, ZvmdError)  # a full disk is not a bug and needs no traceback
            log.error("job failed", job=name, error=error, exc_info=None if expected else failure)
        duration = time.perf_counter() - begin
        with self._lock:
            before = self._statuses[name]
            self._statuses[name] = replace(
                before,
                runs=before.runs + 1,
                failures=before.failures + (error is not None),
                last_start=started,
                last_duration_seconds=duration,
                last_result=before.last_result if error else result,
                last_error=error,
                running_since=None,
            )
