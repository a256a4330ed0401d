"""`submit`: the shards of a production as jobs of a batch system."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen2reco.emulator import load_emulator
from gen2reco.errors import Gen2RecoError, StudyError, nearest
from gen2reco.shards import state_of
from gen2reco.verbs.batch import Jobs, htcondor, shell_script, slurm, slurm_calls, task_list
from gen2reco.verbs.production import planned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gen2reco.shards import Manifest

BACKENDS = ("htcondor", "slurm")
_CHUNK = 20_480


@dataclass(frozen=True)
class Submitted:
    """Outcome of `submit`.

    Attributes:
        folder: the production's folder.
        shards: shards in all.
        tasks: shard numbers of each job, those that are not done yet.
        files: what was written.
        commands: what submits it.
        sent: whether they were run.
        replies: what the batch system said.
    """

    folder: Path
    shards: int
    tasks: tuple[tuple[int, ...], ...]
    files: tuple[Path, ...]
    commands: tuple[str, ...]
    sent: bool
    replies: tuple[str, ...]

    def __str__(self) -> str:
        left = sum(map(len, self.tasks))
        if not left:
            return f"{self.folder}: all {self.shards} shards are done, nothing to submit"
        head = f"{self.folder}: {left} of {self.shards} shards in {len(self.tasks)} jobs"
        if self.sent:
            return "\n".join([head, *self.replies])
        return "\n".join([f"{head}, not submitted; to submit them:", *self.commands])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def submit(
    model: str | Path,
    files: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    shards: int,
    backend: str,
    per_job: int = 1,
    memory: int = 2000,
    minutes: int = 0,
    setup: str = "",
    launcher: str = "",
    extra: Sequence[str] = (),
    dry_run: bool = False,
    seed: int = 1,
    chunk: int = _CHUNK,
    oversample: int = 1,
    members: int = 1,
    keep: Sequence[str] = (),
    policy: str = "error",
    file_format: str | None = None,
    overwrite: bool = False,
) -> Submitted:
    """Write submit files for the shards that are not done, and submit them where that can be done.

    Called again, it submits what is missing or broken and nothing else. Model, inputs and output
    must be visible to the jobs under the same paths.

    Args:
        model: path of the emulator.
        files: files or globs with GEN events; may be empty where the folder has a manifest.
        output: folder of the shards.
        shards: how many.
        backend: `htcondor` or `slurm`.
        per_job: shards that a job makes one after the other.
        memory: MB that a job asks for.
        minutes: longest time of a job; 0 leaves it to the site.
        setup: shell line that a job runs first.
        launcher: words before the command of a job, such as `apptainer exec image.sif`; its Python
            is then `python3` instead of the one that runs now.
        extra: lines for the submit file, as they are.
        dry_run: write the files and submit nothing.
        seed: seed of all random numbers.
        chunk: GEN events per step.
        oversample: RECO events per GEN event.
        members: ensemble members to run.
        keep: GEN columns or patterns to carry along.
        policy: for GEN values that are not finite.
        file_format: `parquet` (default), `nanoaod` or `rntuple`.
        overwrite: replace the manifest of another production.

    Raises:
        StudyError: an unknown backend, a launcher with an open quotation, or more shards than
            events.
        OutputExistsError: the folder holds the shards of another production.
        Gen2RecoError: the batch system refused the jobs.
    """
    if backend not in BACKENDS:
        raise StudyError(
            f"backend must be {' or '.join(BACKENDS)}, not {backend!r}.{nearest(backend, BACKENDS)}"
        )
    if min(per_job, memory) < 1 or minutes < 0:
        raise StudyError("per_job and memory must be at least 1, minutes at least 0")
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise StudyError(f"launcher {launcher!r} is no shell command: {error}") from error
    emulator = load_emulator(model)
    options = {
        "seed": seed,
        "oversample": oversample,
        "members": members,
        "keep": list(keep),
        "policy": policy,
    }
    output = Path(output).absolute()
    manifest = planned(
        emulator, model, files, output, shards, options, file_format, overwrite=overwrite
    )
    left = [n for n in range(shards) if not state_of(manifest.shard(n)).done]
    jobs = Jobs(
        output / "jobs",
        [
            *words,
            "python3" if words else sys.executable,
            *_command(manifest, Path(model).absolute(), options, chunk),
        ],
        [left[first : first + per_job] for first in range(0, len(left), per_job)],
        f"gen2reco-{manifest.study}",
        memory,
        minutes,
        setup,
        tuple(extra),
    )
    written, calls = _write(jobs, backend, shards) if left else ([], [])
    can = bool(calls) and not dry_run and shutil.which(calls[0][0]) is not None
    return Submitted(
        output,
        shards,
        tuple(map(tuple, jobs.tasks)),
        tuple(written),
        tuple(map(shlex.join, calls)),
        can,
        tuple(_send(call) for call in calls) if can else (),
    )


def _command(manifest: Manifest, model: Path, options: Mapping[str, Any], chunk: int) -> list[str]:
    """Words of the command that makes one shard; its inputs are in the manifest."""
    words = ["-m", "gen2reco", "simulate", str(model), "--output", str(manifest.folder)]
    words += ["--shard", "{shard}", "--format", manifest.output, "--chunk", str(chunk)]
    for name in ("seed", "oversample", "members", "policy"):
        words += [f"--{name}", str(options[name])]
    for pattern in options["keep"]:
        words += ["--keep", pattern]
    return words


def _write(jobs: Jobs, backend: str, shards: int) -> tuple[list[Path], list[list[str]]]:
    """Write the files of a batch system; returns them and the commands that submit."""
    jobs.folder.mkdir(parents=True, exist_ok=True)
    script, tasks = jobs.folder / "shard.sh", jobs.folder / "tasks.txt"
    script.write_text(shell_script(jobs, shards), encoding="utf-8")
    script.chmod(0o755)
    tasks.write_text(task_list(jobs), encoding="utf-8")
    if backend == "htcondor":
        described = jobs.folder / "jobs.sub"
        described.write_text(htcondor(jobs, script, tasks), encoding="utf-8")
        calls = [["condor_submit", str(described)]]
    else:
        described = jobs.folder / "array.sh"
        described.write_text(slurm(jobs, script, tasks), encoding="utf-8")
        calls = slurm_calls(jobs, described)
    return [described, script, tasks], calls


def _send(call: Sequence[str]) -> str:
    """Run one command of the batch system and return what it said."""
    done = subprocess.run(call, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise Gen2RecoError(
            f"{call[0]} refused the jobs (exit code {done.returncode}):"
            f" {(done.stderr or done.stdout).strip()}"
        )
    return done.stdout.strip()
