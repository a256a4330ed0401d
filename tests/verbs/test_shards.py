"""A production in shards: what is missing, what is broken, and the same bytes in the end."""

import json
import os
import subprocess
import sys

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from gen2reco import load_emulator, merge, open_events, simulate, status, submit
from gen2reco.errors import (
    EmulatorError,
    EventFileError,
    Gen2RecoError,
    OutputExistsError,
    StudyError,
)
from gen2reco.shards import load_manifest

SHARDS = 4


@pytest.fixture(scope="module")
def files(gen_file, tmp_path_factory):
    """The GEN events in files of uneven size, one of them without events."""
    folder = tmp_path_factory.mktemp("pieces")
    table = pq.read_table(gen_file)
    for i, (low, high) in enumerate([(0, 100), (100, 1900), (1900, 1900), (1900, 3000)]):
        pq.write_table(table.slice(low, high - low), folder / f"gen-{i}.parquet")
    return folder / "gen-*.parquet"


@pytest.fixture(scope="module")
def whole(small_emulator, files, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "reco.parquet"
    simulate(small_emulator, files, path, oversample=2, keep=["GenMET_*"])
    return path


def piece(model, files, folder, number, **options):
    given = {"oversample": 2, "keep": ["GenMET_*"]} | options
    return simulate(model, files, folder, shard=f"{number}/{SHARDS}", **given)


def test_shards_join_to_the_bytes_of_one_run(small_emulator, files, whole, tmp_path):
    folder = tmp_path / "out"
    done = [piece(small_emulator, files, folder, number) for number in (2, 0, 3)]
    assert [one.read for one in done] == [750] * 3
    now = status(folder)
    assert (now.done, now.missing, now.broken) == ((0, 2, 3), (1,), {})
    assert (now.generated, now.entries, now.complete) == (2250, 3000, False)
    with pytest.raises(EventFileError, match="shard 1 is missing; make them"):
        merge(folder, tmp_path / "reco.parquet")
    piece(small_emulator, (), folder, 1)  # the manifest knows the files
    assert status(folder).complete
    merged = merge(folder, tmp_path / "reco.parquet")
    assert (tmp_path / "reco.parquet").read_bytes() == whole.read_bytes()
    one, all_ = (
        json.loads(path.with_name(f"{path.name}.json").read_text())
        for path in (tmp_path / "reco.parquet", whole)
    )
    different = {name for name in all_ if one[name] != all_[name]}
    assert different <= {"genEventSumw", "genEventSumw2", "sumw"}
    assert one["genEventSumw"] == pytest.approx(all_["genEventSumw"])
    assert (merged.shards, merged.generated) == (4, 3000)
    with pytest.raises(EventFileError, match="it is read and cannot be the output"):
        merge(folder, folder / ".." / done[0].path.relative_to(tmp_path), overwrite=True)
    assert status(folder).complete


def test_what_is_done_stays_and_what_is_broken_is_made_anew(small_emulator, files, tmp_path):
    folder = tmp_path / "out"
    first = piece(small_emulator, files, folder, 0)
    before = first.path.read_bytes(), first.path.stat().st_mtime_ns
    again = piece(small_emulator, files, folder, 0)
    assert again.found
    assert (again.events, again.read) == (first.events, first.read)
    assert "there already" in str(again)
    assert (first.path.read_bytes(), first.path.stat().st_mtime_ns) == before
    first.path.write_bytes(before[0][:-9])
    assert "bytes" in status(folder).broken[0]
    with pytest.raises(EventFileError, match="shard 0 is broken"):
        merge(folder, tmp_path / "reco.parquet")
    assert not piece(small_emulator, files, folder, 0).found
    assert first.path.read_bytes() == before[0]
    first.path.with_name(f"{first.path.name}.json").unlink()  # killed between file and sidecar
    assert not piece(small_emulator, files, folder, 0).found
    assert status(folder).done == (0,)


def test_another_production_is_refused(small_emulator, files, tmp_path):
    folder = tmp_path / "out"
    piece(small_emulator, files, folder, 0)
    with pytest.raises(OutputExistsError, match="another production"):
        piece(small_emulator, files, folder, 0, seed=9)
    with pytest.raises(StudyError, match="I/N"):
        simulate(small_emulator, files, folder, shard="4/4")
    loaded = load_emulator(small_emulator)
    with pytest.raises(EmulatorError, match="give its path"):
        piece(loaded, files, folder, 0)
    piece(small_emulator, files, folder, 1, seed=9, overwrite=True)
    assert status(folder).broken.keys() == {0}


def test_root_shards_keep_runs_and_lumi_blocks(small_emulator, files, tmp_path):
    simulate(small_emulator, files, tmp_path / "whole.root")
    for number in range(2):
        simulate(
            small_emulator, files, tmp_path / "out", shard=f"{number}/2", file_format="nanoaod"
        )
    merge(tmp_path / "out", tmp_path / "merged.root")
    with uproot.open(tmp_path / "whole.root") as one, uproot.open(tmp_path / "merged.root") as two:
        for tree in ("Runs", "LuminosityBlocks", "Events"):
            assert one[tree].keys() == two[tree].keys()
            for name in one[tree].keys():  # noqa: SIM118
                left, right = one[tree][name].array(), two[tree][name].array()
                assert left.type == right.type
                assert ak.almost_equal(left, right)


def test_the_command_line_and_its_exit_codes(small_emulator, files, tmp_path):
    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "gen2reco", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )

    made = run("simulate", small_emulator, files, "-o", tmp_path / "out", "--shard", "1/2")
    assert made.returncode == 0, made.stderr
    shown = run("status", tmp_path / "out")
    assert shown.returncode == 9
    assert "1 of 2 shards done, 1 missing" in shown.stdout
    assert run("merge", tmp_path / "out", "-o", tmp_path / "reco.parquet").returncode == 4
    assert run("simulate", small_emulator, "-o", tmp_path / "reco.parquet").returncode == 2


# Stubs that do what the batch system would do, with the files as a system reads them.
CONDOR_SUBMIT = """#!{python}
import os, subprocess, sys
os.environ["CONDOR_CONFIG"] = "/dev/null"
from htcondor2 import Submit
from pathlib import Path
text = Path(sys.argv[1]).read_text()
job = Submit(text)
assert job["arguments"] == '"$(shards)"'
Path(job["initialdir"]).is_dir() or sys.exit("no initialdir")
items = [line.split("\\n")[0] for line in Path(job.getQArgs().split(" from ")[1]).open()]
for item in items:
    subprocess.run([job["executable"], *item.split()], check=False)
print(f"{{len(items)}} job(s) submitted to cluster 1.")
"""
SBATCH = """#!{python}
import os, re, subprocess, sys
array = re.fullmatch(r"--array=0-(\\d+)", sys.argv[1])
for task in range(int(array[1]) + 1):
    subprocess.run(["bash", *sys.argv[2:]], env=os.environ | {{"SLURM_ARRAY_TASK_ID": str(task)}})
print("Submitted batch job 1")
"""


def stub(folder, name, text, monkeypatch):
    folder.mkdir()
    path = folder / name
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("backend", "name", "text"),
    [("htcondor", "condor_submit", CONDOR_SUBMIT), ("slurm", "sbatch", SBATCH)],
)
def test_submitted_jobs_make_what_is_missing(
    small_emulator, files, whole, tmp_path, monkeypatch, backend, name, text
):
    stub(tmp_path / "bin", name, text, monkeypatch)
    folder = tmp_path / "out"
    options = {"shards": SHARDS, "backend": backend, "oversample": 2, "keep": ["GenMET_*"]}
    for number in (1, 3):
        piece(small_emulator, files, folder, number)
    kept = load_manifest(folder).shard(1).path
    before = kept.stat().st_mtime_ns
    done = submit(small_emulator, files, folder, setup="export HERE=1", **options)
    assert done.tasks == ((0,), (2,))
    assert done.sent
    assert "ubmitted" in done.replies[0]
    assert kept.stat().st_mtime_ns == before
    assert status(folder).complete
    merge(folder, tmp_path / "reco.parquet")
    assert (tmp_path / "reco.parquet").read_bytes() == whole.read_bytes()
    again = submit(small_emulator, files, folder, **options)
    assert not again.sent
    assert "nothing to submit" in str(again)
    load_manifest(folder).shard(3).path.unlink()
    load_manifest(folder).shard(0).path.write_bytes(b"")
    left = submit(small_emulator, (), folder, dry_run=True, per_job=3, **options)
    assert left.tasks == ((0, 3),)


def test_submit_files_are_those_of_the_batch_systems(small_emulator, files, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("CONDOR_CONFIG", os.devnull)
    import htcondor2

    common = {"shards": 5, "minutes": 90, "memory": 1500, "launcher": "apptainer exec it.sif"}
    made = submit(
        small_emulator,
        files,
        tmp_path / "one",
        backend="htcondor",
        extra=['+JobFlavour = "longlunch"'],
        **common,
    )
    assert not made.sent
    assert made.commands == (f"condor_submit {tmp_path}/one/jobs/jobs.sub",)
    job = htcondor2.Submit(made.files[0].read_text())
    assert job["request_memory"] == "1500"
    assert job["allowed_job_duration"] == "5400"
    assert job["MY.JobFlavour"] == '"longlunch"'
    assert job.getQArgs() == f"shards from {tmp_path}/one/jobs/tasks.txt"
    made = submit(
        small_emulator,
        files,
        tmp_path / "two",
        backend="slurm",
        extra=["--partition=short"],
        **common,
    )
    script, shell, tasks = (path.read_text() for path in made.files)
    head = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --time=01:30:00" in head
    assert "#SBATCH --mem=1500M" in head
    assert "#SBATCH --partition=short" in head
    # sbatch stops reading options at the first line that is not a comment
    body = script.splitlines()
    assert body[1 : 1 + len(head)] == head
    assert made.commands == (f"sbatch --array=0-4 {tmp_path}/two/jobs/array.sh 0",)
    assert "apptainer exec it.sif python3 -m gen2reco simulate" in shell
    assert tasks.split() == ["0", "1", "2", "3", "4"]
    for path in made.files[:2]:
        subprocess.run(["/bin/bash", "-n", path], check=True)


def test_a_launcher_with_an_open_quotation_is_refused(small_emulator, files, tmp_path):
    with pytest.raises(StudyError, match=r"launcher .*apptainer.* is no shell command: No closing"):
        submit(
            small_emulator,
            files,
            tmp_path / "out",
            shards=2,
            backend="slurm",
            launcher="apptainer 'x",
        )
    assert not (tmp_path / "out").exists()


def test_arrays_are_cut_where_slurm_would_refuse_them(tmp_path):
    from gen2reco.verbs.batch import Jobs, slurm_calls

    jobs = Jobs(tmp_path, ["x"], [[i] for i in range(2500)], "n", 1)
    ends = [(call[1], call[3]) for call in slurm_calls(jobs, tmp_path / "array.sh")]
    assert ends == [("--array=0-999", "0"), ("--array=0-999", "1000"), ("--array=0-499", "2000")]


def test_a_refusal_of_the_batch_system_is_told(small_emulator, files, tmp_path, monkeypatch):
    stub(tmp_path / "bin", "sbatch", "#!/bin/sh\necho no such account >&2\nexit 3\n", monkeypatch)
    with pytest.raises(Gen2RecoError, match=r"exit code 3\): no such account"):
        submit(small_emulator, files, tmp_path / "out", shards=2, backend="slurm")
    with pytest.raises(StudyError, match="Did you mean 'slurm'"):
        submit(small_emulator, files, tmp_path / "out", shards=2, backend="slrm")


def test_merged_shards_are_read_like_any_file(small_emulator, files, whole):
    events = next(iter(open_events(whole)))
    assert set(np.unique(events.replica)) == {0, 1}
