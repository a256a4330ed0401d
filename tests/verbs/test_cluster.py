"""Shards on a Dask cluster: workers and schedulers are lost, events are not."""

import random
import threading
import time

import pytest

from gen2reco import merge, simulate, status
from gen2reco.errors import EventFileError, StudyError, WorkerError
from gen2reco.shards import load_manifest
from gen2reco.verbs import cluster

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SHARDS = 12


@pytest.fixture(scope="module")
def whole(small_emulator, gen_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "reco.parquet"
    simulate(small_emulator, gen_file, path)
    return path


@pytest.fixture(scope="module")
def client():
    """A cluster of the size that a test machine has."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as made,
        Client(made) as found,
    ):
        yield found


def address(client):
    return client.scheduler.address


def test_workers_are_killed_and_added_in_mid_run(client, small_emulator, gen_file, whole, tmp_path):
    """One after the other, at random moments; the first one while it loads the emulator."""
    draw = random.Random(1)  # noqa: S311
    stop = threading.Event()
    kills = []

    def kill():
        while not stop.is_set() and len(kills) < 4:
            nannies = list(client.cluster.workers.values())
            victim = draw.choice(nannies)
            if victim.process is not None and victim.process.pid:
                import os
                import signal

                os.kill(victim.process.pid, signal.SIGKILL)
                kills.append(victim)
            stop.wait(draw.uniform(0.5, 1.5))

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        done = simulate(
            small_emulator,
            gen_file,
            tmp_path / "out",
            scheduler=address(client),
            shards=SHARDS,
            chunk=100,
        )
    finally:
        stop.set()
        thread.join()
    assert kills
    assert done.read == 3000
    assert status(tmp_path / "out").complete
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {name for name in names if name.endswith(".parquet")} == {
        load_manifest(tmp_path / "out").shard(number).path.name for number in range(SHARDS)
    }
    merge(tmp_path / "out", tmp_path / "reco.parquet")
    assert (tmp_path / "reco.parquet").read_bytes() == whole.read_bytes()


def test_a_run_that_is_begun_again_makes_what_is_missing(
    client, small_emulator, gen_file, tmp_path
):
    def run():
        return simulate(
            small_emulator, gen_file, tmp_path / "out", scheduler=address(client), shards=3
        )

    first = run()
    shards = [load_manifest(tmp_path / "out").shard(number).path for number in range(3)]
    times = [path.stat().st_mtime_ns for path in shards]
    shards[1].unlink()
    second = run()
    assert (first.read, first.events) == (second.read, second.events)
    again = [path.stat().st_mtime_ns for path in shards]
    assert [again[0], again[2]] == [times[0], times[2]]
    assert again[1] > times[1]


def test_errors_of_a_shard_are_told(client, small_emulator, hmumu_sample, tmp_path):
    import pyarrow.parquet as pq

    table = pq.read_table(hmumu_sample)
    pq.write_table(table.drop_columns(["GenMET_pt"]).slice(0, 50), tmp_path / "gen.parquet")
    with pytest.raises((EventFileError, StudyError), match="GenMET"):
        simulate(
            small_emulator,
            tmp_path / "gen.parquet",
            tmp_path / "out",
            scheduler=address(client),
            shards=2,
        )


def test_a_lost_scheduler_is_one_clear_error_and_the_rerun_completes(
    small_emulator, gen_file, whole, tmp_path, monkeypatch
):
    """The scheduler of a local cluster goes away after the first shard."""
    from distributed import LocalCluster

    original = cluster._outcome
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as made:

        def lose(client, *rest):
            done = original(client, *rest)
            made.close()
            deadline = time.monotonic() + 20
            while client.status == "running" and time.monotonic() < deadline:
                time.sleep(0.05)
            return done

        monkeypatch.setattr(cluster, "_outcome", lose)
        with pytest.raises(WorkerError, match="scheduler was lost; run the command again"):
            simulate(
                small_emulator,
                gen_file,
                tmp_path / "out",
                scheduler=made.scheduler_address,
                shards=9,
            )
    monkeypatch.undo()
    assert not status(tmp_path / "out").complete
    simulate(small_emulator, gen_file, tmp_path / "out", scheduler="local", shards=9)
    merge(tmp_path / "out", tmp_path / "reco.parquet")
    assert (tmp_path / "reco.parquet").read_bytes() == whole.read_bytes()


def test_what_does_not_belong_together_is_refused(small_emulator, gen_file, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(StudyError, match="belong together"):
        simulate(small_emulator, gen_file, out, scheduler="local")
    with pytest.raises(StudyError, match="belong together"):
        simulate(small_emulator, gen_file, out, shards=3)
    with pytest.raises(StudyError, match="either a shard or a scheduler"):
        simulate(small_emulator, gen_file, out, shard="0/3", scheduler="local", shards=3)
