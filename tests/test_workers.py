"""Crews of worker processes: order, errors, and kills at any moment."""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import crew_work
from gen2reco.errors import EventFileError, WorkerError
from gen2reco.workers import Crew


def test_every_report_of_every_task_arrives_once():
    with Crew(crew_work.squares, (100,), processes=2) as crew:
        found = list(crew.run(range(7)))
        again = list(crew.run(range(2)))
    assert sorted(found) == sorted(
        [(task, 100 + task * task) for task in range(7)] + [(task, -task) for task in range(7)]
    )
    assert sorted(again) == [(0, 0), (0, 100), (1, -1), (1, 101)]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_reports_in_the_order_of_the_tasks(processes):
    with Crew(crew_work.sleepers, (), processes=processes) as crew:
        found = [value for _, value in crew.run(range(8), ahead=2, in_order=True)]
    assert found == [(task, step) for task in range(8) for step in range(3)]


def test_processes_run_ahead_by_so_many_tasks_only():
    drawn = []

    def tasks():
        for task in range(20):
            drawn.append(task)
            yield task

    with Crew(crew_work.sleepers, (), processes=2) as crew:
        for number, _ in crew.run(tasks(), ahead=2, in_order=True):
            assert len(drawn) <= number + 4
    assert len(drawn) == 20


def test_no_tasks():
    with Crew(crew_work.squares, (0,), processes=2) as crew:
        assert list(crew.run([])) == []


def test_an_error_arrives_as_it_is_with_its_traceback():
    with (
        pytest.raises(EventFileError, match=r"a\.root, branch Jet_pt: damaged") as caught,
        Crew(crew_work.failing, (), processes=2) as crew,
    ):
        list(crew.run(range(10)))
    assert caught.value.branch == "Jet_pt"
    assert "in work" in caught.value.__notes__[0]


def test_an_error_that_cannot_travel_arrives_in_words():
    with (
        pytest.raises(WorkerError, match="StubbornError: 1 and 2"),
        Crew(crew_work.stubborn, (), processes=1) as crew,
    ):
        list(crew.run([1]))


def test_a_process_that_leaves_is_one_clear_error():
    with (
        pytest.raises(WorkerError, match="exit code 5; try again, with fewer processes"),
        Crew(crew_work.leaving, (5,), processes=2) as crew,
    ):
        list(crew.run(range(4)))


def test_nothing_is_left_running():
    with Crew(crew_work.busy, (10,), processes=2) as crew:
        next(crew.run([10**9, 10**9]))
        processes = [worker.process.pid for worker in crew._workers]
    for number in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def kill_at_random(dice, *, size, given, longest):
    """Kill a process of a crew that reports all the time; return the seconds to the error."""
    killed = []

    def kill():
        while not crew._workers:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, longest))
        victim = dice.choice(crew._workers).process.pid
        killed.append(time.monotonic())
        os.kill(victim, signal.SIGKILL)

    crew = Crew(crew_work.busy, (size, b"g" * given), processes=2)
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WorkerError, match="killed by SIGKILL, perhaps for lack of memory"), crew:
        for _ in crew.run([10**9, 10**9]):
            pass
    ended = time.monotonic()
    killer.join()
    return ended - killed[0]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [10, 30_000, 3_000_000])
def test_a_kill_at_any_moment_is_one_clear_error(size):
    dice = random.Random(size)  # noqa: S311
    waits = [kill_at_random(dice, size=size, given=10**6, longest=0.3) for _ in range(8)]
    assert max(waits) < 5
