"""Submit files of batch systems: what `submit` writes for HTCondor and Slurm.

Both run one small shell script per job, which makes one or more shards one after the other; a list
file has a line of shard numbers for each job.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MOST_TASKS = 1000
"""Tasks of one Slurm array: indices up to 1000 are what a site allows that changed no default."""


@dataclass(frozen=True)
class Jobs:
    """What is to be submitted.

    Attributes:
        folder: where the submit files go.
        command: of one shard, with `{shard}` in the place of `I/N`.
        tasks: shard numbers of each job.
        name: of the jobs.
        memory: MB.
        minutes: longest time of a job; 0 leaves it to the site.
        setup: shell line run before, such as `source env.sh`.
        extra: lines for the submit file as they are.
    """

    folder: Path
    command: Sequence[str]
    tasks: Sequence[Sequence[int]]
    name: str
    memory: int
    minutes: int = 0
    setup: str = ""
    extra: Sequence[str] = field(default_factory=tuple)


def shell_script(jobs: Jobs, shards: int) -> str:
    """Return the script of one job: its arguments are shard numbers; every one of them is tried."""
    command = " ".join(
        f'"$shard/{shards}"' if word == "{shard}" else shlex.quote(word) for word in jobs.command
    )
    lines = [
        "#!/bin/bash",
        "# Makes the shards whose numbers it is given, all of them, whatever becomes of one.",
        "export OMP_NUM_THREADS=1",
        *([jobs.setup] if jobs.setup else []),  # before `set -u`: sites' scripts read unset names
        "set -uo pipefail",
        "failed=0",
        'for shard in "$@"; do',
        f"  {command} || failed=$?",
        "done",
        "exit $failed",
    ]
    return "\n".join(lines) + "\n"


def task_list(jobs: Jobs) -> str:
    """Return the list file: the shard numbers of a job on each line."""
    return "".join(f"{' '.join(map(str, numbers))}\n" for numbers in jobs.tasks)


def htcondor(jobs: Jobs, script: Path, tasks: Path) -> str:
    """Return an HTCondor submit description; jobs that fail are tried again up to three times."""
    place = jobs.folder
    lines = [
        f"executable = {script}",
        'arguments = "$(shards)"',
        f"initialdir = {place}",
        f"batch_name = {jobs.name}",
        "log = $(ClusterId).log",
        "output = $(ClusterId).$(ProcId).out",
        "error = $(ClusterId).$(ProcId).err",
        "should_transfer_files = IF_NEEDED",
        "request_cpus = 1",
        f"request_memory = {jobs.memory}",
        "max_retries = 3",
        *([f"allowed_job_duration = {60 * jobs.minutes}"] if jobs.minutes else []),
        *jobs.extra,
        f"queue shards from {tasks}",
    ]
    return "\n".join(lines) + "\n"


def slurm(jobs: Jobs, script: Path, tasks: Path) -> str:
    """Return a Slurm array script; its argument is the line of the list file where it begins."""
    hours, minutes = divmod(jobs.minutes, 60)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={jobs.name}",
        f"#SBATCH --output={jobs.folder}/%A_%a.out",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=1",
        f"#SBATCH --mem={jobs.memory}M",
        *([f"#SBATCH --time={hours:02d}:{minutes:02d}:00"] if jobs.minutes else []),
        *(f"#SBATCH {line}" for line in jobs.extra),
        "set -euo pipefail",
        "line=$((SLURM_ARRAY_TASK_ID + ${1:-0} + 1))",
        f'shards=$(sed -n "${{line}}p" {shlex.quote(str(tasks))})',
        "# shellcheck disable=SC2086",
        f"exec {shlex.quote(str(script))} $shards",
    ]
    return "\n".join(lines) + "\n"


def slurm_calls(jobs: Jobs, script: Path) -> list[list[str]]:
    """Return the `sbatch` commands, one for each thousand jobs."""
    return [
        [
            "sbatch",
            f"--array=0-{min(MOST_TASKS, len(jobs.tasks) - first) - 1}",
            str(script),
            str(first),
        ]
        for first in range(0, len(jobs.tasks), MOST_TASKS)
    ]
