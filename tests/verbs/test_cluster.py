"""Shards on a Dask cluster: workers and schedulers are lost, events are not."""

import contextlib
import os
import random
import signal
import threading
import time
from itertools import starmap

import numpy as np
import pytest

from gen2reco import compare, load_emulator, merge, open_events, simulate, status, train, validate
from gen2reco.errors import EmulatorError, EventFileError, StudyError, WorkerError
from gen2reco.shards import load_manifest
from gen2reco.validation.streamed import Streaming
from gen2reco.verbs import judged
from gen2reco.verbs.compare import Common, sketched
from gen2reco.verbs.judged import read_judged
from gen2reco.verbs.spread import in_turn, reading_there
from gen2reco.verbs.streamed import origins_of
from gen2reco.workers.cluster import Cluster, local_cluster

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
    from distributed import Client

    with local_cluster(2) as made, Client(made) as found:
        yield found


def address(client):
    return client.scheduler.address


def test_workers_are_killed_and_added_in_mid_run(client, small_emulator, gen_file, whole, tmp_path):
    """One after the other, at random moments; the first one while it loads the emulator."""
    draw = random.Random(1)  # noqa: S311
    stop = threading.Event()
    kills = []

    def kill():
        while not stop.wait(draw.uniform(0.2, 1.5)) and len(kills) < 4:
            known = [one.pid for one in list(client.cluster.scheduler.workers.values())]
            if known:
                victim = draw.choice(known)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    kills.append(victim)

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


@pytest.fixture
def short_ranges(monkeypatch):
    """Several ranges of a small file, some across files."""
    monkeypatch.setattr(judged, "RANGE", 700)


@pytest.fixture(scope="module")
def two_files(gen_file, tmp_path_factory):
    import pyarrow.parquet as pq

    table = pq.read_table(gen_file)
    folder = tmp_path_factory.mktemp("two")
    for name, low, high in (("a", 0, 1100), ("b", 1100, 3000)):
        pq.write_table(table.slice(low, high - low), folder / f"{name}.parquet")
    return [folder / "a.parquet", folder / "b.parquet"]


def test_what_workers_read_and_sketch_is_what_one_process_does(
    client, small_emulator, two_files, short_ranges
):
    emulator, source = load_emulator(small_emulator), open_events(two_files)
    found = []
    for scheduler in ("", address(client)):
        streaming = Streaming(origins_of(emulator.study))
        with reading_there(scheduler, 1, small_emulator, emulator) as there:
            read = read_judged(
                emulator, source, test_only=False, share=0.2, streaming=streaming, there=there
            )
        found.append((read, streaming.result(len(read.events))))
    (here, one), (there, two) = found
    assert one == two
    assert sum(one.events[:2]) > 2000
    assert here.events.to_list() == there.events.to_list()
    assert here.dropped == there.dropped


def test_sums_of_weights_have_the_same_bits(
    client, small_emulator, two_files, tmp_path, short_ranges
):
    """Weights of a third each, whose sums depend on their order."""
    simulate(small_emulator, two_files, tmp_path / "fast.parquet", oversample=3)
    source = open_events(tmp_path / "fast.parquet")
    quantities = {"MET_pt": "MET.pt", "jet": "leading(Jet).pt"}
    common = Common(None, tuple(quantities.values()), quantities, "", "", shared=True)
    tasks = [(common, "fast", {}, *source.within(*one)) for one in judged.ranges(source)]
    assert len(tasks) > 10
    found = []
    for parts in (starmap(sketched, tasks), in_turn(Cluster(client), sketched, tasks)):
        streaming = Streaming()
        for part in parts:
            streaming.take(part)
            for name in ("full_a", "full_b"):
                streaming.add(name, 1, np.ones(2), {name: np.arange(2.0) for name in quantities})
        found.append(streaming.result(0))
    assert found[0] == found[1]
    assert found[0].events[2] > 3000


def test_a_scheduler_needs_something_to_stream_and_a_path(small_emulator, two_files, tmp_path):
    with pytest.raises(StudyError, match="--stream"):
        validate(small_emulator, two_files, tmp_path / "no", scheduler="local")
    with pytest.raises(StudyError, match="--stream"):
        compare(two_files[0], two_files[1], tmp_path / "no", scheduler="local")
    with pytest.raises(StudyError, match=r"^there is no scheduler at 'nowhere'"):
        validate(small_emulator, two_files, tmp_path / "no", stream=900, scheduler="nowhere")
    emulator = load_emulator(small_emulator)
    with pytest.raises(EmulatorError, match="path"), reading_there("local", 1, emulator, emulator):
        pass


def test_members_train_on_a_cluster_to_the_same_bits_though_a_worker_is_killed(
    client, small_emulator, small_wjet, bundled, tmp_path
):
    """After the first epoch of a member; it goes on from its checkpoint in another process."""
    reports, killed = [], []

    def progress(report):
        reports.append(report)
        if report.kind == "epoch" and report.epoch == 1 and not killed:
            at_work = tmp_path.glob("model.training/attempts/*/*/member-*/checkpoint.safetensors")
            killed.extend({int(path.parts[-4].rpartition("-")[2]) for path in at_work})
            for process in killed:
                os.kill(process, signal.SIGKILL)

    output = tmp_path / "model"
    train(
        "wjet", bundled, output, overrides=small_wjet, scheduler=address(client), progress=progress
    )
    assert killed
    begun = [report.epoch for report in reports if report.kind == "start"]
    assert len(begun) > 2
    assert max(begun) > 0, "one went on where it was"
    weights = sorted(path.name for path in small_emulator.glob("*.safetensors"))
    assert len(weights) == 2
    for name in weights:
        assert (output / name).read_bytes() == (small_emulator / name).read_bytes()
    assert not (tmp_path / "model.training").exists()


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
    """The scheduler goes away after the first shard, and comes back at the same address."""
    from distributed import LocalCluster

    original = Cluster._result
    here = {
        "n_workers": 1,
        "threads_per_worker": 1,
        "processes": False,
        "protocol": "tcp",
        "dashboard_address": ":0",
    }

    def run(address):
        return simulate(small_emulator, gen_file, tmp_path / "out", scheduler=address, shards=9)

    with LocalCluster(**here) as made:
        place = made.scheduler_address

        def lose(self, *rest):
            done = original(self, *rest)
            made.close()
            deadline = time.monotonic() + 20
            while self.client.status == "running" and time.monotonic() < deadline:
                time.sleep(0.05)
            return done

        monkeypatch.setattr(Cluster, "_result", lose)
        with pytest.raises(WorkerError, match="scheduler was lost; run the command again"):
            run(place)
    monkeypatch.undo()
    assert not status(tmp_path / "out").complete
    with LocalCluster(**here, scheduler_port=int(place.rpartition(":")[2])) as again:
        assert again.scheduler_address == place
        run(place)
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
