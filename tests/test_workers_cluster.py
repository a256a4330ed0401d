"""Tasks on a cluster whose workers come and go: each is done, in order where it is asked for."""

import operator
import threading
import time

import pytest

from gen2reco.errors import StudyError
from gen2reco.workers import cluster as module
from gen2reco.workers.cluster import Cluster, cluster

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def made():
    """One worker, in this process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as local,
        Client(local) as client,
    ):
        yield client


def pause(number, seconds):
    time.sleep(seconds)
    return number


def test_tasks_are_handed_out_a_few_at_a_time_and_come_back_in_order(made):
    taken = []

    def tasks():
        for number in range(40):
            taken.append(number)
            yield number, 2

    done = Cluster(made).run(operator.mul, tasks(), key=str, what="task", in_order=True)
    assert next(done) == (0, 0)
    assert len(taken) < 10, "the others wait here"
    assert list(done) == [(number, 2 * number) for number in range(1, 40)]


def test_the_last_worker_leaves_and_another_one_comes(made):
    def come_and_go():
        time.sleep(0.3)
        made.cluster.scale(0)
        while made.nthreads():
            time.sleep(0.05)
        made.cluster.scale(2)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    tasks = ((number, 0.05) for number in range(30))
    done = list(Cluster(made).run(pause, tasks, key=str, what="task", in_order=True))
    thread.join()
    assert [number for number, _ in done] == [found for _, found in done] == list(range(30))


def test_a_cluster_of_ours_starts_workers_that_are_lost_for_good(made, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    made.cluster.scale(0)
    while made.nthreads():
        time.sleep(0.05)
    tasks = ((number, 0.0) for number in range(3))
    assert len(list(Cluster(made, own=1).run(pause, tasks, key=str, what="task"))) == 3


def test_errors_of_a_task_and_of_an_address_are_told(made):
    with pytest.raises(ZeroDivisionError):
        list(Cluster(made).run(operator.truediv, [(1, 1), (1, 0)], key=str, what="task"))
    with pytest.raises(StudyError, match="no scheduler at 'nowhere'"), cluster("nowhere", 1):
        pass
