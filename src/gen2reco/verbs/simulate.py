"""`simulate`: files of GEN events in, a file of RECO events out, as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gen2reco.errors import StudyError
from gen2reco.shards import numbers_of
from gen2reco.verbs.cluster import run_on_cluster
from gen2reco.verbs.production import planned
from gen2reco.verbs.shard import Simulation, make_shard, simulating
from gen2reco.verbs.stream import CHUNK, stream
from gen2reco.workers.cluster import check_scheduler

__all__ = ["Simulation", "simulate"]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gen2reco.emulator import Emulator


def simulate(
    model: Emulator | str | Path,
    files: Sequence[str | Path] | str | Path,
    output: str | Path,
    *,
    seed: int = 1,
    chunk: int = CHUNK,
    workers: int = 1,
    oversample: int = 1,
    members: int = 1,
    keep: Sequence[str] = (),
    policy: str = "error",
    file_format: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    shard: str = "",
    scheduler: str = "",
    shards: int = 0,
) -> Simulation:
    """Turn files of GEN events into one file of RECO events.

    The same seed and event give the same RECO event, whatever the chunk, the order of files or the
    workers. Memory does not grow with the number of events.

    Args:
        model: an emulator or its path.
        files: files or globs with GEN events; may be empty for a shard whose manifest is there.
        output: RECO file, `.parquet` or `.root`; for a shard, the folder of all shards.
        seed: seed of all random numbers.
        chunk: GEN events per step.
        workers: processes, this one included; each uses one thread.
        oversample: RECO events per GEN event (`replica` column, weights divided by it).
        members: ensemble members to run (`member` column), for the systematic uncertainty.
        keep: GEN columns or patterns to carry along.
        policy: for GEN values that are not finite: `error`, `drop` or `flag`.
        file_format: `parquet`, `nanoaod` or `rntuple`; default: by the suffix of `output`.
        overwrite: replace an existing output.
        progress: called with GEN events done and in all.
        shard: `I/N`: only piece I, from 0, of N pieces with equal numbers of events. The first
            call writes `manifest.json`, which says what all pieces are; a piece that is there and
            complete is left as it is, a broken one is made anew. Parquet by default.
        scheduler: address of a Dask scheduler (`tcp://host:8786`) on whose workers all shards are
            made, or `local` for a cluster of `workers` processes here; needs `shards`.
        shards: number of pieces on a cluster; `output` is their folder.

    Raises:
        OutputExistsError: the output exists and `overwrite` is off, or the folder holds the shards
            of another production.
        EventFileError: a file cannot be read, lacks a column, or holds unusable values under policy
            `error`.
        EmulatorError: the emulator cannot be loaded, or has fewer members.
        StudyError: the study unfolds, generates without GEN, or there is no such scheduler.
        MissingExtraError: a scheduler without dask.
        WorkerError: one of several processes was killed, or a scheduler was lost.
    """
    if shard and scheduler:
        raise StudyError("a cluster makes all shards: give either a shard or a scheduler")
    if bool(scheduler) != bool(shards):
        raise StudyError("a scheduler and the number of shards belong together: --shards 100")
    options = {
        "seed": seed,
        "oversample": oversample,
        "members": members,
        "keep": list(keep),
        "policy": policy,
    }
    if shard or scheduler:
        check_scheduler(scheduler)
        number, of = numbers_of(shard) if shard else (-1, shards)
        emulator = simulating(model)
        manifest = planned(
            emulator,
            model,
            files,
            output,
            of,
            options,
            file_format,
            overwrite=overwrite,
        )
        if scheduler:
            return run_on_cluster(
                scheduler,
                manifest,
                options,
                chunk=chunk,
                workers=workers,
                overwrite=overwrite,
                progress=progress,
            )
        return make_shard(
            emulator if workers == 1 else model,
            manifest.shard(number),
            options,
            chunk=chunk,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
    done = stream(
        model,
        files,
        output,
        load=simulating,
        options=options,
        chunk=chunk,
        workers=workers,
        file_format=file_format,
        overwrite=overwrite,
        progress=progress,
    )
    return Simulation(**vars(done))
