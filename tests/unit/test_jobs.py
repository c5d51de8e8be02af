"""Periodic jobs: they run, never overlap, and their failures are seen and survived."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from node.ops.jobs import Jobs

WAIT_SECONDS = 60


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs(clock=lambda: 1_000.0)
    yield made
    made.stop()


def test_a_job_runs_again_and_again(jobs: Jobs) -> None:
    runs = threading.Semaphore(0)
    jobs.register("checkpoint", lambda: runs.release(), interval_seconds=0.02)
    jobs.start()
    for _ in range(3):
        assert runs.acquire(timeout=WAIT_SECONDS)
    (status,) = jobs.status()
    assert status.name == "checkpoint"
    assert status.next_run is not None


def test_before_the_first_run_there_is_nothing_to_tell(jobs: Jobs) -> None:
    jobs.register("retention", lambda: 5, interval_seconds=60)
    (status,) = jobs.status()
    assert (status.runs, status.last_start, status.last_result, status.next_run) == (0, None, None, None)


def test_the_last_run_is_recorded(jobs: Jobs) -> None:
    jobs.register("retention", lambda: "dropped 5 blocks", interval_seconds=60)
    status = jobs.run_now("retention")
    assert (status.runs, status.failures, status.last_start) == (1, 0, 1_000.0)
    assert (status.last_result, status.last_error) == ("dropped 5 blocks", None)
    assert status.last_duration_seconds is not None


def test_a_failure_is_logged_shown_and_survived(jobs: Jobs) -> None:
    answers: Iterator[object] = iter([ValueError("disk on fire"), "fine"])

    def work() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    jobs.register("index", work, interval_seconds=60)
    with capture_logs() as logs:
        failed = jobs.run_now("index")
    assert failed.last_error == "ValueError: disk on fire"
    assert failed.failures == 1
    assert logs[0]["job"] == "index"
    assert logs[0]["log_level"] == "error"
    assert logs[0]["exc_info"], "a bug: where it is"
    healed = jobs.run_now("index")
    assert (healed.last_error, healed.last_result, healed.runs, healed.failures) == (None, "fine", 2, 1)


def test_a_failing_job_stays_scheduled(jobs: Jobs) -> None:
    runs = threading.Semaphore(0)

    def work() -> None:
        runs.release()
        raise RuntimeError("again")

    jobs.register("certificates", work, interval_seconds=0.02)
    jobs.start()
    for _ in range(3):
        assert runs.acquire(timeout=WAIT_SECONDS)


def test_a_job_never_overlaps_with_itself(jobs: Jobs) -> None:
    running = threading.Semaphore(1)
    overlaps: list[int] = []
    passes = threading.Semaphore(0)
    gate = threading.Event()

    def work() -> None:
        if not running.acquire(blocking=False):
            overlaps.append(1)
        passes.release()
        gate.wait(0.1)
        running.release()

    jobs.register("checkpoint", work, interval_seconds=0.02)
    jobs.start()
    for _ in range(3):
        assert passes.acquire(timeout=WAIT_SECONDS)
    assert not overlaps


def test_stop_waits_for_the_running_job() -> None:
    jobs = Jobs()
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        threading.Event().wait(0.1)
        ended.set()

    jobs.register("checkpoint", work, interval_seconds=0.01)
    jobs.start()
    assert begun.wait(WAIT_SECONDS)
    jobs.stop()
    assert ended.is_set()


def test_the_same_name_twice_is_a_bug(jobs: Jobs) -> None:
    jobs.register("checkpoint", lambda: None, interval_seconds=1)
    with pytest.raises(AssertionError, match="twice"):
        jobs.register("checkpoint", lambda: None, interval_seconds=1)


def test_a_scheduler_that_fails_goes_on(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread would end, and with it every checkpoint."""
    runs, failed = threading.Semaphore(0), threading.Event()
    monkeypatch.setattr("node.ops.jobs.LOOK_SECONDS", 0.01)

    def fail() -> None:
        failed.set()
        monkeypatch.undo()
        raise RuntimeError("no thread to be had")

    jobs.register("checkpoint", lambda: runs.release(), interval_seconds=0.02)
    jobs.start()
    assert runs.acquire(timeout=WAIT_SECONDS)
    monkeypatch.setattr(jobs._scheduler, "_follow_the_wall_clock", fail)
    assert failed.wait(WAIT_SECONDS)
    for _ in range(3):
        assert runs.acquire(timeout=WAIT_SECONDS)
    assert jobs.faults == 1


def test_what_ends_a_thread_does_not_end_a_job(jobs: Jobs) -> None:
    def work() -> None:
        raise SystemExit(3)

    jobs.register("index", work, interval_seconds=60)
    status = jobs.run_now("index")
    assert (status.last_error, status.failures, status.running_since) == ("SystemExit: 3", 1, None)


def test_a_job_that_hangs_is_seen(jobs: Jobs) -> None:
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        end.wait(WAIT_SECONDS)

    jobs.register("checkpoint", work, interval_seconds=0.02)
    jobs.start()
    assert begun.wait(WAIT_SECONDS)
    assert jobs.status()[0].running_since == 1_000.0
    end.set()


def test_the_threads_of_jobs_exist_from_the_start(jobs: Jobs) -> None:
    """None may be to be had when the first job is due."""
    jobs.start()
    assert len(jobs._executor._pool._threads) == 2
