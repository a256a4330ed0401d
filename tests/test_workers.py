"""Crews of worker processes: order, errors, and kills at any moment."""

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
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
            assert len(drawn) <= number + 5  # one is looked at before it is given
    assert len(drawn) == 20


def test_this_process_works_until_the_others_have_started():
    mine = []

    def here(task, report):
        mine.append(task)
        time.sleep(0.02)
        report(("here", task))

    with Crew(crew_work.squares, (0,), processes=2) as crew:
        found = list(crew.run(range(100), ahead=2, in_order=True, here=here))
    assert mine[:3] == [0, 1, 2]
    assert 3 < len(mine) < 100
    assert [number for number, value in found if value == ("here", number)] == mine
    assert [number for number, _ in found] == sorted(number for number, _ in found)
    assert {number for number, _ in found} == set(range(100))


def test_arrays_travel_as_they_are():
    task = {
        "numbers": np.arange(300_000, dtype=np.float32),
        "few": np.array([1, 2], np.uint64),
        "none": np.zeros((0, 3)),
        "flags": np.array([True, False, False]),
        "strided": np.arange(20)[::2],
    }
    with Crew(crew_work.arrays, (), processes=1) as crew:
        ((_, found),) = crew.run([task])
    for name, array in task.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array[::-1])
    found["numbers"][0] = 5  # arrays of one's own, not views of something


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


def test_of_several_errors_that_of_the_first_task_is_raised():
    with Crew(crew_work.in_turn, (), processes=2) as crew:
        reports = crew.run(range(6), ahead=2, in_order=True)
        assert next(reports) == (0, 0)
        assert next(reports) == (1, 1)
        with pytest.raises(EventFileError, match="row 1: damaged"):
            next(reports)


def test_an_error_here_waits_for_its_turn():
    def here(task, report):
        raise EventFileError("bad", row=task)

    with Crew(crew_work.squares, (0,), processes=1) as crew:
        reports = crew.run(range(3), ahead=1, in_order=True, here=here)
        with pytest.raises(EventFileError, match="row 0: bad"):
            next(reports)


@pytest.mark.timeout(60)
def test_a_report_that_cannot_travel_is_an_error():
    with (
        pytest.raises((AttributeError, pickle.PicklingError), match="lambda"),
        Crew(crew_work.functions, (), processes=1) as crew,
    ):
        list(crew.run([1]))


def test_an_error_that_cannot_travel_arrives_in_words():
    with (
        pytest.raises(WorkerError, match="StubbornError: 1 and 2"),
        Crew(crew_work.stubborn, (), processes=1) as crew,
    ):
        list(crew.run([1]))


def test_a_process_that_leaves_is_one_clear_error():
    with (
        pytest.raises(WorkerError, match="exit code 5; try again with fewer workers"),
        Crew(crew_work.leaving, (5,), processes=2) as crew,
    ):
        list(crew.run(range(4)))


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    folder = Path(__file__).parent
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(folder)!r})\nimport crew_work\n"
        "from gen2reco.workers import Crew\n"
        "with Crew(crew_work.squares, (0,), processes=1) as crew:\n"
        "    print(list(crew.run([3])))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.endswith("must therefore do its work under `if __name__ == '__main__':`\n")


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
