"""Shards cover every event once, evenly, whatever the files are like."""

import json

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen2reco import write_events
from gen2reco.errors import EventFileError, OutputExistsError, StudyError
from gen2reco.shards import Input, Manifest, load_manifest, numbers_of, plan, state_of


def manifest(tmp_path, sizes, shards, **changes):
    inputs = tuple(Input(f"/data/{i}.parquet", size, 10 * size) for i, size in enumerate(sizes))
    options = {"seed": 1, **changes}
    return Manifest(tmp_path, "s", "/m", "d", options, "parquet", "Events", inputs, shards)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(sum),
    share=st.floats(0, 1),
)
def test_every_event_is_in_one_shard_and_shards_are_even(tmp_path_factory, sizes, share):
    total = sum(sizes)
    shards = max(1, round(share * total))
    made = manifest(tmp_path_factory.getbasetemp(), sizes, shards)
    covered = []
    for number in range(shards):
        shard = made.shard(number)
        entries = [(file.path, entry) for file in shard.inputs for entry in range(file.entries)]
        covered += entries[shard.start : shard.stop]
        assert shard.stop - shard.start == shard.entries
        assert shard.entries in (total // shards, -(-total // shards))
        # no file is opened for nothing
        assert shard.start < shard.inputs[0].entries
        assert len(entries) - shard.stop < shard.inputs[-1].entries
    assert covered == [(f"/data/{i}.parquet", e) for i, n in enumerate(sizes) for e in range(n)]


def test_the_task_knows_options_and_range(tmp_path):
    one = manifest(tmp_path, [10, 10], 4)
    tasks = {one.shard(number).task for number in range(4)}
    tasks |= {manifest(tmp_path, [10, 10], 4, seed=2).shard(0).task}
    tasks |= {manifest(tmp_path, [10, 10], 5).shard(0).task}
    assert len(tasks) == 6
    assert manifest(tmp_path / "elsewhere", [10, 10], 4).shard(1).task == one.shard(1).task


def events(path, count):
    write_events(path, [ak.Array({"run": np.ones(count, np.uint32), "event": np.arange(count)})])
    return path


def plan_two(folder, files, shards=3, seed=1, **options):
    return plan(
        folder,
        files,
        shards,
        study="s",
        model="m",
        digest="d",
        options={"seed": seed},
        output="parquet",
        tree="Events",
        **options,
    )


def test_the_first_plan_stays_and_another_one_is_refused(tmp_path):
    files = [events(tmp_path / f"{i}.parquet", 7 + i) for i in range(2)]
    folder = tmp_path / "out"
    made = plan_two(folder, files)
    assert [made.shard(i).entries for i in range(3)] == [5, 5, 5]
    assert load_manifest(folder) == made == plan_two(folder, []) == plan_two(folder, files)
    with pytest.raises(OutputExistsError, match=r"another production: shards 3 is not 4"):
        plan_two(folder, files, 4)
    with pytest.raises(OutputExistsError, match=r"'seed': 1\} is not \{'seed': 2"):
        plan_two(folder, [], seed=2)
    with pytest.raises(OutputExistsError, match=r"its input file 2 is .*1\.parquet and not none"):
        plan_two(folder, files[:1])
    with pytest.raises(OutputExistsError, match=r"input file 1 is .*0\.parquet and not .*1\.parq"):
        plan_two(folder, files[::-1])
    (tmp_path / "link.parquet").symlink_to(files[0])
    (tmp_path / "sub").mkdir()
    same = [tmp_path / "link.parquet", tmp_path / "sub" / ".." / "1.parquet"]
    assert plan_two(folder, same) == made
    assert plan_two(folder, files, 4, overwrite=True).shards == 4
    assert load_manifest(folder).shards == 4


def test_a_changed_input_is_refused(tmp_path):
    files = [events(tmp_path / f"{i}.parquet", 7) for i in range(2)]
    made = plan_two(tmp_path / "out", files, 2)
    made.shard(1).check_inputs("Events")
    files[1].unlink()
    events(files[1], 8)
    made.shard(0).check_inputs("Events")
    with pytest.raises(EventFileError, match=r"1\.parquet: it has 8 events .* it had 7"):
        made.shard(1).check_inputs("Events")


def test_wrong_plans_are_refused(tmp_path):
    file = events(tmp_path / "a.parquet", 3)
    with pytest.raises(StudyError, match="4 shards of 3 events"):
        plan_two(tmp_path / "out", file, 4)
    with pytest.raises(StudyError, match="at least 1 shard"):
        plan_two(tmp_path / "out", file, 0)
    with pytest.raises(EventFileError, match="no file of events"):
        plan_two(tmp_path / "out", [])
    with pytest.raises(EventFileError, match="no shards were begun"):
        load_manifest(tmp_path)
    made = plan_two(tmp_path / "out", file)
    with pytest.raises(StudyError, match="counted from 0: of 3 the last is 2, not 3"):
        made.shard(3)
    path = tmp_path / "out" / "manifest.json"
    text = json.loads(path.read_text())
    path.write_text(json.dumps(text | {"format": 99}))
    with pytest.raises(EventFileError, match="newer than"):
        load_manifest(tmp_path / "out")
    path.write_text("{")
    with pytest.raises(EventFileError, match="damaged"):
        load_manifest(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": []}, "3 shards of 0 inputs"),
        ({"inputs": [["a", "7", 8]]}, "one of the inputs is"),
        ({"inputs": [7]}, "iterable"),
        ({"inputs": "a"}, "inputs is 'a' and no list"),
        ({"shards": "3"}, "shards is '3' and no int"),
        ({"shards": 0}, "0 shards of 1 inputs"),
        ({"output": "foo"}, "output is 'foo', not one of parquet, nanoaod, rntuple"),
        ({"options": None}, "options is None and no dict"),
        ({"digest": 3}, "digest is 3 and no str"),
    ],
)
def test_a_manifest_of_wrong_types_is_damaged(tmp_path, change, said):
    plan_two(tmp_path / "out", events(tmp_path / "a.parquet", 3))
    path = tmp_path / "out" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EventFileError, match=rf"manifest\.json: it is damaged \(.*{said}"):
        load_manifest(tmp_path / "out")
    text = json.loads(path.read_text())
    for name in change:
        del text[name]
    path.write_text(json.dumps(text))
    with pytest.raises(EventFileError, match=rf"is damaged \('{name}' is missing\)"):
        load_manifest(tmp_path / "out")


@pytest.mark.parametrize("wrong", ["", "3", "3/3", "-1/3", "1/0", "a/b", "1/2/3", "1.0/2"])
def test_numbers_of_refuses(wrong):
    with pytest.raises(StudyError, match="I/N"):
        numbers_of(wrong)


def test_numbers_of():
    assert numbers_of("0/1") == (0, 1)
    assert numbers_of("12/100") == (12, 100)


SIDECAR = {
    **dict.fromkeys(("model", "study", "direction", "policy", "mode", "gen2reco"), "x"),
    **dict.fromkeys(("seed", "oversample", "members", "generated"), 1),
    "dropped": {},
    "flagged": {},
    "generated_tables": {
        "Runs": {"run": [1], "genEventCount": [1], "genEventSumw": [1], "genEventSumw2": [1]},
        "LuminosityBlocks": {"run": [1], "luminosityBlock": [1]},
    },
}


def test_states(tmp_path):
    made = plan_two(tmp_path / "out", events(tmp_path / "a.parquet", 9))
    shard = made.shard(1)
    assert state_of(shard).word == "missing"

    def written(task):
        said = SIDECAR | {"shard": {"task": task}}
        chunk = ak.Array({"run": [1], "luminosityBlock": [1], "event": [1]})
        write_events(shard.path, [chunk], overwrite=True, sidecar=said)

    written("another")
    assert "another emulator" in state_of(shard).why
    written(shard.task)
    assert state_of(shard).done
    whole = shard.path.read_bytes()
    shard.path.write_bytes(whole[:-1] + b"x")
    assert state_of(shard, digests=False).done
    assert "SHA-256" in state_of(shard).why
    shard.path.write_bytes(whole[:-1])
    assert "bytes" in state_of(shard, digests=False).why
    shard.path.write_bytes(whole)
    beside = shard.path.with_name(f"{shard.path.name}.json")
    beside.write_text(beside.read_text()[:-20])
    assert "damaged" in state_of(shard).why
    beside.unlink()
    assert "is missing beside it" in state_of(shard).why


@pytest.mark.parametrize(
    "name", ["generated", "entries", "mode", "dropped", "sumw", "generated_tables", "seed"]
)
def test_a_sidecar_that_lacks_something_is_damaged(tmp_path, name):
    shard = plan_two(tmp_path / "out", events(tmp_path / "a.parquet", 9)).shard(1)
    chunk = ak.Array({"run": [1], "luminosityBlock": [1], "event": [1]})
    write_events(shard.path, [chunk], sidecar=SIDECAR | {"shard": {"task": shard.task}})
    beside = shard.path.with_name(f"{shard.path.name}.json")
    said = json.loads(beside.read_text())
    beside.write_text(json.dumps(said | {name: None}))
    assert "damaged" in state_of(shard).why
    del said[name]
    beside.write_text(json.dumps(said))
    assert f"damaged ('{name}' is missing)" in state_of(shard).why
